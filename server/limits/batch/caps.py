"""Every named cap of many lines, and their targets: the twin of `server.limits.caps.caps`.

The same figures, rounded at the same places. What is not linear in money is looked up: a stressed
default rate for each default rate that occurs, a present value for each income that is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np

from server.limits.batch.columns import NONE, Flags, Money
from server.limits.batch.exact import narrow, share_of, times
from server.limits.batch.inputs import InputColumns, ScoreColumns
from server.limits.caps.caps import annuity, stressed_default_prob
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Capacity, LossCap, Policy
from shared.errors import UsageError

FREE: Final = int(np.iinfo(np.int64).max)
"""Where a cap does not apply."""
_MICRO: Final = 10**6


def all_caps(
    policy: Policy, pack: Pack, scores: ScoreColumns, inputs: InputColumns, day: date
) -> Mapping[str, Money]:
    """Return every cap that applies to any line, in the order of `caps.CAPS`.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    scores : ScoreColumns
    inputs : InputColumns
    day : date

    Returns
    -------
    dict of str to (n,) Money
        `FREE` where a cap does not apply to a line.

    Raises
    ------
    UsageError
        If a default rate is not in (0, 1], or the policy has no haircut for a source of income.
    ConfigError
        If the pack has no cap for the day.
    """
    rate, drawn = scores.default_prob_micro.astype(np.int64), inputs.drawn_minor
    if rate.size and not 1 <= rate.min() <= rate.max() <= _MICRO:
        raise UsageError("a default rate must lie in (0, 1]")
    rows = list(policy.grades.values())
    caps = {
        "grade": np.array([row.limit_minor for row in rows], np.int64)[scores.grade],
        "expected_loss": loss_cap(policy.expected_loss, rate, drawn),
    }
    if policy.stress_loss is not None:
        caps["stress_loss"] = loss_cap(policy.stress_loss, stressed(rate), drawn)
    proven = counted_income(policy, inputs)
    presumed = [row.presumed_minor for row in rows]
    if None not in presumed:
        least = np.array(presumed, np.int64)[scores.grade]
        counted = np.where(inputs.whole & inputs.has_income, proven, np.maximum(least, proven))
        caps["income"] = _multiples(policy, scores, counted) + inputs.uplift_minor
        owed, uplift = inputs.obligations_minor, inputs.uplift_minor
        caps["capacity"] = capacity_cap(policy.capacity, counted, owed, uplift)
    caps["product"] = np.full(rate.size, policy.product_cap_minor, np.int64)
    law = legal_cap(policy, pack, proven, day)
    if law is not None:
        caps["jurisdiction"] = law
    if policy.other_lenders_minor is not None:
        left = np.maximum(0, policy.other_lenders_minor - inputs.others_minor)
        caps["other_lenders"] = np.where(inputs.others_minor == NONE, FREE, left)
    for name in ("own", "capital", "partner"):
        found: Money = getattr(inputs, f"{name}_minor")
        caps[name] = np.where(found == NONE, FREE, found)
    return caps


def loss_cap(cap: LossCap, rate: Money, drawn: Money) -> Money:
    """Return the limits at which the loss to expect reaches the most that may be lost.

    `caps.loss_cap`, with numerator and denominator multiplied out: all terms are whole.

    Parameters
    ----------
    cap : LossCap
    rate : (n,) int64
        Default rates in millionths, at least 1.
    drawn : (n,) Money
    """
    (lgd, lgd_part), (ccf, ccf_part) = cap.lgd.as_integer_ratio(), cap.ccf.as_integer_ratio()
    most = times(np.full(rate.size, cap.most_minor, np.int64), _MICRO * lgd_part * ccf_part)
    spare = most - times(times(rate, drawn), (ccf_part - ccf) * lgd)
    limits = narrow(spare // times(rate, lgd * ccf))
    return np.where(spare > 0, limits, 0)


def stressed(rate: Money) -> Money:
    """Return default rates of a bad year, in millionths (`caps.stressed_default_prob`)."""
    known, places = np.unique(rate, return_inverse=True)
    bad = [stressed_default_prob(Decimal(one).scaleb(-6)).scaleb(6) for one in known.tolist()]
    return np.array([int(one) for one in bad], np.int64)[places]


def counted_income(policy: Policy, inputs: InputColumns) -> Money:
    """Return the part of the incomes that counts, by who vouches for them; 0 where nobody does."""
    counted = np.zeros(inputs.drawn_minor.size, np.int64)
    for place, source in enumerate(inputs.sources):
        mine = (inputs.source == place) & (inputs.monthly_minor > 0)
        if mine.any():
            if source not in policy.haircuts:
                known = ", ".join(policy.haircuts)
                raise UsageError(f"income: source must be one of {known}. Got {source!r}")
            counted[mine] = share_of(inputs.monthly_minor[mine], policy.haircuts[source])
    return counted


def _multiples(policy: Policy, scores: ScoreColumns, counted: Money) -> Money:
    result = np.zeros_like(counted)
    for place, row in enumerate(policy.grades.values()):
        mine: Flags = scores.grade == place
        result[mine] = share_of(counted[mine], row.income_multiple)
    return result


def capacity_cap(capacity: Capacity, counted: Money, owed: Money, uplift: Money) -> Money:
    """Return the debts that incomes' free part and assets repay (`caps.capacity_cap`).

    Parameters
    ----------
    capacity : Capacity
    counted, owed, uplift : (n,) Money
    """
    above, below = capacity.dti.as_integer_ratio()
    unit = annuity(capacity.annual_rate, capacity.months)
    known, places = np.unique(times(counted, above) - times(owed, below), return_inverse=True)
    numerator, denominator = unit.numerator, unit.denominator * below
    worth = [spare * numerator // denominator for spare in known.tolist()]
    limits: Money = np.maximum(0, np.array(worth, np.int64)[places] + uplift)
    return limits


def legal_cap(policy: Policy, pack: Pack, proven: Money, day: date) -> Money | None:
    """Return the most that the law lets borrowers owe (`caps.legal_cap`); None where no law says.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    proven : (n,) Money
        Incomes that count.
    day : date
    """
    if policy.borrower == "business":
        figure = pack.figure("business_cap", day)
        return None if figure is None else np.full(proven.size, int(figure.value), np.int64)
    law = pack.cap_on(day)
    if law is None:
        return None
    most = np.full(proven.size, law.amount_minor, np.int64)
    if law.income_parts:
        most = np.minimum(most, narrow(times(proven, 12) // law.income_parts))
    if policy.lender == "micro_lender":
        figure = pack.figure("micro_lender_consumer_cap", day)
        most = most if figure is None else np.minimum(most, int(figure.value))
    return most
