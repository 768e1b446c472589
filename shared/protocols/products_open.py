"""The end of a blind product: shares go to the builder, who adds them and checks what they say."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.arrays import pack_array, unpack_array
from shared.channel import Channel
from shared.errors import BadPeer
from shared.protocols import products_noise
from shared.protocols.products_announce import (
    MAX_WIDTH,
    NO_MARGINS,
    SALT_BYTES,
    Announcement,
    commitment_of,
)
from shared.protocols.products_job import OneHot, ProductJob, Table, group_starts
from shared.protocols.sum_job import signed_residues
from shared.ring import Unsigned, ring_dtype


@dataclass(frozen=True, slots=True)
class Opened:
    """What the builder learns.

    Parameters
    ----------
    descriptions : mapping of str to bytes
        Each holder's public description of its bins.
    own : mapping of str to ndarray of int64, shape (width, width)
        Counts between a holder's own bins.
    cross : mapping of (str, str) to ndarray of int64, shape (width_a, width_b)
        Counts between the bins of two holders.
    """

    descriptions: Mapping[str, bytes]
    own: Mapping[str, Table]
    cross: Mapping[tuple[str, str], Table]


def hand_over(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    salt: bytes,
    shares: Mapping[tuple[str, str], Unsigned],
) -> None:
    """Send the builder what it opens: description, margins, own counts and shares."""
    channel.send(job.builder, "products/description", mine.description)
    channel.send(job.builder, "products/margins", salt + pack_array(mine.margins))
    channel.send(job.builder, "products/own", pack_array(mine.own_table()))
    for a, b in shares:
        channel.send(job.builder, f"products/share/{a}/{b}", pack_array(shares[a, b]))


def open_tables(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    shares: Mapping[tuple[str, str], Unsigned],
    announced: Mapping[str, Announcement],
) -> Opened:
    """Step 5 at the builder."""
    descriptions = {channel.me: mine.description}
    own = {channel.me: mine.own_table()}
    margins = {channel.me: mine.margins}
    received: dict[tuple[str, str], list[Unsigned]] = {pair: [] for pair in job.pairs}
    for pair, share in shares.items():
        received[pair].append(share)
    for holder in job.holders:
        if holder == channel.me:
            continue
        descriptions[holder], margins[holder], own[holder] = _take_margins(
            channel, holder, announced[holder]
        )
        for pair in job.pairs:
            if holder in pair:
                received[pair].append(_take_share(channel, holder, pair, announced, job))
    cross = {}
    for pair, (first, second) in received.items():
        cross[pair] = (first + second).astype(np.int64)
        _check_table(cross[pair], margins, announced, pair, job)
    return Opened(descriptions, own, cross)


def with_noise(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    salt: bytes,
    shares: Mapping[tuple[str, str], Unsigned],
    announced: Mapping[str, Announcement],
    design: products_noise.Design,
    added: products_noise.Additions | None,
) -> Opened | None:
    """Hand over, and open, with noise: no margin and no count of a holder leaves without."""
    me = channel.me
    noisy = {
        pair: products_noise.share(design, pair, me, part, added) for pair, part in shares.items()
    }
    own = {me: products_noise.own_table(design, me, mine.own_table(), added)}
    if added is not None:
        channel.send(job.builder, "products/description", salt + mine.description)
        channel.send(job.builder, "products/own", pack_array(own[me]))
        for (a, b), part in noisy.items():
            channel.send(job.builder, f"products/share/{a}/{b}", pack_array(part))
        return None
    descriptions = {me: mine.description}
    for holder in job.partners(me):
        descriptions[holder] = _take_description(channel, holder, announced[holder])
        own[holder] = _take_own(channel, holder, announced[holder])
        products_noise.check_own(design, holder, own[holder], job.n_rows)
    bins = {holder: np.diagonal(table) for holder, table in own.items()}
    cross = {}
    for pair in job.pairs:
        parts = [
            noisy[pair] if holder == me else _take_share(channel, holder, pair, announced, job)
            for holder in pair
        ]
        cross[pair] = signed_residues(parts[0] + parts[1])
        products_noise.check(design, pair, cross[pair], bins, job.n_rows, job.coordinator)
    return Opened(descriptions, own, cross)


def _take_description(channel: Channel, holder: str, announced: Announcement) -> bytes:
    opening = channel.receive(holder, "products/description")
    salt, description = opening[:SALT_BYTES], opening[SALT_BYTES:]
    bound = commitment_of(NO_MARGINS, description, salt)
    if not hmac.compare_digest(bound, announced.commitment):
        raise BadPeer("its bins do not open its commitment", party=holder)
    return description


def _take_own(channel: Channel, holder: str, announced: Announcement) -> Table:
    raw = channel.receive(holder, "products/own")
    shape = (announced.width, announced.width)
    return unpack_array(raw, np.int64, shape, cap=MAX_WIDTH * MAX_WIDTH)


def _take_share(
    channel: Channel,
    holder: str,
    pair: tuple[str, str],
    announced: Mapping[str, Announcement],
    job: ProductJob,
) -> Unsigned:
    raw = channel.receive(holder, f"products/share/{pair[0]}/{pair[1]}")
    shape = (announced[pair[0]].width, announced[pair[1]].width)
    return unpack_array(raw, ring_dtype(job.bits), shape, cap=MAX_WIDTH * MAX_WIDTH)


def _take_margins(
    channel: Channel, holder: str, announced: Announcement
) -> tuple[bytes, Table, Table]:
    description = channel.receive(holder, "products/description")
    opening = channel.receive(holder, "products/margins")
    salt, packed = opening[:SALT_BYTES], opening[SALT_BYTES:]
    margins = unpack_array(packed, np.int64, (announced.width,), cap=MAX_WIDTH)
    if not hmac.compare_digest(commitment_of(margins, description, salt), announced.commitment):
        raise BadPeer("its margins do not open its commitment", party=holder)
    own = _take_own(channel, holder, announced)
    if (np.diagonal(own) != margins).any() or (own != own.T).any():
        raise BadPeer("its own table does not agree with its committed margins", party=holder)
    return description, margins, own


def _check_table(
    table: Table,
    margins: Mapping[str, Table],
    announced: Mapping[str, Announcement],
    pair: tuple[str, str],
    job: ProductJob,
) -> None:
    """Each group of rows, and of columns, adds up to the other side's margins."""
    a, b = pair
    rows = np.add.reduceat(table, group_starts(announced[a].sizes), axis=0)
    columns = np.add.reduceat(table, group_starts(announced[b].sizes), axis=1)
    if (rows != margins[b]).any() or (columns != margins[a][:, None]).any():
        raise BadPeer(
            f"the table between {a} and {b} does not add up to their committed margins: one of "
            f"them, or the dealer {job.coordinator}, sent something wrong"
        )
