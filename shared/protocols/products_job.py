"""What a blind product works on: the job, a holder's one-hot matrix, and the floors it keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_value
from shared.errors import FloorBroken, Refused
from shared.ring import ring_bits

#: Rows that are multiplied, and travel, at a time.
CHUNK_ROWS = 4096

Table = NDArray[np.int64]


class SeedJournal(Protocol):
    """A party's durable memory of dealt seeds."""

    def use_seed(self, seed: bytes, columns: str, order: str) -> None:
        """Record that a seed masks these columns in this row order, before anything is sent.

        Raises
        ------
        Refused
            If the seed was used for other columns or another row order: two matrices under one
            mask would show their difference.
        """


@dataclass(frozen=True)
class ProductJob:
    """What is multiplied with what.

    Parameters
    ----------
    run, label : str
        The run, and which product of it: `moments`, `alone`, ...
    attempt : int
        Rises with every restart.
    holders : tuple of str
        Sorted names of the parties that bring columns.
    builder : str
        Who opens the tables; one of the holders.
    coordinator : str
        The dealer.
    n_rows : int
        Rows in common order.
    with_builder_only : bool
        Multiply each holder with the builder, but not the others among each other.
    ring : int
        16 or 32 where shares of several products are added; 0 for as wide as these rows need.
    """

    run: str
    label: str
    attempt: int
    holders: tuple[str, ...]
    builder: str
    coordinator: str
    n_rows: int
    with_builder_only: bool = False
    ring: Literal[0, 16, 32] = 0

    def __post_init__(self) -> None:
        if self.builder not in self.holders or len(set(self.holders)) < 2:
            raise Refused("a product needs two holders or more, the builder among them")
        if tuple(sorted(self.holders)) != self.holders or self.coordinator in self.holders:
            raise Refused("holders stand in sorted order, without the coordinator")

    @property
    def bits(self) -> int:
        """Width of the ring: 16 while no count can reach 65,536, unless said otherwise."""
        return self.ring or ring_bits(self.n_rows)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of holders whose table is computed, each in sorted order."""
        pairs = combinations(self.holders, 2)
        return tuple(pair for pair in pairs if not self.with_builder_only or self.builder in pair)

    def partners(self, holder: str) -> tuple[str, ...]:
        """Return the holders that `holder` shares a table with."""
        return tuple(
            other for pair in self.pairs if holder in pair for other in pair if other != holder
        )

    def label_of(self, *names: str) -> str:
        """Return the label of a keystream: never the same for two jobs, attempts or pairs."""
        return "/".join(("products", self.run, self.label, str(self.attempt), *names))


@dataclass(frozen=True)
class OneHot:
    """A holder's matrix of bins in its compact form: one bin number a row and group.

    Parameters
    ----------
    codes : ndarray of integers, shape (n_rows, n_groups)
        ``codes[r, g]`` is the bin of row r in group g, in ``[0, sizes[g])``.
    sizes : tuple of int
        Bins of each group.
    description : bytes
        Public description of the bins for the builder; holds no edge.
    order : str
        Digest of the row order, equal at all holders.
    """

    codes: NDArray[np.integer[Any]]
    sizes: tuple[int, ...]
    description: bytes
    order: str

    @property
    def width(self) -> int:
        """Number of bins in all groups."""
        return sum(self.sizes)

    @property
    def starts(self) -> NDArray[np.int64]:
        """First column of each group."""
        return group_starts(self.sizes)

    def dense(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return rows ``[start, stop)`` as a 0/1 matrix of float64."""
        codes = self.codes[start:stop] + self.starts
        matrix = np.zeros((codes.shape[0], self.width))
        np.put_along_axis(matrix, codes.astype(np.intp), 1.0, axis=1)
        return matrix

    @cached_property
    def margins(self) -> Table:
        """Rows in each bin, shape (width,)."""
        counts = [
            np.bincount(self.codes[:, group], minlength=size)
            for group, size in enumerate(self.sizes)
        ]
        return np.concatenate(counts).astype(np.int64)

    @cached_property
    def columns_digest(self) -> str:
        """Digest of every bin of every row: what a dealt seed is bound to."""
        digest = hashlib.sha256(pack_value({"sizes": list(self.sizes)}))
        for start in range(0, len(self.codes), CHUNK_ROWS):
            rows = self.codes[start : start + CHUNK_ROWS]
            digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
        return digest.hexdigest()

    def own_table(self) -> Table:
        """Return the counts between the holder's own bins, shape (width, width)."""
        total = np.zeros((self.width, self.width))
        for start in range(0, len(self.codes), CHUNK_ROWS):
            chunk = self.dense(start, start + CHUNK_ROWS)
            total += chunk.T @ chunk
        return total.astype(np.int64)


def group_starts(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return the first column of each group."""
    return np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)


def check_floors(matrix: OneHot, minimum: int) -> None:
    """Refuse to send anything about a bin, or its complement, with too few people.

    Raises
    ------
    FloorBroken
        Says how many bins are too small, not which: the builder reads the error too.
    """
    n_rows = len(matrix.codes)
    # A group of one bin holds everybody, and says nothing.
    alone = np.repeat(np.array(matrix.sizes) == 1, matrix.sizes)
    small = (np.minimum(matrix.margins, n_rows - matrix.margins) < minimum) & ~alone
    if small.any():
        raise FloorBroken(
            f"{int(small.sum())} of {matrix.width} bins, or their complements, hold fewer than "
            f"{minimum} of {n_rows} customers",
            hint="merge them: fewer thresholds, or a larger sample",
        )
