"""Whether a model still ranks and fits, and whether its people are still the same: from counts.

Every figure here is a function of counts on public bins, so holders can add them securely and no
row is ever needed. `shared.metrics` and `shared.stability` do the arithmetic; this module says what
is reported beside a figure (people and bins: a stability index means nothing without them, Yurdakul
2018) and what calls for somebody to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from server.monitor.beta import beta_mass, jeffreys_interval
from server.monitor.bounds import Bounds
from shared.errors import DataError
from shared.metrics import auc_interval_from_counts, ks_from_counts
from shared.stability import stability_band, stability_index, stability_terms
from shared.trueness import logistic_line

_PROB_STEP: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well the score ranks.

    Parameters
    ----------
    people, bads, bins : int
    ks, auc, gini : float
    auc_low, auc_high : float
        DeLong's interval at 95 %.
    """

    people: int
    bads: int
    bins: int
    ks: float
    auc: float
    gini: float
    auc_low: float
    auc_high: float


def ranking(goods: Sequence[int], bads: Sequence[int]) -> Ranking:
    """Measure the ranking from counts.

    Parameters
    ----------
    goods, bads : sequence of int, length (bins,)
        From the safest bin to the riskiest.

    Raises
    ------
    DataError
        Lengths differ, a count is negative, or there are fewer than two goods or bads.
    """
    good, bad = _counts(goods), _counts(bads)
    interval = auc_interval_from_counts(good, bad)
    return Ranking(
        int(good.sum() + bad.sum()),
        int(bad.sum()),
        len(good),
        ks_from_counts(good, bad),
        interval.value,
        2.0 * interval.value - 1.0,
        interval.low,
        interval.high,
    )


def ranking_alerts(before: Ranking, now: Ranking, bounds: Bounds) -> tuple[str, ...]:
    """Return which of KS and AUC fell by more than the bound, relative to development."""
    return tuple(
        name
        for name in ("ks", "auc")
        if getattr(now, name) < (1.0 - bounds.ranking_drop) * getattr(before, name)
    )


@dataclass(frozen=True, slots=True)
class FitBin:
    """People of like default_prob.

    Parameters
    ----------
    people, bads : int
    default_prob, bad_rate : float
        Foretold and observed.
    low, high : float
        Jeffreys' interval of the rate at 95 %.
    """

    people: int
    bads: int
    default_prob: float
    bad_rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """How true the probabilities are.

    Parameters
    ----------
    people, bads : int
    brier : float
        Of everybody at the default_prob of the bin.
    slope, intercept : float
        Logistic, of the outcome on the log-odds; 1 and 0 are right.
    bins : tuple of FitBin
        From the lowest default_prob to the highest.
    alert : bool
        The slope is out of bounds.
    """

    people: int
    bads: int
    brier: float
    slope: float
    intercept: float
    bins: tuple[FitBin, ...]
    alert: bool


def fit(
    default_prob: Sequence[float], goods: Sequence[int], bads: Sequence[int], bounds: Bounds
) -> Fit:
    """Measure the calibration from counts.

    Parameters
    ----------
    default_prob : sequence of float, length (bins,)
        Rising, in (0, 1): the probability foretold for the bin.
    goods, bads : sequence of int, length (bins,)
    bounds : Bounds

    Raises
    ------
    DataError
        A probability is out of range or order, or the counts allow no slope.
    """
    prob, good, bad = np.asarray(default_prob, float), _counts(goods), _counts(bads)
    findings = []
    if not len(prob) == len(good) == len(bad):
        findings.append("default_prob, goods and bads: must have the same bins")
    if not ((prob > 0) & (prob < 1)).all() or not (np.diff(prob) > 0).all():
        findings.append("default_prob: must rise strictly within (0, 1)")
    if findings:
        raise DataError("calibration counts", findings)
    people = good + bad
    kept = np.clip(prob, _PROB_STEP, 1.0 - _PROB_STEP)
    intercept, slope = logistic_line(np.log(kept / (1.0 - kept)), good, bad)
    brier = float((good * prob**2 + bad * (1.0 - prob) ** 2).sum() / people.sum())
    bins = tuple(
        FitBin(int(n), int(d), float(p), int(d) / int(n), *jeffreys_interval(int(d), int(n)))
        for n, d, p in zip(people, bad, prob, strict=True)
        if n
    )
    alert = not bounds.slope_low <= slope <= bounds.slope_high
    return Fit(int(people.sum()), int(bad.sum()), brier, slope, intercept, bins, alert)


@dataclass(frozen=True, slots=True)
class Stability:
    """Whether a population moved.

    Parameters
    ----------
    name : str
        `score`, or a characteristic.
    index : float
    band : {'stable', 'watch', 'act'}
    before, now : int
        People: the index of a small sample is above 0 by chance alone.
    bins : int
    noise : float
        What the index would be on average if nothing had moved: (bins - 1)(1/before + 1/now), its
        mean under the chi-squared approximation (Yurdakul 2018).
    terms : tuple of float
        By bin.
    """

    name: str
    index: float
    band: Literal["stable", "watch", "act"]
    before: int
    now: int
    bins: int
    noise: float
    terms: tuple[float, ...]


def stability(name: str, before: Sequence[int], now: Sequence[int]) -> Stability:
    """Compare the counts of a score or a characteristic on the same bins.

    Raises
    ------
    DataError
        Lengths differ, a count is negative, or one side is empty.
    """
    old, new = _counts(before), _counts(now)
    index = stability_index(old, new)
    people, bins = (int(old.sum()), int(new.sum())), len(old)
    return Stability(
        name,
        index,
        stability_band(index),
        *people,
        bins,
        (bins - 1) * (1 / people[0] + 1 / people[1]),
        tuple(float(term) for term in stability_terms(old, new)),
    )


def characteristics(
    counts: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> tuple[Stability, ...]:
    """Compare every characteristic, the one that moved most first.

    Parameters
    ----------
    counts : mapping of str to (before, now)
    """
    found = [stability(name, before, now) for name, (before, now) in counts.items()]
    return tuple(sorted(found, key=lambda one: (-one.index, one.name)))


@dataclass(frozen=True, slots=True)
class GradeTest:
    """Back-test of a grade.

    Parameters
    ----------
    grade : str
    people, bads : int
    default_prob : float
        Foretold.
    p_value : float
        Chance of a true rate at most as foretold, given what came: small means foretold too low.
    alert : bool
    """

    grade: str
    people: int
    bads: int
    default_prob: float
    p_value: float
    alert: bool


def backtest(grades: Mapping[str, tuple[float, int, int]], bounds: Bounds) -> tuple[GradeTest, ...]:
    """Test every grade's default_prob against what came: Jeffreys' test.

    With the prior Beta(1/2, 1/2) the rate has the posterior Beta(d + 1/2, n - d + 1/2); the p-value
    is its mass up to the default_prob (ECB, Instructions for reporting the validation results of
    internal models, 2019).

    Parameters
    ----------
    grades : mapping of str to (float, int, int)
        default_prob, people and bads by grade, safest first.
    bounds : Bounds
    """
    tests = []
    for grade, (prob, people, bads) in grades.items():
        if not 0 < prob < 1 or not 0 <= bads <= people:
            rule = "default_prob must lie in (0, 1), and bads from 0 to people"
            raise DataError("back-test", [f"grade {grade}: {rule}"])
        p_value = beta_mass(prob, bads + 0.5, people - bads + 0.5)
        tests.append(GradeTest(grade, people, bads, prob, p_value, p_value < bounds.backtest_level))
    return tuple(tests)


def _counts(values: Sequence[int]) -> Any:
    counts = np.asarray(values)
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise DataError("counts", ["must be whole numbers of 0 or more, one a bin"])
    return counts.astype(np.int64)
