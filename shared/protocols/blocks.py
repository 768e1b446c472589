"""Moments of several banks, and of holders of further columns about all their customers.

A table of counts over everybody is made of blocks. Between the banks' own bins a block is a *sum*:
each bank counts its rows. Between banks' bins and those of a holder of columns it is a sum of
*products*: one blind product (`shared.protocols.products`) with each bank, over that bank's
customers. Within and between holders of columns it is the same, bank by bank. Counts and shares of
products are numbers of one ring, and their sum over all parties is the table over all customers:

1. Everybody announces the sizes of its groups of bins; those of the banks must be equal.
2. Bank by bank, the bank and all holders of columns take part in a blind product with fresh
   randomness of the dealer, and keep their shares.
3. Each party adds what it has of every block: its own counts, and its shares.
4. A secure sum over all parties (`shared.protocols.sum`) opens the total at the builder.

So the builder never sees a bank's table, nor that between a bank and another holder; without
holders of columns step 2 is empty, and what is left is a plain sum. The coordinator learns the
numbers of bins and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from os import urandom
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_value, unpack_value
from shared.channel import Channel
from shared.contract import EVERY
from shared.errors import BadPeer, FloorBroken, Refused
from shared.privacy.moments import LABEL_WEIGHT
from shared.privacy.moments import Table as Release
from shared.privacy.noise import Grain, bound_of
from shared.protocols.products import Opened, deal, share_products
from shared.protocols.products_announce import MAX_WIDTH
from shared.protocols.products_job import OneHot, ProductJob, SeedJournal, Table
from shared.protocols.sum import sum_coordinator, sum_party
from shared.protocols.sum_job import SumJob, SumJournal
from shared.sealed import SealedChannel
from shared.shape import Shape

#: Most rows of one bank: ten of them stay below half of Z_2^32.
MAX_ROWS = 1 << 27

Sizes = Mapping[str, tuple[int, ...]]
Blocks = dict[tuple[str, str], Any]


class BlocksJournal(SeedJournal, SumJournal, Protocol):
    """A party's durable memory of dealt seeds and of reveals."""


@dataclass(frozen=True, slots=True)
class BlocksJob:
    """Whose blocks are added.

    Parameters
    ----------
    run, label : str
        The run, and which table of it.
    attempt : int
        Rises with every restart.
    shape : Shape
        Banks, holders of columns and the builder, who opens.
    coordinator : str
        Deals randomness and adds masked vectors.
    rows : mapping of str to int
        Customers that each bank has in common with all holders of columns; empty without these.
    noisy : bool
        Whether noise is added before anything is opened; see `shared.protocols.noisy_blocks`.
    """

    run: str
    label: str
    attempt: int
    shape: Shape
    coordinator: str
    rows: Mapping[str, int]
    noisy: bool = False

    @property
    def total(self) -> int:
        """Rows of all products."""
        return sum(self.rows[bank] for bank in self.shape.banks) if self.shape.columns else 0

    def product(self, bank: str) -> ProductJob:
        """Return the blind product over one bank's customers."""
        return ProductJob(
            run=self.run,
            label=f"{self.label}/{bank}",
            attempt=self.attempt,
            holders=self.shape.around(bank),
            builder=bank,
            coordinator=self.coordinator,
            n_rows=self.rows[bank],
            ring=32,
        )

    def noisy_sum(self, sizes: Sizes, grain: Grain) -> SumJob:
        """Return the secure sum over all parties of counts with noise, each opened once."""
        exact = self.sum(sizes)
        size = Release(features_of(sizes)).size
        if self.shape.columns:
            parties = len(self.shape.everybody)
            bound = LABEL_WEIGHT * self.total * grain.unit + parties * bound_of(grain.variance)
        else:
            size += 1  # the number of customers, which has no noise
            bound = MAX_ROWS + bound_of(grain.variance)
        return replace(exact, kind=grain.kind("moments"), length=size, bound=bound)

    def sum(self, sizes: Sizes) -> SumJob:
        """Return the secure sum over all parties."""
        mixed = bool(self.shape.columns)
        return SumJob(
            run=self.run,
            label=self.label,
            attempt=self.attempt,
            cohort=self.shape.everybody,
            opener=self.shape.builder,
            coordinator=self.coordinator,
            kind="moments",
            model="",
            bits=32,
            length=sum(rows * columns for _, (rows, columns) in layout(sizes)),
            scale=0,
            bound=self.total if mixed else MAX_ROWS,
            shares=mixed,
        )


def layout(sizes: Sizes) -> list[tuple[tuple[str, str], tuple[int, int]]]:
    """Return the blocks of the vector in order, and their shapes: each pair of units once."""
    widths = {unit: sum(sizes[unit]) for unit in sorted(sizes)}
    units = list(widths)
    return [
        ((first, second), (widths[first], widths[second]))
        for at, first in enumerate(units)
        for second in units[at:]
    ]


def features_of(sizes: Sizes) -> tuple[int, ...]:
    """Return the bins of all features, unit by unit; the banks' last group is the label's."""
    return tuple(
        size
        for unit in sorted(sizes)
        for size in (sizes[unit][:-1] if unit == EVERY else sizes[unit])
    )


def add_blocks(
    channel: SealedChannel,
    job: BlocksJob,
    mine: Mapping[str, OneHot],
    *,
    minimum: int,
    max_rank_share: float,
    journal: BlocksJournal,
    consent: Callable[[], None] = lambda: None,
    entropy: Callable[[int], bytes] = urandom,
) -> Opened | None:
    """Be a party: hand in the own part of every block.

    Parameters
    ----------
    channel : SealedChannel
    job : BlocksJob
    mine : mapping of str to OneHot
        By bank: a bank's own bins, or a holder's bins over each bank's customers.
    minimum : int
        Fewest rows of all banks in a bin of a holder of columns, and in its complement.
    max_rank_share : float
        Largest rank of the banks' columns, as a share of the rows, where there are further columns.
    journal : BlocksJournal
    consent : callable
        Called when every check has passed and before anything about rows leaves.
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    Opened or None
        At the builder the tables by unit (`EVERY` for the banks), None elsewhere.

    Raises
    ------
    FloorBroken
        If a bin is too small, or the banks bring too many columns; nothing was sent.
    BadPeer
        If a bank brings other bins than the rest, or a protocol below fails.
    Refused
        If the journal says no.
    """
    shape = job.shape
    if channel.me in shape.columns:
        _check_floors(list(mine.values()), minimum)
    sizes = agree_sizes(channel, job, mine, max_rank_share)
    consent()
    blocks, counts = collect(channel, job, mine, sizes, journal=journal, entropy=entropy)
    vector = np.concatenate([blocks[pair].ravel() for pair, _ in layout(sizes)])
    total = sum_party(
        channel,
        job.sum(sizes),
        vector,
        journal=journal,
        entropy=entropy,
        known_by=counts.ravel(),
    )
    if total is None:
        return None
    return _opened(total, sizes, hear_descriptions(channel, shape, mine))


def agree_sizes(
    channel: SealedChannel, job: BlocksJob, mine: Mapping[str, OneHot], max_rank_share: float
) -> Sizes:
    """Announce the sizes of the own groups, and return everybody's by unit: step 1."""
    shape = job.shape
    own_sizes = next(iter(mine.values())).sizes
    everybody = [name for name in shape.everybody if name != channel.me]
    channel.send_all([*everybody, job.coordinator], "blocks/sizes", _packed(own_sizes))
    sizes = _hear_sizes(channel, shape, {channel.me: own_sizes})
    if shape.columns:
        _check_rank(sizes[EVERY], job, max_rank_share)
    return sizes


def collect(
    channel: SealedChannel,
    job: BlocksJob,
    mine: Mapping[str, OneHot],
    sizes: Sizes,
    *,
    journal: BlocksJournal,
    entropy: Callable[[int], bytes],
) -> tuple[Blocks, Table]:
    """Return the own part of every block, and the own counts in it: steps 2 and 3."""
    shape = job.shape
    blocks: Blocks = {pair: np.zeros(size, dtype=np.uint32) for pair, size in layout(sizes)}
    unit = shape.unit(channel.me)
    width = sum(sizes[unit])
    counts = np.zeros((width, width), dtype=np.int64)
    for bank in shape.banks:
        if bank in mine:
            counts += mine[bank].own_table()
            if shape.columns:
                shares = share_products(
                    channel, job.product(bank), mine[bank], journal=journal, entropy=entropy
                )
                for pair, value in shares.items():
                    _add(blocks, shape, pair, value)
    blocks[unit, unit] += counts.astype(np.uint32)
    if channel.me != shape.builder and channel.me in shape.columns:
        description = next(iter(mine.values())).description
        channel.send(shape.builder, "blocks/description", description)
    return blocks, counts


def hear_descriptions(
    channel: SealedChannel, shape: Shape, mine: Mapping[str, OneHot]
) -> dict[str, bytes]:
    """Return, at the builder, the public description of every unit's bins."""
    described = {EVERY: mine[channel.me].description}
    return described | {name: channel.receive(name, "blocks/description") for name in shape.columns}


def assist_blocks(channel: SealedChannel, job: BlocksJob) -> None:
    """Be the coordinator: deal randomness bank by bank, then add masked vectors."""
    sizes = _hear_sizes(channel, job.shape, {})
    if job.shape.columns:
        for bank in job.shape.banks:
            deal(channel, job.product(bank))
    if job.noisy:
        grain = hear_grain(channel, job.shape.builder)
        sum_coordinator(channel, job.noisy_sum(sizes, grain))
    else:
        sum_coordinator(channel, job.sum(sizes))


def hear_grain(channel: Channel, builder: str) -> Grain:
    """Return, at the coordinator, what the builder says of the noise in the next sum.

    A wrong word makes another job than the banks sign: nothing is opened.
    """
    value = unpack_value(channel.receive(builder, "blocks/grain"), cap=1 << 10)
    try:
        return Grain(value["variance"], value["unit"])
    except (KeyError, TypeError, Refused) as error:
        raise BadPeer("says a noise that no sum has", party=builder) from error


def _packed(sizes: Iterable[int]) -> bytes:
    return pack_value(list(sizes))


def _hear_sizes(channel: Channel, shape: Shape, known: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Return the sizes of groups by unit; all banks must say the same."""
    said = dict(known)
    for party in shape.everybody:
        if party not in said:
            value = unpack_value(channel.receive(party, "blocks/sizes"), cap=1 << 16)
            whole = isinstance(value, list) and value and all(type(size) is int for size in value)
            if not whole or min(value) < 1 or sum(value) > MAX_WIDTH:
                what = f"must announce 1 to {MAX_WIDTH} bins, and no empty group"
                raise BadPeer(what, party=party)
            said[party] = tuple(value)
    usual = said[shape.builder] if shape.banks else ()
    for bank in shape.banks:
        if said[bank] != usual:
            raise BadPeer(f"brings other bins than the builder {shape.builder}", party=bank)
    return {EVERY: usual} | {name: said[name] for name in shape.columns}


def _check_floors(matrices: list[OneHot], minimum: int) -> None:
    """Hold the floors over the customers of all banks together."""
    margins = np.sum([matrix.margins for matrix in matrices], axis=0)
    n_rows = sum(len(matrix.codes) for matrix in matrices)
    alone = np.repeat(np.array(matrices[0].sizes) == 1, matrices[0].sizes)
    small = (np.minimum(margins, n_rows - margins) < minimum) & ~alone
    if small.any():
        raise FloorBroken(
            f"{int(small.sum())} of {len(margins)} bins, or their complements, hold fewer than "
            f"{minimum} of {n_rows} customers",
            hint="merge them: fewer thresholds",
        )


def _check_rank(sizes: tuple[int, ...], job: BlocksJob, max_rank_share: float) -> None:
    rank, allowed = sum(sizes) - len(sizes) + 1, int(job.total * max_rank_share)
    if rank > allowed:
        raise FloorBroken(
            f"the banks bring columns of rank {rank} over {job.total} customers; at most {allowed}",
            hint="fewer thresholds at the banks, or more customers",
        )


def _add(blocks: Blocks, shape: Shape, pair: tuple[str, str], share: NDArray[Any]) -> None:
    """Add a share to its block, which is named by units and not by parties."""
    first, second = shape.unit(pair[0]), shape.unit(pair[1])
    if (first, second) in blocks:
        blocks[first, second] += share
    else:
        blocks[second, first] += share.T


def _opened(total: Table, sizes: Sizes, described: Mapping[str, bytes]) -> Opened:
    own: dict[str, Table] = {}
    cross: dict[tuple[str, str], Table] = {}
    start = 0
    for (first, second), shape in layout(sizes):
        table = total[start : start + shape[0] * shape[1]].reshape(shape)
        start += table.size
        if first == second:
            own[first] = table
        else:
            cross[first, second] = table
    return Opened(described, own, cross)
