"""The portfolio as it was counted last, with the budget and the partners as they stand now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts import allocating, budgeting, pausing, picturing
from server.accounts.desk import Desk
from server.accounts.partners import PartnerView, partners_of
from server.accounts.pausing import Pause
from server.limits.portfolio.budget import Book, Stress, stress
from server.limits.rules.line_policy import LinePolicy
from server.monitor.rolls import Roll, Stock, roll_rates
from server.store import funds, pictures
from server.store.allocation_runs import AllocationRun
from server.store.funds import Fund
from server.store.pictures import Picture
from shared.errors import Conflict

TREND: Final = timedelta(days=400)
NEAR: Final = timedelta(days=31)
"""Days that a trend goes back, and those of them that are told one by one."""
_MICRO: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Group:
    """Open lines of one product and grade.

    Parameters
    ----------
    product, grade : str
        `grade` is `picturing.NONE` of lines that were never scored.
    lines, limit_minor, owed_minor, held_minor : int
    exposure_minor : int
        What would be owed at a default.
    loss_minor : int
        To be expected in a year.
    """

    product: str
    grade: str
    lines: int
    limit_minor: int
    owed_minor: int
    held_minor: int
    exposure_minor: int
    loss_minor: int

    @property
    def used(self) -> Decimal:
        """Share of the limits that is owed."""
        return _over(self.owed_minor, self.limit_minor)

    @property
    def loss_rate(self) -> Decimal:
        """Expected loss of a year over the exposure."""
        return _over(self.loss_minor, self.exposure_minor)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted last.

    Parameters
    ----------
    day : date
    made_at : datetime
        UTC.
    release : str
        Name of the model that losses are expected by; empty where none served.
    whole : Group
        All open lines.
    groups : tuple of Group
        By product and grade.
    states, bucket_lines, bucket_owed_minor : mapping of str to int
    buckets : tuple of str
        In order.
    trend : tuple of (date, int, int)
        Day, limits and what is owed.
    rolls : tuple of Roll
        Oldest first.
    """

    day: date
    made_at: datetime
    release: str
    whole: Group
    groups: tuple[Group, ...]
    states: Mapping[str, int]
    bucket_lines: Mapping[str, int]
    bucket_owed_minor: Mapping[str, int]
    buckets: tuple[str, ...]
    trend: tuple[tuple[date, int, int], ...]
    rolls: tuple[Roll, ...]


@dataclass(frozen=True, slots=True)
class BudgetView:
    """A budget as it stands.

    Parameters
    ----------
    fund : Fund
    own_funds_minor : int, optional
        None where it was never set through the service.
    run : AllocationRun, optional
        The allocation in force.
    stresses : tuple of Stress
        What bad years do to the lines as they were counted, borne by these own funds.
    """

    fund: Fund
    own_funds_minor: int | None
    run: AllocationRun | None
    stresses: tuple[Stress, ...]

    @property
    def used(self) -> Decimal:
        """Share of the budget that is committed."""
        return _over(self.fund.used_minor, self.fund.cap_minor)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Everything that the portfolio page tells.

    Parameters
    ----------
    counted : Counted, optional
        None before the first count.
    budgets : tuple of BudgetView
    partners : tuple of PartnerView
    pause : Pause
    pause_share : Decimal
        Of a budget: committed up to there, nothing is raised.
    """

    counted: Counted | None
    budgets: tuple[BudgetView, ...]
    partners: tuple[PartnerView, ...]
    pause: Pause
    pause_share: Decimal


def portfolio(desk: Desk, db: Connection, now: datetime) -> Portfolio:
    """Return the portfolio; no line is read for it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    now : datetime
    """
    counted = counted_last(desk, db, now)
    budgets = funds.funds_of(db, budgeting.BUDGET)
    return Portfolio(
        counted=counted,
        budgets=tuple(_budget(desk, db, one, counted) for one in budgets),
        partners=tuple(partners_of(desk, db, now)),
        pause=pausing.paused(db),
        pause_share=desk.rules.budget.pause_share,
    )


def counted_last(desk: Desk, db: Connection, now: datetime) -> Counted | None:
    """Return what was counted last, and what was kept of the days before; None before that."""
    newest = pictures.latest(db, picturing.PORTFOLIO)
    known = pictures.days_since(db, picturing.TOTALS, desk.today(now) - TREND)
    days = pictures.of_days(db, picturing.TOTALS, shown_days(known))
    if newest is None or not days:
        return None
    last, buckets = days[-1].value, buckets_of(desk.rules.line)
    groups = _groups(newest.value["cells"])
    return Counted(
        day=newest.day,
        made_at=newest.made_at,
        release=str(newest.value["release"]),
        whole=_together(groups),
        groups=groups,
        states=last["states"],
        bucket_lines=last["bucket_lines"],
        bucket_owed_minor=last["bucket_owed_minor"],
        buckets=buckets,
        trend=tuple((one.day, one.value["limit_minor"], one.value["owed_minor"]) for one in days),
        rolls=roll_rates([_stock(one) for one in days], buckets, desk.rules.monitoring.floor),
    )


def buckets_of(policy: LinePolicy) -> tuple[str, ...]:
    """Return the names of all buckets, what is not overdue first."""
    edges = policy.arrears.buckets
    between = (f"{low}-{above - 1}" for low, above in pairwise(edges))
    return ("C", *between, f"{edges[-1]}+")


def shown_days(days: Sequence[date]) -> list[date]:
    """Return the days that are told: the last month's, and of months before the last of each."""
    last = {(one.year, one.month): one for one in days}
    near = [one for one in days if days[-1] - one <= NEAR]
    return sorted({*last.values(), *near})


def _stock(one: Picture) -> Stock:
    return Stock(one.day, one.value["bucket_lines"], one.value["bucket_owed_minor"])


def _groups(cells: Sequence[Sequence[Any]]) -> tuple[Group, ...]:
    """Return the cells joined by product and grade, in their order."""
    sums: dict[tuple[str, str], list[int]] = {}
    for product, grade, _, _, *amounts in cells:
        row = sums.setdefault((product, grade), [0] * 6)
        row[:] = [held + amount for held, amount in zip(row, amounts, strict=True)]
    return tuple(Group(*key, *row) for key, row in sums.items())


def _together(groups: Sequence[Group]) -> Group:
    names = ("lines", "limit_minor", "owed_minor", "held_minor", "exposure_minor", "loss_minor")
    return Group("", "", *(sum(getattr(one, name) for one in groups) for name in names))


def _budget(desk: Desk, db: Connection, fund: Fund, counted: Counted | None) -> BudgetView:
    run = allocating.latest_run(db, fund.id)
    try:
        own_funds, own_share = budgeting.own_funds_of(db, fund.id)
    except Conflict:
        return BudgetView(fund, None, run, ())
    books = () if counted is None else _books(desk, counted.groups)
    found = stress(books, own_funds, own_share, desk.rules.budget) if books else ()
    return BudgetView(fund, own_funds, run, found)


def _books(desk: Desk, groups: Sequence[Group]) -> tuple[Book, ...]:
    found = []
    for one in groups:
        product = desk.rules.catalogue.products.get(one.product)
        if product is None:
            continue
        cap = product.expected_loss
        found.append(
            Book(
                name=f"{one.product}/{one.grade}",
                committed_minor=one.limit_minor,
                default_prob=min(Decimal(1), _over(one.loss_rate, cap.lgd)),
                lgd=cap.lgd,
                utilisation=min(Decimal(1), one.used),
                ccf=cap.ccf,
            )
        )
    return tuple(found)


def _over(part: int | Decimal, whole: int | Decimal) -> Decimal:
    return (Decimal(part) / Decimal(whole)).quantize(_MICRO) if whole else Decimal(0)
