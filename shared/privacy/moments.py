"""One Gaussian release of the moments: what is counted, and how far one customer moves it.

With F blocks, one-hot, no pairs, one customer stands in exactly one bin of each block. It adds 1 to
one cell of each of the F(F-1)/2 tables between two blocks, 1 to one bin of each of the F blocks,
and, if bad, `LABEL_WEIGHT` to one of the weighted bad counts of each block. Between its record used
and blank the released vector therefore moves by the L2 distance ::

    S = sqrt(F (F - 1) / 2 + F + LABEL_WEIGHT^2 F)

whatever its values are. Exchanged for another customer, every count moves in two places at most:
``sqrt(2) S``. Every table is released once, not twice as in the symmetric matrix; margins of tables
are not released again. The number of customers is public (`accounting.UNIT`), the number of bad
ones follows from the noisy counts.

Bad counts are few and carry the label, so they are weighted before the noise is added and divided
after: with 19 features a weight of 4 halves their noise and costs the tables a fifth more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer, UsageError
from shared.scorecard.blocks import Block
from shared.scorecard.moments import Moments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Factor of the bad counts in the released vector.
LABEL_WEIGHT = 4


def squared_sensitivity(blocks: int, others: int = 0) -> int:
    """Return the square of the L2 distance by which a customer's record at one party moves all.

    Parameters
    ----------
    blocks : int
        Of the party.
    others : int
        Blocks of all other parties, whose records of the customer stay.
    """
    tables = blocks * (blocks - 1) // 2 + blocks * others
    return tables + blocks + LABEL_WEIGHT**2 * blocks


@dataclass(frozen=True, slots=True)
class Table:
    """Where the counts of a release lie in its one flat vector.

    Parameters
    ----------
    sizes : tuple of int
        Bins of each block.

    Raises
    ------
    UsageError
        If there is no block.
    """

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise UsageError("a release of moments needs at least one block of bins")

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Table:
        """Return the table of some blocks.

        Raises
        ------
        UsageError
            If a block is a pair of features: its cells would count one customer again.
        """
        pairs = [block.name for block in blocks if len(block.features) > 1]
        if pairs:
            raise UsageError(
                f"noisy moments take no pairs of features: {', '.join(pairs)}",
                hint="plan the columns with pairs = false",
            )
        return cls(tuple(block.n_atoms for block in blocks))

    @property
    def squared_sensitivity(self) -> int:
        """Square of the L2 distance by which one customer moves the vector; see the module."""
        return squared_sensitivity(len(self.sizes))

    @property
    def size(self) -> int:
        """Elements of the vector."""
        bins = sum(self.sizes)
        return (bins**2 - sum(size**2 for size in self.sizes)) // 2 + 2 * bins

    def vector(self, moments: Moments) -> Ints:
        """Return exact moments as the vector to be released.

        Parameters
        ----------
        moments : Moments
            A party's own, or of all rows.

        Returns
        -------
        ndarray of int64, shape (size,)
            Cells of each pair of blocks, then bins, then weighted bad counts.
        """
        if tuple(block.n_atoms for block in moments.blocks) != self.sizes:
            raise UsageError("these moments have other bins than the release")
        return self.released(moments.counts, moments.bads)

    def released(self, counts: NDArray[Any], bads: NDArray[Any]) -> NDArray[Any]:
        """Return counts, or shares of counts, as the vector to be released.

        Parameters
        ----------
        counts : ndarray of integers, shape (A, A)
            Of residues, shares of the counts: everything here is linear.
        bads : ndarray of integers, shape (A,)

        Returns
        -------
        ndarray of the same type, shape (size,)
        """
        tables = [counts[first, second].ravel() for first, second in self._pairs()]
        return np.concatenate([*tables, np.diag(counts), bads * bads.dtype.type(LABEL_WEIGHT)])

    def read(self, vector: NDArray[np.float64] | Ints) -> tuple[Floats, Floats]:
        """Return the counts behind a released vector.

        Returns
        -------
        counts : ndarray of float64, shape (A, A)
            Symmetric; bins on the diagonal, zero between the bins of one block.
        bads : ndarray of float64, shape (A,)

        Raises
        ------
        BadPeer
            If the vector has another length.
        """
        if vector.shape != (self.size,):
            raise BadPeer(f"noisy moments: expected {self.size} numbers, got {vector.shape}")
        bins = sum(self.sizes)
        values = vector.astype(np.float64)
        counts = np.diag(values[-2 * bins : -bins])
        start = 0
        for first, second in self._pairs():
            shape = (first.stop - first.start, second.stop - second.start)
            stop = start + shape[0] * shape[1]
            counts[first, second] = values[start:stop].reshape(shape)
            counts[second, first] = counts[first, second].T
            start = stop
        return counts, values[-bins:] / LABEL_WEIGHT

    def spans(self) -> list[slice]:
        """Return the bins of each block."""
        edges = np.cumsum([0, *self.sizes]).tolist()
        return [slice(start, stop) for start, stop in pairwise(edges)]

    def _pairs(self) -> list[tuple[slice, slice]]:
        return list(combinations(self.spans(), 2))
