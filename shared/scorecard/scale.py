"""From default_prob to the score that a customer sees, and from coefficients to integer points.

The score is a straight line in the log-odds of staying good: `score = offset + factor * ln(odds)`
with odds good : bad. *pdo* points double the odds, and `base_score` stands at `base_odds`
(Siddiqi; domain 2.1). The probability is what is stored, on a grid of 1e-6; the score is derived
from it and never the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from shared.errors import DataError, UsageError
from shared.trueness import PROB_STEP

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grade:
    """A band of scores: `name` from `at_least` (in points, inclusive) up to the next better one."""

    name: str
    at_least: int


@dataclass(frozen=True, slots=True)
class Scale:
    """A way to print log-odds as points.

    Parameters
    ----------
    pdo : float
        Points that double the odds, above 0.
    base_score : float
        The score at `base_odds`.
    base_odds : float
        Odds good : bad, above 0.
    low, high : float
        Scores are clipped to [low, high].
    grades : tuple of Grade, optional
        Best first; the last one must reach down to `low`.

    Raises
    ------
    UsageError
        A number is out of range, or the grades do not fall or leave scores without a grade.
    """

    pdo: float
    base_score: float
    base_odds: float
    low: float
    high: float
    grades: tuple[Grade, ...] = ()

    def __post_init__(self) -> None:
        numbers = (self.pdo, self.base_score, self.base_odds, self.low, self.high)
        findings = [
            text
            for text, wrong in (
                ("all numbers must be finite", not all(isfinite(x) for x in numbers)),
                ("pdo must be above 0", self.pdo <= 0),
                ("base_odds must be above 0", self.base_odds <= 0),
                ("low must be below high", self.low >= self.high),
                ("grades must fall strictly, best first", not self._grades_fall()),
                ("the last grade must reach down to low", not self._grades_reach()),
            )
            if wrong
        ]
        if findings:
            raise UsageError("scale: " + "; ".join(findings))

    @property
    def factor(self) -> float:
        """Points per unit of log-odds."""
        return self.pdo / log(2.0)

    @property
    def offset(self) -> float:
        """Score at even odds."""
        return self.base_score - self.factor * log(self.base_odds)

    def score_of(self, default_prob: ArrayLike) -> Floats:
        """Return the scores of stored probabilities, clipped to [low, high].

        Parameters
        ----------
        default_prob : array_like
            In [0, 1]; taken on its stored grid (`stored_default_prob`), so that a score recomputed
            from a record is the same score.

        Raises
        ------
        DataError
            A value is not a probability.
        """
        prob = stored_default_prob(default_prob)
        return self.score_of_odds((1.0 - prob) / prob)

    def score_of_odds(self, odds: ArrayLike) -> Floats:
        """Return the scores of odds good : bad (above 0), clipped to [low, high]."""
        line = self.offset + self.factor * np.log(np.asarray(odds, dtype=np.float64))
        return _float64(np.clip(line, self.low, self.high))

    def odds(self, score: ArrayLike) -> Floats:
        """Return the odds good : bad at scores; a clipped score gives the odds at the clip."""
        return _float64(np.exp((np.asarray(score, dtype=np.float64) - self.offset) / self.factor))

    def default_prob_of(self, score: ArrayLike) -> Floats:
        """Return the probability at which `score_of` gives these scores, not rounded."""
        return _float64(1.0 / (1.0 + self.odds(score)))

    def grade_of(self, score: float) -> str:
        """Return the grade of the whole score that the customer is shown.

        The score is rounded first: nobody shown a 700 is graded as a 699.

        Raises
        ------
        UsageError
            The scale has no grades.
        """
        shown = int(round_half_away(min(max(score, self.low), self.high)))
        for grade in self.grades:
            if shown >= grade.at_least:
                return grade.name
        raise UsageError("scale: it has no grades")

    def _grades_fall(self) -> bool:
        floors = [grade.at_least for grade in self.grades]
        return floors == sorted(set(floors), reverse=True)

    def _grades_reach(self) -> bool:
        return not self.grades or self.grades[-1].at_least <= self.low


def round_half_away(value: ArrayLike) -> Ints:
    """Return the nearest integers; a half goes away from zero, for either sign alike."""
    given = np.asarray(value, dtype=np.float64)
    whole = np.trunc(given)
    # The remainder is exact, where adding one half to .49999999999999994 would round up to 1.
    away = np.abs(given - whole) >= 0.5
    rounded: Ints = np.asarray(whole + np.copysign(away, given), dtype=np.int64)
    return rounded


def stored_default_prob(default_prob: ArrayLike) -> Floats:
    """Round probabilities to the grid that is stored: 1e-6, and never 0 or 1.

    Raises
    ------
    DataError
        A value is not in [0, 1].
    """
    prob = np.asarray(default_prob, dtype=np.float64)
    if not ((prob >= 0.0) & (prob <= 1.0)).all():  # false for NaN as well
        raise DataError("default_prob", ["every value must lie in [0, 1]"])
    return _float64(np.clip(np.round(prob, 6), PROB_STEP, 1.0 - PROB_STEP))


def points_from_coefficients(coefficients: ArrayLike, n_over_rss: float, scale: Scale) -> Ints:
    """Turn the coefficients of a linear probability model into integer points.

    Haggstrom (1983), Journal of Business & Economic Statistics 1(3): 229-238: the logit slopes are
    close to the least-squares slopes times n / RSS. They tell log-odds of *default*, so points
    take the other sign: more points are safer.

    Parameters
    ----------
    coefficients : array_like, shape (columns,)
        Least-squares slopes of the 0/1 label.
    n_over_rss : float
        Rows over the residual sum of squares of that fit, above 0.
    scale : Scale
        Gives points per unit of log-odds.

    Returns
    -------
    ndarray of int64, shape (columns,)

    Raises
    ------
    DataError
        A coefficient is not finite, or `n_over_rss` is not a finite number above 0.
    """
    slopes = np.asarray(coefficients, dtype=np.float64)
    findings = []
    if not np.isfinite(slopes).all():
        findings.append("every coefficient must be finite")
    if not (isfinite(n_over_rss) and n_over_rss > 0):
        findings.append(f"n_over_rss must be finite and above 0. Got {n_over_rss}")
    if findings:
        raise DataError("coefficients", findings)
    return round_half_away(-scale.factor * slopes * n_over_rss)


def _float64(value: Any) -> Floats:
    """Keep a zero-dimensional result an array: numpy's arithmetic turns it into a scalar."""
    return np.asarray(value, dtype=np.float64)


PRODUCT_SCALE: Final = Scale(
    pdo=50.0,
    base_score=600.0,
    base_odds=20.0,
    low=350.0,
    high=950.0,
    grades=(Grade("A", 700), Grade("B", 650), Grade("C", 600), Grade("D", 550), Grade("E", 350)),
)
"""The scale of the product: 600 at 20 : 1, 50 points double the odds, 350 to 950 (domain 2.1)."""
