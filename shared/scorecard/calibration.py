"""From the integer points of a customer to default_prob.

The card ranks; how likely default is at a given number of points is read off people whose outcome
is known. A logistic line gives the level and the slope; pooled adjacent violators over bins of
equal count then correct its shape where the data say so, on the log-odds scale. The result is a
piecewise linear, strictly falling curve of log-odds over points: two numbers a knot.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np

from shared.errors import DataError
from shared.metrics import equal_count_bins, score_counts
from shared.scorecard.scale import stored_default_prob
from shared.trueness import logistic_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.integer[Any]]

MOST_BINS: Final = 30
"""Bins of equal count whose default rates correct the line."""
BIN_MINORITY: Final = 25
"""People of the rarer class that a bin needs on average; fewer bins where there are not enough."""
FLATTEST: Final = 0.05
"""Least slope between two knots, as a share of the slope of the line."""
LEAST_SLOPE: Final = 1e-4
"""Least fall of log-odds a point, where the points say nothing (or the wrong thing) of default."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A strictly falling curve of log-odds of default over points.

    Parameters
    ----------
    knots_points : tuple of int
        Rising, one or more.
    knots_log_odds : tuple of float
        Log-odds of default (bad : good) at the knots, falling.
    slope : float
        Change of log-odds a point outside the knots, below 0.

    Raises
    ------
    DataError
        The curve is not one: all findings at once.
    """

    knots_points: tuple[int, ...]
    knots_log_odds: tuple[float, ...]
    slope: float

    def __post_init__(self) -> None:
        findings = []
        if not self.knots_points or len(self.knots_points) != len(self.knots_log_odds):
            findings.append("must have as many knots_points as knots_log_odds, and at least one")
        if any(b <= a for a, b in pairwise(self.knots_points)):
            findings.append("knots_points must rise strictly")
        if not all(isfinite(x) for x in (*self.knots_log_odds, self.slope)):
            findings.append("knots_log_odds and slope must be finite")
        if any(b >= a for a, b in pairwise(self.knots_log_odds)):
            findings.append("knots_log_odds must fall strictly")
        if self.slope >= 0:
            findings.append("slope must be below 0")
        if findings:
            raise DataError("calibration", findings)

    def log_odds(self, points: ArrayLike) -> Floats:
        """Return the log-odds of default at points: strictly falling, linear between knots."""
        at = np.asarray(points, dtype=np.float64)
        inside = np.interp(at, self.knots_points, self.knots_log_odds)
        beyond = np.minimum(at - self.knots_points[0], 0) + np.maximum(
            at - self.knots_points[-1], 0
        )
        curve: Floats = np.asarray(inside + self.slope * beyond, dtype=np.float64)
        return curve

    def default_prob(self, points: ArrayLike) -> Floats:
        """Return default_prob at points, on its stored grid of 1e-6: never rising with points."""
        # Beyond 50 the grid holds nothing but its ends, and exp must not overflow.
        return stored_default_prob(1.0 / (1.0 + np.exp(-np.clip(self.log_odds(points), -50, 50))))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON."""
        return {
            "points": list(self.knots_points),
            "log_odds": list(self.knots_log_odds),
            "slope": self.slope,
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what `to_mapping` wrote.

        Raises
        ------
        DataError
            A key is missing, unknown or of the wrong type, or the curve is not one.
        """
        expected = {"points", "log_odds", "slope"}
        findings = [f"{key}: missing" for key in sorted(expected - set(mapping))]
        findings += [f"{key}: unknown" for key in sorted(set(mapping) - expected)]
        if not findings:
            points, log_odds = mapping["points"], mapping["log_odds"]
            if not _is_list_of(points, (int,)):
                findings.append("points: must be a list of integers")
            if not _is_list_of(log_odds, (int, float)):
                findings.append("log_odds: must be a list of numbers")
            if not _is_list_of([mapping["slope"]], (int, float)):
                findings.append("slope: must be a number")
        if findings:
            raise DataError("calibration", findings)
        return cls(tuple(points), tuple(map(float, log_odds)), float(mapping["slope"]))


def fit_calibration(points: Ints, label: Ints) -> Calibration:
    """Fit default_prob to total points.

    1. Newton's method gives the logistic line of the label on the points.
    2. People are cut by points into up to 30 bins of about equal count (ties stay together).
    3. Each bin moves its knot off the line by the difference in log-odds of what came and what the
       line foretold for these very people, both with half a bad and half a good added (Jeffreys).
    4. Neighbours that do not fall by at least 5 % of the line's slope are pooled and redone (pooled
       adjacent violators, Barlow et al. 1972).

    Parameters
    ----------
    points : ndarray of integer, shape (n,)
        Total points of a customer; more is safer.
    label : ndarray of integer, shape (n,)
        1 for a default, 0 for none.

    Raises
    ------
    DataError
        Points are no integers, shapes differ, one class only, fewer than two distinct points, or
        points that separate the classes perfectly.
    """
    if not np.issubdtype(points.dtype, np.integer):
        raise DataError("points", ["must be integers"])
    counts = score_counts(label, points)
    intercept, fitted = logistic_line(counts.score, counts.goods, counts.bads)
    slope = min(fitted, -LEAST_SLOPE)
    if slope != fitted:  # useless points: the base rate at their mean, all but flat
        size = counts.goods + counts.bads
        base = log(counts.bads.sum() / counts.goods.sum())
        intercept = base - slope * float(np.average(counts.score, weights=size))
    minority = int(min(counts.goods.sum(), counts.bads.sum()))
    bins = max(1, min(MOST_BINS, minority // BIN_MINORITY))
    blocks = _blocks(
        counts.score, counts.goods, counts.bads, intercept + slope * counts.score, bins
    )
    pooled = _pool(blocks, intercept, slope)
    at = [block.centre for block in pooled]
    values = [block.log_odds(intercept, slope) for block in pooled]
    return Calibration(tuple(at), tuple(values), slope)


def prior_correction(default_prob: ArrayLike, base_rate: float, true_rate: float) -> Floats:
    """Move probabilities from the default rate of a sample to that of the population (Bayes).

    odds' = odds * (true_rate odds) / (base_rate odds); domain 2.2 and T38. Not rounded.

    Parameters
    ----------
    default_prob : array_like
        In [0, 1].
    base_rate, true_rate : float
        Default rates of the sample and of the population, both in (0, 1).

    Raises
    ------
    DataError
        A value is out of range.
    """
    prob = np.asarray(default_prob, dtype=np.float64)
    findings = []
    if not ((prob >= 0.0) & (prob <= 1.0)).all():
        findings.append("default_prob must lie in [0, 1]")
    for name, rate in (("base_rate", base_rate), ("true_rate", true_rate)):
        if not 0.0 < rate < 1.0:
            findings.append(f"{name} must lie between 0 and 1. Got {rate}")
    if findings:
        raise DataError("prior correction", findings)
    bad = prob * (true_rate / base_rate)
    good = (1.0 - prob) * ((1.0 - true_rate) / (1.0 - base_rate))
    corrected: Floats = np.asarray(bad / (bad + good), dtype=np.float64)
    return corrected


@dataclass(frozen=True, slots=True)
class _Block:
    """Sums over the people of one bin, or of several pooled."""

    goods: int
    bads: int
    points: float  # sum over people
    foretold: float  # bads that the line expects

    def __add__(self, other: _Block) -> _Block:
        return _Block(
            self.goods + other.goods,
            self.bads + other.bads,
            self.points + other.points,
            self.foretold + other.foretold,
        )

    @property
    def centre(self) -> int:
        """Mean points, rounded: bins share no value, so the centres of two of them differ."""
        return round(self.points / (self.goods + self.bads))

    def log_odds(self, intercept: float, slope: float) -> float:
        """Line at the centre, moved by what came against what was foretold."""
        # The same half on both sides: where the line is right, it stays.
        came = log((self.bads + 0.5) / (self.goods + 0.5))
        good_foretold = self.goods + self.bads - self.foretold
        expected = log((self.foretold + 0.5) / (good_foretold + 0.5))
        return intercept + slope * self.centre + came - expected


def _blocks(at: Ints, goods: Ints, bads: Ints, line: Floats, bins: int) -> list[_Block]:
    """Cut distinct points into bins of about equal count."""
    size = goods + bads
    first = equal_count_bins(size, bins)
    foretold = size / (1.0 + np.exp(-np.clip(line, -500.0, 500.0)))
    sums = (np.add.reduceat(x, first).tolist() for x in (goods, bads, size * at, foretold))
    return [_Block(*values) for values in zip(*sums, strict=True)]


def _pool(blocks: Sequence[_Block], intercept: float, slope: float) -> list[_Block]:
    """Pool neighbours until each falls from the one before by the least slope or more."""
    pooled: list[_Block] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1:
            before, last = pooled[-2:]
            fall = before.log_odds(intercept, slope) - last.log_odds(intercept, slope)
            if fall >= -slope * FLATTEST * (last.centre - before.centre):
                break
            pooled[-2:] = [before + last]
    return pooled


def _is_list_of(values: Any, kinds: tuple[type, ...]) -> bool:
    """Tell whether it is a list of these types; bool is no number here."""
    return isinstance(values, list) and all(
        isinstance(x, kinds) and not isinstance(x, bool) for x in values
    )
