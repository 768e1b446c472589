"""How true the probabilities of a score are, as functions of counts; see `shared.metrics`.

A *label* is 1 for a default and 0 for none; a *default_prob* is in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from shared.errors import DataError
from shared.metrics import check_counts, check_rows, equal_count_bins, score_counts, tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[Any]  # any integer, boolean or float dtype
    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

PROB_STEP: Final = 1e-6
"""Resolution of a stored default_prob, and its distance from 0 and 1."""


def brier(label: Numbers, default_prob: Numbers) -> float:
    """Return the mean squared error of the probabilities, in [0, 1]; lower is better."""
    check_rows(label, default_prob, "default_prob")
    return float(np.mean((default_prob - label.astype(np.float64)) ** 2))


def log_loss(label: Numbers, default_prob: Numbers) -> float:
    """Return the mean negative log likelihood in nats, probabilities kept 1e-6 from 0 and 1."""
    check_rows(label, default_prob, "default_prob")
    kept = np.clip(default_prob, PROB_STEP, 1.0 - PROB_STEP)
    return float(-np.mean(np.log(np.where(label.astype(bool), kept, 1.0 - kept))))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """People of like default_prob: how many, how many bad, what was foretold and what came."""

    count: int
    bads: int
    mean_prob: float
    bad_rate: float


def calibration_table(
    label: Numbers, default_prob: Numbers, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Compare foretold and observed default rates in bins of about equal count.

    Parameters
    ----------
    label : ndarray, shape (n,)
        One class only is allowed: then the rates are all 0 or all 1.
    default_prob : ndarray, shape (n,)
        In [0, 1].
    bins : int
        At most this many; equal probabilities share a bin.

    Returns
    -------
    tuple of CalibrationBin
        From the lowest default_prob to the highest.
    """
    check_rows(label, default_prob, "default_prob")
    at = tally(label, default_prob)
    size = at.goods + at.bads
    first = equal_count_bins(size, bins)
    count, bads, foretold = (np.add.reduceat(x, first) for x in (size, at.bads, size * at.score))
    return tuple(
        CalibrationBin(int(n), int(b), float(p / n), float(b / n))
        for n, b, p in zip(count, bads, foretold, strict=True)
    )


def expected_calibration_error(label: Numbers, default_prob: Numbers, bins: int = 10) -> float:
    """Return the mean distance of foretold and observed rate over the bins, by people."""
    table = calibration_table(label, default_prob, bins)
    off = sum(row.count * abs(row.bad_rate - row.mean_prob) for row in table)
    return off / sum(row.count for row in table)


def calibration_slope(label: Numbers, default_prob: Numbers) -> float:
    """Return the logistic slope of the label on the log-odds of default_prob (Cox 1958).

    1 is right; under 1 the probabilities are too extreme, over 1 too timid.

    Raises
    ------
    DataError
        One class only, a constant default_prob, or classes that it separates perfectly.
    """
    check_rows(label, default_prob, "default_prob", both_classes=True)
    prob = np.clip(default_prob, PROB_STEP, 1.0 - PROB_STEP)
    counts = score_counts(label, np.log(prob / (1.0 - prob)))
    return logistic_line(counts.score, counts.goods, counts.bads)[1]


def logistic_line(at: Numbers, goods: Numbers, bads: Numbers) -> tuple[float, float]:
    """Fit log-odds of bad = intercept + slope * at by maximum likelihood (Newton's method).

    Parameters
    ----------
    at : ndarray, shape (bins,)
        Rising.
    goods, bads : ndarray, shape (bins,)
        Counts at each value.

    Raises
    ------
    DataError
        One class only, fewer than two values, or classes that do not overlap: no finite slope.
    """
    goods, bads = check_counts(goods, bads)
    at_good, at_bad = at[goods > 0], at[bads > 0]
    if len(at) < 2:
        raise DataError("label", ["one value only, the same for goods and bads: no slope"])
    if at_good[-1] <= at_bad[0] or at_bad[-1] <= at_good[0]:
        raise DataError("label", ["the values separate goods from bads: no finite slope"])
    size = (goods + bads).astype(np.float64)
    centre = float(np.average(at, weights=size))
    spread = float(np.sqrt(np.average((at - centre) ** 2, weights=size)))
    design = np.column_stack((np.ones(len(at)), (at - centre) / spread))
    line = np.array([np.log(bads.sum() / goods.sum()), 0.0])
    loss = _line_loss(design, line, size, bads)
    for _ in range(100):
        prob = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -500.0, 500.0)))
        hessian = (design.T * (size * prob * (1.0 - prob))) @ design
        step = np.linalg.solve(hessian, design.T @ (bads - size * prob))
        bound = loss + 1e-12 * size.sum()  # rounding of the loss is no reason to halve
        stride = 1.0  # halved where a full step overshoots, as it can when classes hardly overlap
        while (ahead := _line_loss(design, line + stride * step, size, bads)) > bound:
            stride /= 2.0
            if stride < 1e-9:
                break
        line, loss = line + stride * step, ahead
        if stride * np.max(np.abs(step)) < 1e-10:
            break
    slope = float(line[1]) / spread
    return float(line[0]) - slope * centre, slope


def _line_loss(design: Floats, line: Floats, size: Floats, bads: Ints) -> float:
    """Return the negative log likelihood of a logistic line."""
    log_odds = design @ line
    return float(size @ np.logaddexp(0.0, log_odds) - bads @ log_odds)
