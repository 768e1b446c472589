"""A column as counts: all that cutting it into bins needs, whoever counted.

A holder counts its own values; several banks add what they count over public buckets, and one plan
follows from the sum (`shared.scorecard.common`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A column as counts: all that planning its bins needs, whoever counted.

    Parameters
    ----------
    values : ndarray of float64, shape (k,)
        Distinct ordinary values, ascending.
    counts : ndarray of int64, shape (k,)
        Rows with each of them, at least 1.
    apart : tuple of (float or None, int)
        Rows that are missing (None) and rows with each special code.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    apart: tuple[tuple[float | None, int], ...]

    @property
    def n_ordinary(self) -> int:
        """Rows whose value is neither missing nor special."""
        return int(self.counts.sum())

    def at(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ordinary values at some ranks, the lowest value first."""
        return self.values[np.searchsorted(np.cumsum(self.counts), ranks, side="right")]


def counted(values: NDArray[np.float64], special: Sequence[float]) -> Counted:
    """Count a column that lies in one place.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN is missing.
    special : sequence of float
        Special codes.
    """
    codes = tuple(float(code) for code in special)
    missing = np.isnan(values)
    distinct, counts = np.unique(values[~missing & ~np.isin(values, codes)], return_counts=True)
    apart: list[tuple[float | None, int]] = [(None, int(missing.sum()))]
    apart += [(code, int((values == code).sum())) for code in codes]
    return Counted(distinct, counts.astype(np.int64), tuple(apart))
