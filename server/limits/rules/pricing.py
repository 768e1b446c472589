"""What a draw costs, all fees included, and whether the law lets it cost that.

Money is exact: an instalment is whole minor units, interest is rounded down, so that no customer
pays more than the rate agreed. Whether a plan stays within a cap is decided exactly, by its present
value at the cap's rate; the internal rate of return is for people to read (domain T23).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from server.limits.rules.pack import Pack
from server.limits.rules.prices import Price
from shared.errors import ConfigError, UsageError

_WIDE: Final = Context(prec=40)
_SHOWN: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class CostCap:
    """The most that a loan may cost a year, fees included.

    Parameters
    ----------
    rate : Decimal
    rule, source : str
    """

    rate: Decimal
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A draw and how it is repaid.

    Parameters
    ----------
    amount_minor : int
        Owed on the first day.
    upfront_minor : int
        Fees kept back on the first day.
    instalments_minor : tuple of int
        At the end of each month, fees included.
    items_minor : mapping of str to int
        What each kind of cost comes to: `interest`, `guarantee`, `upfront`.
    """

    amount_minor: int
    upfront_minor: int
    instalments_minor: tuple[int, ...]
    items_minor: Mapping[str, int]

    @property
    def received_minor(self) -> int:
        """What the customer has in hand."""
        return self.amount_minor - self.upfront_minor


@dataclass(frozen=True, slots=True)
class Sheet:
    """The all-in cost of a draw, as it must be shown before it is taken.

    Parameters
    ----------
    plan : Plan
    total_minor : int
        All that is paid, less what is received.
    nominal_annual : Decimal
        The rate in the advertisement: 12 times the monthly charge on the amount drawn.
    apr : Decimal
        12 times the monthly internal rate of return.
    ear : Decimal
        The same, compounded.
    cap : CostCap, optional
        The lowest that applies; None where no law in the pack says.
    within_cap : bool
    forced_read : bool
        The sheet must be read before the draw (a duty of the pack).
    """

    plan: Plan
    total_minor: int
    nominal_annual: Decimal
    apr: Decimal
    ear: Decimal
    cap: CostCap | None
    within_cap: bool
    forced_read: bool


def equal_instalments(
    amount_minor: int, months: int, price: Price, *, upfront_minor: int = 0
) -> Plan:
    """Return the plan with one instalment a month, all equal but for the last (domain T23).

    Parameters
    ----------
    amount_minor : int
        Above 0.
    months : int
        1 or more.
    price : Price
    upfront_minor : int
        From 0 up to less than the amount.

    Raises
    ------
    UsageError
        If an argument is out of range.
    """
    _check(amount_minor, months, upfront_minor)
    rate = Fraction(price.annual_rate) / 12
    over, under = rate.numerator, rate.denominator  # whole numbers: a draw is priced while it waits
    grown = (over + under) ** months
    even = _nearest(amount_minor, months)
    if over:
        even = _nearest(amount_minor * over * grown, under * (grown - under**months))
    owed, interest, paid = amount_minor, 0, []
    for left in range(months, 0, -1):
        charge = owed * over // under  # down: never above the rate agreed
        back = min(owed, max(even - charge, 0)) if left > 1 else owed
        owed, interest = owed - back, interest + charge
        paid.append(back + charge)
    return _with_fees(amount_minor, upfront_minor, paid, interest, price.guarantee_monthly)


def flat_instalments(
    amount_minor: int,
    months: int,
    monthly_rate: Decimal,
    *,
    guarantee_monthly: Decimal = Decimal(0),
    upfront_minor: int = 0,
) -> Plan:
    """Return the plan whose interest is a share of the amount drawn, not of what is still owed.

    Such a plan costs nearly twice what its rate says (domain T23).

    Raises
    ------
    UsageError
        If an argument is out of range.
    """
    _check(amount_minor, months, upfront_minor)
    even, charge = amount_minor // months, int(monthly_rate * amount_minor)
    back = [even] * (months - 1) + [amount_minor - even * (months - 1)]
    paid = [one + charge for one in back]
    return _with_fees(amount_minor, upfront_minor, paid, charge * months, guarantee_monthly)


def _check(amount_minor: int, months: int, upfront_minor: int) -> None:
    if amount_minor <= 0 or months <= 0 or not 0 <= upfront_minor < amount_minor:
        raise UsageError("a draw needs an amount and months above 0, and fees below the amount")


def _with_fees(
    amount: int, upfront: int, paid: Sequence[int], interest: int, guarantee: Decimal
) -> Plan:
    fee = int(guarantee * amount)
    items = {"interest": interest, "guarantee": fee * len(paid), "upfront": upfront}
    return Plan(amount, upfront, tuple(one + fee for one in paid), MappingProxyType(items))


def _nearest(over: int, under: int) -> int:
    return (2 * over + under) // (2 * under)


def within(plan: Plan, rate: Decimal) -> bool:
    """Return whether a plan costs at most a rate a year: exactly, by its present value."""
    factor = 1 / (1 + Fraction(rate) / 12)
    over, under = factor.numerator, factor.denominator
    value, scale = 0, 1  # the present value is their quotient
    for instalment in reversed(plan.instalments_minor):
        value, scale = (value + instalment * scale) * over, scale * under
    return value <= plan.received_minor * scale


def all_in(plan: Plan) -> tuple[Decimal, Decimal]:
    """Return 12 times the monthly internal rate of return, and the same compounded.

    To six decimals: the present value falls as the rate rises, so the rate lies between a rate at
    which it is above what is received and one at which it is not. 0 where nothing is charged.
    """
    if sum(plan.instalments_minor) <= plan.received_minor:
        return Decimal(0), Decimal(0)
    low, high = _bracket(plan)
    while _told(low) != _told(high) and high - low > Decimal("1e-16"):
        middle = _WIDE.divide(low + high, Decimal(2))
        if _value(plan, middle) > plan.received_minor:
            low = middle
        else:
            high = middle
    return _told(high)


def _bracket(plan: Plan) -> tuple[Decimal, Decimal]:
    """Return two monthly rates that the internal one lies between, as close as is cheap.

    Newton's method in floating point only says where to look; whether the rate lies there is then
    reckoned exactly.
    """
    guess = _guess(plan)
    for width in (Decimal("1e-13"), Decimal("1e-9")):
        low, high = max(guess - width, Decimal(0)), guess + width
        if _value(plan, low) > plan.received_minor >= _value(plan, high):
            return low, high
    low, high = Decimal(0), Decimal(1)
    while _value(plan, high) > plan.received_minor:
        high *= 2
    return low, high


def _guess(plan: Plan) -> Decimal:
    rate, received = 0.01, float(plan.received_minor)
    for _ in range(20):
        value, slope, factor = 0.0, 0.0, 1.0 / (1.0 + rate)
        for instalment in reversed(plan.instalments_minor):
            slope = (slope + value + instalment) * factor
            value = (value + instalment) * factor
        step = (value - received) / (slope * factor)
        rate = max(rate + step, 0.0)
        if abs(step) < 1e-15:
            break
    return Decimal(rate)


def _told(monthly: Decimal) -> tuple[Decimal, Decimal]:
    year = _WIDE.subtract(_WIDE.power(1 + monthly, 12), Decimal(1))
    return _shown(12 * monthly), _shown(year)


def _value(plan: Plan, monthly: Decimal) -> Decimal:
    factor = _WIDE.divide(Decimal(1), 1 + monthly)
    value = Decimal(0)
    for instalment in reversed(plan.instalments_minor):
        value = _WIDE.multiply(_WIDE.add(value, Decimal(instalment)), factor)
    return value


def _shown(rate: Decimal) -> Decimal:
    return rate.quantize(_SHOWN, ROUND_HALF_UP)


def cost_cap(
    pack: Pack, day: date, *, lender: str = "bank", prime_rate: Decimal | None = None
) -> CostCap | None:
    """Return the lowest cap on the all-in cost that applies; None where the pack has none.

    Parameters
    ----------
    pack : Pack
    day : date
    lender : {'bank', 'micro_lender'}
    prime_rate : Decimal, optional
        The one-year prime rate of the day; a figure of the market, so it is handed in.

    Raises
    ------
    ConfigError
        If a cap in force is a multiple of the prime rate and that is not known.
    """
    caps = []
    names = ["all_in_cost_cap"] + (["micro_lender_cost_cap"] if lender == "micro_lender" else [])
    for name in names:
        figure = pack.figure(name, day)
        if figure is not None:
            caps.append(CostCap(figure.value, figure.origin.rule, figure.origin.source))
    times = pack.figure("lpr_multiple", day) if lender == "micro_lender" else None
    if times is not None:
        if prime_rate is None:
            finding = f"figures: 'lpr_multiple' is in force on {day}; hand in the prime rate"
            raise ConfigError(f"pack {pack.name}", [finding])
        rate = times.value * prime_rate
        caps.append(CostCap(rate, times.origin.rule, times.origin.source))
    return min(caps, key=lambda cap: cap.rate, default=None)


def sheet(plan: Plan, cap: CostCap | None, *, forced_read: bool = False) -> Sheet:
    """Return the all-in cost sheet of a plan.

    Parameters
    ----------
    plan : Plan
    cap : CostCap, optional
        See `cost_cap`.
    forced_read : bool
        Whether the duty `cost_sheet` of the pack is in force.
    """
    apr, ear = all_in(plan)
    charges = plan.items_minor["interest"] / Decimal(plan.amount_minor)
    return Sheet(
        plan=plan,
        total_minor=sum(plan.instalments_minor) - plan.received_minor,
        nominal_annual=_shown(_WIDE.divide(12 * charges, Decimal(len(plan.instalments_minor)))),
        apr=apr,
        ear=ear,
        cap=cap,
        within_cap=cap is None or within(plan, cap.rate),
        forced_read=forced_read,
    )


def check_prices(
    source: str, prices: Mapping[str, Price], months: Sequence[int], cap: CostCap | None
) -> None:
    """Check that no price of a table breaks the cap, over any of the terms on offer.

    Raises
    ------
    ConfigError
        With all findings.
    """
    amount = 10**8  # large enough that rounding to the minor unit plays no part
    findings = [
        f"prices.{grade}: over {term} months must cost at most {cap.rate} a year ({cap.rule})"
        for grade, price in prices.items()
        for term in months
        if cap is not None and not within(equal_instalments(amount, term, price), cap.rate)
    ]
    if findings:
        raise ConfigError(source, findings)
