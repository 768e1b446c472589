"""Everything that is kept twice, recomputed: totals from events, balances from movements.

The totals of a line's row decide draws; its events, holds, drawdowns and repayments say how it came
to them. `findings` compares all of it over the whole database, in one state of it. `state_at` gives
a line as it was, from events alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.store.ids import utc
from server.store.tables import (
    ALLOCATIONS,
    DRAWDOWNS,
    FUNDS,
    HOLDS,
    LINE_EVENTS,
    LINES,
    REPAYMENTS,
    SHARES,
)
from shared.errors import NotFound

_MOST: Final = 20  # findings of one kind


@dataclass(frozen=True, slots=True)
class LineState:
    """A line at one instant, as its events tell it.

    Parameters
    ----------
    version : int
    state : str
    may_draw : bool
    limit_minor, outstanding_minor, held_minor : int
    domain : mapping
    """

    version: int
    state: str
    may_draw: bool
    limit_minor: int
    outstanding_minor: int
    held_minor: int
    domain: Mapping[str, Any]


def state_at(db: Connection, line_id: str, at: datetime | None = None) -> LineState:
    """Return a line as it was at an instant, or as it is now, from its events (I18).

    Raises
    ------
    NotFound
        If there was no such line.
    """
    events = LINE_EVENTS.c
    query = sa.select(LINE_EVENTS).where(events.line_id == line_id).order_by(events.version)
    if at is not None:
        query = query.where(events.at <= utc(at))
    outstanding = held = 0
    last: Any = None
    told: Any = None
    for last in db.execute(query):
        outstanding += last.outstanding_delta
        held += last.held_delta
        told = last if last.domain is not None else told
    if last is None or told is None:
        raise NotFound("there was no line of that id")
    return LineState(
        version=last.version,
        state=told.state,
        may_draw=told.may_draw,
        limit_minor=last.limit_minor,
        outstanding_minor=outstanding,
        held_minor=held,
        domain=told.domain,
    )


def findings(db: Connection) -> list[str]:
    """Return what does not add up, one line each; nothing if all balances equal their events.

    Ids of lines, drawdowns, repayments and funds are named; of one kind of finding, the first 20.
    """
    return [
        f"{what}: {found}"
        for what, query in _queries()
        for found in db.execute(query.limit(_MOST)).scalars()
    ]


def _queries() -> Iterator[tuple[str, sa.Select[Any]]]:
    yield from _line_queries()
    yield from _drawdown_queries()
    parts = _sums(ALLOCATIONS.c.repayment_id, ALLOCATIONS.c.amount_minor)
    paid = REPAYMENTS.c
    yield (
        "repayment is not the sum of its allocations",
        _unequal(paid.id, parts, {paid.amount_minor: "amount_minor"}),
    )
    yield from _fund_queries()


def _line_queries() -> Iterator[tuple[str, sa.Select[Any]]]:
    line, event, hold, draw = LINES.c, LINE_EVENTS.c, HOLDS.c, DRAWDOWNS.c
    events = (
        sa.select(
            event.line_id.label("id"),
            sa.func.sum(event.outstanding_delta).label("outstanding"),
            sa.func.sum(event.held_delta).label("held"),
            sa.func.count().label("count"),
            sa.func.max(event.version).label("last"),
        )
        .group_by(event.line_id)
        .subquery()
    )
    told = {
        line.outstanding_minor: "outstanding",
        line.held_minor: "held",
        line.version: "count",
        line.version + 0: "last",
    }
    yield "line is not the sum of its events", _unequal(line.id, events, told)
    last = sa.and_(event.line_id == line.id, event.version == line.version)
    now = sa.select(line.id).join(LINE_EVENTS, last)
    differs = sa.or_(event.limit_minor != line.limit_minor, event.at != line.changed_at)
    yield "line is not as its last event says", now.where(differs).order_by(line.id)
    changed = (
        sa.select(event.line_id.label("id"), sa.func.max(event.version).label("version"))
        .where(event.domain.is_not(None))
        .group_by(event.line_id)
        .subquery()
    )
    same = sa.and_(event.line_id == changed.c.id, event.version == changed.c.version)
    state = sa.select(line.id).join(changed, changed.c.id == line.id).join(LINE_EVENTS, same)
    other = (event.state != line.state, event.may_draw != line.may_draw)
    differs = sa.or_(*other, sa.cast(event.domain, sa.Text) != sa.cast(line.domain, sa.Text))
    yield "line's state is not its last change", state.where(differs).order_by(line.id)
    held = _sums(hold.line_id, hold.amount_minor, hold.state == "pending")
    yield "line's holds", _unequal(line.id, held, {line.held_minor: "amount_minor"})
    drawn = _sums(draw.line_id, draw.open_minor)
    yield "line's drawdowns", _unequal(line.id, drawn, {line.outstanding_minor: "open_minor"})


def _drawdown_queries() -> Iterator[tuple[str, sa.Select[Any]]]:
    draw, share, part = DRAWDOWNS.c, SHARES.c, ALLOCATIONS.c
    repaid = _sums(part.drawdown_id, part.amount_minor)
    owed = {draw.amount_minor - draw.open_minor: "amount_minor"}
    yield "drawdown is not open by what was not repaid", _unequal(draw.id, repaid, owed)
    shares = _sums(share.drawdown_id, share.amount_minor, None, share.open_minor)
    both = {draw.amount_minor: "amount_minor", draw.open_minor: "open_minor"}
    yield "drawdown is not the sum of its shares", _unequal(draw.id, shares, both)
    posted = sa.and_(HOLDS.c.id == draw.hold_id, HOLDS.c.state == "posted")
    without = sa.select(draw.id).outerjoin(HOLDS, posted).where(HOLDS.c.id.is_(None))
    yield "drawdown without a posted hold", without.order_by(draw.id)
    of_hold = draw.hold_id == HOLDS.c.id
    lost = sa.select(HOLDS.c.id).outerjoin(DRAWDOWNS, of_hold)
    alone = (HOLDS.c.state == "posted", draw.id.is_(None))
    yield "posted hold without a drawdown", lost.where(*alone).order_by(HOLDS.c.id)


def _fund_queries() -> Iterator[tuple[str, sa.Select[Any]]]:
    fund, share, line = FUNDS.c, SHARES.c, LINES.c
    funded = _sums(share.fund_id, share.open_minor).alias("funded")
    committed = _sums(line.budget_id, line.limit_minor).alias("committed")
    used = sa.func.coalesce(funded.c.open_minor, 0) + sa.func.coalesce(committed.c.limit_minor, 0)
    query = sa.select(fund.id).outerjoin(funded, funded.c.id == fund.id)
    query = query.outerjoin(committed, committed.c.id == fund.id)
    yield "fund is not what was taken from it", query.where(fund.used_minor != used)


def _sums(
    key: sa.Column[Any],
    amount: sa.Column[int],
    where: sa.ColumnElement[bool] | None = None,
    *more: sa.Column[int],
) -> sa.Subquery:
    sums = [sa.func.sum(one).label(one.name) for one in (amount, *more)]
    query = sa.select(key.label("id"), *sums).group_by(key)
    return (query if where is None else query.where(where)).subquery()


def _unequal(key: sa.Column[str], sums: sa.Subquery, told: Mapping[Any, str]) -> sa.Select[Any]:
    differs = (own != sa.func.coalesce(sums.c[name], 0) for own, name in told.items())
    query = sa.select(key).outerjoin(sums, sums.c.id == key)
    return query.where(sa.or_(*differs)).order_by(key)
