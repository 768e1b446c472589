"""Holds: money set aside on a line until it is drawn, given back, or its time is over.

The semantics are those of TigerBeetle's two-phase transfers: a pending hold is posted, voided or
expired, once; an id is used once, and the same request with the same id finds what it did before.

A hold is decided by one conditional update of the line's row: what is available is compared in the
statement that takes it, so there is no moment between check and act. Every other change locks the
line's row first: that row is always there, and always the first lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from server.store.ids import currency, minor, name, utc
from server.store.lines import MOVE, TAKE, Totals, add_event, get_line, moved
from server.store.tables import HOLDS, LINES, Row
from server.store.whole import whole
from shared.errors import Conflict, NotFound, UsageError

PENDING: Final = "pending"
_H: Final = HOLDS.c
_ADD: Final = sa.insert(HOLDS)
_TAKE: Final = TAKE.where(~sa.exists().where(_H.id == bindparam("p_hold")))


@dataclass(frozen=True, slots=True)
class Hold:
    """Money set aside.

    Parameters
    ----------
    id, line_id : str
    amount_minor : int
    purpose : str
    state : str
        `pending`, `posted`, `voided` or `expired`.
    created_at, expires_at, resolved_at : datetime
        UTC.
    """

    id: str
    line_id: str
    amount_minor: int
    purpose: str
    state: str
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """What a hold is asked for; `id` is the caller's and is used once. See `Hold`."""

    id: str
    line_id: str
    amount_minor: int
    currency: str
    purpose: str

    def __post_init__(self) -> None:
        """Refuse a malformed request."""
        name(self.id, "hold_id")
        name(self.line_id, "line_id")
        name(self.purpose, "purpose")
        currency(self.currency)
        minor(self.amount_minor, "amount_minor")


@whole
def hold(db: Connection, asked: HoldRequest, expires_at: datetime, at: datetime) -> Hold:
    """Set money aside on a line; the same request again finds the hold it made.

    Raises
    ------
    UsageError
        If the hold would be over before it began.
    NotFound
        If there is no such line.
    Conflict
        With check `available`, `state`, `currency`, or `id` if the id was another hold's.
    """
    if utc(expires_at) <= utc(at):
        raise UsageError("a hold must expire after it begins")
    totals = take(db, asked, at, outstanding=0, held=asked.amount_minor)
    if totals is None:
        return _same(get_hold(db, asked.id), asked)
    made = insert(db, asked, PENDING, totals, expires_at=utc(expires_at))
    held = asked.amount_minor
    add_event(db, asked.line_id, "held", totals, ref=asked.id, held=held)
    return made


@whole
def void(db: Connection, hold_id: str, at: datetime) -> Hold:
    """Give a pending hold back; voiding it again changes nothing.

    Raises
    ------
    NotFound
    Conflict
        With check `hold`, if it was posted or has expired.
    """
    line_id = lock_line_of(db, hold_id)
    found = get_hold(db, hold_id)
    if found.state != "voided":
        _give_back(db, line_id, [resolve(db, hold_id, "voided", at)], at)
    return get_hold(db, hold_id)


@whole
def expire(db: Connection, line_id: str, at: datetime) -> int:
    """Give back the holds of a line whose time is over; return how many there were.

    Raises
    ------
    NotFound
    """
    get_line(db, line_id, lock=True)
    over = (_H.line_id == line_id, _H.state == PENDING, _H.expires_at <= utc(at))
    query = sa.update(HOLDS).where(*over).values(state="expired", resolved_at=utc(at))
    ended = [_hold(row) for row in db.execute(query.returning(HOLDS)).mappings()]
    _give_back(db, line_id, sorted(ended, key=lambda one: one.id), at)
    return len(ended)


def lines_with_expired(db: Connection, at: datetime, *, count: int = 100) -> list[str]:
    """Return lines that `expire` has something to do for, those whose holds ended first."""
    query = (
        sa.select(_H.line_id)
        .where(_H.state == sa.literal_column("'pending'"), _H.expires_at <= utc(at))  # its index
        .group_by(_H.line_id)
        .order_by(sa.func.min(_H.expires_at))
    )
    return list(db.execute(query.limit(count)).scalars())


def get_hold(db: Connection, hold_id: str) -> Hold:
    """Return a hold.

    Raises
    ------
    NotFound
    """
    row = db.execute(sa.select(HOLDS).where(_H.id == hold_id)).mappings().first()
    if row is None:
        raise NotFound("there is no hold of that id")
    return _hold(row)


def holds_of(db: Connection, line_id: str, *, after: str = "", count: int = 100) -> list[Hold]:
    """Return a line's holds in order of their ids, from the first behind `after`."""
    query = sa.select(HOLDS).where(_H.line_id == line_id, _H.id > after)
    return [_hold(row) for row in db.execute(query.order_by(_H.id).limit(count)).mappings()]


def take(
    db: Connection, asked: HoldRequest, at: datetime, *, outstanding: int, held: int
) -> Totals | None:
    """Move a line's totals if what is asked for is available; return None if the id was used.

    Parameters
    ----------
    db : Connection
    asked : HoldRequest
    at : datetime
    outstanding, held : int
        What the totals grow by, minor units.

    Raises
    ------
    NotFound, Conflict
        See `hold`.
    """
    values: Row = {
        "p_line": asked.line_id,
        "p_hold": asked.id,
        "p_amount": asked.amount_minor,
        "p_currency": asked.currency,
        "p_outstanding": outstanding,
        "p_held": held,
        "p_at": utc(at),
    }
    row = db.execute(_TAKE, values).first()
    if row is None:
        if db.execute(sa.select(_H.id).where(_H.id == asked.id)).first() is not None:
            return None
        # Money of holds that nobody swept yet is available too.
        if expire(db, asked.line_id, at):
            row = db.execute(_TAKE, values).first()
        if row is None:
            _refuse(db, asked)
    return moved(row)


def insert(
    db: Connection, asked: HoldRequest, state: str, totals: Totals, *, expires_at: datetime
) -> Hold:
    """Add a hold's row, for money that `take` has moved."""
    made = Hold(
        id=asked.id,
        line_id=asked.line_id,
        amount_minor=asked.amount_minor,
        purpose=asked.purpose,
        state=state,
        created_at=totals.changed_at,
        expires_at=expires_at,
        resolved_at=None if state == PENDING else totals.changed_at,
    )
    row = {field: getattr(made, field) for field in Hold.__slots__}
    db.execute(_ADD, row)
    return made


def lock_line_of(db: Connection, hold_id: str) -> str:
    """Lock the row of a hold's line and return the line's id.

    Raises
    ------
    NotFound
    """
    query = sa.select(LINES.c.id).join(HOLDS, _H.line_id == LINES.c.id).where(_H.id == hold_id)
    line_id = db.execute(query.with_for_update(of=LINES)).scalar()
    if line_id is None:
        raise NotFound("there is no hold of that id")
    return str(line_id)


def resolve(db: Connection, hold_id: str, state: str, at: datetime) -> Hold:
    """End a pending hold whose time is not over; its line is locked.

    Raises
    ------
    Conflict
        With check `hold`, by the name of what it is now.
    """
    query = sa.update(HOLDS).where(_H.id == hold_id, _H.state == PENDING, _H.expires_at > utc(at))
    changed = query.values(state=state, resolved_at=utc(at)).returning(HOLDS)
    row = db.execute(changed).mappings().first()
    if row is None:
        now = get_hold(db, hold_id).state
        raise Conflict(f"the hold is {'expired' if now == PENDING else now}", check="hold")
    return _hold(row)


def _give_back(db: Connection, line_id: str, ended: Sequence[Hold], at: datetime) -> None:
    for one in ended:
        values = {
            "p_line": line_id,
            "p_outstanding": 0,
            "p_held": -one.amount_minor,
            "p_at": utc(at),
        }
        totals = moved(db.execute(MOVE, values).one())
        add_event(db, line_id, one.state, totals, ref=one.id, held=-one.amount_minor)


def _same(found: Hold, asked: HoldRequest) -> Hold:
    before = (found.line_id, found.amount_minor, found.purpose)
    if before != (asked.line_id, asked.amount_minor, asked.purpose):
        raise Conflict("the id was used for another hold", check="id")
    return found


def _refuse(db: Connection, asked: HoldRequest) -> NoReturn:
    line = get_line(db, asked.line_id)
    if line.currency != asked.currency:
        raise Conflict(f"the line is in {line.currency}", check="currency")
    if not line.may_draw:
        raise Conflict(f"the line is {line.state}: no draws", check="state")
    raise Conflict("more than is available", check="available")


def _hold(row: sa.RowMapping) -> Hold:
    return Hold(**row)
