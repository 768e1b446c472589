"""Runs of the allocation, and the scales that the newest of each budget has put in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, ForeignKey, Index, String, Table

from server.store.tables import ID, METADATA, Instant, Mapped
from server.store.whole import whole

ALLOCATION_RUNS = Table(
    "allocation_runs",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("budget_id", ID, ForeignKey("funds.id"), nullable=False),
    Column("inputs", Mapped, nullable=False),
    Column("result", Mapped, nullable=False),
    Column("made_by", ID, nullable=False),
    Column("made_at", Instant, nullable=False),
    Index(None, "budget_id", "id"),
)

SCALES = Table(
    "scales",
    METADATA,
    Column("budget_id", ID, ForeignKey("funds.id"), primary_key=True),
    Column("product", ID, primary_key=True),
    Column("grade", String(8), primary_key=True),
    Column("scale", String(16), nullable=False),
    Column("run_id", ID, ForeignKey("allocation_runs.id"), nullable=False),
)

_A: Final = ALLOCATION_RUNS.c
_S: Final = SCALES.c
_SCALES: Final = sa.select(_S.product, _S.grade, _S.scale).where(
    _S.budget_id == sa.bindparam("p_budget")
)


@dataclass(frozen=True, slots=True)
class AllocationRun:
    """One run of the allocation, kept as it was.

    Parameters
    ----------
    id, budget_id : str
    inputs, result : mapping
        Plain values.
    made_by : str
    made_at : datetime
        UTC.
    """

    id: str
    budget_id: str
    inputs: Mapping[str, Any]
    result: Mapping[str, Any]
    made_by: str
    made_at: datetime


@whole
def keep_run(db: Connection, run: AllocationRun, scales: Mapping[tuple[str, str], Decimal]) -> None:
    """Keep an allocation run and put its scales in force, in place of those of the budget's last.

    Parameters
    ----------
    db : Connection
    run : AllocationRun
    scales : mapping of (str, str) to Decimal
        By product and grade, in [0, 1].
    """
    db.execute(
        sa.insert(ALLOCATION_RUNS), {one: getattr(run, one) for one in AllocationRun.__slots__}
    )
    db.execute(sa.delete(SCALES).where(_S.budget_id == run.budget_id))
    rows = [
        {
            "budget_id": run.budget_id,
            "product": product,
            "grade": grade,
            "scale": str(scale),
            "run_id": run.id,
        }
        for (product, grade), scale in scales.items()
    ]
    if rows:
        db.execute(sa.insert(SCALES), rows)


def scales_of(db: Connection, budget_id: str) -> dict[tuple[str, str], Decimal]:
    """Return the scales of a budget that are in force, by product and grade."""
    rows = db.execute(_SCALES, {"p_budget": budget_id})
    return {(row.product, row.grade): Decimal(row.scale) for row in rows}


def runs_of(
    db: Connection, budget_id: str, *, before: str = "", count: int = 100
) -> Sequence[AllocationRun]:
    """Return the runs of a budget, newest first, from the first before `before`."""
    query = sa.select(ALLOCATION_RUNS).where(_A.budget_id == budget_id)
    if before:
        query = query.where(_A.id < before)
    rows = db.execute(query.order_by(_A.id.desc()).limit(count)).mappings()
    return [AllocationRun(**row) for row in rows]
