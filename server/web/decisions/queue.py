"""`/queue`: what waits for a person, and what was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import customers
from server.accounts.casework import CASE_KINDS
from server.accounts.waiting import resolved, waiting
from server.store import approvals
from server.web.decisions.common import PAGE, MaybeId, Reader
from server.web.render import Site
from shared.errors import UsageError

Kind = Annotated[str, Query(max_length=16)]
Answered = Annotated[Literal["used", "approved", "rejected"], Query()]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/queue")
    def queue(request: Request, who: Reader, kind: Kind = "", after: MaybeId = "") -> Response:
        """List what waits for an answer, what has waited longest first."""
        if kind and kind not in CASE_KINDS:
            raise UsageError(f"kind must be one of {', '.join(CASE_KINDS)}")

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            today = site.desk.today(now)
            cases = customers.cases(
                db, kind or None, None, open_only=True, after=after, count=PAGE + 1
            )
            return {
                "waiting": waiting(db, today),
                "today": today,
                "now": now,
                "cases": cases[:PAGE],
                "more": cases[PAGE - 1].id if len(cases) > PAGE else "",
                "proposals": approvals.approvals_in(db, "proposed", count=PAGE),
            }

        view = site.read(work) | {"kinds": CASE_KINDS, "kind": kind, "after": after}
        return site.page(request, "decisions/queue.html", who, **view)

    @found.get("/queue/answered")
    def answered(
        request: Request,
        who: Reader,
        state: Answered = "used",
        after: MaybeId = "",
        before: MaybeId = "",
    ) -> Response:
        """List what was answered: proposals in a state, and cases."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            proposals = approvals.approvals_in(db, state, after=after, count=PAGE + 1)
            cases = resolved(db, before=before, count=PAGE + 1)
            return {
                "proposals": proposals[:PAGE],
                "later": proposals[PAGE - 1].id if len(proposals) > PAGE else "",
                "cases": cases[:PAGE],
                "earlier": cases[PAGE - 1].id if len(cases) > PAGE else "",
            }

        return site.page(request, "decisions/answered.html", who, state=state, **site.read(work))
