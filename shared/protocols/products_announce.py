"""What the holders of a blind product tell each other first: sizes, order of rows, a commitment."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.arrays import pack_array, pack_value, unpack_value
from shared.channel import Channel
from shared.errors import BadPeer, FloorBroken
from shared.protocols.products_job import OneHot, ProductJob, Table

MAX_WIDTH = 4096
SALT_BYTES = 32
# With noise, margins are not committed to: they are not known before the noise is.
NO_MARGINS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a holder says of its matrix.

    Parameters
    ----------
    sizes : tuple of int
        Bins of each group.
    order : str
        Digest of the order of rows.
    commitment : str
        SHA-256 that margins and description open later, in hex.
    """

    sizes: tuple[int, ...]
    order: str
    commitment: str

    @property
    def width(self) -> int:
        """Bins in all."""
        return sum(self.sizes)


def announce(
    channel: Channel, job: ProductJob, mine: OneHot, salt: bytes, margins: Table
) -> dict[str, Announcement]:
    """Tell the own announcement; return everybody's.

    Parameters
    ----------
    channel : Channel
    job : ProductJob
    mine : OneHot
    salt : bytes
        Of the commitment, secret until it is opened.
    margins : ndarray of int64, shape (width,) or (0,)

    Raises
    ------
    BadPeer
        If an announcement is malformed, or its rows stand in another order.
    """
    own = Announcement(
        mine.sizes,
        mine.order,
        commitment_of(margins, mine.description, salt),
    )
    others = [holder for holder in job.holders if holder != channel.me]
    channel.send_all([*others, job.coordinator], "products/announce", pack_value(_wire(own)))
    announced = {holder: announced_by(channel, holder, job) for holder in others}
    for holder, theirs in announced.items():
        if not hmac.compare_digest(theirs.order, own.order):
            raise BadPeer("its rows stand in another order than ours: align again", party=holder)
    return announced | {channel.me: own}


def commitment_of(margins: Table, description: bytes, salt: bytes) -> str:
    """Return what binds a holder to its margins and its description."""
    return hashlib.sha256(salt + pack_array(margins) + description).hexdigest()


def _wire(announcement: Announcement) -> dict[str, Any]:
    return {
        "sizes": list(announcement.sizes),
        "order": announcement.order,
        "commitment": announcement.commitment,
    }


def announced_by(channel: Channel, holder: str, job: ProductJob) -> Announcement:
    """Take in a holder's announcement.

    Raises
    ------
    BadPeer
        If it is malformed, or its width is impossible.
    """
    value = unpack_value(channel.receive(holder, "products/announce"), cap=4096)
    try:
        announcement = Announcement(
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


def check_rank(builder: Announcement, job: ProductJob, max_rank_share: float) -> None:
    """Hold the builder to the rank that it may bring (`shared.config.Limits`).

    Raises
    ------
    FloorBroken
    """
    # Every group adds up to the same column of ones, hence the rank.
    rank = builder.width - len(builder.sizes) + 1
    allowed = int(job.n_rows * max_rank_share)
    if rank > allowed:
        raise FloorBroken(
            f"the builder {job.builder} brings columns of rank {rank} over {job.n_rows} customers; "
            f"at most {allowed}, or its own rows would single out others'",
            hint="fewer thresholds at the builder, no pairs there, or more customers",
        )
