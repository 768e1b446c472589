"""Reason codes of many lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.limits.batch.columns import NONE, Counts, Flags
from server.limits.line.reasons import MOST_REASONS


class Codes:
    """Reason codes of many lines: each code once, at most four, first come first told.

    Parameters
    ----------
    rows : int
    codes : sequence of str
        Every code there may be.

    Attributes
    ----------
    places : (rows, 4) Counts
        Places in `codes`; -1 from where there are no more.
    """

    def __init__(self, rows: int, codes: Sequence[str]) -> None:
        self.codes = tuple(codes)
        self.places: Counts = np.full((rows, MOST_REASONS), NONE, np.int32)
        self._told = np.zeros(rows, np.int64)
        self._at = {code: number for number, code in enumerate(self.codes)}

    def tell(self, where: Flags, code: str) -> None:
        """Tell a code of some lines."""
        rows = np.flatnonzero(where)
        self.tell_each(rows, np.full(rows.size, self._at[code], np.int32))

    def tell_each(self, rows: NDArray[np.int64], places: Counts) -> None:
        """Tell a code for each of some lines, where it is not -1."""
        fresh = (places != NONE) & (self._told[rows] < MOST_REASONS)
        fresh &= (self.places[rows] != places[:, None]).all(axis=1)
        rows = rows[fresh]
        self.places[rows, self._told[rows]] = places[fresh]
        self._told[rows] += 1

    def then(self, more: Codes) -> None:
        """Tell what others tell, after one's own."""
        for column in range(MOST_REASONS):
            rows = np.flatnonzero(more.places[:, column] != NONE)
            self.tell_each(rows, more.places[rows, column])

    @property
    def silent(self) -> Flags:
        """Lines of which nothing was told."""
        found: Flags = self._told == 0
        return found
