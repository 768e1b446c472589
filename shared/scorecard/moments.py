"""Cross-moments: counts of rows in each bin, in each pair of bins, and of bad customers among them.

All a card is fitted from. Everything is an integer and exact, whichever way it was computed: from
pooled rows (`pooled`), from tables that holders multiplied blindly (`assemble`), or as a sum over
several banks (`add`). Equal rows therefore give equal moments, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import BadPeer, UsageError
from shared.scorecard.blocks import one_hot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shared.scorecard.blocks import Block

    Ints = NDArray[np.int64]

_CHUNK_ROWS = 8192  # counts within a chunk are exact in float32, whose products are the fastest


@dataclass(frozen=True, slots=True, eq=False)
class ColumnMoments:
    """Moments of the cumulative indicators that a card can use.

    Parameters
    ----------
    n, n_bad : int
        Rows, and bad customers among them.
    sums : ndarray of int64, shape (p,)
        Rows in which each indicator holds: `X'1`.
    gram : ndarray of int64, shape (p, p)
        Rows in which two hold: `X'X`.
    bads : ndarray of int64, shape (p,)
        Bad customers in which each holds: `X'y`.
    signs : ndarray of int8, shape (p,)
        1, -1 or 0 for a coefficient that must not fall, must not rise, or is free.
    paired : ndarray of bool, shape (p,)
        Whether the indicator is a product of two features.
    names, owners : tuple of str
        Public name and holder of each indicator.
    place : ndarray of int64, shape (p,)
        Position among the indicators of all blocks, before constant and doubled ones were dropped.
    widths : tuple of int
        Number of indicators of each block, before dropping.
    """

    n: int
    n_bad: int
    sums: Ints
    gram: Ints
    bads: Ints
    signs: NDArray[np.int8]
    paired: NDArray[np.bool_]
    names: tuple[str, ...]
    owners: tuple[str, ...]
    place: Ints
    widths: tuple[int, ...]

    def by_block(self, values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Spread one value an indicator over the blocks it came from.

        Parameters
        ----------
        values : ndarray, shape (p,)
            For example coefficients or points.

        Returns
        -------
        tuple of ndarray, one a block, shape (n_columns of the block,)
            0 for an indicator that was dropped. `block.ladder @ part` is the value of each bin.
        """
        whole = np.zeros(sum(self.widths), dtype=values.dtype)
        whole[self.place] = values
        return tuple(np.split(whole, np.cumsum(self.widths)[:-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Counts over all bins of all blocks.

    Parameters
    ----------
    n : int
        Rows.
    blocks : tuple of Block
        The blocks in order; their bins, one after the other, are the rows and columns of `counts`.
    counts : ndarray of int64, shape (A, A)
        Rows in both bins.
    bads : ndarray of int64, shape (A,)
        Bad customers in each bin.
    n_bad : int
        Bad customers.
    """

    n: int
    blocks: tuple[Block, ...]
    counts: Ints
    bads: Ints
    n_bad: int

    @property
    def starts(self) -> Ints:
        """First bin of each block, and the number of bins at the end: shape (blocks + 1,)."""
        return np.cumsum([0, *(block.n_atoms for block in self.blocks)], dtype=np.int64)

    def check(self) -> None:
        """Check that the counts can be those of one table of rows.

        Raises
        ------
        BadPeer
            Names the pair of parties whose counts do not add up, or the party and the label.
        """
        size = int(self.starts[-1])
        if self.counts.shape != (size, size) or self.bads.shape != (size,):
            raise BadPeer(f"moments: {size} bins announced, counts of shape {self.counts.shape}")
        self._refuse(self.counts < 0, "a count is negative")
        self._refuse(self.counts != self.counts.T, "counts are not symmetric")
        rows = np.diag(self.counts)
        member = np.zeros((size, len(self.blocks)))
        member[np.arange(size), np.repeat(np.arange(len(self.blocks)), self._sizes)] = 1
        totals = np.rint(self.counts @ member).astype(np.int64)  # exact: far below 2^53
        for index, wrong in enumerate((totals != rows[:, None]).T):
            if wrong.any():
                self._blame(int(np.flatnonzero(wrong)[0]), int(self.starts[index]), "margins")
        for start, block in zip(self.starts.tolist(), self.blocks, strict=False):
            bins = slice(start, start + block.n_atoms)
            if rows[bins].sum() != self.n:
                what = f"moments: {block.name} does not count {self.n} rows"
                raise BadPeer(what, party=block.owner)
            bads = self.bads[bins]
            if bads.sum() != self.n_bad or bads.min() < 0 or (bads > rows[bins]).any():
                what = f"moments: {block.name} with the label does not add up"
                raise BadPeer(what, party=block.owner)

    @property
    def _sizes(self) -> list[int]:
        return [block.n_atoms for block in self.blocks]

    def _refuse(self, wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
            self._blame(int(row), int(column), what)

    def _blame(self, row: int, column: int, what: str) -> None:
        owners = [self._block_of(atom).owner for atom in sorted((row, column))]
        raise BadPeer(
            f"moments between {owners[0]} and {owners[1]} do not add up: {what}",
            hint="one of the two, or the dealer, sent something else than it announced",
        )

    def _block_of(self, atom: int) -> Block:
        return self.blocks[int(np.searchsorted(self.starts, atom, side="right")) - 1]

    def columns(self) -> ColumnMoments:
        """Cumulate the counts along the ladders: from bins to the indicators of the card.

        Returns
        -------
        ColumnMoments
            Without constant indicators, and without those that hold in exactly the same rows as an
            earlier one of the same holder. Equal ones of two holders stay: they share their points,
            and both holders get their worth.
        """
        ladder = self._ladder()
        # Counts are below 2^53 and so is every partial sum: bins of a block have no row in common.
        gram = np.rint(ladder.T @ self.counts.astype(np.float64) @ ladder).astype(np.int64)
        sums = np.diag(gram).copy()
        bads = np.rint(ladder.T @ self.bads.astype(np.float64)).astype(np.int64)
        owners = [block.owner for block in self.blocks for _ in block.columns]
        same_owner = np.equal.outer(owners, owners)
        same_rows = (gram == sums[:, None]) & (gram == sums[None, :])
        doubled = np.triu(same_rows & same_owner, 1).any(axis=0)
        keep = np.flatnonzero((sums > 0) & (sums < self.n) & ~doubled)
        widths = tuple(len(block.columns) for block in self.blocks)
        names = [name for block in self.blocks for name in block.columns]
        signs = np.concatenate([block.signs for block in self.blocks])
        paired = np.repeat([len(block.features) > 1 for block in self.blocks], widths)
        return ColumnMoments(
            n=self.n,
            n_bad=self.n_bad,
            sums=sums[keep],
            gram=gram[np.ix_(keep, keep)],
            bads=bads[keep],
            signs=signs[keep],
            paired=paired[keep],
            names=tuple(names[k] for k in keep),
            owners=tuple(owners[k] for k in keep),
            place=keep.astype(np.int64),
            widths=widths,
        )

    def _ladder(self) -> NDArray[np.float64]:
        """All ladders on the diagonal, shape (A, indicators)."""
        widths = [len(block.columns) for block in self.blocks]
        ladder = np.zeros((int(self.starts[-1]), sum(widths)))
        column = 0
        for start, block, width in zip(self.starts, self.blocks, widths, strict=False):
            ladder[start : start + block.n_atoms, column : column + width] = block.ladder
            column += width
        return ladder


def pooled(
    blocks: Sequence[Block],
    codes: Sequence[NDArray[np.integer[Any]]],
    label: NDArray[np.integer[Any]],
) -> Moments:
    """Count over rows that lie in one place: the oracle of the blind exchange.

    Parameters
    ----------
    blocks : sequence of Block
        What the codes mean.
    codes : sequence of ndarray of integers, shape (n,)
        Bin of each row, one array a block.
    label : ndarray of integers, shape (n,)
        1 is bad, 0 is good.

    Returns
    -------
    Moments
        Exact.

    Raises
    ------
    UsageError
        If the arrays do not fit, or the label is not 0 and 1.
    """
    if len(blocks) != len(codes) or not blocks:
        raise UsageError(f"{len(blocks)} blocks, but codes of {len(codes)}")
    if any(code.shape != label.shape for code in codes) or not np.isin(label, (0, 1)).all():
        raise UsageError("codes and label must have one entry a row, the label 0 or 1")
    size = sum(block.n_atoms for block in blocks)
    counts = np.zeros((size, size), dtype=np.int64)
    bads = np.zeros(size, dtype=np.int64)
    for start in range(0, len(label), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        parts = [one_hot(c[part], b.n_atoms) for c, b in zip(codes, blocks, strict=True)]
        rows = np.concatenate(parts, axis=1).astype(np.float32)
        counts += np.rint(rows.T @ rows).astype(np.int64)
        bads += np.rint(rows.T @ label[part].astype(np.float32)).astype(np.int64)
    return Moments(len(label), tuple(blocks), counts, bads, int(label.sum()))


def assemble(
    blocks: Mapping[str, Sequence[Block]],
    own: Mapping[str, Ints],
    cross: Mapping[tuple[str, str], Ints],
    bads: Mapping[str, Ints],
    *,
    n: int,
    n_bad: int,
) -> Moments:
    """Put the tables of several holders together and check that they add up.

    Parameters
    ----------
    blocks : mapping of str to sequence of Block
        Blocks of each party; its order is the order of the result.
    own : mapping of str to ndarray of int64, shape (A_k, A_k)
        Counts between the bins of one party.
    cross : mapping of (str, str) to ndarray of int64, shape (A_k, A_l)
        Counts between the bins of two parties, in either order of the two.
    bads : mapping of str to ndarray of int64, shape (A_k,)
        Bad customers in the bins of each party.
    n, n_bad : int
        Rows, and bad customers among them.

    Returns
    -------
    Moments
        Checked.

    Raises
    ------
    BadPeer
        If a table is absent, has another shape, or does not add up; names the parties.
    """
    parties = list(blocks)
    sizes = {party: sum(block.n_atoms for block in blocks[party]) for party in parties}
    edges = np.cumsum([0, *sizes.values()])
    span = {party: slice(*edges[k : k + 2]) for k, party in enumerate(parties)}
    counts = np.zeros((edges[-1], edges[-1]), dtype=np.int64)
    labelled = np.zeros(edges[-1], dtype=np.int64)
    for k, party in enumerate(parties):
        size = sizes[party]
        counts[span[party], span[party]] = _table(own, party, (size, size), party)
        labelled[span[party]] = _table(bads, party, (size,), f"{party} and the label")
        for other in parties[:k]:
            key = (party, other) if (party, other) in cross else (other, party)
            shape = (sizes[key[0]], sizes[key[1]])
            table = _table(cross, key, shape, f"{key[0]} and {key[1]}")
            counts[span[key[0]], span[key[1]]] = table
            counts[span[key[1]], span[key[0]]] = table.T
    moments = Moments(
        n, tuple(block for party in parties for block in blocks[party]), counts, labelled, n_bad
    )
    moments.check()
    return moments


def _table(tables: Mapping[Any, Ints], key: Any, shape: tuple[int, ...], who: str) -> Ints:
    table = tables.get(key)
    if table is None or table.shape != shape or table.dtype.kind not in "iu":
        raise BadPeer(f"moments of {who}: expected a table of integers of shape {shape}")
    return table


def add(first: Moments, second: Moments) -> Moments:
    """Add the moments of different people with the same columns.

    Parameters
    ----------
    first, second : Moments
        For example those of two banks.

    Returns
    -------
    Moments
        Those of both tables of rows, one below the other.

    Raises
    ------
    BadPeer
        If they describe different columns.
    """
    if first.blocks != second.blocks:
        raise BadPeer(
            "moments of different columns cannot be added", hint="agree on the bins first"
        )
    return Moments(
        first.n + second.n,
        first.blocks,
        first.counts + second.counts,
        first.bads + second.bads,
        first.n_bad + second.n_bad,
    )
