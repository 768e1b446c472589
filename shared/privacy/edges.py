"""Bin edges under noise: quantiles of a noisy histogram over buckets that depend on no data.

Edges cut at the customers' own quantiles would tell of them before any noise was added. Over
public buckets one customer moves one count a feature, so the L2 sensitivity of the histograms of F
features together is ``sqrt(F)``; what is read off them costs nothing more. Coarser buckets than
those of exact counting (`shared.scorecard.buckets`): the noise of a quantile grows with their
number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Quarters of an octave from 2^4 to 2^21: a bin of an eighth of the customers needs no more.
_LOWEST, _HIGHEST, _STEPS = 4, 21, 4
# Whole numbers of a range so short get a bucket each.
_SHORT = 64


def amount_grid(low: float | None = None, high: float | None = None) -> Floats:
    """Return the upper ends of an amount's buckets, ascending, the last one infinite.

    Parameters
    ----------
    low, high : float or None
        Range of the contract; whole numbers no more than 64 apart get a bucket each.
    """
    if low is not None and high is not None and high - low < _SHORT:
        return np.append(np.arange(np.floor(low), np.ceil(high)), np.inf)
    sizes = np.exp2(np.arange(_LOWEST * _STEPS, _HIGHEST * _STEPS + 1) / _STEPS)
    ends = np.concatenate([-sizes[::-1], [0.0], sizes])
    lowest, highest = -np.inf if low is None else low, np.inf if high is None else high
    inside = (ends >= lowest) & (ends < highest)
    return np.append(ends[inside], np.inf)


def histogram(values: Floats, grid: Floats) -> NDArray[np.int64]:
    """Count values by bucket; a value at an end belongs below it, a missing one nowhere.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    grid : ndarray of float64, shape (k,)

    Returns
    -------
    ndarray of int64, shape (k,)
    """
    place = np.searchsorted(grid, values[~np.isnan(values)], side="left")
    return np.bincount(place, minlength=len(grid)).astype(np.int64)


def edges_of(counts: Floats, grid: Floats, bins: int, deviation: float) -> tuple[float, ...]:
    """Read edges off noisy counts, at quantiles.

    Parameters
    ----------
    counts : ndarray of float64, shape (k,)
        With noise.
    grid : ndarray of float64, shape (k,)
    bins : int
        Most bins, at least 2.
    deviation : float
        Of the noise in a bucket. A count below it is taken as none, or hundreds of empty buckets
        would move every quantile.

    Returns
    -------
    tuple of float
        At most ``bins - 1``, ascending, ends of buckets.
    """
    held = np.where(counts > deviation, counts, 0.0)
    total = float(held.sum())
    if total <= 0:
        return ()
    share = np.cumsum(held) / total
    # The bucket whose end is nearest to each quantile.
    wanted = np.arange(1, bins) / bins
    right = np.searchsorted(share, wanted, side="left")
    left = np.maximum(right - 1, 0)
    nearer = (wanted - share[left]) < (share[right] - wanted)
    chosen = np.unique(np.where(nearer, left, right))
    least = 1 / (4 * bins)  # a bin of hardly anybody would be noise
    kept: list[int] = []
    for place in chosen.tolist():
        before = share[kept[-1]] if kept else 0.0
        if share[place] - before >= least and 1 - share[place] >= least:
            kept.append(place)
    return tuple(float(grid[place]) for place in kept)
