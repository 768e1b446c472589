"""Champion and challenger on the same customers: paired differences with intervals.

Two models scored on the same people err on the same people, so the interval of their difference is
far narrower than two intervals apart. AUC by DeLong, DeLong & Clarke-Pearson (1988), "Comparing the
areas under two or more correlated receiver operating characteristic curves", Biometrics 44(3), in
the fast form of Sun & Xu (2014), IEEE Signal Processing Letters 21(11). KS and Brier by a paired
bootstrap whose draws come from a generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import erfc, isfinite, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np

from shared.errors import DataError, UsageError
from shared.metrics import Interval, check_rows, ks_from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.generic]
    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

REPLICATES: Final = 500
"""Redrawn samples behind an interval of KS or Brier."""
LEVEL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Pairs:
    """Goods and bads at each distinct pair of scores; all of shape (pairs,).

    Parameters
    ----------
    champion, challenger : ndarray of float64
        Finite; higher means more likely to default.
    goods, bads : ndarray of int64
        Customers with both scores; one or more in every pair.
    """

    champion: Floats
    challenger: Floats
    goods: Ints
    bads: Ints

    @classmethod
    def of_rows(cls, label: Numbers, champion: Numbers, challenger: Numbers) -> Self:
        """Count customers by pair of scores.

        Parameters
        ----------
        label : ndarray, shape (n,)
            1 for a default, 0 for none.
        champion, challenger : ndarray, shape (n,)
            Scores of the same customers in the same order.

        Raises
        ------
        DataError
            Shapes differ, a label is not 0 or 1, a score is not finite, or a class has fewer than
            two customers.
        """
        for name, score in (("champion", champion), ("challenger", challenger)):
            check_rows(label, score, name, both_classes=True)
        both = np.column_stack([champion, challenger]).astype(np.float64)
        order = np.lexsort((both[:, 1], both[:, 0]))
        both, bad = both[order], label[order].astype(np.int64)
        first = np.flatnonzero(np.concatenate(([True], (both[1:] != both[:-1]).any(axis=1))))
        size = np.diff(np.append(first, len(both)))
        bads = np.add.reduceat(bad, first)
        return cls(both[first, 0], both[first, 1], size - bads, bads).checked()

    def checked(self) -> Self:
        """Return the same, if both classes have two customers or more.

        Raises
        ------
        DataError
        """
        if min(int(self.goods.sum()), int(self.bads.sum())) < 2:
            raise DataError("label", ["a comparison needs two goods and two bads or more"])
        return self


@dataclass(frozen=True, slots=True)
class Paired:
    """A figure of both models, and the challenger's less the champion's with its interval."""

    champion: float
    challenger: float
    difference: Interval

    @classmethod
    def of_mapping(cls, value: Mapping[str, Any]) -> Self:
        """Read the JSON form; anything else raises KeyError, TypeError or ValueError."""
        told = dict(value["difference"])
        difference = Interval(**{key: _number(told[key]) for key in told})
        both = cls(_number(value["champion"]), _number(value["challenger"]), difference)
        gap = both.challenger - both.champion
        if not difference.low <= difference.value <= difference.high:
            raise ValueError("an interval must hold its value")
        if abs(gap - difference.value) > 1e-9 or value.keys() != asdict(both).keys():
            raise ValueError("a difference is not that of its figures")
        return both


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same customers.

    Parameters
    ----------
    customers, bads : int
        Behind every figure.
    auc, ks, brier : Paired
        Of AUC and KS more is better, of Brier less.
    p_value : float
        Two-sided, of equal AUCs (DeLong).
    """

    customers: int
    bads: int
    auc: Paired
    ks: Paired
    brier: Paired
    p_value: float

    @property
    def worse(self) -> bool:
        """Whether the challenger ranks worse than the champion beyond chance."""
        return self.auc.difference.high < 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Self:
        """Read what `to_mapping` wrote.

        Raises
        ------
        DataError
            If it is not exactly that.
        """
        try:
            read = cls(
                customers=_whole(value["customers"]),
                bads=_whole(value["bads"]),
                auc=Paired.of_mapping(value["auc"]),
                ks=Paired.of_mapping(value["ks"]),
                brier=Paired.of_mapping(value["brier"]),
                p_value=_number(value["p_value"]),
            )
            known = value.keys() == asdict(read).keys()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(source, [f"is not a comparison: {error}"]) from error
        counted = 2 <= read.bads <= read.customers - 2 and 0.0 <= read.p_value <= 1.0
        if not (known and counted):
            raise DataError(source, ["is not a comparison: a field is unknown or out of range"])
        return read


def compare(
    pairs: Pairs,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> Comparison:
    """Compare two models by AUC, KS and Brier.

    Parameters
    ----------
    pairs : Pairs
        Scores are `default_prob` here, in [0, 1]: Brier needs probabilities.
    rng : numpy.random.Generator
        Source of the redrawn samples, so that a seed repeats the intervals.
    level : float
        In (0, 1).
    replicates : int
        At least 2.

    Raises
    ------
    DataError
        If a score is no probability.
    UsageError
        If level or replicates are out of range.
    """
    auc, p_value = delong(pairs, level)
    return Comparison(
        customers=int(pairs.goods.sum() + pairs.bads.sum()),
        bads=int(pairs.bads.sum()),
        auc=auc,
        ks=ks_difference(pairs, level, replicates, rng),
        brier=brier_difference(pairs, level, replicates, rng),
        p_value=p_value,
    )


def delong(pairs: Pairs, level: float = LEVEL) -> tuple[Paired, float]:
    """Return both AUCs, their difference with DeLong's interval, and the two-sided p-value.

    A customer's placement is the share of the other class that it outranks, ties one half; the
    AUC is the mean placement of the bads, and of the goods. The variance of the difference is that
    of the differences of placements, class by class: no covariance matrix is needed for two.

    Parameters
    ----------
    pairs : Pairs
    level : float
        In (0, 1).

    Returns
    -------
    paired : Paired
        The interval is not cut: a difference of AUCs lies in [-1, 1].
    p_value : float
        1 where the two models rank alike.
    """
    deviate = _deviate(level)
    areas, winning, losing = [], [], []
    for score in (pairs.champion, pairs.challenger):
        beaten, above = _placements(score, pairs)
        areas.append(float(pairs.bads @ beaten) / int(pairs.bads.sum()))
        winning.append(beaten)
        losing.append(above)
    value = areas[1] - areas[0]
    variance = _variance_of_mean(winning[1] - winning[0], pairs.bads)
    variance += _variance_of_mean(losing[1] - losing[0], pairs.goods)
    error = sqrt(variance)
    alike = error <= 1e-12  # rounding of placements that are the same
    p_value = (1.0 if abs(value) <= 1e-12 else 0.0) if alike else erfc(abs(value / error) / 2**0.5)
    interval = Interval(value, value - deviate * error, value + deviate * error, level)
    return Paired(areas[0], areas[1], interval), p_value


def ks_difference(pairs: Pairs, level: float, replicates: int, rng: np.random.Generator) -> Paired:
    """Return both KS and their difference with a bootstrap interval stratified by class.

    Each replicate redraws goods and bads with both their scores. The interval is the basic one, as
    in `shared.metrics.ks_interval`: what resampling adds to a maximum is taken off again.
    """
    sides = [_runs(score) for score in (pairs.champion, pairs.challenger)]
    redraws = [_redraws(counts, rng) for counts in (pairs.goods, pairs.bads)]

    def both(goods: Ints, bads: Ints) -> tuple[float, float]:
        old, new = (
            ks_from_counts(
                np.add.reduceat(goods[order], first), np.add.reduceat(bads[order], first)
            )
            for order, first in sides
        )
        return old, new

    return _bootstrapped(
        both(pairs.goods, pairs.bads),
        lambda: both(*(redraw() for redraw in redraws)),
        level,
        replicates,
    )


def brier_difference(
    pairs: Pairs, level: float, replicates: int, rng: np.random.Generator
) -> Paired:
    """Return both Brier scores and their difference with a bootstrap interval over customers.

    Raises
    ------
    DataError
        If a score is no probability.
    """
    scores = (pairs.champion, pairs.challenger)
    if any(score.min() < 0.0 or score.max() > 1.0 for score in scores):
        raise DataError("default_prob", ["every value must lie in [0, 1]"])
    counts = np.concatenate([pairs.goods, pairs.bads])
    missed = np.array([np.concatenate([score**2, (1.0 - score) ** 2]) for score in scores])
    n = int(counts.sum())

    def both(drawn: Ints) -> tuple[float, float]:
        old, new = missed @ drawn / n
        return float(old), float(new)

    redraw = _redraws(counts, rng)
    return _bootstrapped(both(counts), lambda: both(redraw()), level, replicates)


def _bootstrapped(
    found: tuple[float, float],
    redrawn: Callable[[], tuple[float, float]],
    level: float,
    replicates: int,
) -> Paired:
    """Return a difference with its basic interval (Davison & Hinkley 1997, eq. 5.6)."""
    _deviate(level)
    if replicates < 2:
        raise UsageError(f"replicates: must be at least 2. Got {replicates}")
    draws = np.array([redrawn() for _ in range(replicates)])
    tail, value = (1.0 - level) / 2.0, found[1] - found[0]
    lower, upper = np.quantile(draws[:, 1] - draws[:, 0], [tail, 1.0 - tail]).tolist()
    low, high = min(value, 2 * value - upper), max(value, 2 * value - lower)
    return Paired(found[0], found[1], Interval(value, low, high, level))


def _redraws(counts: Ints, rng: np.random.Generator) -> Callable[[], Ints]:
    """Return what draws as many customers again, with replacement, as counts a cell."""
    cell = np.repeat(np.arange(len(counts)), counts)

    def redraw() -> Ints:
        drawn = cell[rng.integers(0, len(cell), len(cell))]
        return np.bincount(drawn, minlength=len(counts))

    return redraw


def _placements(score: Floats, pairs: Pairs) -> tuple[Floats, Floats]:
    """Return the share of goods below each pair and of bads above it, ties one half."""
    _, at = np.unique(score, return_inverse=True)
    goods, bads = (np.bincount(at, weights=c) for c in (pairs.goods, pairs.bads))
    below = (np.cumsum(goods) - 0.5 * goods) / goods.sum()
    above = 1.0 - (np.cumsum(bads) - 0.5 * bads) / bads.sum()
    return below[at], above[at]


def _variance_of_mean(values: Floats, counts: Ints) -> float:
    """Return the variance of the mean of values of which there are so many each."""
    n = int(counts.sum())
    mean = float(counts @ values) / n
    return float(counts @ (values - mean) ** 2) / (n - 1) / n


def _runs(score: Floats) -> tuple[Ints, Ints]:
    """Return an order by score, and where each distinct one begins in it."""
    order = np.argsort(score, kind="stable").astype(np.int64)
    ordered = score[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return order, first.astype(np.int64)


def _deviate(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise UsageError(f"level: must lie between 0 and 1. Got {level}")
    return NormalDist().inv_cdf(0.5 + level / 2.0)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("a figure must be a finite number")
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a count must be a whole number")
    return value
