"""Moments of several banks, and of holders of columns, opened once and with noise.

Everything is as in `shared.protocols.blocks` up to the sum. Before it, each party picks from its
counts and shares what is opened at all: every table between two features once, every bin once, bad
counts weighted; no table of one feature with itself, no count of good customers. That is linear, so
shares are picked from like counts. Each party then adds its share of the noise. A bin's own count
and a table between a bank and a holder of columns are sums over all parties alike, so the noise is
shared out among all of them (`shared.privacy.noise`).

Without holders of columns the number of customers is one element more, without noise: it is public
in the unit of the accounting. With them it is known from the alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import urandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_value
from shared.contract import EVERY
from shared.privacy.moments import Table as Release
from shared.privacy.noise import SharedNoise
from shared.protocols.blocks import (
    Blocks,
    BlocksJob,
    BlocksJournal,
    Sizes,
    agree_sizes,
    collect,
    features_of,
    hear_descriptions,
)
from shared.protocols.products_job import OneHot
from shared.protocols.sum import sum_party
from shared.protocols.sum_job import FreshInputs
from shared.sealed import SealedChannel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOOD_AND_BAD = 2


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A party's share of the noise, drawn once.

    Parameters
    ----------
    noise : SharedNoise
        What it was drawn from, in units of the sum.
    unit : int
        What one customer counts in the sum.
    share : ndarray of int64
    """

    noise: SharedNoise
    unit: int
    share: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What the builder opened.

    Parameters
    ----------
    descriptions : mapping of str to bytes
        Each unit's public description of its bins.
    vector : ndarray of float64
        As `shared.privacy.moments.Table.read` takes it, in customers.
    n : int
        Customers.
    deviation : float
        Of the noise in each number, in customers.
    """

    descriptions: Mapping[str, bytes]
    vector: Floats
    n: int
    deviation: float


def add_noisy_blocks(
    channel: SealedChannel,
    job: BlocksJob,
    mine: Mapping[str, OneHot],
    *,
    max_rank_share: float,
    journal: BlocksJournal,
    draw: Callable[[tuple[int, ...]], Drawn],
    entropy: Callable[[int], bytes] = urandom,
) -> Released | None:
    """Be a party: hand in the own part of every block, with the own share of the noise.

    Parameters
    ----------
    channel : SealedChannel
    job : BlocksJob
    mine : mapping of str to OneHot
        See `shared.protocols.blocks.add_blocks`. The floors were held when the bins were planned.
    max_rank_share : float
    journal : BlocksJournal
    draw : callable
        Takes the bins of all features; spends, writes down what is about to be opened, and draws,
        or raises to refuse. Called when every check has passed, before anything about rows leaves.
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    Released or None
        None but at the builder.

    Raises
    ------
    FloorBroken, BadPeer, Refused
        See `shared.protocols.blocks.add_blocks`.
    BudgetSpent
        If `draw` says no; nothing was sent.
    """
    shape = job.shape
    sizes = agree_sizes(channel, job, mine, max_rank_share)
    drawn = draw(features_of(sizes))
    grain = drawn.noise.grain(drawn.unit)
    if channel.me == shape.builder:
        value = {"variance": grain.variance, "unit": grain.unit}
        channel.send(job.coordinator, "blocks/grain", pack_value(value))
    blocks, _ = collect(channel, job, mine, sizes, journal=journal, entropy=entropy)
    vector = picked(blocks, sizes) * np.uint32(drawn.unit) + drawn.share.astype(np.uint32)
    if not shape.columns:
        n_rows = sum(len(matrix.codes) for matrix in mine.values())
        vector = np.append(vector, np.uint32(n_rows))
    total = sum_party(
        channel, job.noisy_sum(sizes, grain), vector, journal=FreshInputs(), entropy=entropy
    )
    if total is None:
        return None
    n = job.total if shape.columns else int(total[-1])
    return Released(
        hear_descriptions(channel, shape, mine),
        total[: len(drawn.share)] / drawn.unit,
        n,
        drawn.noise.deviation / drawn.unit,
    )


def picked(blocks: Blocks, sizes: Sizes) -> NDArray[np.uint32]:
    """Return what is opened of one party's part of all blocks: residues."""
    units = sorted(sizes)
    ends = np.cumsum([0, *(sum(sizes[unit]) for unit in units)])
    span = {unit: slice(*ends[at : at + 2]) for at, unit in enumerate(units)}
    whole: NDArray[Any] = np.zeros((ends[-1], ends[-1]), dtype=np.uint32)
    for (first, second), part in blocks.items():
        whole[span[first], span[second]] = part
        if first != second:
            whole[span[second], span[first]] = part.T
    label = span[EVERY].stop - 1
    kept = np.delete(np.arange(ends[-1]), [label - 1, label])
    assert sizes[EVERY][-1] == _GOOD_AND_BAD
    release = Release(features_of(sizes))
    vector: NDArray[np.uint32] = release.released(whole[np.ix_(kept, kept)], whole[kept, label])
    return vector
