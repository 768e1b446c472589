"""The budget: what may be committed in all, what of it is, and the scales that share it out."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.pausing import INCREASES
from server.limits.portfolio.budget import budget
from server.store import allocation_runs, funds, switches
from server.store.funds import Fund
from server.store.ids import minor
from server.store.switches import SWITCHES, Switch
from server.store.tables import FUNDS
from shared.errors import Conflict

BUDGET: Final = "budget"
"""Kind of a budget's fund."""
_MICRO: Final = Decimal("0.000001")
_ONE: Final = Decimal(1)
_USED: Final = sa.select(
    sa.select(SWITCHES.c.value).where(SWITCHES.c.name == INCREASES).scalar_subquery(),
    *(
        sa.select(column).where(FUNDS.c.id == sa.bindparam("p_budget")).scalar_subquery()
        for column in (FUNDS.c.cap_minor, FUNDS.c.used_minor, FUNDS.c.is_open)
    ),
)


def set_budget(
    desk: Desk,
    db: Connection,
    budget_id: str,
    own_funds_minor: int,
    own_share: Decimal,
    by: str,
    now: datetime,
) -> Fund:
    """Set what may be committed in all, from own funds (domain 2.8, T26).

    Limits that are out already stay; where they are more than the new budget, nothing is raised
    and each line may draw its part of it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    budget_id : str
    own_funds_minor : int
    own_share : Decimal
        Of each loan that the lender funds itself; 1 without partners.
    by : str
    now : datetime

    Raises
    ------
    UsageError
        If own funds or the share are out of range.
    """
    minor(own_funds_minor, "own_funds_minor", least=0)
    cap = budget(own_funds_minor, own_share, desk.rules.budget).commitments_minor
    fund = funds.set_fund(db, budget_id, kind=BUDGET, cap_minor=cap, is_open=True, at=now)
    rules = f"{desk.rules.budget.id}/{desk.rules.budget.version}"
    value = {"own_funds_minor": own_funds_minor, "own_share": str(own_share), "rules": rules}
    switches.set_switch(db, Switch(_funds_of(budget_id), value, by, "budget", None, now))
    return fund


def own_funds_of(db: Connection, budget_id: str) -> tuple[int, Decimal]:
    """Return the own funds and the own share that a budget was made from.

    Raises
    ------
    Conflict
        With check `budget`, if it was never set.
    """
    switch = switches.get_switch(db, _funds_of(budget_id))
    if switch is None:
        raise Conflict(f"the budget {budget_id} has not been set", check="budget")
    return int(switch.value["own_funds_minor"]), Decimal(switch.value["own_share"])


def budget_used(db: Connection, budget_id: str | None) -> Decimal:
    """Return the share of a budget that is committed, up to six decimals; 1 while paused.

    0 where there is no budget. A review raises nothing from its policy's `pause_at` on.
    """
    value, cap, used, is_open = db.execute(_USED, {"p_budget": budget_id}).one()
    if (value is not None and value["paused"]) or is_open is False:
        return _ONE
    if cap is None:
        return Decimal(0)
    if not cap:
        return _ONE
    return (Decimal(used) / Decimal(cap)).quantize(_MICRO, ROUND_UP)


def scales_of(db: Connection, budget_id: str | None) -> dict[tuple[str, str], Decimal]:
    """Return the allocator's scales in force, by product and grade; none stands for 1."""
    return {} if budget_id is None else allocation_runs.scales_of(db, budget_id)


def _funds_of(budget_id: str) -> str:
    return f"own-funds:{budget_id}"
