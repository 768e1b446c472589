"""Why a score is not higher: the features whose points fall below a stated baseline.

Regulation B, comment 9(b)(2)-5, accepts the factors on which the applicant falls furthest below the
average of those who just passed, or below the average of all, or a similar method; and no more than
four reasons are useful (comment 9(b)(2)-1). Which baseline is used changes the list and its order
(domain T35), so the baseline is a value of its own that every decision can state.

For an additive card the Shapley value of a feature against a baseline *is* its points minus the
baseline's (domain T40): these reasons are the faithful explanation, not an approximation of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

import numpy as np

from shared.errors import DataError, FloorBroken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.integer[Any]]

MOST_REASONS: Final = 4
"""More than four reasons tell a customer less (Regulation B, comment 9(b)(2)-1)."""
SMALLEST_GROUP: Final = 100
"""People behind a mean that a decision states; the floor of every other opened statistic."""
_DIGITS: Final = 6  # shortfalls are compared at this precision: rounding noise must not order them

BaselineKind = Literal["maximum", "mean", "above_cutoff"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A feature that costs points: its public code and how many, above 0."""

    code: str
    shortfall: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """Points per feature that a customer is compared with.

    Parameters
    ----------
    kind : {'maximum', 'mean', 'above_cutoff'}
        The best points there are, the mean of all, or the mean of those just above the cut-off.
    values : mapping of str to float
        Points by feature code; kept as a read-only copy in the order of the codes.
    cutoff : int, optional
        Total points from which people pass; given exactly when `kind` is 'above_cutoff'.

    Raises
    ------
    DataError
        The kind is unknown, a value is not finite, there is none, or the cutoff does not fit.
    """

    kind: BaselineKind
    values: Mapping[str, float]
    cutoff: int | None = None

    def __post_init__(self) -> None:
        findings = []
        if self.kind not in get_args(BaselineKind):
            findings.append(f"kind: must be one of {', '.join(get_args(BaselineKind))}")
        if not self.values or not all(isfinite(value) for value in self.values.values()):
            findings.append("values: must hold finite points for one feature or more")
        if (self.cutoff is None) == (self.kind == "above_cutoff"):
            findings.append("cutoff: must be given for kind above_cutoff, and for no other")
        if findings:
            raise DataError("baseline", findings)
        ordered = {code: float(self.values[code]) for code in sorted(self.values)}
        object.__setattr__(self, "values", MappingProxyType(ordered))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"kind": self.kind, "values": dict(self.values), "cutoff": self.cutoff}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what `to_mapping` wrote.

        Raises
        ------
        DataError
            A key is missing, unknown or of the wrong type.
        """
        expected = {"kind", "values", "cutoff"}
        findings = [f"{key}: missing" for key in sorted(expected - set(mapping))]
        findings += [f"{key}: unknown" for key in sorted(set(mapping) - expected)]
        if not findings:
            values, cutoff = mapping["values"], mapping["cutoff"]
            if not isinstance(values, dict) or not all(map(_is_number, values.values())):
                findings.append("values: must be a table of numbers")
            if cutoff is not None and type(cutoff) is not int:
                findings.append("cutoff: must be an integer or null")
        if findings:
            raise DataError("baseline", findings)
        return cls(mapping["kind"], values, cutoff)


def maximum_baseline(points_by_feature: Mapping[str, Sequence[int] | Ints]) -> Baseline:
    """Return the highest points that each feature can give.

    Parameters
    ----------
    points_by_feature : mapping of str to sequence of int
        All points on the card for a feature, one entry a value or bin.
    """
    best = {code: float(np.max(points)) for code, points in points_by_feature.items()}
    return Baseline("maximum", best)


def mean_baseline(points_by_feature: Mapping[str, Ints]) -> Baseline:
    """Return the mean points of a population.

    Parameters
    ----------
    points_by_feature : mapping of str to ndarray of integer, shape (n,)
        Points that each customer gets for a feature.

    Raises
    ------
    FloorBroken
        Fewer than 100 customers.
    """
    return Baseline("mean", _means(points_by_feature, "the population"))


def above_cutoff_baseline(
    points_by_feature: Mapping[str, Ints], total: Ints, cutoff: int, width: int
) -> Baseline:
    """Return the mean points of customers just above a cut-off.

    Parameters
    ----------
    points_by_feature : mapping of str to ndarray of integer, shape (n,)
        Points that each customer gets for a feature; may be one holder's share of the card.
    total : ndarray of integer, shape (n,)
        Points of each customer over the whole card.
    cutoff, width : int
        The group is `cutoff <= total < cutoff + width`.

    Raises
    ------
    FloorBroken
        Fewer than 100 customers in the group.
    """
    group = (total >= cutoff) & (total < cutoff + width)
    inside = {code: points[group] for code, points in points_by_feature.items()}
    return Baseline("above_cutoff", _means(inside, "the group just above the cut-off"), cutoff)


def baseline_shapley(
    points_by_feature: Mapping[str, int], baseline: Mapping[str, float]
) -> dict[str, float]:
    """Return what each feature adds to the score against the baseline: points minus baseline.

    On an additive card this is the Baseline-Shapley value (Sundararajan & Najmi 2020): a feature
    adds the same whatever joined before it. The values sum to score minus baseline score.

    Raises
    ------
    DataError
        Customer and baseline do not have the same features.
    """
    lost = [
        f"{code}: not in the baseline" for code in sorted(set(points_by_feature) - set(baseline))
    ]
    lost += [f"{code}: no points" for code in sorted(set(baseline) - set(points_by_feature))]
    if lost:
        raise DataError("baseline", lost)
    return {code: points - float(baseline[code]) for code, points in points_by_feature.items()}


def shortfalls(
    points_by_feature: Mapping[str, int], baseline: Mapping[str, float], most: int = MOST_REASONS
) -> tuple[Reason, ...]:
    """Return the features that fall below the baseline, the costliest first.

    Parameters
    ----------
    points_by_feature : mapping of str to int
        Points of one customer by feature code.
    baseline : mapping of str to float
        Points to compare with, for the same features; usually `Baseline.values`.
    most : int
        At most this many reasons; equal shortfalls stand in the order of their codes.

    Raises
    ------
    DataError
        Customer and baseline do not have the same features.
    """
    gained = baseline_shapley(points_by_feature, baseline)
    below = [Reason(code, round(-value, _DIGITS)) for code, value in gained.items()]
    reasons = sorted(
        (reason for reason in below if reason.shortfall > 0),
        key=lambda reason: (-reason.shortfall, reason.code),
    )
    return tuple(reasons[:most])


def _means(points_by_feature: Mapping[str, Ints], group: str) -> dict[str, float]:
    people = min((len(points) for points in points_by_feature.values()), default=0)
    if people < SMALLEST_GROUP:
        raise FloorBroken(
            f"baseline: {group} has {people} people, and a mean needs {SMALLEST_GROUP}",
            hint="take a wider group",
        )
    return {code: float(np.mean(points)) for code, points in points_by_feature.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
