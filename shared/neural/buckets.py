"""Public buckets for numbers of any size, and bin edges from how many customers fall into each.

The edges of an encoding must be common to all parties, and no party may show its quantiles. So
every party counts its customers in buckets that everybody knows beforehand, a secure sum adds the
counts, and quantiles of the sum, rounded to a bucket, become the edges. Buckets are narrow where
numbers are small: 16 an octave, from 2^-7 to 2^40 on either side of a bucket for zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS = 16  # in an octave
_LOWEST, _HIGHEST = -7, 40  # powers of two; beyond, the last bucket takes all
_SIDE = (_HIGHEST - _LOWEST) * _STEPS

#: Buckets of one feature: those below zero, zero itself, those above.
COUNT = 2 * _SIDE + 1


def bucket_of(values: Floats) -> Ints:
    """Return the bucket of each number, 0 to `COUNT` - 1; larger numbers never come earlier.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        No NaN.
    """
    size = np.maximum(np.abs(values), 2.0 ** (_LOWEST - 1))
    step = np.floor((np.log2(size) - _LOWEST) * _STEPS).astype(np.int64) + 1
    place: Ints = _SIDE + np.sign(values).astype(np.int64) * np.clip(step, 0, _SIDE)
    return place


def middles() -> Floats:
    """Return the (geometric) middle of every bucket, shape (COUNT,), rising."""
    above = 2.0 ** (_LOWEST + (np.arange(_SIDE) + 0.5) / _STEPS)
    return np.concatenate([-above[::-1], [0.0], above])


def histogram(values: Floats, floor: int) -> Floats:
    """Return a party's customers by bucket, none of them fewer than the floor.

    From below, buckets are put together until enough customers are in them, and all are counted
    in the bucket of their middle one; too few at the end join the last. With fewer than the floor
    in all, nobody is counted: a quantile moves by less than those few, and nobody is singled out.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN is left out.
    floor : int
        Fewest customers in a bucket that is not empty.

    Returns
    -------
    ndarray of float64, shape (COUNT,)
    """
    placed = np.sort(bucket_of(values[~np.isnan(values)]))
    counts = np.zeros(COUNT)
    start = 0
    for end in groups(placed, floor):
        counts[placed[(start + end) // 2]] += end - start
        start = end
    return counts


def groups(placed: Ints, floor: int) -> list[int]:
    """Return where groups of neighbouring buckets end, each of at least so many customers.

    Parameters
    ----------
    placed : ndarray of int64, shape (n,)
        Buckets of customers, rising.
    floor : int

    Returns
    -------
    list of int
        Ends in `placed`, the last of them n; empty with fewer than the floor in all.
    """
    total = len(placed)
    if total < floor:
        return []
    # A group ends with a bucket, never inside one.
    bounds = np.flatnonzero(placed[1:] != placed[:-1]) + 1
    ends: list[int] = []
    start = 0
    for end in bounds.tolist():
        if end - start >= floor and total - end >= floor:
            ends.append(end)
            start = end
    return [*ends, total]


@dataclass(frozen=True, slots=True)
class Edges:
    """Where the pieces of one number meet: `values` rises strictly, at least two."""

    values: tuple[float, ...]

    @classmethod
    def from_counts(cls, counts: Floats, pieces: int, *, integer: bool) -> Edges:
        """Return edges at the quantiles of a summed histogram.

        Where there are no more different buckets than pieces, each is an edge: nothing is lost of
        a feature of few values.

        Parameters
        ----------
        counts : ndarray of float64, shape (COUNT,)
        pieces : int
            At most so many pieces.
        integer : bool
            Whether the feature has whole numbers only: edges are rounded to such.
        """
        used = np.flatnonzero(counts > 0.5)
        if len(used) > pieces + 1:
            running = np.cumsum(counts)
            targets = running[-1] * np.arange(1, pieces) / pieces
            inner = np.searchsorted(running, targets - 0.5)
            used = np.unique(np.concatenate([used[:1], inner, used[-1:]]))
        values = middles()[used]
        values = np.unique(np.rint(values) if integer else values)
        if len(values) == 0:
            values = np.zeros(1)
        if len(values) == 1:  # a constant; who ever differs from it is on one side
            values = np.append(values, values + 1.0)
        return cls(tuple(values.tolist()))
