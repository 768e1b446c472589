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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import urandom

import numpy as np

from shared.arrays import pack_array, unpack_array
from shared.channel import Channel
from shared.errors import BadPeer
from shared.masks import SEED_BYTES, Keystream
from shared.protocols import products_noise
from shared.protocols.products_announce import (
    MAX_WIDTH,
    NO_MARGINS,
    SALT_BYTES,
    Announcement,
    announce,
    announced_by,
    check_rank,
)
from shared.protocols.products_job import (
    CHUNK_ROWS,
    OneHot,
    ProductJob,
    SeedJournal,
    check_floors,
)
from shared.protocols.products_open import Opened, hand_over, open_tables, with_noise
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
    widths = {holder: announced_by(channel, holder, job).width for holder in job.holders}
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
    salt = entropy(SALT_BYTES)
    bound = mine.margins if noise is None else NO_MARGINS
    announced = announce(channel, job, mine, salt, bound)
    check_rank(announced[job.builder], job, max_rank_share)
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
        return with_noise(channel, job, mine, salt, shares, announced, design, added)
    if channel.me != job.builder:
        hand_over(channel, job, mine, salt, shares)
        return None
    return open_tables(channel, job, mine, shares, announced)


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
    announced = announce(channel, job, mine, entropy(SALT_BYTES), mine.margins)
    seed = _seed(channel, job)
    journal.use_seed(seed, mine.columns_digest, mine.order)
    return _exchange(channel, job, mine, seed, announced)


def _seed(channel: Channel, job: ProductJob) -> bytes:
    seed = channel.receive(job.coordinator, "products/seed")
    if len(seed) != SEED_BYTES:
        raise BadPeer("a dealt seed has the wrong length", party=job.coordinator)
    return seed


def _exchange(
    channel: Channel,
    job: ProductJob,
    mine: OneHot,
    seed: bytes,
    announced: Mapping[str, Announcement],
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
