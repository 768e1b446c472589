"""Credit lines: the row that every draw is decided on, its versions, and their events.

What a line means (its windows, counters, reviews) is the caller's, an opaque mapping here. The
store keeps what money needs: the limit in force, whether draws are open, and the totals. Every
change of a row raises its version by one and adds one event of that version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from server.store import funds
from server.store.ids import currency, minor, name, utc
from server.store.tables import LINE_EVENTS, LINES, Instant
from server.store.whole import whole
from shared.errors import Conflict, NotFound

_L: Final = LINES.c
_TOTALS: Final = (_L.version, _L.limit_minor, _L.outstanding_minor, _L.held_minor, _L.changed_at)
_AT: Final = bindparam("p_at", type_=Instant)
# Of the parameter `p_at`: a clock that went back must not let events run backward.
LATER: Final = sa.case((_L.changed_at > _AT, _L.changed_at), else_=_AT)
MOVE: Final = (
    sa.update(LINES)
    .where(_L.id == bindparam("p_line"))
    .values(
        outstanding_minor=_L.outstanding_minor + bindparam("p_outstanding", type_=sa.BigInteger),
        held_minor=_L.held_minor + bindparam("p_held", type_=sa.BigInteger),
        version=_L.version + 1,
        changed_at=LATER,
    )
    .returning(*_TOTALS)
)
# The whole decision of a draw: one conditional update of one row.
TAKE: Final = MOVE.where(
    _L.may_draw,
    _L.currency == bindparam("p_currency"),
    _L.limit_minor - _L.outstanding_minor - _L.held_minor
    >= bindparam("p_amount", type_=sa.BigInteger),
)
_ADD_EVENT: Final = sa.insert(LINE_EVENTS)
_GET: Final = sa.select(LINES).where(_L.id == bindparam("p_line"))
_LOCK: Final = _GET.with_for_update()
_HEAD: Final = sa.select(_L.customer_id, _L.version).where(_L.id == bindparam("p_line"))
_LOCK_HEAD: Final = _HEAD.with_for_update()


@dataclass(frozen=True, slots=True)
class Totals:
    """The money of a line at one version, minor units.

    Parameters
    ----------
    version : int
    limit_minor, outstanding_minor, held_minor : int
        The limit in force, principal drawn and not repaid, and pending holds.
    changed_at : datetime
        UTC; of this version.
    """

    version: int
    limit_minor: int
    outstanding_minor: int
    held_minor: int
    changed_at: datetime

    @property
    def available_minor(self) -> int:
        """What the limit leaves, never below 0; whether draws are open is another question."""
        return max(0, self.limit_minor - self.outstanding_minor - self.held_minor)


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line as it is kept.

    Parameters
    ----------
    id, customer_id, product, currency, budget_id : str
        `budget_id` names the fund that the limit is committed from, if any.
    state : str
        As the caller names it.
    may_draw : bool
        Whether the state lets holds and draws through.
    totals : Totals
    domain : mapping
        The caller's own.
    policy_ref, model_ref : str
        What the last change of state or limit was decided under.
    opened_at, closed_at : datetime
        UTC.
    """

    id: str
    customer_id: str
    product: str
    currency: str
    budget_id: str | None
    state: str
    may_draw: bool
    totals: Totals
    domain: Mapping[str, Any]
    policy_ref: str
    model_ref: str
    opened_at: datetime
    closed_at: datetime | None

    @property
    def version(self) -> int:
        """The version: an ETag."""
        return self.totals.version

    @property
    def available_minor(self) -> int:
        """What can be drawn now as far as the line itself goes, minor units."""
        return self.totals.available_minor if self.may_draw else 0


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line to be opened; see `StoredLine` for the fields.

    `ref` is the decision that opens it.
    """

    id: str
    customer_id: str
    product: str
    currency: str
    state: str
    may_draw: bool
    limit_minor: int
    domain: Mapping[str, Any]
    policy_ref: str
    model_ref: str
    ref: str
    budget_id: str | None = None


@whole
def open_line(db: Connection, line: NewLine, at: datetime) -> StoredLine:
    """Open a line, version 1; its limit is committed from its budget, if it has one.

    Raises
    ------
    UsageError
        If an id, the currency or the limit is malformed.
    Conflict
        With check `id` if the customer has an open line of that product, or the id is taken;
        `fund` if the budget does not reach.
    """
    minor(line.limit_minor, "limit_minor", least=0)
    row = {
        "id": name(line.id, "line_id"),
        "customer_id": name(line.customer_id, "customer_id"),
        "product": name(line.product, "product"),
        "currency": currency(line.currency),
        "budget_id": line.budget_id,
        "state": name(line.state, "state"),
        "may_draw": line.may_draw,
        "limit_minor": line.limit_minor,
        "outstanding_minor": 0,
        "held_minor": 0,
        "domain": line.domain,
        "version": 1,
        "policy_ref": line.policy_ref,
        "model_ref": line.model_ref,
        "opened_at": utc(at),
        "changed_at": utc(at),
    }
    taken = sa.or_(
        _L.id == line.id,
        sa.and_(
            _L.customer_id == line.customer_id, _L.product == line.product, _L.closed_at.is_(None)
        ),
    )
    if db.execute(sa.select(_L.id).where(taken)).first() is not None:
        raise Conflict("there is an open line of that product, or of that id", check="id")
    if line.budget_id is not None:
        funds.move(db, {line.budget_id: line.limit_minor}, at)
    db.execute(sa.insert(LINES), row)
    totals = Totals(1, line.limit_minor, 0, 0, utc(at))
    add_event(db, line.id, "opened", totals, ref=line.ref, change=line)
    return get_line(db, line.id)


def get_line(db: Connection, line_id: str, *, lock: bool = False) -> StoredLine:
    """Return a line.

    Parameters
    ----------
    db : Connection
    line_id : str
    lock : bool
        Whether nobody else may change its row before this transaction ends.

    Raises
    ------
    NotFound
    """
    row = db.execute(_LOCK if lock else _GET, {"p_line": line_id}).mappings().first()
    if row is None:
        raise NotFound("there is no line of that id")
    return read(row)


def head_of(db: Connection, line_id: str, *, lock: bool = False) -> tuple[str, int]:
    """Return whose a line is, and its version; see `get_line`.

    Raises
    ------
    NotFound
    """
    row = db.execute(_LOCK_HEAD if lock else _HEAD, {"p_line": line_id}).first()
    if row is None:
        raise NotFound("there is no line of that id")
    customer_id, version = row
    return customer_id, version


def lines_of(db: Connection, customer_id: str) -> list[StoredLine]:
    """Return a customer's lines, closed ones too, in order of their ids."""
    query = sa.select(LINES).where(_L.customer_id == customer_id).order_by(_L.id)
    return [read(row) for row in db.execute(query).mappings()]


def page_of_lines(
    db: Connection, *, after: str = "", count: int = 100, closed: bool = False
) -> list[StoredLine]:
    """Return lines in order of their ids, from the first behind `after`; closed ones if asked."""
    query = sa.select(LINES).where(_L.id > after)
    query = query if closed else query.where(_L.closed_at.is_(None))
    return [read(row) for row in db.execute(query.order_by(_L.id).limit(count)).mappings()]


def add_event(
    db: Connection,
    line_id: str,
    kind: str,
    totals: Totals,
    *,
    ref: str,
    outstanding: int = 0,
    held: int = 0,
    change: NewLine | None = None,
) -> None:
    """Add the event of a version that a line's row has just been given.

    Parameters
    ----------
    db : Connection
    line_id, kind : str
    totals : Totals
        As the update returned them.
    ref : str
        The hold, drawdown, repayment or decision behind it.
    outstanding, held : int
        By how much the totals changed, minor units.
    change : NewLine, optional
        What the line was opened with.
    """
    row = {
        "line_id": line_id,
        "version": totals.version,
        "kind": kind,
        "outstanding_delta": outstanding,
        "held_delta": held,
        "limit_minor": totals.limit_minor,
        "ref": ref,
        "state": change.state if change else None,
        "may_draw": change.may_draw if change else None,
        "domain": change.domain if change else None,
        "at": totals.changed_at,
    }
    db.execute(_ADD_EVENT, row)


def moved(row: Sequence[Any]) -> Totals:
    """Return the totals that an update of `MOVE` or `TAKE` returned."""
    version, limit, outstanding, held, changed_at = row
    return Totals(version, limit, outstanding, held, changed_at)


def read(row: sa.RowMapping) -> StoredLine:
    """Return the line of a row of the table."""
    fields = dict(row)
    totals = Totals(
        version=fields.pop("version"),
        limit_minor=fields.pop("limit_minor"),
        outstanding_minor=fields.pop("outstanding_minor"),
        held_minor=fields.pop("held_minor"),
        changed_at=fields.pop("changed_at"),
    )
    return StoredLine(totals=totals, **fields)
