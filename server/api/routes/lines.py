"""Credit lines: applied for, looked at, listed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import lineview, opening
from server.accounts.desk import Desk
from server.api.access import Role, own, own_line
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    CustomerOrOfficer,
    LineId,
    Reader,
    changes,
    link,
    looks,
    router,
)
from server.api.shapes import lines as shapes
from server.store import lines
from server.store.lines import StoredLine

Of = Annotated[
    str | None,
    Query(pattern=r"^[0-9a-f]{64}$", description="Only this customer's, closed ones too"),
]
_LINKS = tuple(
    link(operation, line_id="line_id")
    for operation in ("line", "draw", "hold_money", "quote", "decide", "decisions_of_line")
)


def routes(desk: Desk) -> APIRouter:
    """Return the routes of lines, over a desk."""
    found = router("lines")
    _opened(found, desk)
    _shown(found, desk)
    return found


def _opened(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/lines",
        **changes(shapes.Opened, *_LINKS, also={200: shapes.Opened}, etag=True),
    )
    def open_line(asked: shapes.LineAsked, who: CustomerOrOfficer, request: Request) -> Response:
        """Apply for a line: 201 with the line, or 200 with the reasons why there is none."""

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, asked.customer_id)
            made = opening.open_line(desk, db, asked.customer_id, asked.product, now, who.name)
            body = shapes.Opened.of(made, asked).body()
            if made.line is None:
                return Outcome(body, status=200)
            return Outcome(body, etag=made.line.version, location=f"/v1/lines/{made.line.id}")

        return act(request, who, desk, work)


def _shown(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/lines/{line_id}", **looks(shapes.Line, etag=True))
    def line(line_id: LineId, who: Reader) -> Response:
        """Give a line: what can be drawn, what binds, who lends, what comes next."""

        def work(db: Connection, now: datetime) -> Outcome:
            own_line(db, who, line_id)
            view = lineview.line_view(desk, db, line_id, now)
            return Outcome(shapes.Line.seen(view).body(), etag=view.line.version)

        # Never 304: what can be drawn changes with the day and with partners, the version does not.
        return read(desk, work)

    @found.get("/v1/lines", **looks(Page[shapes.LineRow]))
    def lines_listed(
        who: Reader, customer_id: Of = None, after: After = "", count: Count = USUAL
    ) -> Response:
        """List lines in order of their ids; to a customer its own."""
        if customer_id is not None:
            own(who, customer_id)
        wanted = who.subject if who.role is Role.CUSTOMER else customer_id

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            rows = _rows(db, wanted, after, count + 1)
            return cut(rows, count, lambda one: shapes.LineRow.of(one).body(), lambda one: one.id)

        return read(desk, work)


def _rows(db: Connection, customer_id: str | None, after: str, count: int) -> list[StoredLine]:
    if customer_id is None:
        return lines.page_of_lines(db, after=after, count=count)
    return [one for one in lines.lines_of(db, customer_id) if one.id > after][:count]
