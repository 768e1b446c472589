"""Four eyes on a line, on increases and on rules: what one proposes, another approves or rejects.

Both the API and the pages come here, so that nothing is approved in one way there and in another
way here. Who may answer what is theirs to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from server.accounts import activating, pausing, reviewing
from server.accounts.desk import Desk
from server.accounts.keeping import Decided
from server.store import approvals, decisions
from server.store.approvals import Approval, Proposal
from server.store.decisions import StoredDecision
from server.store.ids import minor, name, new_id
from server.store.lines import get_line
from shared.errors import Conflict

LIFE: Final = timedelta(days=7)
"""For how long an override waits for the second person."""
OVERRIDE: Final = "override"
"""Kind of a proposal of another limit."""


@dataclass(frozen=True, slots=True)
class OverrideAsked:
    """Another limit than the one that was decided.

    Parameters
    ----------
    decision_id : str
        The newest one of its line.
    limit_minor : int
        0 or more.
    reason : str
        Its code, for the override log.
    note : str
        Why, in words.
    """

    decision_id: str
    limit_minor: int
    reason: str
    note: str


def propose_override(db: Connection, asked: OverrideAsked, by: str, now: datetime) -> Approval:
    """Propose another limit than the one that was decided; another person must approve it.

    Raises
    ------
    NotFound
        If there is no such decision, or it opened no line: that can only be applied for again.
    UsageError
        If an amount or a code is none, or the note is empty.
    Conflict
        With check `version`, if the line was decided on again since.
    """
    kept = decisions.get_decision(db, asked.decision_id)
    get_line(db, kept.chain)
    check_newest(db, kept)
    payload = {
        "decision_id": kept.id,
        "line_id": kept.chain,
        "limit_minor": minor(asked.limit_minor, "limit_minor", least=0),
        "reason": name(asked.reason, "reason"),
    }
    wanted = Proposal(new_id(now), OVERRIDE, kept.chain, payload, by, asked.note)
    return approvals.propose(db, wanted, now + LIFE, now)


def approve(
    desk: Desk, db: Connection, approval_id: str, by: str, note: str, now: datetime
) -> Decided | None:
    """Approve what another proposed: it is done at once, or nothing is.

    Returns
    -------
    Decided, optional
        Of an override: the decision that it led to.

    Raises
    ------
    NotFound
    FourEyes
        If the approver is its proposer.
    Conflict
        With check `approval`, if it was answered before or is too old; with check `version`, if the
        line was decided on again since; or by what the change itself is refused for.
    ConfigError, Refused
        See `server.accounts.activating.approve` and `server.accounts.reviewing.decide_line`.
    """
    found = approvals.get_approval(db, approval_id, lock=True)
    return _APPROVE.get(found.kind, _only_decide)(desk, db, found, by, note, now)


def reject(db: Connection, approval_id: str, by: str, note: str, now: datetime) -> Approval:
    """Reject what another proposed.

    Raises
    ------
    NotFound, FourEyes, Conflict
    """
    return approvals.decide(db, approval_id, by, now, approve=False, answer=note)


def terms_of(desk: Desk, now: datetime) -> activating.Terms:
    """Return what a change of the rules is checked against."""
    return activating.Terms(desk.today(now), desk.book.opening.sources, desk.scores.grades())


def check_newest(db: Connection, kept: StoredDecision) -> None:
    """Check that nothing was decided on a line since.

    Raises
    ------
    Conflict
        With check `version`.
    """
    if decisions.chain_of(db, kept.chain, after=kept.number, count=1):
        why = "the line was decided on again since"
        raise Conflict(why, check="version", hint="override the newest decision")


def _override(
    desk: Desk, db: Connection, found: Approval, by: str, note: str, now: datetime
) -> Decided:
    approvals.decide(db, found.id, by, now, approve=True, answer=note)
    check_newest(db, decisions.get_decision(db, found.payload["decision_id"]))
    return reviewing.decide_line(
        desk,
        db,
        found.subject,
        OVERRIDE,
        now,
        by,
        limit_minor=found.payload["limit_minor"],
        note=found.payload["reason"],
        approval_id=found.id,
    )


def _pause(desk: Desk, db: Connection, found: Approval, by: str, note: str, now: datetime) -> None:
    del desk
    approvals.decide(db, found.id, by, now, approve=True, answer=note)
    pausing.apply_pause(db, found.id, now)


def _rules(desk: Desk, db: Connection, found: Approval, by: str, note: str, now: datetime) -> None:
    activating.approve(db, found.id, by, note, terms_of(desk, now), now)


def _only_decide(
    desk: Desk, db: Connection, found: Approval, by: str, note: str, now: datetime
) -> None:
    del desk
    approvals.decide(db, found.id, by, now, approve=True, answer=note)


_Approve = Callable[[Desk, Connection, Approval, str, str, datetime], Decided | None]
_APPROVE: Final[Mapping[str, _Approve]] = {
    OVERRIDE: _override,
    "pause": _pause,
    activating.APPROVAL: _rules,
}
"""What becomes of an approved proposal, by its kind."""
