"""`/rules/compare`: two rule files, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import known_rules
from server.accounts.known_rules import KnownText
from server.limits.basis.differences import Difference
from server.web.policy.common import PATH, Officer
from server.web.render import Site

Digest = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True, slots=True)
class Row:
    """A field that differs: where it stands, what it was and is, and by how much, in percent."""

    path: str
    before: str
    after: str
    change: str


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get(f"{PATH}/compare")
    def compare(
        request: Request, who: Officer, before: Digest = "", after: Digest = ""
    ) -> Response:
        """Show how two rule files differ."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            known = known_rules.known_texts(site.desk, db, now)
            view: dict[str, Any] = {"known": known, "rows": None, "old": None, "new": None}
            if before and after:
                old, new = (known_rules.find(known, one) for one in (before, after))
                found_rows = known_rules.compared(db, old, new)
                digits = site.desk.rules.policy.minor_digits
                view |= {"rows": rows_of(found_rows, digits), "old": old, "new": new}
            return view | {"kinds": kinds_of(known)}

        return site.page(request, "policy/compare.html", who, **site.read(work))


def rows_of(found: tuple[Difference, ...], digits: int) -> list[Row]:
    """Return differences as a table shows them: numbers and names, in no language."""
    return [Row(one.path, *one.sides(digits)) for one in found]


def kinds_of(known: tuple[KnownText, ...]) -> list[tuple[str, list[KnownText]]]:
    """Return the texts by kind, of kinds of which there are two or more."""
    by_kind: dict[str, list[KnownText]] = {}
    for one in known:
        by_kind.setdefault(one.kind, []).append(one)
    return [(kind, texts) for kind, texts in by_kind.items() if len(texts) > 1]
