"""Whether the population of a score moved, and whom a new policy treats otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from shared.errors import DataError
from shared.metrics import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[Any]  # any integer, boolean or float dtype
    Floats: TypeAlias = NDArray[np.float64]

STABLE_BELOW: Final = 0.10
"""A stability index under this is stable (domain T21)."""
ACT_ABOVE: Final = 0.25
"""A stability index over this calls for action; between the two it is watched (domain T21)."""
EMPTY_SHARE: Final = 1e-4
"""Share that stands in for an empty bin of a stability index, whose logarithm would be infinite."""


def stability_terms(expected: Numbers, actual: Numbers) -> Floats:
    """Return each bin's part of the stability index, (a - e) ln(a / e) of the shares, >= 0.

    Parameters
    ----------
    expected, actual : ndarray, shape (bins,)
        Counts or shares on the same bins: at development, and now. An empty bin counts as a share
        of 1e-4; one that is empty on both sides adds nothing.

    Raises
    ------
    DataError
        Shapes differ, an entry is negative or not finite, or one side is empty.
    """
    sides = {"expected": np.asarray(expected, float), "actual": np.asarray(actual, float)}
    findings = [
        f"{name}: must hold finite counts or shares >= 0 in one dimension, and some above 0"
        for name, side in sides.items()
        if side.ndim != 1 or not np.isfinite(side).all() or (side < 0).any() or side.sum() <= 0
    ]
    if sides["expected"].shape != sides["actual"].shape:
        findings.append("expected and actual: must have the same bins")
    if findings:
        raise DataError("stability index", findings)
    e, a = (np.maximum(side / side.sum(), EMPTY_SHARE) for side in sides.values())
    terms: Floats = (a - e) * np.log(a / e)
    return terms


def stability_index(expected: Numbers, actual: Numbers) -> float:
    """Return the population stability index, >= 0 (Siddiqi; domain T20); see `stability_terms`."""
    return float(stability_terms(expected, actual).sum())


def stability_band(index: float) -> Literal["stable", "watch", "act"]:
    """Return what a stability index asks for (domain T21)."""
    if index < STABLE_BELOW:
        return "stable"
    return "watch" if index <= ACT_ABOVE else "act"


@dataclass(frozen=True, slots=True)
class SwapCell:
    """People whom two policies treat alike: how many, and how many of them are bad."""

    count: int
    bads: int

    @property
    def bad_rate(self) -> float:
        """Bads over people; 0 in an empty cell."""
        return self.bads / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class SwapSet:
    """Old policy against new: approved by both, only by the new, only by the old, by neither."""

    both: SwapCell
    swapped_in: SwapCell
    swapped_out: SwapCell
    neither: SwapCell

    @property
    def old_approval_rate(self) -> float:
        """Share that the old policy approves."""
        return (self.both.count + self.swapped_out.count) / self._people

    @property
    def new_approval_rate(self) -> float:
        """Share that the new policy approves."""
        return (self.both.count + self.swapped_in.count) / self._people

    @property
    def _people(self) -> int:
        return sum(c.count for c in (self.both, self.swapped_in, self.swapped_out, self.neither))


def swap_set(label: Numbers, old_approved: Numbers, new_approved: Numbers) -> SwapSet:
    """Cross the decisions of two policies on the same people (domain 2.14, T22).

    Parameters
    ----------
    label, old_approved, new_approved : ndarray, shape (n,)
        1 or True for bad, and for approved.
    """
    check_rows(label, old_approved, "old_approved")
    check_rows(label, new_approved, "new_approved")
    old, new, bad = (x.astype(bool) for x in (old_approved, new_approved, label))

    def cell(who: Numbers) -> SwapCell:
        return SwapCell(int(np.count_nonzero(who)), int(np.count_nonzero(who & bad)))

    return SwapSet(cell(old & new), cell(~old & new), cell(old & ~new), cell(~old & ~new))
