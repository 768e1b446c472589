"""`/decisions`: every decision, newest first; and the way to one by its id, line or person."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from server.accounts.deciding import PURPOSES
from server.accounts.recent import recent
from server.store import decisions, lines
from server.web.acts import went
from server.web.decisions.common import PAGE, MaybeId, Reader
from server.web.render import Site
from shared.errors import NotFound, UsageError

_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,63}")
Purpose = Annotated[str, Query(max_length=32)]
Day = Annotated[str, Query(max_length=10)]
Sought = Annotated[str, Query(max_length=80)]
Pseudonym = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/decisions")
    def listed(
        request: Request, who: Reader, purpose: Purpose = "", until: Day = "", behind: MaybeId = ""
    ) -> Response:
        """List decisions, newest first."""
        if purpose and purpose not in PURPOSES:
            raise UsageError(f"purpose must be one of {', '.join(PURPOSES)}")
        last = day_of(until, "until")

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            page = recent(site.desk, db, purpose=purpose, until=last, behind=behind, count=PAGE)
            return {"page": page}

        view = site.read(work)
        kept = {"purpose": purpose, "behind": view["page"].older}
        older = f"/decisions?{urlencode({k: v for k, v in kept.items() if v})}"
        view |= {"purposes": PURPOSES, "purpose": purpose, "until": until, "behind": behind}
        return site.page(request, "decisions/list.html", who, older=older, **view)

    @found.get("/decisions/find")
    def find(who: Reader, q: Sought = "") -> Response:  # noqa: ARG001 - who may read may look
        """Lead to a decision, a line or a person's lines, whichever has such an id."""
        return went(site.read(lambda db, _: place_of(db, q.strip())))

    @found.get("/decisions/of/{customer}")
    def of_customer(request: Request, who: Reader, customer: Pseudonym) -> Response:
        """List a person's lines."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            every = lines.lines_of(db, customer)
            if not every:
                raise NotFound("nobody of that pseudonym has a line")
            return {"every": every, "customer": customer}

        return site.page(request, "decisions/customer.html", who, **site.read(work))


def place_of(db: Connection, sought: str) -> str:
    """Return the page of what has an id.

    Raises
    ------
    NotFound
    """
    if _ID.fullmatch(sought):
        try:
            return f"/decisions/{decisions.get_decision(db, sought).id}"
        except NotFound:
            pass
        try:
            return f"/decisions/line/{lines.get_line(db, sought).id}"
        except NotFound:
            pass
        if len(sought) == 64 and lines.lines_of(db, sought):
            return f"/decisions/of/{sought}"
    raise NotFound("nothing has that id", hint="a decision, a line or a pseudonym, whole")


def day_of(text: str, name: str) -> date | None:
    """Return a day that a form has; None where it is empty.

    Raises
    ------
    UsageError
        Names the field.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{name}: a day such as 2026-03-02") from None
