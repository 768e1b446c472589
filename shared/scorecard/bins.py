"""What bins are: numbers cut at edges, categories with levels merged, pairs cut into cells.

These definitions hold edges and stay with their holder; how edges and cells are chosen is in
`shared.scorecard.cuts`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Floors:
    """How many people must stand behind every bin (design 4.3).

    Parameters
    ----------
    rows : int
        At least so many rows, >= 1.
    share : float
        And at least this share of the rows, in [0, 0.5].

    Raises
    ------
    UsageError
        If one is out of range.
    """

    rows: int = 100
    share: float = 0.004

    def __post_init__(self) -> None:
        if self.rows < 1 or not 0 <= self.share <= 0.5:
            raise UsageError(
                "floors: rows must be at least 1 and share in [0, 0.5]. "
                f"Got {self.rows}, {self.share}"
            )

    def minimum(self, n: int) -> int:
        """Return the smallest number of rows a bin may hold among `n`."""
        return max(self.rows, math.ceil(self.share * n - 1e-9))  # .004 * 25000 is above 100


@dataclass(frozen=True, slots=True)
class Axis:
    """A number cut at edges: bin k holds the values above k edges ("x > t").

    Parameters
    ----------
    name : str
        Column.
    edges : tuple of float
        Ascending; a value equal to an edge lies below it.
    special : tuple of float
        All special codes of the column.
    apart : tuple of tuple of float or None
        Codes that share a bin of their own behind the ordered bins; None is a missing value.
    home : float
        Median of the ordinary training values. A missing value or special code without a bin of
        its own is read as this value, in training and in scoring: neither good nor bad news.
    """

    name: str
    edges: tuple[float, ...]
    special: tuple[float, ...]
    apart: tuple[tuple[float | None, ...], ...]
    home: float

    @property
    def n_atoms(self) -> int:
        """Number of bins: the ordered ones, then those apart."""
        return len(self.edges) + 1 + len(self.apart)

    @property
    def home_bin(self) -> int:
        """Ordered bin of what is missing or special and has no bin of its own."""
        return int(np.searchsorted(np.asarray(self.edges), self.home, side="left"))

    def steps(self, values: Floats) -> tuple[Ints, Ints]:
        """Place values.

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            NaN is missing.

        Returns
        -------
        steps : ndarray of int64, shape (n,)
            How many edges lie below each value; 0 for a value with a bin apart.
        apart : ndarray of int64, shape (n,)
            Which bin apart, or -1.
        """
        missing = np.isnan(values)
        plain = np.where(missing | np.isin(values, self.special), self.home, values)
        steps = np.searchsorted(np.asarray(self.edges), plain, side="left").astype(np.int64)
        apart = np.full(values.shape, -1, dtype=np.int64)
        for index, codes in enumerate(self.apart):
            for code in codes:
                apart[missing if code is None else values == code] = index
        steps[apart >= 0] = 0
        return steps, apart

    def encode(self, values: Floats) -> Ints:
        """Return the bin of each value, shape (n,)."""
        steps, apart = self.steps(values)
        return np.where(apart >= 0, len(self.edges) + 1 + apart, steps)

    def ladder(self) -> NDArray[np.uint8]:
        """Return which indicators hold in each bin: thresholds passed, then bins apart."""
        ladder = np.zeros((self.n_atoms, self.n_atoms - 1), dtype=np.uint8)
        n_edges = len(self.edges)
        ladder[: n_edges + 1, :n_edges] = np.tri(n_edges + 1, n_edges, -1)
        ladder[n_edges + 1 :, n_edges:] = np.eye(len(self.apart))
        return ladder

    def labels(self) -> tuple[str, ...]:
        """Return the public name of each indicator: no edge, only its number."""
        steps = [f"{self.name}>#{k + 1}" for k in range(len(self.edges))]
        return (*steps, *(f"{self.name} {_codes_text(codes)}" for codes in self.apart))


def _codes_text(codes: Sequence[float | None]) -> str:
    return ", ".join("missing" if code is None else f"special {code:g}" for code in codes)


@dataclass(frozen=True, slots=True)
class Levels:
    """A category: small levels are merged.

    Parameters
    ----------
    name : str
        Column.
    groups : tuple of int
        Bin of each level of the contract, in the order of their codes.
    missing : int
        Bin of a missing value.
    texts : tuple of str
        Public name of each bin.
    """

    name: str
    groups: tuple[int, ...]
    missing: int
    texts: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        """Number of bins; bin 0 is the commonest."""
        return len(self.texts)

    def encode(self, values: Floats) -> Ints:
        """Return the bin of each value, shape (n,).

        Raises
        ------
        DataError
            If a value is not the code of a level.
        """
        missing = np.isnan(values)
        codes = np.where(missing, 0, values)
        known = (codes >= 0) & (codes < len(self.groups)) & (codes == np.floor(codes))
        if not known.all():
            count = int((~known).sum())
            raise DataError(
                self.name,
                [f"{count} rows hold a category that the card does not know"],
                hint="add the level to the contract and train again, or repair the data",
            )
        bins = np.asarray(self.groups, dtype=np.int64)[codes.astype(np.int64)]
        return np.where(missing, self.missing, bins)

    def ladder(self) -> NDArray[np.uint8]:
        """Return which indicators hold in each bin: none in bin 0, one in each other."""
        return np.eye(self.n_atoms, dtype=np.uint8)[:, 1:]

    def labels(self) -> tuple[str, ...]:
        """Return the public name of each indicator."""
        return tuple(f"{self.name}={text}" for text in self.texts[1:])


@dataclass(frozen=True, slots=True)
class Cells:
    """Two numbers of one holder, cut coarsely: products of "x > s" and "z > t".

    Parameters
    ----------
    first, second : Axis
        Coarse edges of both.
    kept : tuple of pairs of int
        The products: number of the edge of the first and of the second axis, from 0. Cells of the
        grid that no product tells apart are one bin.
    """

    first: Axis
    second: Axis
    kept: tuple[tuple[int, int], ...]

    def _signatures(self) -> tuple[NDArray[np.uint8], Ints]:
        """Products that hold in each bin, and the bin of each cell of the grid."""
        shape = (len(self.first.edges) + 1, len(self.second.edges) + 1)
        rows, columns = np.indices(shape).reshape(2, -1)
        holds = np.array([(rows > i) & (columns > j) for i, j in self.kept], dtype=np.uint8).T
        distinct, place, bins = np.unique(holds, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(place, kind="stable")  # by first cell: bin 0 is the low corner
        rank = np.argsort(order, kind="stable")
        return distinct[order], rank[bins.ravel()].reshape(shape).astype(np.int64)

    def grid(self) -> Ints:
        """Return the bin of each step of the first axis (rows) and of the second (columns)."""
        return self._signatures()[1]

    @property
    def n_atoms(self) -> int:
        """Number of bins."""
        return len(self._signatures()[0])

    def encode(self, first: Floats, second: Floats) -> Ints:
        """Return the bin of each pair of values, shape (n,); bins apart count as the lowest."""
        return self._signatures()[1][self.first.steps(first)[0], self.second.steps(second)[0]]

    def ladder(self) -> NDArray[np.uint8]:
        """Return which products hold in each bin."""
        return self._signatures()[0]

    def labels(self) -> tuple[str, ...]:
        """Return the public name of each product."""
        one, two = self.first.name, self.second.name
        return tuple(f"{one}>#{i + 1} x {two}>#{j + 1}" for i, j in self.kept)
