"""A difference of two AUCs on the same customers, as a mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
LEVEL = 0.95


def placements(label: Any, score: Floats) -> tuple[Floats, Floats]:
    """Return for each bad the share of goods below it, for each good that of bads above it."""
    bad = label == 1
    ranks = rankdata(score)
    below = (ranks[bad] - rankdata(score[bad])) / (~bad).sum()
    above = 1.0 - (ranks[~bad] - rankdata(score[~bad])) / bad.sum()
    return below, above


def paired(label: Any, before: Sequence[Floats], after: Sequence[Floats]) -> dict[str, Any]:
    """Return both AUCs and their difference, as means over seeds, with DeLong's interval.

    The mean of AUCs is the mean of placements, so its variance is DeLong's of the mean placements:
    what it leaves out is chance in training, which the spread over seeds shows.
    """
    first, second = ([placements(label, score) for score in scores] for scores in (before, after))
    aucs = [[float(below.mean()) for below, _ in one] for one in (first, second)]
    value = float(np.mean(aucs[1]) - np.mean(aucs[0]))
    variance = 0.0
    for side in range(2):
        gap = np.mean([one[side] for one in second], axis=0)
        gap = gap - np.mean([one[side] for one in first], axis=0)
        variance += float(gap.var(ddof=1)) / len(gap)
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * variance**0.5
    by_seed = [round(b - a, 4) for a, b in zip(*aucs, strict=False)]
    return {
        "before": float(np.mean(aucs[0])),
        "after": float(np.mean(aucs[1])),
        "difference": value,
        "low": value - reach,
        "high": value + reach,
        "by_seed": by_seed,
    }
