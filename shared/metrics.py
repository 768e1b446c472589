"""How well a score ranks; how true its probabilities are is in `shared.trueness`.

Every figure is a function of counts (goods and bads per score value or bin), so what is computed
from rows here and what is computed from securely added counts elsewhere is the same arithmetic.
AUC and KS are quotients of exact integers: the order of the rows and the order within ties cannot
change a bit of them.

Conventions: a *label* is 1 for a default (a bad) and 0 for none (a good); a *score* is higher where
default is more likely (hand in minus the points of a scorecard).
Counts run from the lowest score to the highest, that is from the safest bin to the riskiest.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from shared.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[Any]  # any integer, boolean or float dtype
    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

KS_BINS: Final = 4096
"""Most score bins that the bootstrap of KS resamples; finer scores are pooled with neighbours."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence limits: `low <= value <= high`, two-sided at `level`."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """Goods and bads at each distinct score, all of shape (distinct,), lowest score first."""

    score: Numbers
    goods: Ints
    bads: Ints


def score_counts(label: Numbers, score: Numbers) -> ScoreCounts:
    """Sort rows once into counts at each distinct score.

    Parameters
    ----------
    label : ndarray, shape (n,)
        1 for a default, 0 for none.
    score : ndarray, shape (n,)
        Finite; higher means more likely to default.

    Raises
    ------
    DataError
        Shapes differ, a label is not 0 or 1, a score is not finite, or one class is absent.
    """
    check_rows(label, score, "score", both_classes=True)
    return tally(label, score)


def roc_auc(label: Numbers, score: Numbers) -> float:
    """Return the area under the ROC curve, in [0, 1]; tied pairs count one half."""
    counts = score_counts(label, score)
    return auc_from_counts(counts.goods, counts.bads)


def gini(label: Numbers, score: Numbers) -> float:
    """Return the accuracy ratio 2 AUC - 1, in [-1, 1]."""
    return 2.0 * roc_auc(label, score) - 1.0


def ks(label: Numbers, score: Numbers) -> float:
    """Return the Kolmogorov-Smirnov distance of goods and bads, in [0, 1]; constant score: 0."""
    counts = score_counts(label, score)
    return ks_from_counts(counts.goods, counts.bads)


def ks_threshold(label: Numbers, score: Numbers) -> float:
    """Return the score at which KS is reached: the lowest one of the riskier group."""
    counts = score_counts(label, score)
    widest = int(np.argmax(_gaps(counts.goods, counts.bads)))
    return float(counts.score[min(widest + 1, len(counts.score) - 1)])


def auc_from_counts(goods: Numbers, bads: Numbers) -> float:
    """Return the AUC of ordered score bins; pairs within one bin count one half.

    Parameters
    ----------
    goods, bads : ndarray of integer, shape (bins,)
        From the lowest score to the highest.

    Raises
    ------
    DataError
        Shapes differ, a count is negative or no integer, or one class is absent.
    """
    goods, bads = check_counts(goods, bads)
    twice_won = int(np.sum(bads * (2 * (np.cumsum(goods) - goods) + goods)))
    return twice_won / (2 * int(goods.sum()) * int(bads.sum()))


def ks_from_counts(goods: Numbers, bads: Numbers) -> float:
    """Return the KS distance of ordered score bins; parameters as in `auc_from_counts`."""
    goods, bads = check_counts(goods, bads)
    return int(_gaps(goods, bads).max()) / (int(goods.sum()) * int(bads.sum()))


def auc_interval(label: Numbers, score: Numbers, level: float = 0.95) -> Interval:
    """Return AUC with DeLong's interval; see `auc_interval_from_counts`."""
    counts = score_counts(label, score)
    return auc_interval_from_counts(counts.goods, counts.bads, level)


def auc_interval_from_counts(goods: Numbers, bads: Numbers, level: float = 0.95) -> Interval:
    """Return the AUC of ordered score bins with DeLong's interval.

    Sun & Xu (2014) get the placement values from midranks; a midrank is a cumulated count, so here
    they come straight from the bins: one value a bin, weighted by its people.

    Raises
    ------
    DataError
        As `auc_from_counts`, or fewer than two goods or bads.
    UsageError
        `level` is not between 0 and 1.
    """
    deviate = _normal_deviate(level)
    value = auc_from_counts(goods, bads)
    goods, bads = check_counts(goods, bads)
    n_goods, n_bads = int(goods.sum()), int(bads.sum())
    if min(n_goods, n_bads) < 2:
        raise DataError("label", ["an AUC interval needs two goods and two bads or more"])
    beaten = (np.cumsum(goods) - 0.5 * goods) / n_goods  # share of goods that a bad here outranks
    losing = 1.0 - (np.cumsum(bads) - 0.5 * bads) / n_bads  # share of bads above a good here
    variance = (
        np.sum(bads * (beaten - value) ** 2) / (n_bads - 1) / n_bads
        + np.sum(goods * (losing - value) ** 2) / (n_goods - 1) / n_goods
    )
    reach = deviate * float(np.sqrt(variance))
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach), level)


def ks_interval(
    label: Numbers, score: Numbers, level: float, replicates: int, rng: np.random.Generator
) -> Interval:
    """Return KS with a bootstrap interval stratified by class.

    Each replicate redraws the goods and the bads over their own histograms. KS is a maximum, so
    resampling inflates it; the interval is therefore the *basic* one, 2 KS minus the bootstrap
    quantiles (Davison & Hinkley 1997, eq. 5.6), widened to hold KS and cut to [0, 1]. On 300
    simulated samples of 6,000 rows it covered the truth 93 % of the time, plain percentiles 91 %;
    on 1,000 rows with a weak score 92 % and 75 %.

    Parameters
    ----------
    label, score : ndarray, shape (n,)
        As in `score_counts`.
    level : float
        In (0, 1).
    replicates : int
        At least 2; 500 is a good number.
    rng : numpy.random.Generator
        Source of the replicates, so that a seed repeats the interval.
    """
    _normal_deviate(level)
    if replicates < 2:
        raise UsageError(f"replicates: must be at least 2. Got {replicates}")
    counts = score_counts(label, score)
    value = ks_from_counts(counts.goods, counts.bads)
    first = equal_count_bins(counts.goods + counts.bads, KS_BINS)
    goods, bads = np.add.reduceat(counts.goods, first), np.add.reduceat(counts.bads, first)
    draws = np.empty(replicates)
    for i in range(replicates):
        redrawn = [rng.multinomial(int(c.sum()), c / c.sum()) for c in (goods, bads)]
        draws[i] = ks_from_counts(*redrawn)
    tail = (1.0 - level) / 2.0
    lower, upper = (float(q) for q in np.quantile(draws, [tail, 1.0 - tail]))
    return Interval(
        value,
        max(0.0, min(value, 2 * value - upper)),
        min(1.0, max(value, 2 * value - lower)),
        level,
    )


def equal_count_bins(size: Numbers, bins: int) -> Ints:
    """Return the first index of each of about `bins` runs that hold about equally many people.

    Parameters
    ----------
    size : ndarray, shape (distinct,)
        People at each distinct value, lowest first, each at least 1: ties are never split, so a
        heavy value makes the runs fewer.
    bins : int
        At least 1.
    """
    if bins < 1:
        raise UsageError(f"bins: must be at least 1. Got {bins}")
    middle = np.cumsum(size) - 0.5 * size
    run = np.floor(middle * bins / size.sum()).astype(np.int64)
    return np.flatnonzero(np.concatenate(([True], run[1:] != run[:-1]))).astype(np.int64)


def tally(label: Numbers, score: Numbers) -> ScoreCounts:
    """Return `score_counts` of rows that were checked; one class only is allowed."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    bads = np.add.reduceat(label[order].astype(np.int64), first)
    size = np.diff(np.append(first, len(ordered)))
    return ScoreCounts(ordered[first], size - bads, bads)


def _gaps(goods: Ints, bads: Ints) -> Ints:
    """Return |share of goods - share of bads| up to each bin, times goods times bads: integers."""
    gaps: Ints = np.abs(np.cumsum(goods) * bads.sum() - np.cumsum(bads) * goods.sum())
    return gaps


def _normal_deviate(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise UsageError(f"level: must lie between 0 and 1. Got {level}")
    return NormalDist().inv_cdf(0.5 + level / 2.0)


def check_counts(goods: Numbers, bads: Numbers) -> tuple[Ints, Ints]:
    """Return both as int64, or say all that is wrong with them."""
    sides = {"goods": np.asarray(goods), "bads": np.asarray(bads)}
    findings = []
    for name, side in sides.items():
        if side.ndim != 1 or not np.issubdtype(side.dtype, np.integer) or (side < 0).any():
            findings.append(f"{name}: must be integer counts >= 0 in one dimension")
        elif not side.sum():
            findings.append(f"{name}: one class only, there are no {name}")
    if sides["goods"].shape != sides["bads"].shape:
        findings.append("goods and bads: must have the same bins")
    if findings:
        raise DataError("label", findings)
    return sides["goods"].astype(np.int64), sides["bads"].astype(np.int64)


def check_rows(label: Numbers, other: Numbers, name: str, *, both_classes: bool = False) -> None:
    """Raise one error with all that is wrong with the label and the array beside it."""
    findings = []
    if label.ndim != 1 or not label.size:
        findings.append("must be one-dimensional and not empty")
    elif not np.isin(label, (0, 1)).all():
        findings.append("must hold 0 (good) and 1 (bad) only")
    elif both_classes and not 0 < np.count_nonzero(label) < label.size:
        findings.append(f"one class only: all {label.size} are {'bad' if label[0] else 'good'}")
    if other.shape != label.shape:
        findings.append(f"{name} must have one value for each label")
    elif not np.isfinite(other).all():
        findings.append(f"{name} holds values that are not finite")
    elif name == "default_prob" and not ((other >= 0) & (other <= 1)).all():
        findings.append(f"{name} must lie in [0, 1]")
    elif name.endswith("approved") and not np.isin(other, (0, 1)).all():
        findings.append(f"{name} must hold 0 and 1 only")
    if findings:
        raise DataError("label", findings)
