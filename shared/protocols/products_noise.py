"""Noise in blind products: each holder but the builder adds the whole of it to what it hands over.

Behind a table of two holders there is no sum of three in which noise could be shared out. So a
holder sizes its noise for its own customers' records alone and counts on nobody else's:

* to its share of every product, cell by cell, independent noise of deviation ``z S``;
* to the counts of its own bins, and of its own pairs of features, the same.

S is how far one of its records moves all of that (`shared.privacy.moments.squared_sensitivity`): F
own features, G of others, ``S^2 = F(F-1)/2 + F G + F + 16 F``. The builder adds its own exact share
of a product, and may know all that the other holder of a table brings, noise included: what stays
is this holder's noise, whole. A table of two such holders carries both. The builder's own tables
and its label get none, for it knows them.

Of the builder's label only bad counts are opened, weighted, as in the sum of banks; the column of
good customers is blotted out. Shares are scaled before noise is added: all of this is linear.

What a check can still say. Margins are no longer sent, and a table's groups add up to them within
the noise alone. A wrong share or correction is uniform in the ring of 32 bits, so it is found by a
cell out of range, or by groups that do not add up, with all but negligible chance; a party that
counts some customers wrongly, up to the noise, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer
from shared.privacy.gaussian import Entropy
from shared.privacy.moments import LABEL_WEIGHT, squared_sensitivity
from shared.privacy.noise import MAX_DEVIATIONS, SharedNoise, finest
from shared.privacy.terms import own_noise
from shared.protocols.products_job import Table, group_starts
from shared.ring import Unsigned

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Design:
    """Who adds which noise, known to all holders once their bins are announced.

    Parameters
    ----------
    sizes : mapping of str to tuple of int
        Bins of each holder's features, and of the builder's label behind its own.
    builder : str
    multiplier : float
    """

    sizes: Sizes
    builder: str
    multiplier: float

    def features(self, holder: str) -> int:
        """Return the number of a holder's features."""
        return len(self.sizes[holder]) - (holder == self.builder)

    def sensitivity(self, holder: str) -> int:
        """Return the squared sensitivity of a holder's records, in customers."""
        mine = self.features(holder)
        return squared_sensitivity(mine, sum(map(self.features, self.sizes)) - mine)

    @property
    def unit(self) -> int:
        """What one customer counts: the same at all holders, so that shares add up."""
        parties = len(self.sizes)
        return max(
            finest(parties, parties - 1, self.sensitivity(holder), self.multiplier)
            for holder in self.sizes
            if holder != self.builder
        )

    def noise(self, holder: str) -> SharedNoise:
        """Return the noise of a holder other than the builder, in units of the ring."""
        parties, squared = len(self.sizes), self.sensitivity(holder)
        return own_noise(parties, squared, self.multiplier, self.unit)[0]

    def variance(self, *holders: str) -> float:
        """Return the variance of what these holders add to one cell, in units of the ring."""
        return sum(
            float(self.noise(holder).share_variance) for holder in holders if holder != self.builder
        )

    def values(self, holder: str) -> int:
        """Return how many numbers a holder adds noise to."""
        own = sum(self.sizes[holder])
        pairs = (own**2 - sum(size**2 for size in self.sizes[holder])) // 2
        others = sum(sum(sizes) for name, sizes in self.sizes.items() if name != holder)
        return own + pairs + own * (others - 1)  # good customers are not opened


@dataclass(frozen=True, slots=True, eq=False)
class Additions:
    """A holder's noise on all that it hands over, drawn once.

    Parameters
    ----------
    own : ndarray of int64, shape (width, width)
        Symmetric; none within a feature but on the diagonal.
    cross : mapping of str to ndarray of int64, shape (width, width of the peer)
    """

    own: Table
    cross: Mapping[str, Table]


def draw(design: Design, holder: str, entropy: Entropy) -> Additions:
    """Draw a holder's noise; the budget was asked before."""
    noise, width = design.noise(holder), sum(design.sizes[holder])
    upper = np.triu(noise.draw(width * width, entropy).reshape(width, width))
    own = (upper + np.triu(upper, 1).T) * _between(design.sizes[holder])
    cross = {
        peer: noise.draw(width * sum(sizes), entropy).reshape(width, sum(sizes))
        for peer, sizes in design.sizes.items()
        if peer != holder
    }
    return Additions(own, cross)


def own_table(design: Design, holder: str, table: Table, noise: Additions | None) -> Ints:
    """Return a holder's own counts as they are opened; exact ones, in units, at the builder."""
    scaled = table * design.unit
    return scaled if noise is None else (scaled + noise.own) * _between(design.sizes[holder])


def share(
    design: Design,
    pair: tuple[str, str],
    holder: str,
    own: Unsigned,
    noise: Additions | None,
) -> Unsigned:
    """Return a holder's share of a product as it is handed over.

    Parameters
    ----------
    design : Design
    pair : tuple of str
        The first one's bins are the rows.
    holder : str
    own : ndarray of uint32
    noise : Additions or None
        None at the builder.
    """
    weights = np.outer(*(_weights(design, name) for name in pair)) * design.unit
    if noise is None:
        return own * weights.astype(np.uint32)
    peer = pair[1] if holder == pair[0] else pair[0]
    added = noise.cross[peer] if holder == pair[0] else noise.cross[peer].T
    return own * weights.astype(np.uint32) + (added * (weights > 0)).astype(np.uint32)


def check(
    design: Design,
    pair: tuple[str, str],
    table: Ints,
    bins: Mapping[str, Ints],
    n_rows: int,
    dealer: str,
) -> None:
    """Hold a table against its range, and its groups against bins, within the noise.

    Parameters
    ----------
    design : Design
    pair : tuple of str
    table : ndarray of int64
        In units of the ring.
    bins : mapping of str to ndarray of int64
        Each holder's counts of its own bins, with its noise.
    n_rows : int
    dealer : str
        For the message.

    Raises
    ------
    BadPeer
        Names the pair and the dealer.
    """
    variance = design.variance(*pair)
    far = MAX_DEVIATIONS * np.sqrt(variance)
    most = n_rows * design.unit * np.outer(*(_weights(design, name) for name in pair))
    wrong = bool((table < -far).any() or (table > most + far).any())
    for one, other, part in ((pair[0], pair[1], table), (pair[1], pair[0], table.T)):
        starts, sizes = group_starts(design.sizes[other]), np.array(design.sizes[other])
        features = slice(None, -1 if other == design.builder else None)
        sums = np.add.reduceat(part, starts, axis=1)[:, features]
        mine = slice(None, -2 if one == design.builder else None)
        allowed = MAX_DEVIATIONS * np.sqrt(variance * sizes[features] + design.variance(one))
        wrong |= bool((np.abs(sums[mine] - bins[one][mine, None]) > allowed).any())
    if wrong:
        raise BadPeer(
            f"the table between {pair[0]} and {pair[1]} does not add up to their bins, not even "
            f"within the noise: one of them, or the dealer {dealer}, sent something wrong"
        )


def check_own(design: Design, holder: str, table: Ints, n_rows: int) -> None:
    """Hold a holder's own noisy table against its form and the number of customers.

    Raises
    ------
    BadPeer
        Names the holder.
    """
    noise = design.noise(holder)
    far = MAX_DEVIATIONS * np.sqrt(noise.share_variance)
    sizes = np.array(design.sizes[holder])
    groups = np.add.reduceat(np.diagonal(table), group_starts(design.sizes[holder]))
    within = (table != 0) & (_between(design.sizes[holder]) == 0)
    most = n_rows * design.unit
    wrong = within.any() or (table != table.T).any() or (table > most + far).any()
    if wrong or (table < -far).any() or (np.abs(groups - most) > far * np.sqrt(sizes)).any():
        raise BadPeer("its own noisy table is none of these customers", party=holder)


def _weights(design: Design, holder: str) -> Ints:
    """Return what a holder's bins count in a product: good customers nothing, bad ones more."""
    weights = np.ones(sum(design.sizes[holder]), dtype=np.int64)
    if holder == design.builder:
        weights[-2:] = 0, LABEL_WEIGHT
    return weights


def _between(sizes: tuple[int, ...]) -> Ints:
    """Return 1 between the bins of different groups, and on the diagonal."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    different: Ints = (group[:, None] != group[None, :]).astype(np.int64)
    return different + np.eye(len(group), dtype=np.int64)
