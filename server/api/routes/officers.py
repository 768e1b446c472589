"""Four eyes: what one person proposed, another approves or rejects; and the pause of increases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import four_eyes, pausing
from server.accounts.desk import Desk
from server.accounts.keeping import Decided
from server.api.access import Caller, Role, caller
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    WATCHERS,
    ApprovalId,
    Operator,
    changes,
    link,
    looks,
    router,
)
from server.api.shapes import decisions as shapes
from server.api.shapes.partners import Pause, SwitchAsked
from server.store import approvals
from shared.errors import Refused

Approver = Annotated[Caller, caller(Role.OFFICER, Role.OPERATOR)]
State = Annotated[
    Literal["proposed", "approved", "rejected", "used"], Query(description="Only in this state")
]
_ANSWERS: Final = (
    link("approve", approval_id="approval_id"),
    link("reject", approval_id="approval_id"),
)


def routes(desk: Desk) -> APIRouter:
    """Return the routes of officers, over a desk."""
    found = router("officers")
    _answers(found, desk)
    _listed(found, desk)
    _switches(found, desk)
    return found


def _answers(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/approvals/{approval_id}/approve", **changes(shapes.Answered, status=200))
    def approve(
        approval_id: ApprovalId, asked: shapes.AnswerAsked, who: Approver, request: Request
    ) -> Response:
        """Approve what another proposed: it is done at once, or nothing is."""

        def work(db: Connection, now: datetime) -> Outcome:
            _check_proposed(db, who, approval_id)
            made = four_eyes.approve(desk, db, approval_id, who.name, asked.note, now)
            return _answered(db, approval_id, made)

        return act(request, who, desk, work, status=200)

    @found.post("/v1/approvals/{approval_id}/reject", **changes(shapes.Answered, status=200))
    def reject(
        approval_id: ApprovalId, asked: shapes.AnswerAsked, who: Approver, request: Request
    ) -> Response:
        """Reject what another proposed."""

        def work(db: Connection, now: datetime) -> Outcome:
            _check_proposed(db, who, approval_id)
            four_eyes.reject(db, approval_id, who.name, asked.note, now)
            return _answered(db, approval_id, None)

        return act(request, who, desk, work, status=200)


def _listed(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/approvals", **looks(Page[shapes.Approval]), dependencies=WATCHERS)
    def approvals_listed(
        state: State = "proposed", after: After = "", count: Count = USUAL
    ) -> Response:
        """List proposals in a state, in order of their ids."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            rows = approvals.approvals_in(db, state, after=after, count=count + 1)
            return cut(rows, count, lambda one: shapes.Approval.of(one).body(), lambda one: one.id)

        return read(desk, work)


def _switches(found: APIRouter, desk: Desk) -> None:
    @found.post(
        "/v1/switches/increases",
        **changes(Pause, status=200, also={202: shapes.Approval}),
    )
    def switch_increases(asked: SwitchAsked, who: Operator, request: Request) -> Response:
        """Pause all increases at once; to let them go on is a proposal to another person (202)."""

        def work(db: Connection, now: datetime) -> Outcome:
            if asked.paused:
                made = pausing.set_pause(db, True, who.name, asked.reason, now)
                return Outcome(Pause.of(made).body())
            proposal = pausing.propose_resume(db, who.name, asked.reason, now)
            return Outcome(shapes.Approval.of(proposal).body(), status=202)

        return act(request, who, desk, work, status=200)

    @found.get("/v1/switches/increases", **looks(Pause), dependencies=WATCHERS)
    def increases() -> Response:
        """Say whether increases are paused, and since when."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            return Pause.of(pausing.paused(db)).body()

        return read(desk, work)


def _check_proposed(db: Connection, who: Caller, approval_id: str) -> None:
    """Check that there is a proposal, and that a caller may answer it; lock it.

    Raises
    ------
    NotFound
    Refused
        If it is about a line, and the caller is no officer.
    """
    found = approvals.get_approval(db, approval_id, lock=True)
    if found.kind == four_eyes.OVERRIDE and who.role is not Role.OFFICER:
        raise Refused(f"the role {who.role} may not answer an override")


def _answered(db: Connection, approval_id: str, made: Decided | None) -> Outcome:
    told = shapes.Answered(
        approval=shapes.Approval.of(approvals.get_approval(db, approval_id)),
        decision=shapes.LimitDecision.of(made) if made else None,
    )
    return Outcome(told.body())
