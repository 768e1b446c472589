"""What happened on lines, as the store has it: a page of lines takes as many queries as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.store.tables import ALLOCATIONS, DECISIONS, DRAWDOWNS, LINE_EVENTS, REPAYMENTS

FREEZE: Final = "freeze_purpose"
RELEASE: Final = "release"
_D: Final = DRAWDOWNS.c
_A: Final = ALLOCATIONS.c
_R: Final = REPAYMENTS.c
_E: Final = LINE_EVENTS.c
_LINES: Final[sa.BindParameter[list[str]]] = sa.bindparam("p_lines", expanding=True)
_DRAWN: Final = sa.select(
    _D.id, _D.line_id, _D.amount_minor, _D.open_minor, _D.terms, _D.drawn_at
).order_by(_D.line_id, _D.line_version)
_OPEN: Final = _DRAWN.where(_D.line_id.in_(_LINES), _D.open_minor > sa.literal_column("0"))
_OF_IDS: Final = _DRAWN.where(_D.id.in_(sa.bindparam("p_ids", expanding=True)))
_PAID: Final = (
    sa.select(_A.drawdown_id, _R.value_date, sa.func.sum(_A.amount_minor))
    .join(REPAYMENTS, _R.id == _A.repayment_id)
    .where(_R.line_id.in_(_LINES), _R.value_date >= sa.bindparam("p_since"))
    .group_by(_A.drawdown_id, _R.value_date)
    .order_by(_R.value_date)
)
_CHANGES: Final = (
    sa.select(_E.line_id, _E.at, _E.outstanding_delta)
    .where(
        _E.line_id.in_(_LINES),
        _E.outstanding_delta != 0,
        _E.at >= sa.bindparam("p_since", type_=LINE_EVENTS.c.at.type),
    )
    .order_by(_E.line_id, _E.version)
)
_FREEZES: Final = (
    sa.select(DECISIONS.c.chain, DECISIONS.c.purpose, DECISIONS.c.decided_at)
    .where(DECISIONS.c.chain.in_(_LINES), DECISIONS.c.purpose.in_([FREEZE, RELEASE]))
    .order_by(DECISIONS.c.chain, DECISIONS.c.number)
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawdown that is open or was repaid lately.

    Parameters
    ----------
    id : str
    amount_minor, open_minor : int
    terms : mapping
        With its `schedule`.
    drawn_at : datetime
        UTC.
    paid : tuple of (date, int)
        What came in, by value date.
    """

    id: str
    amount_minor: int
    open_minor: int
    terms: Mapping[str, Any]
    drawn_at: datetime
    paid: tuple[tuple[date, int], ...]


@dataclass(frozen=True, slots=True)
class Past:
    """What moved what is owed on a line, and why it was frozen.

    Parameters
    ----------
    changes : tuple of (datetime, int)
        Instant, and what is owed more or less, minor units; oldest first.
    looked : tuple of (str, datetime)
        Decisions to freeze for a purpose and to release, oldest first.
    """

    changes: tuple[tuple[datetime, int], ...] = ()
    looked: tuple[tuple[str, datetime], ...] = ()


def pasts_of(db: Connection, line_ids: Collection[str], since: datetime) -> dict[str, Past]:
    """Return the pasts of some lines since an instant, by line: two queries.

    Freezes and releases are told from the beginning.
    """
    changes: dict[str, list[tuple[datetime, int]]] = {one: [] for one in line_ids}
    looked: dict[str, list[tuple[str, datetime]]] = {one: [] for one in line_ids}
    if changes:
        lines = {"p_lines": list(changes)}
        for line_id, at, delta in db.execute(_CHANGES, {**lines, "p_since": since}):
            changes[line_id].append((at, delta))
        for line_id, purpose, at in db.execute(_FREEZES, lines):
            looked[line_id].append((purpose, at))
    return {one: Past(tuple(changes[one]), tuple(looked[one])) for one in changes}


def drawn_on(
    db: Connection, line_ids: Collection[str], since: date
) -> dict[str, tuple[Drawn, ...]]:
    """Return the drawdowns of some lines that are open or were repaid since a day, by line.

    Three queries at most.
    """
    found: dict[str, list[Drawn]] = {one: [] for one in line_ids}
    if not found:
        return {}
    asked = {"p_lines": list(found), "p_since": since.isoformat()}
    paid: dict[str, list[tuple[date, int]]] = {}
    for drawdown_id, day, amount in db.execute(_PAID, asked):
        paid.setdefault(drawdown_id, []).append((date.fromisoformat(day), int(amount)))
    rows = db.execute(_OPEN, {"p_lines": list(found)}).all()
    closed = sorted(paid.keys() - {row.id for row in rows})
    if closed:
        rows = [*rows, *db.execute(_OF_IDS, {"p_ids": closed})]
    for row in rows:
        one = tuple(paid.get(row.id, ()))
        made = Drawn(row.id, row.amount_minor, row.open_minor, row.terms, row.drawn_at, one)
        found[row.line_id].append(made)
    return {one: tuple(rows) for one, rows in found.items()}
