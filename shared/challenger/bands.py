"""A joint histogram of two models' points: what banks add up to compare the models, paired.

Pairs of whole points would be close to a list of customers with two numbers each. Bands of four
points, 6 % of the odds where 50 points double them, move no area under a curve by more than a few
units of the fourth decimal (`scripts/bench_challenger.py`), and customers share cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from shared.challenger.compare import Pairs
from shared.errors import BadPeer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

WIDTH: Final = 4
"""Points in a band."""


@dataclass(frozen=True, slots=True)
class Bands:
    """Bands of a model's points, from the fewest that it can give to the most.

    Parameters
    ----------
    low, high : int
        Its span, which its release tells.
    """

    low: int
    high: int

    @property
    def count(self) -> int:
        """Number of bands."""
        return (self.high - self.low) // WIDTH + 1

    @property
    def middles(self) -> Floats:
        """The middle of each band, in points, shape (count,)."""
        return (self.low + (WIDTH - 1) / 2 + WIDTH * np.arange(self.count)).astype(np.float64)

    def of(self, points: Ints) -> Ints:
        """Return each customer's band, 0 to `count` - 1; points beyond the span go to its ends."""
        return (np.clip(points, self.low, self.high) - self.low) // WIDTH


def joint(label: Ints, champion: tuple[Bands, Ints], challenger: tuple[Bands, Ints]) -> Ints:
    """Count good and bad customers by pair of bands.

    Parameters
    ----------
    label : ndarray of int64, shape (n,)
        1 is bad.
    champion, challenger : pair of Bands and ndarray of int64, shape (n,)
        Bands and points of each model, for the same customers in the same order.

    Returns
    -------
    ndarray of int64, shape (length,)
        See `length`.
    """
    (old, first), (new, second) = champion, challenger
    cell = (label * old.count + old.of(first)) * new.count + new.of(second)
    return np.bincount(cell, minlength=length(old, new)).astype(np.int64)


def length(champion: Bands, challenger: Bands) -> int:
    """Return the number of counts of `joint`."""
    return 2 * champion.count * challenger.count


def pairs_of(
    counts: Ints,
    champion: tuple[Bands, Callable[[Floats], Floats]],
    challenger: tuple[Bands, Callable[[Floats], Floats]],
) -> Pairs:
    """Read summed counts of `joint`.

    Parameters
    ----------
    counts : ndarray of int64, shape (length,)
    champion, challenger : pair of Bands and callable
        Bands of each model, and its calibration from points to `default_prob`.

    Raises
    ------
    BadPeer
        If a count is below zero.
    DataError
        If a class has fewer than two customers.
    """
    if counts.min() < 0:
        raise BadPeer("the banks' counts by pairs of points do not add up: one is negative")
    (old, first), (new, second) = champion, challenger
    goods, bads = counts.reshape(2, old.count * new.count)
    cells = np.flatnonzero(goods + bads)
    return Pairs(
        first(old.middles)[cells // new.count],
        second(new.middles)[cells % new.count],
        goods[cells],
        bads[cells],
    ).checked()
