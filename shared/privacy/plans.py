"""Bins from noisy counts over public buckets: at several banks together, or at one holder.

The buckets are coarser than those of exact counting (`shared.scorecard.buckets`), since every one
carries noise. A customer stands in one bucket of each column, ordered, missing, special or a level,
so with F columns the L2 sensitivity of all counts is ``sqrt(F)``. Whatever is read off them costs
nothing more. The floors hold for the noisy counts: an exact answer would be a figure without noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.contract import Feature
from shared.errors import FloorBroken
from shared.privacy.edges import coarse_grid, edges_of
from shared.privacy.terms import MOST_BINS
from shared.scorecard.bins import Axis, Floors, Levels
from shared.scorecard.buckets import Tally, split_counts, tallies
from shared.scorecard.columns import BlockPlan
from shared.scorecard.cuts import choose_levels
from shared.scorecard.summary import Summary

Floats = NDArray[np.float64]

# A bin apart, or a level, must stand out of the noise by so many deviations.
_STANDS_OUT = 4.0


def coarse_tallies(features: Sequence[Feature], summaries: Sequence[Summary]) -> tuple[Tally, ...]:
    """Return what is counted of each column: features in contract order, then summaries."""
    kinds = {item.name: item for item in features}

    def coarse(one: Tally) -> Tally:
        if one.levels:
            return one
        item = kinds.get(one.name)
        if item is None:
            return replace(one, grid=coarse_grid("number", None, None))
        return replace(one, grid=coarse_grid(item.dtype, item.low, item.high))

    return tuple(coarse(one) for one in tallies(features, summaries))


def plan_noisy(
    owner: str,
    columns: Sequence[Tally],
    counts: Floats,
    deviation: float,
    n: int,
    floors: Floors,
    bins: int = MOST_BINS,
) -> tuple[BlockPlan, ...]:
    """Plan one block a column, one-hot, no pairs.

    Parameters
    ----------
    owner : str
        Of the blocks.
    columns : sequence of Tally
        From `coarse_tallies`.
    counts : ndarray of float64
        With noise, in customers; see `shared.scorecard.buckets.count_all`.
    deviation : float
        Of the noise in one count, in customers.
    n : int
        Customers behind them; public.
    floors : Floors
        Held by the noisy counts.
    bins : int
        Most ordered bins of a column.

    Returns
    -------
    tuple of BlockPlan
        A column whose noisy counts leave a single bin has none.
    """
    floor = max(float(floors.minimum(n)), _STANDS_OUT * deviation)
    plans = []
    for column, own in zip(columns, split_counts(columns, counts), strict=True):
        part = np.asarray(own, dtype=np.float64)
        planned: Axis | Levels | None
        if column.levels:
            whole = np.rint(part).astype(np.int64)
            planned = choose_levels(column.name, column.levels, whole, floor=math.ceil(floor))
        else:
            planned = _axis(column, part, deviation, floor, bins)
        if planned:
            plans.append(
                BlockPlan(owner, planned, column.sign, column.summary, column.source_special)
            )
    return tuple(plans)


def bins_within(features: int, rank: int) -> int:
    """Return how many bins a feature may have where the rank of all columns is bounded.

    Raises
    ------
    FloorBroken
        If not even two bins a feature are.
    """
    bins = min(MOST_BINS, 1 + (rank - 1) // max(features, 1))
    if bins < 2:
        raise FloorBroken(
            f"columns of rank {rank} are allowed, and {features} features need one more each",
            hint="more customers, or fewer features at the banks",
        )
    return bins


def _axis(column: Tally, counts: Floats, deviation: float, floor: float, bins: int) -> Axis | None:
    ordered, apart = counts[: len(column.grid)], counts[len(column.grid) :]
    codes: tuple[float | None, ...] = (None, *column.special)
    alone = tuple((code,) for code, count in zip(codes, apart, strict=True) if count >= floor)
    edges = edges_of(ordered, column.grid, bins, deviation, floor)
    axis = Axis(column.name, edges, column.special, alone, _home(ordered, column.grid))
    return axis if axis.n_atoms > 1 else None


def _home(counts: Floats, grid: Floats) -> float:
    """Return the end of the bucket with the median, of noisy counts."""
    held = np.cumsum(np.maximum(counts, 0.0))
    place = int(np.searchsorted(held, held[-1] / 2, side="left")) if held[-1] > 0 else 0
    home = float(grid[place])
    if math.isfinite(home):
        return home
    return float(grid[-2]) + 1.0 if len(grid) > 1 else 0.0
