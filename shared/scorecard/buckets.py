"""Public buckets: what several banks count, so that one plan of bins follows from the sum.

Cutting at quantiles of all banks' customers needs their joint distribution, column by column. Each
bank counts its values over buckets that follow from the contract alone (no data, no edge of
anybody's), and a secure sum adds the counts. Numbers fall into 64 buckets an octave, integers of a
short range into one each, so that a bin's edge lies within 1.6 % of the quantile it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.contract import Feature
from shared.scorecard.counted import Counted
from shared.scorecard.cuts import level_counts
from shared.scorecard.summary import Summary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Magnitudes from 2^-20 (a millionth) to 2^53, beyond which the contract takes no integer.
_LOWEST, _HIGHEST, _STEPS = -20, 53, 64
# An integer whose range holds at most so many values gets a bucket for each.
_SHORT = 4096


def public_grid(dtype: str, low: float | None, high: float | None) -> Floats:
    """Return the upper ends of a number's buckets, ascending; each end lies in its bucket.

    Parameters
    ----------
    dtype : {"integer", "number"}
    low, high : float or None
        Range of the contract.

    Returns
    -------
    ndarray of float64, shape (k,)
        Values above the last end count as the last bucket's.
    """
    if dtype == "integer" and low is not None and high is not None and high - low < _SHORT:
        return np.arange(np.floor(low), np.ceil(high) + 1.0)
    octaves = np.exp2(np.arange(_LOWEST, _HIGHEST, dtype=np.float64))
    sizes = np.outer(octaves, 1.0 + np.arange(_STEPS) / _STEPS).ravel()
    grid = np.concatenate([-sizes[::-1], [0.0], sizes])
    if dtype == "integer":
        grid = np.unique(np.floor(grid))
    inside = np.full(grid.shape, fill_value=True)
    if low is not None:
        inside &= grid >= low
    if high is not None:
        inside &= grid < high
    return grid[inside] if high is None else np.append(grid[inside], high)


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What each bank counts of one column.

    Parameters
    ----------
    name : str
        Column, or summary.
    special : tuple of float
        Special codes, each a bucket of its own.
    levels : tuple of str
        Levels of a category; empty for a number.
    sign : int
        Direction of the contract: 1, -1 or 0.
    grid : ndarray of float64
        Upper ends of the buckets of a number; see `public_grid`.
    summary : Summary, optional
    source_special : tuple of (str, tuple of float)
        Special codes of the sources of the summary.
    """

    name: str
    special: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    sign: int = 0
    grid: Floats = field(default_factory=lambda: np.zeros(0))
    summary: Summary | None = None
    source_special: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def size(self) -> int:
        """Number of buckets: ordered ones or levels, then missing, then special codes."""
        return (len(self.levels) or len(self.grid)) + 1 + len(self.special)

    def count(self, values: Mapping[str, Floats]) -> Ints:
        """Count a bank's own rows.

        Parameters
        ----------
        values : mapping of str to ndarray of float64, shape (n,)

        Returns
        -------
        ndarray of int64, shape (size,)
        """
        if self.levels:
            return level_counts(self.name, self.levels, values[self.name])
        raw = self.column(values)
        missing = np.isnan(raw)
        ordinary = raw[~missing & ~np.isin(raw, self.special)]
        place = np.minimum(np.searchsorted(self.grid, ordinary, side="left"), len(self.grid) - 1)
        counts = np.bincount(place, minlength=len(self.grid)).astype(np.int64)
        apart = [int(missing.sum()), *(int((raw == code).sum()) for code in self.special)]
        return np.concatenate([counts, np.array(apart, dtype=np.int64)])

    def column(self, values: Mapping[str, Floats]) -> Floats:
        """Return the column, derived if it is a summary."""
        if self.summary is None:
            return values[self.name]
        return self.summary.derive(values, dict(self.source_special))

    def counted(self, counts: Ints) -> Counted:
        """Read summed counts of a number: every value stands at the end of its bucket."""
        ordered, apart = counts[: len(self.grid)], counts[len(self.grid) :].tolist()
        held = ordered > 0
        names: tuple[float | None, ...] = (None, *self.special)
        return Counted(self.grid[held], ordered[held], tuple(zip(names, apart, strict=True)))


def tallies(features: Sequence[Feature], summaries: Sequence[Summary]) -> tuple[Tally, ...]:
    """Return what each bank counts: features in contract order, then summaries of these.

    Parameters
    ----------
    features : sequence of Feature
        The banks' features.
    summaries : sequence of Summary
        Of the contract; those with another holder's sources are left out.
    """
    signs = {"": 0, "up": 1, "down": -1}
    singles = [
        Tally(item.name, levels=item.levels)
        if item.dtype == "category"
        else Tally(
            item.name,
            special=tuple(map(float, item.special)),
            sign=signs[item.direction],
            grid=public_grid(item.dtype, item.low, item.high),
        )
        for item in features
    ]
    codes = {one.name: one.special for one in singles if not one.levels}
    derived = [
        Tally(
            summary.name,
            grid=public_grid("number", None, None),
            summary=summary,
            source_special=tuple((name, codes[name]) for name in summary.sources),
        )
        for summary in summaries
        if set(summary.sources) <= set(codes)
    ]
    return (*singles, *derived)


def count_all(columns: Sequence[Tally], values: Mapping[str, Floats]) -> Ints:
    """Count all columns, one after the other: what a bank hands in."""
    return np.concatenate([one.count(values) for one in columns])


def split_counts(columns: Sequence[Tally], counts: NDArray[Any]) -> tuple[Ints, ...]:
    """Split summed counts by column."""
    return tuple(np.split(counts, np.cumsum([one.size for one in columns])[:-1]))
