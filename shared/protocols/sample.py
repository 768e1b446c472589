"""Which rows: a common random sample that no party can steer.

Coin tossing by commitment (Blum 1983): every party commits to 32 bytes together with its column
definitions, and reveals only after all commitments are in; the sample follows from the SHA-256 of
all reveals. So columns cannot be fitted to the sample, nor the sample to the columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from os import urandom

import numpy as np
from numpy.typing import NDArray

from shared.channel import Channel
from shared.errors import BadPeer
from shared.masks import Keystream

_BYTES = 32


def toss(
    channel: Channel,
    parties: Iterable[str],
    columns: bytes,
    *,
    entropy: Callable[[int], bytes] = urandom,
) -> bytes:
    """Agree on 32 random bytes.

    Parameters
    ----------
    channel : Channel
    parties : iterable of str
        Everybody who tosses, `channel.me` among them.
    columns : bytes
        Digest of the own column definitions: committed to before any reveal.
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    bytes
        The same 32 bytes at every party, unknown to all until the last commitment was in.

    Raises
    ------
    BadPeer
        If a reveal does not open its commitment; names the party.
    """
    others = [party for party in sorted(parties) if party != channel.me]
    mine = entropy(_BYTES) + columns
    channel.send_all(others, "toss/commit", hashlib.sha256(mine).digest())
    commitments = {party: channel.receive(party, "toss/commit") for party in others}
    channel.send_all(others, "toss/reveal", mine)
    reveals = {channel.me: mine}
    for party in others:
        reveal = channel.receive(party, "toss/reveal")
        if hashlib.sha256(reveal).digest() != commitments[party]:
            raise BadPeer("its coin does not open its commitment", party=party)
        reveals[party] = reveal
    return hashlib.sha256(b"".join(reveals[party] for party in sorted(reveals))).digest()


def sample_rows(coin: bytes, n_rows: int, cap: int) -> NDArray[np.int64]:
    """Return the rows of the common sample.

    Parameters
    ----------
    coin : bytes
        What `toss` returned.
    n_rows : int
        Rows in common order.
    cap : int
        Largest sample.

    Returns
    -------
    ndarray of int64, shape (min(n_rows, cap),)
        Ascending row numbers; every subset of that size is equally likely.
    """
    if n_rows <= cap:
        return np.arange(n_rows)
    keys = Keystream(coin, "sample").elements((n_rows,), np.uint64)
    return np.sort(np.argsort(keys, kind="stable")[:cap])
