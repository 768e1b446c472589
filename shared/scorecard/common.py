"""One plan of bins for several banks, from what they counted together.

The plan follows from the summed counts alone, so it is the one that follows from counting all rows
in one place. Unlike a holder's own plan it is known to every bank: their edges must be the same.
Others see of it what they see of any plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from shared.contract import EVERY
from shared.errors import BadPeer
from shared.scorecard.bins import Axis, Cells, Levels
from shared.scorecard.buckets import Tally, split_counts
from shared.scorecard.columns import BlockPlan
from shared.scorecard.cuts import choose_cells, choose_levels, coarsened, cut
from shared.scorecard.planning import ColumnSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Plans = tuple[BlockPlan, ...]


def rows_of(columns: Sequence[Tally], counts: Ints) -> int:
    """Return the rows behind summed counts.

    Raises
    ------
    BadPeer
        If columns count different numbers of rows: a bank handed in something else than counts.
    """
    parts = split_counts(columns, counts)
    totals = {int(part.sum()) for part in parts}
    if len(totals) != 1 or min(int(part.min()) for part in parts) < 0:
        raise BadPeer("the banks' counts do not add up: some bank's are no counts of its rows")
    return totals.pop()


def plan_singles(columns: Sequence[Tally], counts: Ints, settings: ColumnSettings) -> Plans:
    """Plan one block a column.

    Parameters
    ----------
    columns : sequence of Tally
    counts : ndarray of int64
        Summed over the banks; see `shared.scorecard.buckets.count_all`.
    settings : ColumnSettings

    Returns
    -------
    tuple of BlockPlan
        Owned by `EVERY`. A column that the floors leave with a single bin has none.
    """
    floor = settings.floors.minimum(rows_of(columns, counts))
    plans = []
    for column, part in zip(columns, split_counts(columns, counts), strict=True):
        bins: Axis | Levels | None
        if column.levels:
            bins = choose_levels(column.name, column.levels, part, floor=floor)
        else:
            thresholds = settings.thresholds
            bins = cut(column.name, column.counted(part), thresholds=thresholds, floor=floor)
        if bins:
            plans.append(_plan(column, bins))
    return tuple(plans)


def propose_pairs(
    columns: Sequence[Tally], counts: Ints, plans: Plans, settings: ColumnSettings
) -> Plans:
    """Propose pairs of numbers with all their products, to be counted before they are chosen.

    Summaries and categories form no pairs, nor do two numbers of opposite direction: no product of
    these could keep both.
    """
    floor = settings.floors.minimum(rows_of(columns, counts))
    parts = dict(zip((one.name for one in columns), split_counts(columns, counts), strict=True))
    tally = {one.name: one for one in columns}
    coarse = []
    for plan in plans:
        if isinstance(plan.bins, Axis) and plan.summary is None:
            axis = coarsened(
                plan.bins,
                tally[plan.bins.name].counted(parts[plan.bins.name]),
                edges=settings.pair_thresholds,
                levels=settings.pair_levels,
                floor=floor,
            )
            if axis:
                coarse.append((axis, plan.sign))
    return tuple(
        BlockPlan(EVERY, Cells(first, second, _all_products(first, second)), one or other)
        for (first, one), (second, other) in combinations(coarse, 2)
        if one * other != -1
    )


def count_cells(proposed: Plans, values: Mapping[str, Floats]) -> Ints:
    """Count the own rows in each cell of each proposed pair, one pair after the other."""
    counts = [np.bincount(plan.encode(values), minlength=plan.n_atoms) for plan in proposed]
    return np.concatenate(counts).astype(np.int64)


def choose_pairs(proposed: Plans, counts: Ints, floor: int) -> Plans:
    """Choose the products whose cells hold the floor.

    Parameters
    ----------
    proposed : tuple of BlockPlan
        From `propose_pairs`.
    counts : ndarray of int64
        Summed over the banks; see `count_cells`.
    floor : int
        Rows that a cell must hold.
    """
    ends = np.cumsum([plan.n_atoms for plan in proposed])[:-1]
    plans = []
    for plan, part in zip(proposed, np.split(counts, ends), strict=True):
        assert isinstance(plan.bins, Cells)
        grid = part[plan.bins.grid()]
        cells = choose_cells(plan.bins.first, plan.bins.second, grid, floor=floor)
        if cells:
            plans.append(BlockPlan(EVERY, cells, plan.sign))
    return tuple(plans)


def check_common(
    plans: Plans, columns: Sequence[Tally], settings: ColumnSettings, builder: str
) -> None:
    """Hold the builder's plan against the contract, at every bank.

    Its edges must lie between public buckets, its codes and directions be the contract's, and its
    bins no more than agreed. That enough customers stand behind each bin, only the builder sees.

    Raises
    ------
    BadPeer
        Names the builder and the feature.
    """
    known = {one.name: one for one in columns}
    names = [plan.features for plan in plans]
    if len(set(names)) != len(names):
        raise BadPeer("its plan of bins has a feature twice", party=builder)
    for plan in plans:
        if plan.owner != EVERY or not set(plan.features) <= set(known):
            raise BadPeer("its plan of bins is of features that the banks lack", party=builder)
        if not _fits(plan, known, settings):
            what = f"its plan of {' x '.join(plan.features)} is not one of public buckets"
            raise BadPeer(what, party=builder)


def _plan(column: Tally, bins: Axis | Levels) -> BlockPlan:
    return BlockPlan(EVERY, bins, column.sign, column.summary, column.source_special)


def _all_products(first: Axis, second: Axis) -> tuple[tuple[int, int], ...]:
    return tuple((i, j) for i in range(len(first.edges)) for j in range(len(second.edges)))


def _fits(plan: BlockPlan, known: Mapping[str, Tally], settings: ColumnSettings) -> bool:
    tally = known[plan.features[0]]
    if isinstance(plan.bins, Levels):
        return len(plan.bins.groups) == len(tally.levels) > 0 and plan.sign == 0
    if isinstance(plan.bins, Axis):
        same = (plan.sign, plan.summary and plan.summary.sources, plan.source_special) == (
            tally.sign,
            tally.summary and tally.summary.sources,
            tally.source_special,
        )
        return same and _axis_fits(plan.bins, tally, settings.thresholds)
    axes = (plan.bins.first, plan.bins.second)
    most = max(settings.pair_thresholds, settings.pair_levels)
    signs = [known[name].sign for name in plan.features]
    return (
        settings.pairs
        and signs[0] * signs[1] != -1
        and plan.sign == (signs[0] or signs[1])
        and all(_axis_fits(axis, known[axis.name], most) for axis in axes)
    )


def _axis_fits(axis: Axis, tally: Tally, most: int) -> bool:
    codes = [code for group in axis.apart for code in group]
    return (
        not tally.levels
        and axis.special == tally.special
        and len(axis.edges) <= most
        and bool(np.isin(axis.edges, tally.grid).all())
        and len(set(codes)) == len(codes)
        and set(codes) <= {None, *tally.special}
    )
