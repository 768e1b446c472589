"""What a draw costs: the grade of today, the price of that grade, and the sheet that is shown.

A holder that is silent makes nobody pay more: the grade is then the safer of what can be told today
and what the last review saw. Where no score can be had at all, the last review's stands; a line
that never had one is not drawn on until somebody answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from server.accounts.desk import Desk, text_of
from server.limits.line.delinquency import due_dates
from server.limits.line.line import Line
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.prices import Price
from server.limits.rules.pricing import Plan, Sheet, cost_cap, equal_instalments, sheet
from server.limits.rules.products import Product
from shared.errors import Conflict, EnvironmentFault, NotFound

SHEET: Final = "cost_sheet"
"""The duty of a pack to have the sheet read before a draw."""


@dataclass(frozen=True, slots=True)
class Rated:
    """How a customer stands when money is drawn.

    Parameters
    ----------
    grade : str
        Whose price is paid.
    score : int, optional
        Of today; None where none can be had.
    best : int, optional
        What it could be had every holder answered.
    default_prob : Decimal, optional
    release : str
    missing : mapping of str to str
        Holders that are silent, and why.
    """

    grade: str
    score: int | None
    best: int | None
    default_prob: Decimal | None
    release: str
    missing: Mapping[str, str]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        prob = self.default_prob
        return {
            "value": self.score,
            "default_prob": None if prob is None else str(prob),
            "grade": self.grade,
            "release": self.release,
            "missing": sorted(self.missing),
        }


def rated(
    desk: Desk,
    customer_id: str,
    line: Line,
    product: Product,
    holders: Collection[str],
    now: datetime,
) -> Rated:
    """Return how a customer stands at an instant.

    Parameters
    ----------
    desk : Desk
    customer_id : str
    line : Line
        With the score of its last review.
    product : Product
    holders : collection of str
        That the customer lets tell.
    now : datetime

    Raises
    ------
    EnvironmentFault
        If no release serves, or neither today nor the last review gives a score.
    ReleaseRefused
        If the release does not verify, or has expired.
    """
    instant = text_of(now)
    try:
        scored = desk.scores.score(customer_id, now=instant, allowed=holders)
    except (NotFound, EnvironmentFault) as error:
        release, _, _ = desk.scores.serving(instant)
        if line.score is None:
            raise EnvironmentFault(
                "no score can be had today, and the line never had one", hint="try again later"
            ) from error
        grade = release.model.scale.grade_of(line.score)
        return Rated(grade, None, None, None, release.name, dict.fromkeys(holders, "no score"))
    snapshot = scored.snapshot
    rating, grade = snapshot.rating, snapshot.rating.grade
    if snapshot.missing and line.score is not None:
        before = scored.release.model.scale.grade_of(line.score)
        grade = min(grade, before, key=list(product.prices).index)
    return Rated(
        grade=grade,
        score=rating.score,
        best=snapshot.at_best.score,
        default_prob=rating.default_prob,
        release=scored.release.name,
        missing=snapshot.missing,
    )


def frozen_by_score(line: Line, best: int | None, policy: LinePolicy) -> str:
    """Return the code of the rule that a fresh score would freeze a line by; '' where none does.

    What a silent holder might have said counts for the customer.
    """
    if best is None or line.score is None:
        return ""
    fell = (line.score - best, 1)
    for code, rule in policy.rules.items():
        if rule.effect == "freeze" and any(
            one.metric == "score_drop" and one.met(fell) for one in rule.enter
        ):
            return code
    return ""


def priced(
    desk: Desk, product: Product, grade: str, amount_minor: int, months: int, day: date
) -> Sheet:
    """Return the all-in cost sheet of a draw.

    Raises
    ------
    Conflict
        With check `months`, if the product or the law has no such term.
    ConfigError
        If the pack's cap on costs cannot be reckoned.
    """
    pack = desk.rules.pack
    longest = pack.figure("max_term_years", day)
    if months not in product.months or (longest and months > 12 * longest.value):
        offered = ", ".join(map(str, product.months))
        raise Conflict(f"months must be one of {offered}", check="months")
    plan = equal_instalments(amount_minor, months, product.prices[grade])
    cap = cost_cap(pack, day, lender=product.lender)
    return sheet(plan, cap, forced_read=pack.duty(SHEET, day) is not None)


def schedule(plan: Plan, price: Price, day: date) -> list[dict[str, Any]]:
    """Return what falls due when: a month after the draw, and then every month.

    Each day is reckoned from the day of the draw, so that the 31st comes back after a short month.

    Parameters
    ----------
    plan : Plan
    price : Price
        That the plan was made with.
    day : date
        Of the draw, local.

    Returns
    -------
    list of dict
        `due_on`, `principal_minor` and `cost_minor`; the principal adds up to the amount.
    """
    days = due_dates(day, len(plan.instalments_minor) + 1)[1:]
    rate, fee = Fraction(price.annual_rate) / 12, int(price.guarantee_monthly * plan.amount_minor)
    owed, rows = plan.amount_minor, []
    for due_on, instalment in zip(days, plan.instalments_minor, strict=True):
        cost = owed * rate.numerator // rate.denominator + fee
        owed -= instalment - cost
        row = {"due_on": due_on.isoformat(), "principal_minor": instalment - cost}
        rows.append({**row, "cost_minor": cost})
    return rows


def price_to_mapping(price: Price, made: Sheet) -> dict[str, Any]:
    """Return a price and its sheet as plain values, ready for JSON."""
    cap = made.cap
    told = None if cap is None else {"rate": str(cap.rate), "rule": cap.rule, "source": cap.source}
    return {
        "grade": price.grade,
        "annual_rate": str(price.annual_rate),
        "guarantee_monthly": str(price.guarantee_monthly),
        "apr": str(made.apr),
        "ear": str(made.ear),
        "nominal_annual": str(made.nominal_annual),
        "total_minor": made.total_minor,
        "items_minor": dict(made.plan.items_minor),
        "instalments_minor": list(made.plan.instalments_minor),
        "cap": told,
        "within_cap": made.within_cap,
        "forced_read": made.forced_read,
    }
