"""What a customer agrees to and proves, what a bureau tells, and erasure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import customers
from server.accounts.desk import Desk
from server.accounts.dossier import DECLARED
from server.api.access import Caller, Role, caller, own
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    ConsentId,
    Customer,
    CustomerOrOfficer,
    Operator,
    Pseudonym,
    Reader,
    changes,
    link,
    looks,
    router,
)
from server.api.shapes import customers as shapes
from shared.errors import NotFound, Refused

Bringer = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER, Role.OPERATOR)]
Eraser = Annotated[Caller, caller(Role.CUSTOMER, Role.OPERATOR)]


def routes(desk: Desk) -> APIRouter:
    """Return the routes of customers, over a desk."""
    found = router("customers")
    _consents(found, desk)
    _proofs(found, desk)
    _erasure(found, desk)
    return found


def _consents(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/customers/{customer_id}/consents",
        **changes(shapes.Consent, link("withdraw_consent", consent_id="consent_id")),
    )
    def give_consent(
        customer_id: Pseudonym, asked: shapes.ConsentAsked, who: Customer, request: Request
    ) -> Response:
        """Agree to a use of data, by named parties and for as long as it says."""

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, customer_id)
            made = customers.give_consent(desk, db, asked.request(customer_id), now)
            return Outcome(shapes.Consent.of(made).body())

        return act(request, who, desk, work)

    @found.get("/v1/customers/{customer_id}/consents", **looks(Page[shapes.Consent]))
    def consents(
        customer_id: Pseudonym, who: Reader, after: After = "", count: Count = USUAL
    ) -> Response:
        """List a customer's consents, withdrawn ones too, oldest first."""
        own(who, customer_id)

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            rows = [one for one in customers.consents_of(db, customer_id) if one.id > after]
            return cut(
                rows[: count + 1],
                count,
                lambda one: shapes.Consent.of(one).body(),
                lambda one: one.id,
            )

        return read(desk, work)

    @found.post("/v1/consents/{consent_id}/withdraw", **changes(shapes.Consent, status=200))
    def withdraw_consent(
        consent_id: ConsentId, who: CustomerOrOfficer, request: Request
    ) -> Response:
        """Take a consent back: from now on no draws and no increases on it, and no cut for it."""

        def work(db: Connection, now: datetime) -> Outcome:
            try:
                own(who, customers.get_consent(db, consent_id).customer_id)
            except NotFound:
                raise NotFound("there is no consent of that id") from None
            made = customers.withdraw_consent(desk, db, consent_id, now)
            return Outcome(shapes.Consent.of(made).body())

        return act(request, who, desk, work, status=200)


def _proofs(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/evidence", **changes(shapes.Evidence))
    def add_evidence(asked: shapes.EvidenceAsked, who: Bringer, request: Request) -> Response:
        """Bring a proof; it counts from the next decision on.

        A customer can vouch for nothing but its own word: any other source is for those who have
        seen the document.
        """

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, asked.customer_id)
            if who.role is Role.CUSTOMER and (asked.source != DECLARED or asked.whole):
                raise Refused(f"a customer's own word is of source {DECLARED!r}, and never whole")
            made = customers.add_evidence(desk, db, asked.request(who.name), now)
            return Outcome(shapes.Evidence.of(made).body())

        return act(request, who, desk, work)

    @found.get("/v1/customers/{customer_id}/evidence", **looks(Page[shapes.Evidence]))
    def evidence(
        customer_id: Pseudonym, who: Reader, after: After = "", count: Count = USUAL
    ) -> Response:
        """List a customer's proofs, expired ones too, oldest first."""
        own(who, customer_id)

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            rows = [one for one in customers.evidence_of(db, customer_id) if one.id > after]
            return cut(
                rows[: count + 1],
                count,
                lambda one: shapes.Evidence.of(one).body(),
                lambda one: one.id,
            )

        return read(desk, work)

    @found.post("/v1/customers/{customer_id}/bureau", **changes(shapes.Bureau))
    def report_bureau(
        customer_id: Pseudonym, asked: shapes.BureauAsked, who: Operator, request: Request
    ) -> Response:
        """Take what a credit bureau tells of a customer."""

        def work(db: Connection, now: datetime) -> Outcome:
            made = customers.report_bureau(desk, db, asked.request(customer_id, who.name), now)
            return Outcome(shapes.Bureau.of(made).body())

        return act(request, who, desk, work)


def _erasure(found: APIRouter, desk: Desk) -> None:
    @found.delete("/v1/customers/{customer_id}", **changes(shapes.Erased, status=200))
    def erase_customer(customer_id: Pseudonym, who: Eraser, request: Request) -> Response:
        """Delete a customer's data, once nothing is owed; the decision log still verifies."""

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, customer_id)
            done = customers.erase_customer(desk, db, customer_id, who.name, now)
            return Outcome(shapes.Erased.of(done).body())

        return act(request, who, desk, work, status=200)
