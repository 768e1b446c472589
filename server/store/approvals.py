"""Four eyes: what one person proposes, another approves, and it is used once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.store.ids import name, utc
from server.store.tables import APPROVALS
from server.store.whole import whole
from shared.errors import Conflict, FourEyes, NotFound, UsageError

_A: Final = APPROVALS.c


@dataclass(frozen=True, slots=True)
class Approval:
    """A proposal and what became of it.

    Parameters
    ----------
    id : str
    kind : str
        What is to be done: `policy`, `macro`, `override`, ...
    subject : str
        To what.
    payload : mapping
        Exactly what was proposed, and so exactly what is approved.
    state : str
        `proposed`, `approved`, `rejected` or `used`.
    proposer, approver : str
        As ``officer:ada``; never the same person.
    reason, answer : str
    created_at, expires_at, decided_at, used_at : datetime
        UTC.
    """

    id: str
    kind: str
    subject: str
    payload: Mapping[str, Any]
    state: str
    proposer: str
    approver: str | None
    reason: str
    answer: str | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be approved; see `Approval` for the fields."""

    id: str
    kind: str
    subject: str
    payload: Mapping[str, Any]
    proposer: str
    reason: str


@whole
def propose(db: Connection, proposal: Proposal, expires_at: datetime, at: datetime) -> Approval:
    """Put a change before another person.

    Raises
    ------
    UsageError
        If a name is malformed, the reason is empty, or it would be over before it began.
    Conflict
        With check `id`, if the id was used.
    """
    for field in ("id", "kind", "subject", "proposer"):
        name(getattr(proposal, field), field)
    if not proposal.reason.strip():
        raise UsageError("a proposal needs a reason")
    if utc(expires_at) <= utc(at):
        raise UsageError("a proposal must expire after it is made")
    if db.execute(sa.select(_A.id).where(_A.id == proposal.id)).first() is not None:
        raise Conflict("the id was used for another proposal", check="id")
    row = {field: getattr(proposal, field) for field in Proposal.__slots__}
    row |= {"state": "proposed", "created_at": utc(at), "expires_at": utc(expires_at)}
    db.execute(sa.insert(APPROVALS), row)
    return get_approval(db, proposal.id)


@whole
def decide(
    db: Connection, approval_id: str, approver: str, at: datetime, *, approve: bool, answer: str
) -> Approval:
    """Approve or reject a proposal.

    Raises
    ------
    NotFound
    FourEyes
        If the approver is its proposer, in whatever role.
    Conflict
        With check `approval`, if it was decided before or is too old.
    """
    found = get_approval(db, approval_id, lock=True)
    if person(found.proposer) == person(name(approver, "approver")):
        raise FourEyes(f"{found.kind} {found.subject}: its proposer cannot approve it")
    _check(found, "proposed", at)
    values = {
        "state": "approved" if approve else "rejected",
        "approver": approver,
        "answer": answer,
        "decided_at": utc(at),
    }
    db.execute(sa.update(APPROVALS).where(_A.id == approval_id).values(**values))
    return get_approval(db, approval_id)


@whole
def use(db: Connection, approval_id: str, kind: str, subject: str, at: datetime) -> Approval:
    """Use an approval, once, in the transaction of what it allows.

    Raises
    ------
    NotFound
        If there is none, or it is for something else.
    Conflict
        With check `approval`, if it is not approved, was used before, or is too old.
    """
    found = get_approval(db, approval_id, lock=True)
    if (found.kind, found.subject) != (kind, subject):
        raise NotFound("there is no approval of that id for this")
    _check(found, "approved", at)
    values = {"state": "used", "used_at": utc(at)}
    db.execute(sa.update(APPROVALS).where(_A.id == approval_id).values(**values))
    return get_approval(db, approval_id)


def get_approval(db: Connection, approval_id: str, *, lock: bool = False) -> Approval:
    """Return a proposal; `lock` keeps others from deciding it before this transaction ends.

    Raises
    ------
    NotFound
    """
    query = sa.select(APPROVALS).where(_A.id == approval_id)
    row = db.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound("there is no proposal of that id")
    return Approval(**row)


def approvals_in(
    db: Connection, state: str, *, after: str = "", count: int = 100
) -> list[Approval]:
    """Return proposals in a state, in order of their ids, from the first behind `after`."""
    query = sa.select(APPROVALS).where(_A.state == state, _A.id > after)
    return [Approval(**row) for row in db.execute(query.order_by(_A.id).limit(count)).mappings()]


def waiting(
    db: Connection, kinds: Collection[str], at: datetime, count: int = 100
) -> list[Approval]:
    """Return proposals of some kinds that can still be answered, oldest first."""
    query = sa.select(APPROVALS).where(
        _A.state == "proposed", _A.kind.in_(kinds), _A.expires_at > utc(at)
    )
    return [Approval(**row) for row in db.execute(query.order_by(_A.id).limit(count)).mappings()]


@whole
def forget_words(db: Connection, subjects: Collection[str]) -> int:
    """Blank what people wrote in proposals about some subjects; who agreed to what stays."""
    mine = _A.subject.in_(list(subjects))
    answer = sa.case((_A.answer.is_(None), None), else_="")
    return db.execute(sa.update(APPROVALS).where(mine).values(reason="", answer=answer)).rowcount


def person(who: str) -> str:
    """Return who somebody is, whatever the role: ``ada`` of ``officer:ada``."""
    return who.rpartition(":")[2]


def _check(found: Approval, state: str, at: datetime) -> None:
    if found.state != state:
        raise Conflict(f"the proposal is {found.state}, not {state}", check="approval")
    if found.expires_at <= utc(at):
        raise Conflict("the proposal has expired", check="approval", hint="propose it again")
