"""Answers: why a limit is low, why it is not back, what if; what customers can take elsewhere."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from server.accounts import answering
from server.accounts.desk import Desk
from server.api.access import Caller, Role, caller, own, own_line
from server.api.acts import read
from server.api.routes.base import (
    Customer,
    CustomerOrOfficer,
    DecisionId,
    LineId,
    Pseudonym,
    Reader,
    decision_of,
    looks,
    router,
)
from server.api.shapes import answers as shapes
from server.api.shapes import carried
from server.api.shapes.common import Language
from server.limits.answers.linkage import Loan

Asker = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER, often="what_if")]
# What a customer's score is made of can be told as often as the score itself, and no oftener.
Looker = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER, Role.REGULATOR, often="score")]
Lang = Annotated[Language, Query(description="Of the sentences")]
Subject = Annotated[
    str,
    Query(
        pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,62}$",
        description="What the reader is to know the customer by; no pseudonym of ours",
        examples=["my-mortgage-2027"],
    ),
]
OfLine = Annotated[
    str,
    Query(
        pattern=r"^([0-9A-Za-z][0-9A-Za-z._:-]{0,63})?$",
        description="Without one, the oldest line",
    ),
]


def routes(desk: Desk) -> APIRouter:
    """Return the routes of answers, over a desk."""
    found = router("answers")
    _explained(found, desk)
    _tried(found, desk)
    _carried(found, desk)
    return found


def _explained(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/decisions/{decision_id}/explain", **looks(shapes.Explained))
    def explain(decision_id: DecisionId, who: Reader, lang: Lang = "zh") -> Response:
        """Explain a decision from its record: what was true then, under the rules of that day."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            decision_of(db, who, decision_id)
            told = answering.explain(desk, db, decision_id, lang)
            return shapes.Explained(**told).body()

        return read(desk, work)

    @found.get("/v1/lines/{line_id}/why", **looks(shapes.Why))
    def why(line_id: LineId, who: Looker, lang: Lang = "zh") -> Response:
        """Answer both questions of today: why the limit is low, and why it is not back yet."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            own_line(db, who, line_id)
            return shapes.Why(**answering.why(desk, db, line_id, lang, now)).body()

        return read(desk, work)


def _tried(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/lines/{line_id}/what-if",
        **looks(shapes.WhatIf, also=(409,)),
        openapi_extra={"x-reads": True},
    )
    def what_if(line_id: LineId, asked: shapes.WhatIfAsked, who: Asker) -> Response:
        """Run the coming reviews with some facts changed: no enquiry, and nothing is kept."""
        wanted = asked.changes.model_dump(exclude_none=True)
        if "utilisation" in wanted:
            wanted["utilisation"] = _exact(wanted["utilisation"])

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            own_line(db, who, line_id)
            told = answering.what_if(desk, db, line_id, wanted, asked.horizon_days, now)
            return shapes.WhatIf(**told).body()

        return read(desk, work)

    @found.post(
        "/v1/linkage", **looks(carried.Linkage, also=(409,)), openapi_extra={"x-reads": True}
    )
    def linkage(asked: carried.LinkageAsked, who: CustomerOrOfficer) -> Response:
        """Say what a line means for a later mortgage or car loan: no enquiry, and not kept."""
        loan = Loan(
            asked.loan.type,
            asked.loan.amount_minor,
            _exact(asked.loan.annual_rate),
            asked.loan.months,
            _exact(asked.loan.most_share),
        )

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            own_line(db, who, asked.line_id)
            told = answering.linkage(desk, db, asked.line_id, loan, asked.lang, now)
            return carried.Linkage(**told).body()

        return read(desk, work)


def _carried(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/customers/{customer_id}/record", **looks(carried.SignedRecord))
    def record(
        customer_id: Pseudonym, who: Customer, subject: Subject, line_id: OfLine = ""
    ) -> Response:
        """Sign how a line was repaid, if a consent to `credit_record` stands.

        The answer is the file itself: its bytes are what the signature holds for.
        """
        own(who, customer_id)
        now = desk.clock()
        with desk.store.read() as db:
            desk.follow(db, now)
            signed = answering.credit_record(
                desk, db, customer_id, now, subject=subject, line_id=line_id
            )
        return Response(signed.to_bytes(), media_type="application/json")

    @found.get("/v1/customers/{customer_id}/data", **looks(carried.DataUsed))
    def data(customer_id: Pseudonym, who: Looker, lang: Lang = "zh") -> Response:
        """Show what of a customer is used, holder by holder, and what is kept."""
        own(who, customer_id)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            told = answering.data_used(desk, db, customer_id, lang, now)
            return carried.DataUsed(**told).body()

        return read(desk, work)


def _exact(number: float) -> Decimal:
    """Return a number with six decimals, as the arithmetic takes it."""
    return Decimal(f"{number:.6f}")
