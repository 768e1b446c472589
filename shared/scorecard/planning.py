"""How a holder plans its columns: its own features, what derives from them, and pairs.

Planning looks at no label, so it can be done before anything is exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shared.errors import DataError, UsageError
from shared.scorecard.bins import Axis, Floors
from shared.scorecard.columns import BlockPlan
from shared.scorecard.cuts import coarsen, plan_axis, plan_cells, plan_levels
from shared.scorecard.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SIGN = {"": 0, "up": 1, "down": -1}


class FeatureLike(Protocol):
    """What planning needs of a feature; `shared.contract.Feature` fits."""

    @property
    def name(self) -> str:
        """Column of the holder."""

    @property
    def dtype(self) -> str:
        """Return "integer", "number" or "category"."""

    @property
    def special(self) -> tuple[float, ...]:
        """Codes with a meaning of their own."""

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of a category, in the order of their codes."""

    @property
    def direction(self) -> str:
        """Return "up", "down", or nothing where it is free."""


@dataclass(frozen=True, slots=True)
class ColumnSettings:
    """How columns are cut; the same at all holders.

    Parameters
    ----------
    thresholds : int
        Most edges of a feature, at quantiles.
    pair_thresholds : int
        Most edges of a feature in a pair.
    pair_levels : int
        The same for a feature with at most 64 different values.
    pairs : bool
        Whether holders other than the builder form pairs.
    floors : Floors
        Rows behind every bin.
    summaries : tuple of Summary
        Derived features; a holder uses those whose sources it holds. They form no pairs.
    """

    thresholds: int = 24
    pair_thresholds: int = 2
    pair_levels: int = 5
    pairs: bool = True
    floors: Floors = field(default_factory=Floors)
    summaries: tuple[Summary, ...] = ()

    def __post_init__(self) -> None:
        if not (1 <= self.thresholds <= 1000 and 1 <= self.pair_thresholds <= 30):
            raise UsageError("columns: thresholds must be in 1..1000, pair_thresholds in 1..30")
        if not 1 <= self.pair_levels <= 30:
            raise UsageError("columns: pair_levels must be in 1..30")


def plan_blocks(
    owner: str,
    features: Sequence[FeatureLike],
    values: Mapping[str, Floats],
    settings: ColumnSettings,
    *,
    with_pairs: bool,
) -> tuple[BlockPlan, ...]:
    """Plan the blocks of one holder from its own training rows; no label, no randomness.

    Parameters
    ----------
    owner : str
        The holder.
    features : sequence of FeatureLike
        Its features, in contract order.
    values : mapping of str to ndarray of float64, shape (n,)
        Its training rows.
    settings : ColumnSettings
        How columns are cut.
    with_pairs : bool
        False at the builder (design 4.3).

    Returns
    -------
    tuple of BlockPlan
        Features, then summaries, then pairs. A feature that the floors leave with a single bin has
        no block.

    Raises
    ------
    DataError
        If a column is absent or holds an unknown category.
    """
    absent = [feature.name for feature in features if feature.name not in values]
    if absent:
        raise DataError(owner, [f"{name}: no such column" for name in absent])
    n = len(next(iter(values.values()))) if values else 0
    floor = settings.floors.minimum(n)
    singles = [_plan_single(owner, one, values[one.name], settings, floor) for one in features]
    plans = [plan for plan in singles if plan]
    derived = _plan_summaries(owner, features, values, settings, floor)
    pairs = _plan_pairs(plans, values, settings, floor) if with_pairs and settings.pairs else []
    return (*plans, *derived, *pairs)


def _plan_single(
    owner: str, feature: FeatureLike, column: Floats, settings: ColumnSettings, floor: int
) -> BlockPlan | None:
    if feature.dtype == "category":
        levels = plan_levels(feature.name, column, feature.levels, floor=floor)
        return BlockPlan(owner, levels) if levels else None
    axis = plan_axis(
        feature.name, column, feature.special, thresholds=settings.thresholds, floor=floor
    )
    return BlockPlan(owner, axis, _SIGN[feature.direction]) if axis else None


def _plan_summaries(
    owner: str,
    features: Sequence[FeatureLike],
    values: Mapping[str, Floats],
    settings: ColumnSettings,
    floor: int,
) -> list[BlockPlan]:
    codes = {one.name: one.special for one in features if one.dtype != "category"}
    plans = []
    for summary in settings.summaries:
        if not set(summary.sources) <= set(codes):
            continue
        special = {name: codes[name] for name in summary.sources}
        column = summary.derive(values, special)
        axis = plan_axis(summary.name, column, (), thresholds=settings.thresholds, floor=floor)
        if axis:
            plans.append(BlockPlan(owner, axis, 0, summary, tuple(special.items())))
    return plans


def _plan_pairs(
    singles: Sequence[BlockPlan],
    values: Mapping[str, Floats],
    settings: ColumnSettings,
    floor: int,
) -> list[BlockPlan]:
    coarse = []
    for plan in singles:
        if isinstance(plan.bins, Axis):
            axis = coarsen(
                plan.bins,
                values[plan.bins.name],
                edges=settings.pair_thresholds,
                levels=settings.pair_levels,
                floor=floor,
            )
            if axis:
                coarse.append((axis, plan.sign))
    plans = []
    for (first, sign), (second, other_sign) in combinations(coarse, 2):
        if sign * other_sign == -1:
            continue  # no product of the two could keep both directions
        one, two = values[first.name], values[second.name]
        cells = plan_cells(first, second, one, two, floor=floor)
        if cells:
            plans.append(BlockPlan(singles[0].owner, cells, sign or other_sign))
    return plans
