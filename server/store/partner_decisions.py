"""What partner banks decided about draws, and what each hold was promised.

A hold keeps whom it was promised from, because it is posted under those terms and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Connection, ForeignKey, Index, String, Table

from server.store.tables import ID, METADATA, Instant, Mapped

PARTNER_DECISIONS = Table(
    "partner_decisions",
    METADATA,
    Column("draw_id", ID, ForeignKey("holds.id"), primary_key=True),
    Column("partner_id", ID, ForeignKey("partners.id"), primary_key=True),
    Column("accepted", Boolean(create_constraint=False), nullable=False),
    Column("policy_ref", String(128), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("grade", String(8), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Index(None, "partner_id", "draw_id"),
)

PROMISES = Table(
    "promises",
    METADATA,
    Column("hold_id", ID, ForeignKey("holds.id"), primary_key=True),
    Column("terms", Mapped, nullable=False),
)

_D: Final = PARTNER_DECISIONS.c
_ADD_PROMISE: Final = sa.insert(PROMISES)
_ADD_DECISIONS: Final = sa.insert(PARTNER_DECISIONS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a partner decided about one draw.

    Parameters
    ----------
    draw_id, partner_id : str
        The draw's id is its hold's.
    accepted : bool
    policy_ref : str
        Name and version of its rules.
    reason : str
        Code; empty where it accepted.
    amount_minor : int
        Of the whole draw.
    grade : str
        That it was shown.
    decided_at : datetime
        UTC.
    """

    draw_id: str
    partner_id: str
    accepted: bool
    policy_ref: str
    reason: str
    amount_minor: int
    grade: str
    decided_at: datetime


def keep_promise(db: Connection, hold_id: str, terms: Mapping[str, Any]) -> None:
    """Keep what a hold was promised, with the hold."""
    db.execute(_ADD_PROMISE, {"hold_id": hold_id, "terms": terms})


def promise_of(db: Connection, hold_id: str) -> Mapping[str, Any] | None:
    """Return what a hold was promised, or None."""
    query = sa.select(PROMISES.c.terms).where(PROMISES.c.hold_id == hold_id)
    found = db.execute(query).scalar()
    return None if found is None else dict(found)


def keep_verdicts(db: Connection, verdicts: Iterable[Verdict]) -> None:
    """Keep what partners decided about a draw, yes and no alike."""
    rows = [{field: getattr(one, field) for field in Verdict.__slots__} for one in verdicts]
    if rows:
        db.execute(_ADD_DECISIONS, rows)


def verdicts_of(
    db: Connection,
    partner_id: str,
    *,
    after: str = "",
    count: int = 100,
    accepted: bool | None = None,
) -> list[Verdict]:
    """Return a partner's decisions in order of the draws' ids, from the first behind `after`."""
    query = sa.select(PARTNER_DECISIONS).where(_D.partner_id == partner_id, _D.draw_id > after)
    if accepted is not None:
        query = query.where(_D.accepted.is_(accepted))
    rows = db.execute(query.order_by(_D.draw_id).limit(count)).mappings()
    return [Verdict(**row) for row in rows]


def verdicts_lately(
    db: Connection, partner_id: str, *, before: str = "", count: int = 100
) -> list[Verdict]:
    """Return a partner's decisions, the newest draw first, from the first before an id."""
    query = sa.select(PARTNER_DECISIONS).where(_D.partner_id == partner_id)
    if before:
        query = query.where(_D.draw_id < before)
    rows = db.execute(query.order_by(_D.draw_id.desc()).limit(count)).mappings()
    return [Verdict(**row) for row in rows]


def verdict_counts(db: Connection, partner_id: str) -> dict[str, int]:
    """Return how often a partner decided what: '' for yes, else by its reason."""
    query = sa.select(_D.reason, sa.func.count()).where(_D.partner_id == partner_id)
    rows = db.execute(query.group_by(_D.reason).order_by(_D.reason))
    return {str(reason): int(many) for reason, many in rows}
