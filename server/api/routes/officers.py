"""Four eyes: what one person proposed, another approves or rejects; and the pause of increases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import activating, pausing, reviewing
from server.accounts.desk import Desk
from server.accounts.reviewing import Decided
from server.api.access import Caller, Role, caller
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import (
    WATCHERS,
    ApprovalId,
    Operator,
    changes,
    check_newest,
    link,
    looks,
    router,
)
from server.api.shapes import decisions as shapes
from server.api.shapes.partners import Pause, SwitchAsked
from server.store import approvals, decisions
from server.store.approvals import Approval
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
            found = _proposed(db, who, approval_id)
            made = _APPROVE.get(found.kind, _only_decide)(desk, db, found, who, asked.note, now)
            return _answered(db, approval_id, made)

        return act(request, who, desk, work, status=200)

    @found.post("/v1/approvals/{approval_id}/reject", **changes(shapes.Answered, status=200))
    def reject(
        approval_id: ApprovalId, asked: shapes.AnswerAsked, who: Approver, request: Request
    ) -> Response:
        """Reject what another proposed."""

        def work(db: Connection, now: datetime) -> Outcome:
            _proposed(db, who, approval_id)
            approvals.decide(db, approval_id, who.name, now, approve=False, answer=asked.note)
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


def _proposed(db: Connection, who: Caller, approval_id: str) -> Approval:
    """Return a proposal that a caller may answer, locked.

    Raises
    ------
    NotFound
    Refused
        If it is about a line, and the caller is no officer.
    """
    found = approvals.get_approval(db, approval_id, lock=True)
    if found.kind == "override" and who.role is not Role.OFFICER:
        raise Refused(f"the role {who.role} may not answer an override")
    return found


def _override(
    desk: Desk, db: Connection, found: Approval, who: Caller, note: str, now: datetime
) -> Decided:
    approvals.decide(db, found.id, who.name, now, approve=True, answer=note)
    check_newest(db, decisions.get_decision(db, found.payload["decision_id"]))
    return reviewing.decide_line(
        desk,
        db,
        found.subject,
        "override",
        now,
        who.name,
        limit_minor=found.payload["limit_minor"],
        note=found.payload["reason"],
        approval_id=found.id,
    )


def _pause(
    desk: Desk, db: Connection, found: Approval, who: Caller, note: str, now: datetime
) -> None:
    del desk
    approvals.decide(db, found.id, who.name, now, approve=True, answer=note)
    pausing.apply_pause(db, found.id, now)


def _rules(
    desk: Desk, db: Connection, found: Approval, who: Caller, note: str, now: datetime
) -> None:
    grades = desk.scores.grades()
    terms = activating.Terms(desk.today(now), desk.book.opening.sources, grades)
    activating.approve(db, found.id, who.name, note, terms, now)


def _only_decide(
    desk: Desk, db: Connection, found: Approval, who: Caller, note: str, now: datetime
) -> None:
    del desk
    approvals.decide(db, found.id, who.name, now, approve=True, answer=note)


_Approve = Callable[[Desk, Connection, Approval, Caller, str, datetime], Decided | None]
_APPROVE: Final[Mapping[str, _Approve]] = {
    "override": _override,
    "pause": _pause,
    activating.APPROVAL: _rules,
}
"""What becomes of an approved proposal, by its kind."""


def _answered(db: Connection, approval_id: str, made: Decided | None) -> Outcome:
    told = shapes.Answered(
        approval=shapes.Approval.of(approvals.get_approval(db, approval_id)),
        decision=shapes.LimitDecision.of(made) if made else None,
    )
    return Outcome(told.body())
