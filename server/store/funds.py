"""Amounts that many lines share: a partner's room, the budget that limits are committed from.

Like a line, a fund is one row, taken from by one conditional update. Functions that take from
several do so in the order of their names, after the line's row, so that two transactions never wait
for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from server.store.ids import minor, name, utc
from server.store.tables import FUNDS, Instant, Row
from server.store.whole import whole
from shared.errors import Conflict, NotFound

_F: Final = FUNDS.c
_AMOUNT: Final = bindparam("p_amount", type_=sa.BigInteger)
_MOVE: Final = (
    sa.update(FUNDS)
    .where(_F.id == bindparam("p_fund"))
    .values(
        used_minor=_F.used_minor + _AMOUNT,
        version=_F.version + 1,
        changed_at=bindparam("p_at", type_=Instant),
    )
)
_TAKE: Final = _MOVE.where(_F.is_open, _F.cap_minor - _F.used_minor >= _AMOUNT)


@dataclass(frozen=True, slots=True)
class Fund:
    """A partner's room, or a budget.

    Parameters
    ----------
    id : str
    kind : str
        `partner` or `budget`.
    cap_minor, used_minor : int
        Minor units. A cap may be set below what is used; nothing can be taken then.
    is_open : bool
        False once the partner has withdrawn: nothing more is taken, repayments still come in.
    version : int
    """

    id: str
    kind: str
    cap_minor: int
    used_minor: int
    is_open: bool
    version: int

    @property
    def room_minor(self) -> int:
        """What can still be taken, minor units."""
        return max(0, self.cap_minor - self.used_minor) if self.is_open else 0


@whole
def set_fund(
    db: Connection, fund_id: str, *, kind: str, cap_minor: int, is_open: bool, at: datetime
) -> Fund:
    """Open a fund, or give one that is there another cap, or close it.

    Raises
    ------
    UsageError
        If the name or the cap is malformed.
    Conflict
        With check `fund`, if it is there as another kind.
    """
    values: Row = {
        "cap_minor": minor(cap_minor, "cap_minor", least=0),
        "is_open": is_open,
        "changed_at": utc(at),
    }
    name(fund_id, "fund_id")
    same = sa.update(FUNDS).where(_F.id == fund_id, _F.kind == kind)
    if db.execute(same.values(version=_F.version + 1, **values)).rowcount == 0:
        if db.execute(sa.select(_F.id).where(_F.id == fund_id)).first() is not None:
            raise Conflict(f"{fund_id} is a fund of another kind", check="fund")
        fresh = {"id": fund_id, "kind": name(kind, "kind"), "used_minor": 0, "version": 1}
        db.execute(sa.insert(FUNDS), fresh | dict(values))
    return get_fund(db, fund_id)


def get_fund(db: Connection, fund_id: str) -> Fund:
    """Return a fund.

    Raises
    ------
    NotFound
    """
    columns = (_F.id, _F.kind, _F.cap_minor, _F.used_minor, _F.is_open, _F.version)
    row = db.execute(sa.select(*columns).where(_F.id == fund_id)).first()
    if row is None:
        raise NotFound(f"there is no fund {fund_id}")
    return Fund(*row)


def funds_of(db: Connection, kind: str) -> list[Fund]:
    """Return the funds of a kind, in order of their ids."""
    columns = (_F.id, _F.kind, _F.cap_minor, _F.used_minor, _F.is_open, _F.version)
    query = sa.select(*columns).where(_F.kind == kind).order_by(_F.id)
    return [Fund(*row) for row in db.execute(query)]


@whole
def move(db: Connection, amounts: Mapping[str, int], at: datetime) -> None:
    """Take amounts from funds, and give back what is negative; all or none.

    Raises
    ------
    NotFound
    Conflict
        With check `fund` and the fund's name, if one is closed or its room does not reach.
    """
    # A fund that nothing is taken from is not locked: most changes of lines move no limit.
    for fund_id in sorted(one for one, amount in amounts.items() if amount):
        values = {"p_fund": fund_id, "p_amount": amounts[fund_id], "p_at": utc(at)}
        taking = amounts[fund_id] > 0
        if db.execute(_TAKE if taking else _MOVE, values).rowcount == 0:
            fund = get_fund(db, fund_id)
            why = "has no room for it" if fund.is_open else "is closed"
            raise Conflict(f"{fund.kind} {fund_id} {why}", check="fund")
