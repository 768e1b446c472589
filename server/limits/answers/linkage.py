"""What a line means for a later mortgage or car loan: debt service with the balance, and with all.

A lender of a mortgage looks at what share of the income goes into repayments. Some count what is
drawn on a line, some the whole limit, as if it were drawn tomorrow. Both are computed, exactly:
annuities are fractions, an instalment is rounded up to the minor unit, a share up to four decimals,
a loan down. Nothing here is an enquiry, and nothing is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, get_args

from server.limits.basis.tables import LARGEST_MINOR
from server.limits.words.explain import Money, Texts
from shared.errors import UsageError

LoanKind = Literal["mortgage", "car", "other"]
Effect = Literal["fits", "undrawn", "over"]
_PLACES: Final = 10_000
_LONGEST_MONTHS: Final = 600


@dataclass(frozen=True, slots=True)
class Loan:
    """The loan that is planned.

    Parameters
    ----------
    kind : {'mortgage', 'car', 'other'}
    amount_minor : int
    annual_rate : Decimal
        In [0, 1]; a twelfth a month.
    months : int
        Equal instalments.
    most_share : Decimal
        Largest share of the income that its lender lets go into repayments, in (0, 1].

    Raises
    ------
    UsageError
        With all findings.
    """

    kind: LoanKind
    amount_minor: int
    annual_rate: Decimal
    months: int
    most_share: Decimal

    def __post_init__(self) -> None:
        findings = []
        if self.kind not in get_args(LoanKind):
            findings.append(f"type: must be one of {', '.join(get_args(LoanKind))}")
        if not 0 <= self.amount_minor <= LARGEST_MINOR:
            findings.append(f"amount: must be from 0 to {LARGEST_MINOR} minor units")
        if not _within(self.annual_rate, 0, 1):
            findings.append("rate: must be from 0 to 1 a year, with at most 9 decimals")
        if not 1 <= self.months <= _LONGEST_MONTHS:
            findings.append(f"term: must be from 1 to {_LONGEST_MONTHS} months")
        if not _within(self.most_share, 0, 1) or self.most_share == 0:
            findings.append("most_share: must be above 0 and at most 1, with at most 9 decimals")
        if findings:
            raise UsageError("loan: " + "; ".join(findings))


@dataclass(frozen=True, slots=True)
class Line:
    """The line as a later lender sees it.

    Parameters
    ----------
    drawn_minor, limit_minor : int
    annual_rate : Decimal
        In [0, 1].
    months : int
        Over which such a line is taken to be repaid.
    """

    drawn_minor: int
    limit_minor: int
    annual_rate: Decimal
    months: int


@dataclass(frozen=True, slots=True)
class Linkage:
    """What the line does to the loan.

    Parameters
    ----------
    loan_instalment_minor, drawn_instalment_minor, full_instalment_minor : int
        A month: of the loan, of the line as drawn, of the whole limit.
    share_drawn, share_full : Decimal
        Of the income that all repayments take, four decimals, rounded up.
    largest_drawn_minor, largest_full_minor : int
        The largest such loan that would fit, by either way of counting.
    effect : {'fits', 'undrawn', 'over'}
        Whether the loan fits either way, only by what is drawn, or not at all.
    """

    loan_instalment_minor: int
    drawn_instalment_minor: int
    full_instalment_minor: int
    share_drawn: Decimal
    share_full: Decimal
    largest_drawn_minor: int
    largest_full_minor: int
    effect: Effect


def link(loan: Loan, line: Line, income_minor: int, obligations_minor: int) -> Linkage:
    """Compute the effect of a line on a later loan.

    Parameters
    ----------
    loan : Loan
    line : Line
    income_minor, obligations_minor : int
        A month; the obligations without this line.

    Raises
    ------
    UsageError
        If the income is not above 0, or an amount is negative.
    """
    if income_minor <= 0 or min(obligations_minor, line.drawn_minor, line.limit_minor) < 0:
        raise UsageError("linkage: the income must be above 0, and no amount below 0")
    new = instalment(loan.amount_minor, loan.annual_rate, loan.months)
    drawn = instalment(line.drawn_minor, line.annual_rate, line.months)
    # A limit that was cut below the balance leaves nothing undrawn.
    whole = max(line.limit_minor, line.drawn_minor)
    full = instalment(whole, line.annual_rate, line.months)
    fits_drawn, fits_full = (
        (obligations_minor + owed + new) <= loan.most_share * income_minor for owed in (drawn, full)
    )
    return Linkage(
        new,
        drawn,
        full,
        _share(obligations_minor + drawn + new, income_minor),
        _share(obligations_minor + full + new, income_minor),
        _largest(loan, income_minor, obligations_minor + drawn),
        _largest(loan, income_minor, obligations_minor + full),
        "fits" if fits_full else "undrawn" if fits_drawn else "over",
    )


def instalment(amount_minor: int, annual_rate: Decimal, months: int) -> int:
    """Return the monthly instalment of an annuity, rounded up to the minor unit."""
    return -(-Fraction(amount_minor) // annuity(annual_rate, months))


def annuity(annual_rate: Decimal, months: int) -> Fraction:
    """Return the present value of one unit a month, exactly."""
    rate = Fraction(annual_rate) / 12
    return (1 - (1 + rate) ** -months) / rate if rate else Fraction(months)


def linkage_view(loan: Loan, linkage: Linkage, texts: Texts, money: Money) -> dict[str, Any]:
    """Return a linkage with its sentences."""
    text = texts.say(
        f"linkage.{linkage.effect}",
        loan=texts.say(f"loan.{loan.kind}"),
        amount=texts.money(loan.amount_minor, money.currency, money.digits),
        drawn=texts.percent(linkage.share_drawn),
        full=texts.percent(linkage.share_full),
        most=texts.percent(loan.most_share),
    )
    return {
        "loan_instalment_minor": linkage.loan_instalment_minor,
        "dti_drawn": str(linkage.share_drawn),
        "dti_full_limit": str(linkage.share_full),
        "largest_loan_drawn_minor": linkage.largest_drawn_minor,
        "largest_loan_full_limit_minor": linkage.largest_full_minor,
        "effect": linkage.effect,
        "effect_text": text,
        "note": texts.say("linkage.enquiry"),
    }


def _largest(loan: Loan, income_minor: int, other_minor: int) -> int:
    """Return the largest loan whose instalment, rounded up, still fits."""
    room = Fraction(loan.most_share) * income_minor - other_minor
    if room < 1:
        return 0
    return int(room) * annuity(loan.annual_rate, loan.months) // 1


def _share(owed_minor: int, income_minor: int) -> Decimal:
    return Decimal(-(-owed_minor * _PLACES // income_minor)).scaleb(-4)


def _within(value: Decimal, low: int, high: int) -> bool:
    return value.is_finite() and low <= value <= high and -int(value.as_tuple().exponent) <= 9
