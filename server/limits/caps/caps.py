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

from server.limits.caps.snapshot import Rating
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Capacity, LossCap, Policy
from shared.errors import UsageError

CAPS: Final = (
    "grade",
    "expected_loss",
    "stress_loss",
    "income",
    "capacity",
    "product",
    "jurisdiction",
    "other_lenders",
    "own",
    "capital",
    "partner",
)
"""Names of all caps, in the order in which they are told of."""
FROM_SCORE: Final = frozenset({"grade", "expected_loss", "stress_loss", "income"})
"""Caps that move with the score, so that its reasons are told with them.

The capacity follows the score only by the income that a grade is presumed to have, which a proof
replaces: its reason is the income, not the score.
"""

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
    whole : bool
        The source says that there is no other income: nothing is presumed beside it.
    uplift_minor : int
        What liquid assets add to the debt that can be repaid.
    """

    monthly_minor: int
    source: str
    obligations_minor: int = 0
    whole: bool = False
    uplift_minor: int = 0


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
    others_minor : int, optional
        Revolving limits with other lenders, where a bureau told of them.
    capital_minor : int, optional
        The limit that the lender's capital carries (`server.limits.caps.capital.capital_cap`).
    partner_minor : int, optional
        The limit that can be funded together with partners
        (`server.limits.portfolio.joint.capacity`).

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
    others_minor: int | None = None
    capital_minor: int | None = None
    partner_minor: int | None = None

    def __post_init__(self) -> None:
        amounts = [self.current_minor or 0, self.drawn_minor, self.own_minor or 0]
        amounts += [self.others_minor or 0, self.capital_minor or 0, self.partner_minor or 0]
        if self.income is not None:
            amounts += [self.income.monthly_minor, self.income.obligations_minor]
            amounts.append(self.income.uplift_minor)
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
    if row.presumed_minor is not None:
        counted, owed, uplift = _means(policy, row.presumed_minor, income)
        caps["income"] = down(row.income_multiple * counted) + uplift
        caps["capacity"] = capacity_cap(policy.capacity, counted, owed, uplift)
    caps["product"] = policy.product_cap_minor
    law = legal_cap(policy, pack, inputs)
    if law is not None:
        caps["jurisdiction"] = law
    if policy.other_lenders_minor is not None and inputs.others_minor is not None:
        caps["other_lenders"] = max(0, policy.other_lenders_minor - inputs.others_minor)
    if inputs.own_minor is not None:
        caps["own"] = inputs.own_minor
    if inputs.capital_minor is not None:
        caps["capital"] = inputs.capital_minor
    if inputs.partner_minor is not None:
        caps["partner"] = inputs.partner_minor
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
    if not income.monthly_minor:
        return 0  # nobody vouches for any: only debts or assets are known
    haircut = policy.haircuts.get(income.source)
    if haircut is None:
        known = ", ".join(policy.haircuts)
        raise UsageError(f"income: source must be one of {known}. Got {income.source!r}")
    return down(haircut * income.monthly_minor)


def _means(policy: Policy, presumed_minor: int, income: Income | None) -> tuple[int, int, int]:
    """Return the income that counts, the obligations, and the uplift by assets.

    A proof says "at least so much", so it can only add to what is presumed of everybody in the
    grade (invariant I10, decision 18). A statement of the *whole* income says "no more" as well:
    then nothing is presumed.
    """
    if income is None:
        return presumed_minor, 0, 0
    proven = counted_income(policy, income)
    counted = proven if income.whole else max(presumed_minor, proven)
    return counted, income.obligations_minor, income.uplift_minor


def capacity_cap(
    capacity: Capacity, monthly_minor: int, obligations_minor: int, uplift_minor: int = 0
) -> int:
    """Return the debt that an income's free part and assets repay: its present value (domain T17).

    Down to the minor unit, as every cap: the study prints T17 to the nearest (decision 19).
    """
    spare = capacity.dti * monthly_minor - obligations_minor  # exact: 9 decimals, 15 digits
    above, below = spare.as_integer_ratio()
    unit = annuity(capacity.annual_rate, capacity.months)
    return max(0, above * unit.numerator // (below * unit.denominator) + uplift_minor)


def legal_cap(policy: Policy, pack: Pack, inputs: Inputs) -> int | None:
    """Return the most that the law lets one borrower owe (domain T29); None where no law says.

    Where the law counts income, it counts what is proven and presumes nothing: without a proof the
    cap is 0, so that a proof never lowers it.
    """
    if policy.borrower == "business":
        figure = pack.figure("business_cap", inputs.day)
        return None if figure is None else int(figure.value)
    law = pack.cap_on(inputs.day)
    if law is None:
        return None
    most = law.amount_minor
    if law.income_parts:
        income = 0 if inputs.income is None else counted_income(policy, inputs.income)
        most = min(most, 12 * income // law.income_parts)
    if policy.lender == "micro_lender":
        figure = pack.figure("micro_lender_consumer_cap", inputs.day)
        most = most if figure is None else min(most, int(figure.value))
    return most


def rounded(smallest_minor: int, multiplier: Decimal, quantum_minor: int) -> int:
    """Return the limit: the smallest cap times the multiplier, down to a whole quantum."""
    scaled = _EXACT.multiply(Decimal(smallest_minor), multiplier)
    return down(_EXACT.divide(scaled, Decimal(quantum_minor))) * quantum_minor


def down(amount: Decimal) -> int:
    """Round down to a whole number."""
    return int(amount.to_integral_value(ROUND_FLOOR))


@lru_cache(maxsize=64)
def annuity(annual_rate: Decimal, months: int) -> Fraction:
    """Return the present value of one unit a month, exactly.

    Parameters
    ----------
    annual_rate : Decimal
    months : int
    """
    rate = Fraction(annual_rate) / 12
    return (1 - (1 + rate) ** -months) / rate if rate else Fraction(months)
