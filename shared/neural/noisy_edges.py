"""Edges of the encoding from a noisy histogram: no customer is traced by where a piece begins.

Buckets are those of `shared.privacy.edges`: public, and fewer than in `shared.neural.buckets`. A
customer has one value of a feature, so it moves one count of each: with F features that are numbers
the squared L2 sensitivity of all histograms together is F. Counts are not held to the floors here;
putting small buckets together would let one customer move many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.contract import Feature
from shared.neural.buckets import Edges
from shared.neural.inputs import Encoding, numbers, regular
from shared.privacy.edges import coarse_grid, histogram, quantiles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What one customer counts in the sum: shares of noise must not be too coarse.
UNIT = 1 << 8

# Counts up to so many deviations of the noise are taken as none: hundreds of empty buckets would
# move every quantile. Fewer than for bins, which must hold a floor: a piece that noise begins is
# one more, and costs nothing.
_EMPTY = 2.0


def grid_of(feature: Feature) -> Floats:
    """Return the upper ends of a number's buckets, ascending; a value at an end belongs below it.

    Parameters
    ----------
    feature : Feature
        A number. Its range is of the contract, so public.
    """
    grid = coarse_grid(feature.dtype, feature.low, feature.high)
    # A piece ends somewhere: whatever is larger counts in the last bucket that does.
    return grid[np.isfinite(grid)]


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
        Edges(_ends(own, grid, pieces, deviation)) for own, grid in zip(counts, grids, strict=True)
    )
    return Encoding(tuple(features), edges)


def _ends(counts: Floats, grid: Floats, pieces: int, deviation: float) -> tuple[float, ...]:
    """Return the ends of buckets at quantiles; a quarter of a piece is left out on either side."""
    tail = 1 / (4 * pieces)
    wanted = np.concatenate([[tail], np.arange(1, pieces) / pieces, [1 - tail]])
    places, _, total = quantiles(counts, wanted, _EMPTY * deviation)
    return _at_least_two(grid[places if total > 0 else [0, -1]])  # or noise is all there is


def _at_least_two(values: Floats) -> tuple[float, ...]:
    edges = np.unique(values)
    if len(edges) == 1:  # a constant; who ever differs from it is on one side
        edges = np.append(edges, edges + 1.0)
    return tuple(edges.tolist())
