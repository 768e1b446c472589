"""Blind products: the table of counts between two holders' bins, and nothing of their rows.

Holders a and b have 0/1 matrices A and B over the same n rows in common order, made of *groups*:
the bins of one feature, exactly one of which is 1 in every row. A dealer that never sees them
provides the randomness (Beaver 1991, "Efficient multiparty protocols using circuit randomization";
the commodity model of Beaver 1997). In Z_2^16 or Z_2^32:

1. Every holder announces the sizes of its groups, the digest of its row order, and a commitment
   to its bins' margins (their counts).
2. The dealer draws a seed for each holder; R_a, R_b and C_a are streams of the holders' seeds. It
   seals `seed_a` to a, and to b `seed_b` and the correction ``C_b = R_a'R_b - C_a``.
3. a seals ``E = A - R_a`` to its peers, the same E for all; b seals ``F = B - R_b``.
4. a computes ``A'F + C_a``, b computes ``E'R_b + C_b``. They add up to ``A'B``. Both go sealed to
   the builder, never to the coordinator, who knows the R's.
5. The builder adds, opens the margin commitments, and checks that every group of rows and of
   columns of each table adds up to the other side's margins.

E and F are uniform to whoever does not know the seeds; the dealer knows the seeds and never gets E
or F; a share is uniform to whoever does not have the other. So peers learn nothing, the coordinator
learns n and the widths, and the builder learns the tables. It holds only while the dealer and a
holder do not pool what they have.

Rows go in chunks and are accumulated; a chunk's share is never sent, since differences of shares
would be tables of few people.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import urandom
from typing import Any

import numpy as np

from shared.arrays import pack_array, pack_value, unpack_array, unpack_value
from shared.channel import Channel
from shared.errors import BadPeer, FloorBroken
from shared.masks import SEED_BYTES, Keystream
from shared.protocols import products_noise
from shared.protocols.products_job import (
    CHUNK_ROWS,
    OneHot,
    ProductJob,
    SeedJournal,
    Table,
    check_floors,
    group_starts,
)
from shared.protocols.sum_job import signed_residues
from shared.ring import Unsigned, indicator_product, residue_product, ring_dtype

__all__ = [
    "Noise",
    "OneHot",
    "Opened",
    "ProductJob",
    "SeedJournal",
    "check_floors",
    "deal",
    "multiply",
    "share_products",
]

MAX_WIDTH = 4096
_SALT_BYTES = 32
# With noise, margins are not committed to: they are not known before the noise is.
_NO_MARGINS = np.zeros(0, dtype=np.int64)


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


@dataclass(frozen=True, slots=True)
class _Announcement:
    sizes: tuple[int, ...]
    order: str
    commitment: str

    @property
    def width(self) -> int:
        return sum(self.sizes)


def deal(channel: Channel, job: ProductJob, *, entropy: Callable[[int], bytes] = urandom) -> None:
    """Be the dealer: draw the seeds, send the corrections.

    Parameters
    ----------
    channel : Channel
        The coordinator's sealed channel.
    job : ProductJob
    entropy : callable
        Source of secret bytes.

    Raises
    ------
    BadPeer
        If a holder announces an impossible width.
    """
    widths = {holder: _announced(channel, holder, job).width for holder in job.holders}
    seeds = {holder: entropy(SEED_BYTES) for holder in job.holders}
    for holder, seed in seeds.items():
        channel.send(holder, "products/seed", seed)
    masks = {holder: Keystream(seed, job.label_of(holder)) for holder, seed in seeds.items()}
    dtype = ring_dtype(job.bits)
    totals = {(a, b): np.zeros((widths[a], widths[b]), dtype) for a, b in job.pairs}
    for start in range(0, job.n_rows, CHUNK_ROWS):
        rows = min(CHUNK_ROWS, job.n_rows - start)
        chunk = {h: masks[h].elements((rows, widths[h]), dtype) for h in job.holders}
        for a, b in job.pairs:
            totals[a, b] += residue_product(chunk[a], chunk[b])
    for a, b in job.pairs:
        share = Keystream(seeds[a], job.label_of(a, b)).elements(totals[a, b].shape, dtype)
        channel.send(b, f"products/correction/{a}", pack_array(totals[a, b] - share))


def multiply(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    *,
    minimum: int,
    max_rank_share: float,
    journal: SeedJournal,
    consent: Callable[[], None] = lambda: None,
    noise: Noise | None = None,
    entropy: Callable[[int], bytes] = urandom,
) -> Opened | None:
    """Be a holder.

    Parameters
    ----------
    channel : Channel
        The party's sealed channel.
    job : ProductJob
    mine : OneHot
        The own bins, in common row order.
    minimum : int
        Fewest rows in a bin and in its complement.
    max_rank_share : float
        Largest rank of the builder's columns, as a share of the rows (0.01: design 4.3).
    journal : SeedJournal
        Remembers dealt seeds.
    consent : callable
        Called when every check has passed and before the first masked row leaves; it writes down
        what is about to be opened, or raises to refuse.
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    Opened or None
        The tables at the builder, None elsewhere.

    Raises
    ------
    FloorBroken
        If a bin is too small, or the builder brings too many columns; nothing was sent.
    Refused
        If the dealt seed was used before.
    BadPeer
        If a peer's rows stand in another order, a message is malformed, or a table does not add up
        to the committed margins.
    """
    if noise is None or channel.me == job.builder:
        check_floors(mine, minimum)
    salt = entropy(_SALT_BYTES)
    bound = mine.margins if noise is None else _NO_MARGINS
    announced = _announce(channel, job, mine, salt, bound)
    _check_rank(announced[job.builder], job, max_rank_share)
    seed = _seed(channel, job)
    if noise is None:
        consent()
    else:
        sizes = {name: one.sizes for name, one in announced.items()}
        design = products_noise.Design(sizes, job.builder, noise.multiplier)
        noise.told(design)
        added = None if channel.me == job.builder else noise.draw(design)
    journal.use_seed(seed, mine.columns_digest, mine.order)
    shares = _exchange(channel, job, mine, seed, announced)
    if noise is not None:
        return _with_noise(channel, job, mine, salt, shares, announced, design, added)
    if channel.me != job.builder:
        _hand_over(channel, job, mine, salt, shares)
        return None
    return _open(channel, job, mine, shares, announced)


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of a product.

    Parameters
    ----------
    multiplier : float
        Standard deviation over the sensitivity of a holder's records.
    draw : callable
        Takes the design; spends, draws, and writes down what is about to be opened, or raises to
        refuse. Called at every holder but the builder when every check has passed, before the first
        masked row leaves.
    told : callable
        Takes the design, at every holder.
    """

    multiplier: float
    draw: Callable[[products_noise.Design], products_noise.Additions]
    told: Callable[[products_noise.Design], None]


def share_products(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    *,
    journal: SeedJournal,
    entropy: Callable[[int], bytes] = urandom,
) -> dict[tuple[str, str], Unsigned]:
    """Take part in steps 1, 3 and 4 only: keep the own share of each table.

    Alone a share is uniform in the ring. Shares of several jobs are added under a secure sum
    (`shared.protocols.blocks`), so that nobody opens one job's table.

    Parameters
    ----------
    channel : Channel
    job : ProductJob
    mine : OneHot
    journal : SeedJournal
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    dict
        Pair of holders to ndarray of the ring's type, shape (width_a, width_b).

    Raises
    ------
    Refused, BadPeer
        See `multiply`.
    """
    announced = _announce(channel, job, mine, entropy(_SALT_BYTES), mine.margins)
    seed = _seed(channel, job)
    journal.use_seed(seed, mine.columns_digest, mine.order)
    return _exchange(channel, job, mine, seed, announced)


def _seed(channel: Channel, job: ProductJob) -> bytes:
    seed = channel.receive(job.coordinator, "products/seed")
    if len(seed) != SEED_BYTES:
        raise BadPeer("a dealt seed has the wrong length", party=job.coordinator)
    return seed


def _commitment(mine_margins: Table, description: bytes, salt: bytes) -> str:
    return hashlib.sha256(salt + pack_array(mine_margins) + description).hexdigest()


def _announce(
    channel: Channel, job: ProductJob, mine: OneHot, salt: bytes, margins: Table
) -> dict[str, _Announcement]:
    own = _Announcement(
        mine.sizes,
        mine.order,
        _commitment(margins, mine.description, salt),
    )
    others = [holder for holder in job.holders if holder != channel.me]
    channel.send_all([*others, job.coordinator], "products/announce", pack_value(_wire(own)))
    announced = {holder: _announced(channel, holder, job) for holder in others}
    for holder, theirs in announced.items():
        if not hmac.compare_digest(theirs.order, own.order):
            raise BadPeer("its rows stand in another order than ours: align again", party=holder)
    return announced | {channel.me: own}


def _wire(announcement: _Announcement) -> dict[str, Any]:
    return {
        "sizes": list(announcement.sizes),
        "order": announcement.order,
        "commitment": announcement.commitment,
    }


def _announced(channel: Channel, holder: str, job: ProductJob) -> _Announcement:
    value = unpack_value(channel.receive(holder, "products/announce"), cap=4096)
    try:
        announcement = _Announcement(
            tuple(int(size) for size in value["sizes"]),
            str(value["order"]),
            str(value["commitment"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("an announcement is malformed", party=holder) from error
    if not announcement.sizes or min(announcement.sizes) < 1 or announcement.width > MAX_WIDTH:
        raise BadPeer(
            f"announces {announcement.width} bins for {job.label}; between 1 and {MAX_WIDTH} may "
            "take part, none of the groups empty",
            party=holder,
        )
    return announcement


def _check_rank(builder: _Announcement, job: ProductJob, max_rank_share: float) -> None:
    # Every group adds up to the same column of ones, hence the rank.
    rank = builder.width - len(builder.sizes) + 1
    allowed = int(job.n_rows * max_rank_share)
    if rank > allowed:
        raise FloorBroken(
            f"the builder {job.builder} brings columns of rank {rank} over {job.n_rows} customers; "
            f"at most {allowed}, or its own rows would single out others'",
            hint="fewer thresholds at the builder, no pairs there, or more customers",
        )


def _exchange(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    seed: bytes,
    announced: Mapping[str, _Announcement],
) -> dict[tuple[str, str], Unsigned]:
    """Send the masked rows, take in the peers', return the own shares: steps 3 and 4."""
    dtype = ring_dtype(job.bits)
    partners = job.partners(channel.me)
    mask = Keystream(seed, job.label_of(channel.me))
    shares: dict[tuple[str, str], Unsigned] = {
        pair: np.zeros((announced[pair[0]].width, announced[pair[1]].width), dtype)
        for pair in job.pairs
        if channel.me in pair
    }
    for start in range(0, job.n_rows, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, job.n_rows)
        plain = mine.dense(start, stop)
        hidden = mask.elements(plain.shape, dtype)
        channel.send_all(partners, "products/masked", pack_array(plain.astype(dtype) - hidden))
        for peer in partners:
            theirs = unpack_array(
                channel.receive(peer, "products/masked"),
                dtype,
                (stop - start, announced[peer].width),
                cap=CHUNK_ROWS * MAX_WIDTH,
            )
            if channel.me < peer:
                shares[channel.me, peer] += indicator_product(plain, theirs)
            else:
                shares[peer, channel.me] += residue_product(theirs, hidden)
    return {
        pair: share + _constant(channel, job, seed, pair, share.shape)
        for pair, share in shares.items()
    }


def _constant(
    channel: Channel, job: ProductJob, seed: bytes, pair: tuple[str, str], shape: tuple[int, ...]
) -> Unsigned:
    """C_a from the own seed, or C_b as the dealer sent it."""
    dtype = ring_dtype(job.bits)
    if channel.me == pair[0]:
        return Keystream(seed, job.label_of(*pair)).elements(shape, dtype)
    raw = channel.receive(job.coordinator, f"products/correction/{pair[0]}")
    return unpack_array(raw, dtype, shape, cap=MAX_WIDTH * MAX_WIDTH)


def _hand_over(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    salt: bytes,
    shares: Mapping[tuple[str, str], Unsigned],
) -> None:
    channel.send(job.builder, "products/description", mine.description)
    channel.send(job.builder, "products/margins", salt + pack_array(mine.margins))
    channel.send(job.builder, "products/own", pack_array(mine.own_table()))
    for a, b in shares:
        channel.send(job.builder, f"products/share/{a}/{b}", pack_array(shares[a, b]))


def _open(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    shares: Mapping[tuple[str, str], Unsigned],
    announced: Mapping[str, _Announcement],
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


def _with_noise(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    salt: bytes,
    shares: Mapping[tuple[str, str], Unsigned],
    announced: Mapping[str, _Announcement],
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


def _take_description(channel: Channel, holder: str, announced: _Announcement) -> bytes:
    opening = channel.receive(holder, "products/description")
    salt, description = opening[:_SALT_BYTES], opening[_SALT_BYTES:]
    bound = _commitment(_NO_MARGINS, description, salt)
    if not hmac.compare_digest(bound, announced.commitment):
        raise BadPeer("its bins do not open its commitment", party=holder)
    return description


def _take_own(channel: Channel, holder: str, announced: _Announcement) -> Table:
    raw = channel.receive(holder, "products/own")
    shape = (announced.width, announced.width)
    return unpack_array(raw, np.int64, shape, cap=MAX_WIDTH * MAX_WIDTH)


def _take_share(
    channel: Channel,
    holder: str,
    pair: tuple[str, str],
    announced: Mapping[str, _Announcement],
    job: ProductJob,
) -> Unsigned:
    raw = channel.receive(holder, f"products/share/{pair[0]}/{pair[1]}")
    shape = (announced[pair[0]].width, announced[pair[1]].width)
    return unpack_array(raw, ring_dtype(job.bits), shape, cap=MAX_WIDTH * MAX_WIDTH)


def _take_margins(
    channel: Channel, holder: str, announced: _Announcement
) -> tuple[bytes, Table, Table]:
    description = channel.receive(holder, "products/description")
    opening = channel.receive(holder, "products/margins")
    salt, packed = opening[:_SALT_BYTES], opening[_SALT_BYTES:]
    margins = unpack_array(packed, np.int64, (announced.width,), cap=MAX_WIDTH)
    if not hmac.compare_digest(_commitment(margins, description, salt), announced.commitment):
        raise BadPeer("its margins do not open its commitment", party=holder)
    own = _take_own(channel, holder, announced)
    if (np.diagonal(own) != margins).any() or (own != own.T).any():
        raise BadPeer("its own table does not agree with its committed margins", party=holder)
    return description, margins, own


def _check_table(
    table: Table,
    margins: Mapping[str, Table],
    announced: Mapping[str, _Announcement],
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
