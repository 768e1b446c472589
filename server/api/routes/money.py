"""Holds, draws, quotes and repayments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import drawing, repaying
from server.accounts.desk import Desk
from server.api.access import own_line
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    AfterNumber,
    Customer,
    CustomerOrOfficer,
    HoldId,
    LineId,
    Operator,
    Reader,
    changes,
    check_line,
    hold_of,
    link,
    looks,
    router,
)
from server.api.shapes import money as shapes
from server.api.shapes.common import Told
from server.store import draws, holds, repayments
from server.store.holds import HoldRequest
from server.store.ids import new_id
from server.store.lines import StoredLine, head_of
from server.store.repayments import RepaymentRequest
from shared.errors import Conflict

_Row = TypeVar("_Row")
_LINE = link("line", line_id="line_id")
_REPAY = {
    "repay": {
        "operationId": "repay",
        "requestBody": {
            "line_id": "$response.body#/line_id",
            "amount_minor": "$response.body#/amount_minor",
            "currency": "CNY",
        },
    }
}


def routes(desk: Desk) -> APIRouter:
    """Return the routes of money, over a desk."""
    found = router("money")
    _holds(found, desk)
    _resolutions(found, desk)
    _draws(found, desk)
    _repayments(found, desk)
    _lists(found, desk)
    return found


def _holds(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/lines/{line_id}/holds",
        **changes(shapes.Hold, link("post_hold", hold_id="hold_id"), _LINE, etag=True),
    )
    def hold_money(
        line_id: LineId, asked: shapes.HoldAsked, who: Customer, request: Request
    ) -> Response:
        """Set money aside on a line; it falls away by itself if it is neither drawn nor voided."""

        def work(db: Connection, now: datetime) -> Outcome:
            check_line(db, who, line_id, request)
            made = drawing.hold(desk, db, _wanted(line_id, asked, now), asked.ttl, now)
            return _done(db, line_id, shapes.Hold.of(made))

        return act(request, who, desk, work)


def _resolutions(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/holds/{hold_id}/post", **changes(shapes.Drawdown, _REPAY, _LINE, etag=True))
    def post_hold(
        hold_id: HoldId, asked: shapes.PostAsked, who: Customer, request: Request
    ) -> Response:
        """Draw the money of a hold; who funds it and what it costs is settled now."""

        def work(db: Connection, now: datetime) -> Outcome:
            line_id = hold_of(db, who, hold_id).line_id
            check_line(db, who, line_id, request)
            made = drawing.post(desk, db, hold_id, asked.months, now)
            return _done(db, line_id, shapes.Drawdown.of(made))

        return act(request, who, desk, work)

    @found.post("/v1/holds/{hold_id}/void", **changes(shapes.Hold, _LINE, status=200, etag=True))
    def void_hold(hold_id: HoldId, who: CustomerOrOfficer, request: Request) -> Response:
        """Give the money of a hold back; doing it again changes nothing."""

        def work(db: Connection, now: datetime) -> Outcome:
            line_id = hold_of(db, who, hold_id).line_id
            check_line(db, who, line_id, request)
            made = drawing.void(db, hold_id, now)
            return _done(db, line_id, shapes.Hold.of(made))

        return act(request, who, desk, work, status=200)


def _draws(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/lines/{line_id}/drawdowns",
        **changes(shapes.Drawdown, _REPAY, _LINE, etag=True),
    )
    def draw(line_id: LineId, asked: shapes.DrawAsked, who: Customer, request: Request) -> Response:
        """Draw money in one step."""

        def work(db: Connection, now: datetime) -> Outcome:
            check_line(db, who, line_id, request)
            made = drawing.draw(desk, db, _wanted(line_id, asked, now), asked.months, now)
            return Outcome(shapes.Drawdown.of(made).body(), etag=made.line_version)

        return act(request, who, desk, work)

    @found.post(
        "/v1/lines/{line_id}/quote",
        **looks(shapes.Cost, also=(409,)),
        openapi_extra={"x-reads": True},
    )
    def quote(line_id: LineId, asked: shapes.QuoteAsked, who: CustomerOrOfficer) -> Response:
        """Say what a draw would cost, all included, before anything is agreed."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            line = own_line(db, who, line_id)
            _same_currency(line, asked.currency)
            sheet = drawing.quote(desk, db, line_id, asked.amount_minor, asked.months, now)
            return shapes.Cost.of(sheet, line.currency).body()

        return read(desk, work)


def _repayments(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/repayments",
        **changes(shapes.Repayment, _LINE, also={200: shapes.Repayment}, etag=True),
    )
    def repay(asked: shapes.RepaymentAsked, who: Operator, request: Request) -> Response:
        """Apply a payment that has come in, once; 200 if it was reported before."""

        def work(db: Connection, now: datetime) -> Outcome:
            check_line(db, who, asked.line_id, request)
            wanted = RepaymentRequest(
                id=new_id(now),
                external_ref=asked.external_ref,
                line_id=asked.line_id,
                amount_minor=asked.amount_minor,
                currency=asked.currency,
                value_date=asked.value_date,
                to=asked.parts(),
            )
            made = repaying.repay(desk, db, wanted, now)
            body = shapes.Repayment.of(made).body()
            version = head_of(db, made.line_id)[1]
            return Outcome(body, etag=version, status=201 if made.id == wanted.id else 200)

        return act(request, who, desk, work)


def _lists(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/lines/{line_id}/holds", **looks(Page[shapes.Hold]))
    def holds_of_line(
        line_id: LineId, who: Reader, after: After = "", count: Count = USUAL
    ) -> Response:
        """List a line's holds in order of their ids."""

        def rows(db: Connection) -> list[holds.Hold]:
            own_line(db, who, line_id)
            return holds.holds_of(db, line_id, after=after, count=count + 1)

        return read(desk, _listed(rows, count, shapes.Hold.of, lambda _, one: one.id))

    @found.get("/v1/lines/{line_id}/drawdowns", **looks(Page[shapes.Drawdown]))
    def drawdowns_of_line(
        line_id: LineId, who: Reader, after: AfterNumber = 0, count: Count = USUAL
    ) -> Response:
        """List a line's drawdowns, oldest first."""

        def rows(db: Connection) -> list[draws.Drawdown]:
            own_line(db, who, line_id)
            return draws.drawdowns_of(db, line_id, after_version=after, count=count + 1)

        return read(desk, _listed(rows, count, shapes.Drawdown.of, _version))

    @found.get("/v1/lines/{line_id}/repayments", **looks(Page[shapes.Repayment]))
    def repayments_of_line(
        line_id: LineId, who: Reader, after: AfterNumber = 0, count: Count = USUAL
    ) -> Response:
        """List a line's repayments, oldest first."""

        def rows(db: Connection) -> list[repayments.Repayment]:
            own_line(db, who, line_id)
            return repayments.repayments_of(db, line_id, after_version=after, count=count + 1)

        return read(desk, _listed(rows, count, shapes.Repayment.of, _paid_at))


def _listed(
    rows: Callable[[Connection], list[_Row]],
    count: int,
    shape: Callable[[_Row], Told],
    key: Callable[[Connection, _Row], object],
) -> Callable[[Connection, datetime], dict[str, Any]]:
    def work(db: Connection, _: datetime) -> dict[str, Any]:
        return cut(rows(db), count, lambda one: shape(one).body(), lambda one: key(db, one))

    return work


def _version(_: Connection, one: draws.Drawdown) -> int:
    return one.line_version


def _paid_at(db: Connection, one: repayments.Repayment) -> int:
    return repayments.version_of(db, one.id)


def _wanted(line_id: str, asked: shapes.HoldAsked | shapes.DrawAsked, now: datetime) -> HoldRequest:
    return HoldRequest(new_id(now), line_id, asked.amount_minor, asked.currency, asked.purpose)


def _same_currency(line: StoredLine, currency: str) -> None:
    if line.currency != currency:
        raise Conflict(f"the line is in {line.currency}", check="currency")


def _done(db: Connection, line_id: str, shape: Told) -> Outcome:
    return Outcome(shape.body(), etag=head_of(db, line_id)[1])
