"""The card of a replay: how likely somebody is 90 days late within twelve months.

It is fitted like the banks' common card, on other people of the same world whose twelve months are
over before the first line is opened: no outcome is used that would not have been known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.contract import Feature
from shared.errors import DataError
from shared.scorecard.bins import Floors
from shared.scorecard.buckets import count_all, tallies
from shared.scorecard.build import BuildSettings, draft_card
from shared.scorecard.calibration import Calibration, fit_calibration
from shared.scorecard.columns import BlockPlan
from shared.scorecard.common import plan_singles
from shared.scorecard.moments import pooled
from shared.scorecard.planning import ColumnSettings
from shared.scorecard.scale import PRODUCT_SCALE

Floats = NDArray[np.float64]

_FLOORS: Final = Floors(rows=50, share=0.005)
_THRESHOLDS: Final = 10

#: What the holders see of a customer at the end of a month, and which of them.
FEATURES: Final = (
    Feature("UTILISATION", "bank", "integer", "%", 0, 200, direction="up"),
    Feature("INCOME", "bank", "integer", "thousands", 0, 500, direction="down"),
    Feature("LIMIT", "bank", "integer", "ten thousands", 0, 400, direction="down"),
    Feature("PAID", "payments", "integer", "% of the bills of three months", 0, 100),
    Feature("SPENT", "ecommerce", "integer", "% of the limit in three months", 0, 400),
    Feature("BEHIND", "bureau", "integer", "payments", 0, 9, direction="up"),
    Feature("WORST", "bureau", "integer", "payments in six months", 0, 9, direction="up"),
    Feature("TIMES", "bureau", "integer", "months behind of six", 0, 6, direction="up"),
    Feature("ENQUIRIES", "bureau", "integer", "in three months", 0, 40, direction="up"),
    Feature("OTHERS", "bureau", "integer", "% of a year's income", 0, 1000, direction="up"),
)


@dataclass(frozen=True, slots=True)
class ReplayCard:
    """A card over `FEATURES`, or over those of some holders.

    Parameters
    ----------
    plans : tuple of BlockPlan
    points : tuple of (k,) int64
        Of the bins of each; more points, less risk.
    calibration : Calibration
    """

    plans: tuple[BlockPlan, ...]
    points: tuple[NDArray[np.int64], ...]
    calibration: Calibration

    def total(self, values: Mapping[str, Floats]) -> NDArray[np.int64]:
        """Return the points of customers."""
        total = np.zeros(next(iter(values.values())).size, np.int64)
        for plan, points in zip(self.plans, self.points, strict=True):
            total += points[plan.encode(values)]
        return total

    def default_prob_micro(self, values: Mapping[str, Floats]) -> NDArray[np.int64]:
        """Return the chance of default, in millionths."""
        prob = self.calibration.default_prob(self.total(values))
        found: NDArray[np.int64] = np.rint(prob * 1e6).astype(np.int64)
        return found


def fit(
    values: Mapping[str, Floats],
    default: NDArray[np.bool_],
    holders: frozenset[str] = frozenset(),
    without: frozenset[str] = frozenset(),
) -> ReplayCard:
    """Fit a card.

    Parameters
    ----------
    values : mapping of str to (n,) float64
        The columns of `FEATURES`.
    default : (n,) bool
        Whether the twelve months after brought a default.
    holders : frozenset of str
        Those whose columns count; none named means all.
    without : frozenset of str
        Columns that do not.

    Raises
    ------
    DataError
        If nobody defaulted, or everybody did: nothing can be learned.
    """
    told = tuple(one for one in FEATURES if not holders or one.owner in holders)
    return fit_on(values, default, tuple(one for one in told if one.name not in without))


def fit_on(
    values: Mapping[str, Floats], default: NDArray[np.bool_], features: Sequence[Feature]
) -> ReplayCard:
    """Fit a card over some features; see `fit`.

    Raises
    ------
    DataError
        If nobody defaulted, or everybody did.
    """
    label = default.astype(np.int64)
    if not 0 < label.sum() < label.size:
        raise DataError("replay", ["there are no defaults, or nothing else, to learn from"])
    columns = tallies(features, ())
    settings = ColumnSettings(thresholds=_THRESHOLDS, floors=_FLOORS)
    plans = plan_singles(columns, count_all(columns, values), settings)
    codes: list[Any] = [plan.encode(values) for plan in plans]
    draft = draft_card(pooled([plan.public() for plan in plans], codes, label), BuildSettings())
    points = tuple(np.asarray(one, np.int64) for one in draft.points)
    bare = ReplayCard(tuple(plans), points, Calibration((0,), (0.0,), -1.0))
    return ReplayCard(bare.plans, points, fit_calibration(bare.total(values), label))


def check_grades(names: tuple[str, ...]) -> None:
    """Check that a policy has the grades that the card of a replay gives.

    Raises
    ------
    DataError
    """
    known = tuple(grade.name for grade in PRODUCT_SCALE.grades)
    if names != known:
        raise DataError("policy", [f"a replay has the grades {', '.join(known)}"])


def grade_places(prob_micro: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.int32]:
    """Return the place of each customer's grade among a policy's.

    Raises
    ------
    DataError
        If the policy does not have the product's grades.
    """
    check_grades(names)
    floors = np.array([grade.at_least for grade in PRODUCT_SCALE.grades][:-1])
    found: NDArray[np.int32] = (scores(prob_micro)[:, None] < floors).sum(axis=1).astype(np.int32)
    return found


def scores(prob_micro: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the whole scores that customers are shown."""
    found: NDArray[np.int64] = np.floor(PRODUCT_SCALE.score_of(prob_micro / 1e6) + 0.5).astype(
        np.int64
    )
    return found
