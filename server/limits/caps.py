"""Every named cap on a limit; the limit is their minimum (domain 2.3).

Arithmetic is exact. A cap is rounded down to the minor unit as soon as it is computed, before
anything is multiplied: that order is part of the policy (domain T39, the 100-yuan trap). Quotients
are rounded towards the floor, so that no rounding ever raises a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from server.limits.pack import Pack
from server.limits.policy import Capacity, LossCap, Policy
from server.limits.snapshot import Rating
from shared.errors import UsageError

CAPS: Final = (
    "grade",
    "expected_loss",
    "stress_loss",
    "income",
    "capacity",
    "product",
    "jurisdiction",
    "own",
)
"""Names of all caps, in the order in which they are told of."""
FROM_SCORE: Final = frozenset({"grade", "expected_loss", "stress_loss", "income"})
"""Caps that move with the score; of these only, a missing holder could be the cause."""

_EXACT: Final = Context(prec=60, rounding=ROUND_FLOOR)
_NORMAL: Final = NormalDist()
_CORRELATION: Final = 0.04
_BAD_YEAR: Final = 0.999
_MICRO: Final = Decimal(10**6)


@dataclass(frozen=True, slots=True)
class Income:
    """What a customer earns and owes, as far as somebody vouches for it.

    Parameters
    ----------
    monthly_minor : int
    source : str
        Names the haircut in the policy: who vouches for the figure.
    obligations_minor : int
        Repayments of other debts a month.
    """

    monthly_minor: int
    source: str
    obligations_minor: int = 0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a decision takes besides the score.

    Parameters
    ----------
    day : date
        On which it is made: picks the legal cap and the scenario.
    current_minor : int, optional
        The limit of today; None where there is no line yet.
    drawn_minor : int
        What is owed on the line.
    own_minor : int, optional
        The customer's own cap.
    income : Income, optional

    Raises
    ------
    UsageError
        If an amount is negative.
    """

    day: date
    current_minor: int | None = None
    drawn_minor: int = 0
    own_minor: int | None = None
    income: Income | None = None

    def __post_init__(self) -> None:
        amounts = [self.current_minor or 0, self.drawn_minor, self.own_minor or 0]
        if self.income is not None:
            amounts += [self.income.monthly_minor, self.income.obligations_minor]
        if min(amounts) < 0:
            raise UsageError("an amount of money must be 0 or more")


def all_caps(policy: Policy, pack: Pack, rating: Rating, inputs: Inputs) -> dict[str, int]:
    """Return every cap that applies, in minor units, in the order of `CAPS`.

    Raises
    ------
    UsageError
        If the policy has no row for the grade or no haircut for the source of the income.
    ConfigError
        If the pack has no cap for the day.
    """
    row = policy.grades.get(rating.grade)
    if row is None:
        raise UsageError(f"policy {policy.name} has no row for grade {rating.grade!r}")
    drawn, income = inputs.drawn_minor, inputs.income
    caps = {
        "grade": row.limit_minor,
        "expected_loss": loss_cap(policy.expected_loss, rating.default_prob, drawn),
    }
    if policy.stress_loss is not None:
        rate = stressed_default_prob(rating.default_prob)
        caps["stress_loss"] = loss_cap(policy.stress_loss, rate, drawn)
    if income is not None:
        counted = counted_income(policy, income)
        caps["income"] = down(row.income_multiple * counted)
        caps["capacity"] = capacity_cap(policy.capacity, counted, income.obligations_minor)
    caps["product"] = policy.product_cap_minor
    caps["jurisdiction"] = legal_cap(policy, pack, inputs)
    if inputs.own_minor is not None:
        caps["own"] = inputs.own_minor
    return caps


def loss_cap(cap: LossCap, default_prob: Decimal, drawn_minor: int) -> int:
    """Return the limit at which the loss to expect reaches the most that may be lost.

    `EL = default_prob x lgd x (drawn + ccf (limit - drawn))`, solved for the limit (domain T16).

    Parameters
    ----------
    cap : LossCap
    default_prob : Decimal
        In (0, 1].
    drawn_minor : int
    """
    times = _EXACT.multiply  # the default context would round products of this length
    rate = times(default_prob, cap.lgd)
    spare = _EXACT.subtract(
        Decimal(cap.most_minor), times(times(1 - cap.ccf, rate), Decimal(drawn_minor))
    )
    return down(_EXACT.divide(spare, times(rate, cap.ccf))) if spare > 0 else 0


def stressed_default_prob(default_prob: Decimal) -> Decimal:
    """Return the default rate of such customers in a year as bad as one in a thousand.

    The one-factor model of Basel's qualifying revolving retail exposures, correlation .04: the
    conditional rate `N((G(p) + sqrt(R) G(.999)) / sqrt(1 - R))`. Times lgd and less the loss to
    expect it is the capital charge K (domain T11). K itself falls again towards certain default,
    so a cap on K would reward risk; a cap on the whole loss cannot.
    """
    probability = float(default_prob)
    if not 0.0 < probability < 1.0:
        return default_prob
    shifted = _NORMAL.inv_cdf(probability) + _CORRELATION**0.5 * _NORMAL.inv_cdf(_BAD_YEAR)
    rate = _NORMAL.cdf(shifted / (1.0 - _CORRELATION) ** 0.5)
    # Up to the grid: rounding never raises a limit. Never below the rate of an average year.
    stored = Decimal(rate).scaleb(6).to_integral_value("ROUND_CEILING") / _MICRO
    return max(default_prob, stored)


def counted_income(policy: Policy, income: Income) -> int:
    """Return the part of a monthly income that counts, by who vouches for it.

    Raises
    ------
    UsageError
        If the policy knows no such source.
    """
    haircut = policy.haircuts.get(income.source)
    if haircut is None:
        known = ", ".join(policy.haircuts)
        raise UsageError(f"income: source must be one of {known}. Got {income.source!r}")
    return down(haircut * income.monthly_minor)


def capacity_cap(capacity: Capacity, monthly_minor: int, obligations_minor: int) -> int:
    """Return the debt that the free part of an income repays: its present value (domain T17)."""
    spare = capacity.dti * monthly_minor - obligations_minor  # exact: 9 decimals, 15 digits
    if spare <= 0:
        return 0
    value = Fraction(spare) * _annuity(capacity.annual_rate, capacity.months)
    return value.numerator // value.denominator


def legal_cap(policy: Policy, pack: Pack, inputs: Inputs) -> int:
    """Return the most that the law lets one consumer owe (domain T29)."""
    law = pack.cap_on(inputs.day)
    if not law.income_parts or inputs.income is None:
        return law.amount_minor
    return min(law.amount_minor, 12 * counted_income(policy, inputs.income) // law.income_parts)


def rounded(smallest_minor: int, multiplier: Decimal, quantum_minor: int) -> int:
    """Return the limit: the smallest cap times the multiplier, down to a whole quantum."""
    scaled = _EXACT.multiply(Decimal(smallest_minor), multiplier)
    return down(_EXACT.divide(scaled, Decimal(quantum_minor))) * quantum_minor


def down(amount: Decimal) -> int:
    """Round down to a whole number."""
    return int(amount.to_integral_value(ROUND_FLOOR))


@lru_cache(maxsize=64)
def _annuity(annual_rate: Decimal, months: int) -> Fraction:
    """Present value of one unit a month, exactly."""
    rate = Fraction(annual_rate) / 12
    return (1 - (1 + rate) ** -months) / rate if rate else Fraction(months)
