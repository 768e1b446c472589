"""Score feeds in memory: compact, exact, and swapped as one value.

A million customers of four parties must fit, so a feed is held in 36 bytes a customer.
"""

from __future__ import annotations

import io
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np

from server.limits.caps.snapshot import Share
from shared.feed import FeedHeader
from shared.release import Manifest

NO_FEED: Final = "no feed"
STALE: Final = "stale"
UNKNOWN: Final = "unknown customer"

_HEX, _HEAD = 64, 2  # digits of a pseudonym, and what stands before it on a line
_CHUNK = 65_536


class Index:
    """Customers of one feed: points and reasons by pseudonym.

    Customers share far fewer combinations of points and reasons than there are customers, so each
    combination is kept once. A lookup is a binary search over the first 8 bytes of the pseudonym.

    Parameters
    ----------
    body : bytes
        The lines of a feed that `shared.feed.open_feed` has checked: sorted, canonical.
    """

    __slots__ = ("_heads", "_rests", "_rows", "_shares")

    def __init__(self, body: bytes) -> None:
        combinations: dict[bytes, int] = {}
        self._heads, self._rows, rests = array("Q"), array("I"), bytearray()
        stream = io.BytesIO(body)
        while part := list(islice(stream, _CHUNK)):
            names = b"".join([line[_HEAD : _HEAD + _HEX] for line in part])
            table = np.frombuffer(bytes.fromhex(names.decode()), dtype=np.uint8)
            table = table.reshape(-1, _HEX // 2)
            heads = np.ascontiguousarray(table[:, :8]).view(">u8").astype("=u8")
            self._heads.frombytes(heads.tobytes())
            rests += np.ascontiguousarray(table[:, 8:]).tobytes()
            tails = [line[_HEAD + _HEX + 2 : -1] for line in part]
            for tail in set(tails).difference(combinations):
                combinations[tail] = len(combinations)
            self._rows.extend(map(combinations.__getitem__, tails))
        self._rests = bytes(rests)
        self._shares = tuple(map(_share, combinations))

    def __len__(self) -> int:
        return len(self._heads)

    @property
    def size(self) -> int:
        """Bytes held, without the combinations."""
        return 12 * len(self._heads) + len(self._rests)

    def names(self) -> Iterator[str]:
        """Yield the pseudonyms in their order, 64 hex digits each."""
        for at, head in enumerate(self._heads):
            yield f"{head:016x}{self._rests[24 * at : 24 * at + 24].hex()}"

    def find(self, name: bytes) -> Share | None:
        """Return what the feed says of a customer, or None.

        Parameters
        ----------
        name : bytes
            The pseudonym, 32 bytes.
        """
        head, rest = int.from_bytes(name[:8], "big"), name[8:]
        at = bisect_left(self._heads, head)
        while at < len(self._heads) and self._heads[at] == head:
            if self._rests[24 * at : 24 * at + 24] == rest:
                return self._shares[self._rows[at]]
            at += 1
        return None


def _share(tail: bytes) -> Share:
    points, reasons = json.loads(b"[" + tail)
    return Share(points, tuple((code, lost) for code, lost in reasons))


@dataclass(frozen=True, slots=True)
class InUse:
    """A feed that scores are read from."""

    header: FeedHeader
    index: Index


@dataclass(frozen=True, slots=True)
class Found:
    """What the feeds in use say of a customer.

    Parameters
    ----------
    shares : mapping of str to Share
        By party whose feed is in date.
    missing : mapping of str to str
        Why each other party is missing.
    known : bool
        Some feed has the customer, be it a stale one.
    """

    shares: Mapping[str, Share]
    missing: Mapping[str, str]
    known: bool


@dataclass(frozen=True, slots=True)
class Shelf:
    """The release that serves, with its feeds: one value, so that both change at once.

    Parameters
    ----------
    release : Manifest or None
    in_use : mapping of str to InUse
        By party.
    refused : mapping of str to str
        What is wrong with a kept feed that does not fit the release, by party.
    digest : str
        Of the release.
    """

    release: Manifest | None = None
    in_use: Mapping[str, InUse] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    def find(self, pseudonym: str, parties: tuple[str, ...], now: str) -> Found:
        """Look a customer up in every feed in use.

        Parameters
        ----------
        pseudonym : str
            64 hex digits.
        parties : tuple of str
        now : str
            Instant: a feed that has expired by then counts as stale.
        """
        name = bytes.fromhex(pseudonym)
        shares, missing, known = {}, {}, False
        for party in parties:
            feed = self.in_use.get(party)
            if feed is None:
                missing[party] = NO_FEED
                continue
            share = feed.index.find(name)
            known = known or share is not None
            if now >= feed.header.expires:
                missing[party] = STALE
            elif share is None:
                missing[party] = UNKNOWN
            else:
                shares[party] = share
        return Found(shares, missing, known)
