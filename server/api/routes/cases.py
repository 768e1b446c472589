"""Disputes, appeals, complaints and calls for help."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import customers
from server.accounts.customers import CaseKind, CaseRequest
from server.accounts.desk import Desk
from server.accounts.dossier import Case
from server.api.access import Caller, Role, own
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    CaseId,
    CustomerOrOfficer,
    Officer,
    Reader,
    changes,
    decision_of,
    link,
    looks,
    router,
)
from server.api.shapes import cases as shapes
from shared.errors import NotFound

_LINKS = (
    link("resolve_case", case_id="case_id"),
    link("case", case_id="case_id"),
)
Kind = Annotated[CaseKind | None, Query(description="Only of this kind")]
OpenOnly = Annotated[bool, Query(description="Only those that wait for an answer")]


def routes(desk: Desk) -> APIRouter:
    """Return the routes of cases, over a desk."""
    found = router("cases")
    _opened(found, desk)
    _answered(found, desk)
    _listed(found, desk)
    return found


def _opened(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/disputes", **changes(shapes.Case, *_LINKS))
    def dispute(asked: shapes.CaseAsked, who: CustomerOrOfficer, request: Request) -> Response:
        """Say that data are wrong; while that is open, nothing is raised."""
        return _open(desk, "dispute", asked, who, request)

    @found.post("/v1/appeals", **changes(shapes.Case, *_LINKS))
    def appeal(asked: shapes.AppealAsked, who: CustomerOrOfficer, request: Request) -> Response:
        """Ask a person to look at a decision again."""
        return _open(desk, "appeal", asked, who, request)

    @found.post("/v1/complaints", **changes(shapes.Case, *_LINKS))
    def complain(asked: shapes.CaseAsked, who: CustomerOrOfficer, request: Request) -> Response:
        """Complain about anything."""
        return _open(desk, "complaint", asked, who, request)

    @found.post("/v1/hardship", **changes(shapes.Case, *_LINKS))
    def ask_for_help(asked: shapes.HelpAsked, who: CustomerOrOfficer, request: Request) -> Response:
        """Ask for help because repaying has become hard; asking takes nothing away."""

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, asked.customer_id)
            wanted = CaseRequest("hardship", asked.customer_id, None, "hardship", asked.text)
            return _kept(customers.open_case(desk, db, wanted, now))

        return act(request, who, desk, work)


def _open(
    desk: Desk,
    kind: CaseKind,
    asked: shapes.CaseAsked | shapes.AppealAsked,
    who: Caller,
    request: Request,
) -> Response:
    def work(db: Connection, now: datetime) -> Outcome:
        own(who, asked.customer_id)
        if asked.decision_id is not None:
            _, customer_id = decision_of(db, who, asked.decision_id)
            if customer_id != asked.customer_id:
                raise NotFound("there is no decision of that id")
        wanted = CaseRequest(kind, asked.customer_id, asked.decision_id, asked.about, asked.text)
        return _kept(customers.open_case(desk, db, wanted, now))

    return act(request, who, desk, work)


def _kept(made: Case) -> Outcome:
    return Outcome(shapes.Case.of(made).body(), location=f"/v1/cases/{made.id}")


def _answered(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/cases/{case_id}/resolve",
        **changes(shapes.Case, link("case", case_id="case_id"), status=200),
    )
    def resolve_case(
        case_id: CaseId, asked: shapes.ResolveAsked, who: Officer, request: Request
    ) -> Response:
        """Answer a case: a person does, and says why."""

        def work(db: Connection, now: datetime) -> Outcome:
            made = customers.resolve_case(
                desk, db, case_id, asked.outcome, who.name, asked.note, now
            )
            return Outcome(shapes.Case.of(made).body())

        return act(request, who, desk, work, status=200)


def _listed(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/cases", **looks(Page[shapes.Case]))
    def cases(
        who: Reader,
        kind: Kind = None,
        open_only: OpenOnly = False,
        after: After = "",
        count: Count = USUAL,
    ) -> Response:
        """List cases in order of their ids; to a customer its own."""
        customer_id = who.subject if who.role is Role.CUSTOMER else None

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            rows = customers.cases(
                db, kind, customer_id, open_only=open_only, after=after, count=count + 1
            )
            return cut(rows, count, lambda one: shapes.Case.of(one).body(), lambda one: one.id)

        return read(desk, work)

    @found.get("/v1/cases/{case_id}", **looks(shapes.Case))
    def case(case_id: CaseId, who: Reader) -> Response:
        """Give a case."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            try:
                kept = customers.get_case(db, case_id)
                own(who, kept.customer_id)
            except NotFound:
                raise NotFound("there is no case of that id") from None
            return shapes.Case.of(kept).body()

        return read(desk, work)
