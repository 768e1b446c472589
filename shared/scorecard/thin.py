"""Fewer columns at the builder: the thresholds that its own label asks for.

The rank of the builder's columns is bounded (design 4.3). Rather than cutting every feature more
coarsely, the builder cuts finely and keeps the thresholds that enter a card of its own columns
first: it holds the label, and nothing of this leaves it. Dropping a threshold only merges bins, so
the floors still hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.scorecard.bins import Axis
from shared.scorecard.columns import BlockPlan
from shared.scorecard.moments import pooled
from shared.scorecard.path import fit_path
from shared.scorecard.solve import Problem

_PENALTIES = 40
_SPAN = (1.0, 0.001)


def rank_of(plans: Sequence[BlockPlan]) -> int:
    """Return the rank of the plans' columns with the column of ones."""
    return 1 + sum(plan.n_atoms - 1 for plan in plans)


def thin(
    plans: Sequence[BlockPlan],
    values: Mapping[str, NDArray[np.float64]],
    label: NDArray[np.integer[Any]],
    rank: int,
) -> tuple[BlockPlan, ...]:
    """Drop thresholds until the columns have at most a given rank.

    Parameters
    ----------
    plans : sequence of BlockPlan
        The builder's own.
    values : mapping of str to ndarray of float64, shape (n,)
        Its training rows.
    label : ndarray of integers, shape (n,)
        Its label; 1 is bad.
    rank : int
        Largest rank, with the column of ones.

    Returns
    -------
    tuple of BlockPlan
        Bins apart and categories are kept; a feature left without any bin is dropped. The rank may
        stay above `rank` where these alone exceed it.
    """
    surplus = rank_of(plans) - rank
    if surplus <= 0:
        return tuple(plans)
    entry = _entry_order(plans, values, label)
    droppable = [
        (entry[place, column], place, column)
        for place, plan in enumerate(plans)
        if isinstance(plan.bins, Axis)
        for column in range(len(plan.bins.edges))
    ]
    dropped = {(place, column) for _, place, column in sorted(droppable, reverse=True)[:surplus]}
    kept = [
        _without(plan, {column for at, column in dropped if at == place})
        for place, plan in enumerate(plans)
    ]
    return tuple(plan for plan in kept if plan.n_atoms > 1)


def _entry_order(
    plans: Sequence[BlockPlan],
    values: Mapping[str, NDArray[np.float64]],
    label: NDArray[np.integer[Any]],
) -> dict[tuple[int, int], int]:
    """Return, for each indicator, the step of the path at which it first has a coefficient."""
    blocks = [plan.public() for plan in plans]
    moments = pooled(blocks, [plan.encode(values) for plan in plans], label)
    columns = moments.columns()
    path = fit_path(Problem.of(columns), penalties=_PENALTIES, span=_SPAN)
    held = np.array([fit.standard != 0 for fit in path.fits] + [np.ones(len(columns.names), bool)])
    steps = columns.by_block(len(path.fits) + 1 - held.argmax(axis=0))
    return {
        # An indicator that doubles another was left out of the moments: its entry is 0, the last.
        (place, column): len(path.fits) + 1 - int(step)
        for place, part in enumerate(steps)
        for column, step in enumerate(part)
    }


def _without(plan: BlockPlan, dropped: set[int]) -> BlockPlan:
    if not dropped or not isinstance(plan.bins, Axis):
        return plan
    edges = tuple(edge for k, edge in enumerate(plan.bins.edges) if k not in dropped)
    return replace(plan, bins=replace(plan.bins, edges=edges))
