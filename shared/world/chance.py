"""Chance that is a function of who and when: the same for any number of processes and any chunk.

Customers stand in blocks of a fixed size. Each block has, for each month, a counter-based stream
of its own (Philox, Salmon et al. 2011) under the seed, of which every month takes the same number
of values whatever anybody does. So two policies are tried on the same people with the same luck,
and a block needs no other block. It protects nobody's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

#: Customers whose luck comes from one stream.
BLOCK = 8192
#: The stream of what a customer is, before the first month.
BIRTH = 0
_SEED_BITS = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Customers of one block.

    Parameters
    ----------
    block : int
    start, stop : int
        Their numbers in the world, `stop` not included.
    """

    block: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def spans(customers: int, start: int = 0) -> Iterator[Span]:
    """Yield the blocks of a world, or those from a customer on.

    Raises
    ------
    ValueError
        If `start` is not the first customer of a block.
    """
    if start % BLOCK:
        raise ValueError(f"customer {start} is not the first of a block of {BLOCK}")
    for first in range(start, customers, BLOCK):
        yield Span(first // BLOCK, first, min(first + BLOCK, customers))


def stream(seed: int, block: int, month: int) -> Generator:
    """Return the stream of a block in a month; month `BIRTH` is before the first.

    Raises
    ------
    ValueError
        If the seed has more than 64 bits, or a number is negative.
    """
    if not 0 <= seed < 1 << _SEED_BITS or min(block, month) < 0:
        raise ValueError("a seed has 64 bits; blocks and months count from 0")
    # A counter's upper words: streams of 2^128 values each do not meet.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, month, block]))


@dataclass(frozen=True, slots=True)
class Luck:
    """What falls to each customer of a block in a month.

    Parameters
    ----------
    uniform : (k, n) float64
        In [0, 1).
    normal : (m, n) float64
        Standard normal.
    """

    uniform: NDArray[np.float64]
    normal: NDArray[np.float64]


def luck(rng: Generator, customers: int, uniforms: int, normals: int) -> Luck:
    """Draw the luck of so many customers, always of a whole block: a short one is a part of it."""
    uniform = rng.random((uniforms, BLOCK))[:, :customers]
    return Luck(uniform, rng.standard_normal((normals, BLOCK))[:, :customers])
