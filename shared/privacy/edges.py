"""Edges under noise: quantiles of a noisy histogram over buckets that depend on no data.

Both read it: bins of the card, and pieces of the network's inputs (`shared.neural.noisy_edges`).

Edges cut at the customers' own quantiles would tell of them before any noise was added. Over
public buckets one customer moves one count a feature, so the L2 sensitivity of the histograms of F
features together is ``sqrt(F)``; what is read off them costs nothing more. Coarser buckets than
those of exact counting (`shared.scorecard.buckets`): the noise of a quantile grows with their
number.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Quarters of an octave: a bin of an eighth of the customers needs no finer ends.
_STEPS = 4
# Sizes of what nothing is known of: whole numbers from 1, others from a thousandth, up to 2^31.
_LOWEST, _HIGHEST = -10, 31
# Below the larger end of a known range so many octaves are told apart, and so many equal parts.
_OCTAVES, _PARTS = 8, 32
# Whole numbers of a range so short get a bucket each.
_SHORT = 64


def coarse_grid(dtype: str, low: float | None, high: float | None) -> Floats:
    """Return the upper ends of a number's coarse public buckets, ascending.

    Parameters
    ----------
    dtype : {"integer", "number"}
    low, high : float or None
        Range of the contract.

    Returns
    -------
    ndarray of float64, shape (k,)
        A value at an end belongs below it; values above the last end count as the last bucket's.
    """
    if low is not None and high is not None and dtype == "integer" and high - low < _SHORT:
        return np.arange(np.floor(low), np.ceil(high) + 1.0)
    first, last = 0 if dtype == "integer" else _LOWEST, _HIGHEST
    parts = np.zeros(0)
    if low is not None and high is not None and high > low:
        last = math.ceil(math.log2(max(abs(low), abs(high))))
        first = max(first, last - _OCTAVES) if dtype == "integer" else last - _OCTAVES
        parts = low + (high - low) * np.arange(1, _PARTS) / _PARTS
    sizes = np.exp2(np.arange(first * _STEPS, last * _STEPS + 1) / _STEPS)
    ends = np.concatenate([-sizes, [0.0], sizes, parts])
    ends = np.unique(np.floor(ends) if dtype == "integer" else ends)
    inside = ends >= (-np.inf if low is None else low)
    inside &= ends < (np.inf if high is None else high)
    return np.append(ends[inside], np.inf if high is None else high)


def histogram(values: Floats, grid: Floats) -> Ints:
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


def edges_of(
    counts: Floats, grid: Floats, bins: int, deviation: float, floor: float = 0.0
) -> tuple[float, ...]:
    """Read edges off noisy counts, at quantiles.

    Parameters
    ----------
    counts : ndarray of float64, shape (k,)
        With noise.
    grid : ndarray of float64, shape (k,)
    bins : int
        Most bins, at least 2.
    deviation : float
        Of the noise in a bucket. A count that the noise of k empty buckets would reach is taken as
        none, or hundreds of empty buckets would move every quantile.
    floor : float
        Noisy count that every bin must hold.

    Returns
    -------
    tuple of float
        At most ``bins - 1``, ascending, ends of buckets.
    """
    reach = _reach(len(grid)) * deviation
    places, share, total = quantiles(counts, np.arange(1, bins) / bins, reach)
    if total <= 0:
        return ()
    chosen = np.unique(places)
    least = max(1 / (4 * bins), floor / total)  # a bin of hardly anybody would be noise
    kept: list[int] = []
    for place in chosen.tolist():
        before = share[kept[-1]] if kept else 0.0
        if share[place] - before >= least and 1 - share[place] >= least:
            kept.append(place)
    return tuple(float(grid[place]) for place in kept)


def quantiles(counts: Floats, wanted: Floats, least: float) -> tuple[Ints, Floats, float]:
    """Find quantiles of noisy counts.

    Parameters
    ----------
    counts : ndarray of float64, shape (k,)
        With noise.
    wanted : ndarray of float64, shape (q,)
        Shares in (0, 1).
    least : float
        A count up to this is taken as none: what noise leaves in an empty bucket.

    Returns
    -------
    places : ndarray of int64, shape (q,)
        The bucket whose end is nearest to each.
    share : ndarray of float64, shape (k,)
        What lies at or below each end.
    total : float
        Customers in the counts above `least`; with none of them the rest says nothing.
    """
    held = np.where(counts > least, counts, 0.0)
    total = float(held.sum())
    if total <= 0:
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(counts)), 0.0
    share = np.cumsum(held) / total
    right = np.minimum(np.searchsorted(share, wanted, side="left"), len(share) - 1)
    left = np.maximum(right - 1, 0)
    nearer = (wanted - share[left]) < (share[right] - wanted)
    return np.where(nearer, left, right).astype(np.int64), share, total


def _reach(buckets: int) -> float:
    """Return how many deviations the largest of so many noises reaches, about."""
    return math.sqrt(2 * math.log(max(buckets, 2)))
