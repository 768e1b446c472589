"""Decisions on lines: asked for, read, overridden."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request, Response
from sqlalchemy import Connection

from server.accounts import four_eyes, reviewing
from server.accounts.desk import Desk
from server.accounts.four_eyes import OverrideAsked
from server.api.access import Caller, Role, caller, own_line
from server.api.acts import Outcome, act, if_match, read
from server.api.pages import USUAL, Count, Page, cut
from server.api.routes.base import (
    AfterNumber,
    DecisionId,
    LineId,
    Officer,
    Reader,
    changes,
    decision_of,
    link,
    looks,
    router,
)
from server.api.shapes import decisions as shapes
from server.store import decisions
from shared.errors import NotFound, Refused

# Each is kept for ever, with a record that says all about the score.
Asker = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER, often="limit")]
Wanted = Annotated[shapes.DecisionAsked, Body()]
MAY: Final = {
    Role.CUSTOMER: frozenset(
        {
            "review",
            "increase",
            "restore",
            "self_lower",
            "accept_offer",
            "decline_offer",
            "close",
        }
    ),
    Role.OFFICER: frozenset(
        {
            "review",
            "increase",
            "restore",
            "temporary",
            "freeze_fraud",
            "freeze_purpose",
            "release",
            "close",
        }
    ),
}
"""Which decisions a role may ask for; an offer is the customer's alone to take."""
_DECISION = (
    link("decision", decision_id="decision_id"),
    link("override", decision_id="decision_id"),
)


def routes(desk: Desk) -> APIRouter:
    """Return the routes of decisions, over a desk."""
    found = router("decisions")
    _made(found, desk)
    _shown(found, desk)
    _overridden(found, desk)
    return found


def _made(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/lines/{line_id}/decisions", **changes(shapes.LimitDecision, *_DECISION, etag=True)
    )
    def decide(line_id: LineId, asked: Wanted, who: Asker, request: Request) -> Response:
        """Have a line decided on; `If-Match` names the version that it is to be decided from."""
        _check_purpose(who, asked.purpose)

        def work(db: Connection, now: datetime) -> Outcome:
            own_line(db, who, line_id)
            made = reviewing.decide_line(
                desk,
                db,
                line_id,
                asked.purpose,
                now,
                who.name,
                limit_minor=getattr(asked, "limit_minor", None),
                until=getattr(asked, "until", None),
                expected_version=if_match(request),
                note=asked.note or "",
            )
            body = shapes.LimitDecision.of(made).body()
            version = made.line.version if made.line else None
            return Outcome(body, etag=version, location=f"/v1/decisions/{made.decision.id}")

        return act(request, who, desk, work)


def _shown(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/lines/{line_id}/decisions", **looks(Page[shapes.Header]))
    def decisions_of_line(
        line_id: LineId, who: Reader, after: AfterNumber = 0, count: Count = USUAL
    ) -> Response:
        """List the decisions on a line, oldest first."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            own_line(db, who, line_id)
            rows = decisions.chain_of(db, line_id, after=after, count=count + 1)
            return cut(
                rows, count, lambda one: shapes.Header.of(one).body(), lambda one: one.number
            )

        return read(desk, work)

    @found.get("/v1/decisions/{decision_id}", **looks(shapes.FullDecision))
    def decision(decision_id: DecisionId, who: Reader) -> Response:
        """Give a decision with its record, from which it can be made again bit for bit."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            kept, _customer = decision_of(db, who, decision_id)
            try:
                record = reviewing.read_decision(desk, db, decision_id).record.to_mapping()
            except NotFound:
                record = None
            return shapes.FullDecision(decision=shapes.Header.of(kept), record=record).body()

        return read(desk, work)


def _overridden(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/decisions/{decision_id}/override",
        **changes(
            shapes.Approval,
            link("approve", approval_id="approval_id"),
            link("reject", approval_id="approval_id"),
            status=202,
        ),
    )
    def override(
        decision_id: DecisionId, asked: shapes.OverrideAsked, who: Officer, request: Request
    ) -> Response:
        """Propose another limit than the one that was decided; another person must approve it."""

        def work(db: Connection, now: datetime) -> Outcome:
            decision_of(db, who, decision_id)
            wanted = OverrideAsked(decision_id, asked.limit_minor, asked.reason, asked.note)
            made = four_eyes.propose_override(db, wanted, who.name, now)
            return Outcome(shapes.Approval.of(made).body())

        return act(request, who, desk, work, status=202)


def _check_purpose(who: Caller, purpose: str) -> None:
    if purpose not in MAY[who.role]:
        raise Refused(f"the role {who.role} may not ask for {purpose}")
