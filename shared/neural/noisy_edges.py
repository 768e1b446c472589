"""Edges of the encoding from a noisy histogram: no customer is traced by where a piece begins.

Buckets are public, as in `shared.neural.buckets`, but fewer: the noise of a quantile grows with
their number. A customer has one value of a feature, so it moves one count of each: with F features
that are numbers the squared L2 sensitivity of all histograms together is F. Counts are not held to
the floors here; putting small buckets together would let one customer move many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.contract import Feature
from shared.neural.buckets import Edges
from shared.neural.inputs import Encoding, numbers, regular
from shared.privacy.edges import histogram

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What one customer counts in the sum: shares of noise must not be too coarse.
UNIT = 1 << 8

# Quarters of an octave, from a hundredth or from one to two thousand millions.
_STEPS, _LOWEST, _HIGHEST = 4, -7, 31
# Whole numbers of a range so short get a bucket each.
_SHORT = 64
# A bucket of fewer customers than so many deviations of the noise is taken as empty; there are
# hundreds of empty ones, and what noise leaves in them would move every quantile.
_EMPTY = 2.0


def grid_of(feature: Feature) -> Floats:
    """Return the upper ends of a number's buckets, ascending; a value at an end belongs below it.

    Parameters
    ----------
    feature : Feature
        A number. Its range is of the contract, so public.
    """
    whole = feature.dtype == "integer"
    low = -np.inf if feature.low is None else feature.low
    high = np.inf if feature.high is None else feature.high
    if whole and high - low < _SHORT:
        return np.arange(np.ceil(low), np.floor(high) + 1)
    lowest = 0 if whole else _LOWEST
    sizes = np.exp2(np.arange(lowest * _STEPS, _HIGHEST * _STEPS + 1) / _STEPS)
    ends = np.concatenate([-sizes[::-1], [0.0], sizes])
    inside = ends[(ends >= low) & (ends < high)]
    last = [high] if np.isfinite(high) or not inside.size else []
    ends = np.append(inside, np.minimum(last, 2.0**53))
    return np.unique(np.floor(ends)) if whole else ends


def sensitivity(features: Sequence[Feature]) -> int:
    """Return the squared L2 sensitivity of `own_counts`, in its units."""
    return max(1, len(numbers(features))) * UNIT**2


def counted(features: Sequence[Feature]) -> int:
    """Return the length of `own_counts`."""
    return sum(len(grid_of(feature)) for feature in numbers(features))


def own_counts(features: Sequence[Feature], values: Mapping[str, Floats]) -> Ints:
    """Return a party's customers by bucket, without noise: it must not leave before that is added.

    Parameters
    ----------
    features : sequence of Feature
    values : mapping of str to ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of int64, shape (counted(features),)
        In units of 1 / `UNIT` customer.
    """
    parts = []
    for feature in numbers(features):
        grid = grid_of(feature)
        own = np.minimum(regular(feature, values[feature.name]), grid[-1])
        parts.append(histogram(own, grid) * UNIT)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def read(features: Sequence[Feature], total: Ints, pieces: int, deviation: float) -> Encoding:
    """Return the encoding that an opened sum gives; costs nothing more.

    Parameters
    ----------
    features : sequence of Feature
    total : ndarray of int64, shape (counted(features),)
        Of all parties, with noise, in units of `own_counts`.
    pieces : int
        Most pieces of one feature.
    deviation : float
        Of the noise in one element, in the same units.
    """
    grids = [grid_of(feature) for feature in numbers(features)]
    stops = np.cumsum([len(grid) for grid in grids])[:-1]
    counts = np.split(total.astype(np.float64), stops) if grids else []
    edges = tuple(
        Edges(_quantiles(np.where(own > _EMPTY * deviation, own, 0.0), grid, pieces))
        for own, grid in zip(counts, grids, strict=True)
    )
    return Encoding(tuple(features), edges)


def _quantiles(held: Floats, grid: Floats, pieces: int) -> tuple[float, ...]:
    """Return the ends of buckets at quantiles; a quarter of a piece is left out on either side."""
    if held.sum() <= 0:  # noise is all there is
        return _at_least_two(grid[[0, -1]])
    share = np.cumsum(held) / held.sum()
    tail = 1 / (4 * pieces)
    wanted = np.concatenate([[tail], np.arange(1, pieces) / pieces, [1 - tail]])
    return _at_least_two(grid[np.searchsorted(share, wanted - 1e-9)])


def _at_least_two(values: Floats) -> tuple[float, ...]:
    edges = np.unique(values)
    if len(edges) == 1:  # a constant; who ever differs from it is on one side
        edges = np.append(edges, edges + 1.0)
    return tuple(edges.tolist())
