"""Expected loss, capital and provisions: the regulator's formulae, and caps that follow from them.

The regulatory charge is a figure for the lender's books. It falls again towards certain default, so
no limit of a customer is bound by it: a capital cap uses a flat risk weight, which cannot reward
risk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist
from typing import Final, Literal

from shared.errors import UsageError

_NORMAL: Final = NormalDist()
BAD_YEAR: Final = 0.999
"""The charge covers all but one year in a thousand."""
REVOLVING_CORRELATION: Final = 0.04
RWA_PER_CAPITAL: Final = 12.5

Stage = Literal[1, 2, 3]


def revolving_charge(default_prob: float, lgd: float) -> float:
    """Return the capital charge K of a qualifying revolving retail exposure, per unit of it.

    Source: Basel II, paragraph 329, without the factor 1.06 that final Basel III dropped (domain
    T11 to T13).

    Parameters
    ----------
    default_prob, lgd : float
        In [0, 1].
    """
    return _charge(default_prob, lgd, REVOLVING_CORRELATION)


def retail_charge(default_prob: float, lgd: float) -> float:
    """Return the capital charge K of other retail exposures: Basel II, paragraph 330 (domain T14).

    Parameters
    ----------
    default_prob, lgd : float
        In [0, 1].
    """
    weight = math.expm1(-35.0 * default_prob) / math.expm1(-35.0)
    return _charge(default_prob, lgd, 0.03 * weight + 0.16 * (1.0 - weight))


def _charge(default_prob: float, lgd: float, correlation: float) -> float:
    if not (0.0 <= default_prob <= 1.0 and 0.0 <= lgd <= 1.0):
        raise UsageError("default_prob and lgd must lie from 0 to 1")
    if default_prob in {0.0, 1.0}:
        return 0.0  # nothing is unexpected
    shifted = _NORMAL.inv_cdf(default_prob) + correlation**0.5 * _NORMAL.inv_cdf(BAD_YEAR)
    stressed = _NORMAL.cdf(shifted / (1.0 - correlation) ** 0.5)
    return max(0.0, lgd * stressed - lgd * default_prob)


def risk_weight(charge: float) -> float:
    """Return the risk weight of a charge: risk-weighted assets per unit of exposure."""
    return RWA_PER_CAPITAL * charge


def exposure_at_default(drawn_minor: int, limit_minor: int, ccf: Decimal) -> Fraction:
    """Return what is owed when a line defaults: what is drawn, and `ccf` of what is not."""
    return Fraction(drawn_minor) + Fraction(ccf) * max(0, limit_minor - drawn_minor)


def capital_cap(
    spare_minor: int, weight: Decimal, ratio: Decimal, ccf: Decimal, drawn_minor: int = 0
) -> int:
    """Return the limit whose exposure the spare capital carries, down to the minor unit.

    Solves `weight x ratio x (drawn + ccf (limit - drawn)) = spare`. The weight is flat (the
    standardised approach), so the cap never rises with risk.

    Parameters
    ----------
    spare_minor : int
        Capital set aside for the line.
    weight, ratio : Decimal
        Risk weight, and own funds over risk-weighted assets; above 0.
    ccf : Decimal
        In (0, 1].
    drawn_minor : int

    Raises
    ------
    UsageError
        If weight, ratio or ccf are not above 0.
    """
    if min(weight, ratio, ccf) <= 0:
        raise UsageError("risk weight, capital ratio and ccf must be above 0")
    exposure = Fraction(spare_minor) / (Fraction(weight) * Fraction(ratio))
    if exposure < drawn_minor:
        return 0
    return math.floor((exposure - drawn_minor) / Fraction(ccf)) + drawn_minor


def stage_of(days_past_due: int, *, defaulted: bool, risk_rose: bool, backstop_days: int) -> Stage:
    """Return the stage of impairment of IFRS 9.

    Parameters
    ----------
    days_past_due : int
    defaulted, risk_rose : bool
    backstop_days : int
        From the pack: 30.
    """
    if defaulted:
        return 3
    return 2 if risk_rose or days_past_due > backstop_days else 1


def expected_credit_loss(
    exposures_minor: Sequence[int],
    default_probs: Sequence[Decimal],
    lgd: Decimal,
    *,
    discount: Decimal = Decimal(0),
) -> int:
    """Return the provision for the years given, up to the minor unit.

    One year is the loss of stage 1 (domain T18); all years to the end are that of stages 2 and 3.

    Parameters
    ----------
    exposures_minor : sequence of int
        Exposure at default in each year.
    default_probs : sequence of Decimal
        Probability to default in each year, having survived those before.
    lgd, discount : Decimal
        Share lost; rate a year at which later years count less.

    Raises
    ------
    UsageError
        If the sequences differ in length.
    """
    if len(exposures_minor) != len(default_probs):
        raise UsageError("each year needs one exposure and one default probability")
    alive, loss = Fraction(1), Fraction(0)
    factor = 1 / (1 + Fraction(discount))
    for year, (exposure, rate) in enumerate(zip(exposures_minor, default_probs, strict=True)):
        loss += alive * Fraction(rate) * Fraction(lgd) * exposure * factor**year
        alive *= 1 - Fraction(rate)
    return math.ceil(loss)
