"""Who has what out: the shares that partners and the lender itself hold in draws and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from server.store.tables import DRAWDOWNS, LINES, SHARES


@dataclass(frozen=True, slots=True)
class Funded:
    """One draw in a partner's book: its part, and nothing of anybody else's.

    Parameters
    ----------
    draw_id : str
    product, purpose : str
    amount_minor, open_minor : int
        The partner's share, and what of it is not repaid.
    terms : mapping
        Of the draw.
    drawn_at : datetime
        UTC.
    """

    draw_id: str
    product: str
    purpose: str
    amount_minor: int
    open_minor: int
    terms: Mapping[str, Any]
    drawn_at: datetime


def funded_by(
    db: Connection, partner_id: str, *, after: str = "", count: int = 100
) -> list[Funded]:
    """Return a partner's shares in order of the draws' ids, from the first behind `after`."""
    query = _funded(partner_id).where(SHARES.c.drawdown_id > after)
    return [Funded(*row) for row in db.execute(query.order_by(SHARES.c.drawdown_id).limit(count))]


def funded_lately(
    db: Connection, partner_id: str, *, before: str = "", count: int = 100
) -> list[Funded]:
    """Return a partner's shares, the newest draw first, from the first before an id."""
    query = _funded(partner_id)
    if before:
        query = query.where(SHARES.c.drawdown_id < before)
    newest = query.order_by(SHARES.c.drawdown_id.desc()).limit(count)
    return [Funded(*row) for row in db.execute(newest)]


def _funded(partner_id: str) -> sa.Select[Any]:
    share, draw = SHARES.c, DRAWDOWNS.c
    return (
        sa.select(
            draw.id,
            LINES.c.product,
            draw.purpose,
            share.amount_minor,
            share.open_minor,
            draw.terms,
            draw.drawn_at,
        )
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .join(LINES, LINES.c.id == draw.line_id)
        .where(share.partner_id == partner_id)
    )


def funded_in_all(db: Connection, partner_id: str) -> tuple[int, int, int]:
    """Return how many draws a partner has funded, how much of them, and how much is open."""
    share = SHARES.c
    sums = (sa.func.sum(share.amount_minor), sa.func.sum(share.open_minor))
    many, drawn, owed = db.execute(
        sa.select(sa.func.count(), *sums).where(share.partner_id == partner_id)
    ).one()
    return int(many), int(drawn or 0), int(owed or 0)


def own_open(db: Connection, line_id: str) -> int:
    """Return what the lender itself has out on a line: shares that come from no fund."""
    share, draw = SHARES.c, DRAWDOWNS.c
    query = (
        sa.select(sa.func.sum(share.open_minor))
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .where(
            draw.line_id == line_id,
            draw.open_minor > sa.literal_column("0"),
            share.fund_id.is_(None),
        )
    )
    return int(db.execute(query).scalar() or 0)


def lenders_of(db: Connection, line_id: str) -> list[tuple[str, int]]:
    """Return who has what out on a line, in order of names."""
    return lenders_in(db, [line_id]).get(line_id, [])


def lenders_in(db: Connection, line_ids: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Return who has what out on each of some lines, in order of names; one query."""
    share, draw = SHARES.c, DRAWDOWNS.c
    query = (
        sa.select(draw.line_id, share.partner_id, sa.func.sum(share.open_minor))
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .where(
            draw.line_id.in_(line_ids),
            draw.open_minor > sa.literal_column("0"),
            share.open_minor > 0,
        )
        .group_by(draw.line_id, share.partner_id)
        .order_by(share.partner_id)
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for line_id, partner, owed in db.execute(query) if line_ids else ():
        found.setdefault(line_id, []).append((str(partner), int(owed)))
    return found
