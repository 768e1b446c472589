"""The log as its operator keeps it: decisions come in, heads are signed, openings are destroyed.

Where leaves, openings and heads are kept is behind small protocols: `server.prooflog.folder` and
`server.prooflog.vault` keep them in files, `server.store.log` in the tables of the limit service's
store. The store draws salts, commits and chains by itself: its leaves are the hashes of decisions'
headers (`Headers`), its records the `Openings`, and the rows of the tree come from `merkle.grown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import urandom
from typing import Protocol

from server.prooflog.header import Header
from server.prooflog.heads import Head, SignedHead, broken, check_after, sign_head, verify_head
from server.prooflog.leaf import SALT_BYTES, Opening, commitment
from server.prooflog.merkle import Nodes, extends, root_of
from server.prooflog.merkle import consistency as consistency_of
from shared.errors import NotFound
from shared.identity import Identity


class Leaves(Nodes, Protocol):
    """Where leaves are kept."""

    def size(self) -> int:
        """Return the number of leaves."""
        ...

    def leaf(self, index: int) -> bytes:
        """Return a leaf, 32 bytes, not its hash."""
        ...


class KeptLeaves(Leaves, Protocol):
    """Leaves that the log itself adds; none is ever taken away."""

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves, all or none; they survive a power cut when this returns."""
        ...


class Openings(Protocol):
    """Where salts and records are kept, apart from the leaves."""

    def opening(self, index: int) -> Opening | None:
        """Return what opens a leaf; None once it was destroyed."""
        ...


class Headers(Protocol):
    """Where the headers of chained decisions are kept, of which the leaves are the hashes."""

    def header(self, index: int) -> Header:
        """Return what a leaf is the hash of."""
        ...


class KeptOpenings(Openings, Protocol):
    """Openings that the log itself keeps, and destroys."""

    def put(self, first: int, openings: Sequence[Opening]) -> None:
        """Keep the openings of the leaves from `first` on; durable when this returns."""
        ...

    def destroy(self, index: int) -> None:
        """Destroy the salt of a leaf for good; durable when this returns."""
        ...


class Heads(Protocol):
    """Where signed heads are kept; they are only ever added."""

    def heads(self) -> Sequence[SignedHead]:
        """Return all heads, oldest first."""
        ...

    def append(self, head: SignedHead) -> None:
        """Add a head; durable when this returns."""
        ...


def check_head(nodes: Nodes, size: int, head: Head) -> None:
    """Check that a tree of `size` leaves begins with those under a head.

    Raises
    ------
    LogBroken
        With check `shrunk` or `root`.
    """
    if size < head.size:
        broken("shrunk", f"{head.size} leaves were signed, and {size} are left")
    if root_of(nodes, head.size).hex() != head.root:
        broken("root", f"the first {head.size} leaves are not the ones that were signed")


@dataclass(frozen=True, slots=True)
class LogBook:
    """A log with all its parts.

    Parameters
    ----------
    leaves : Leaves
    openings : Openings
    heads : Heads
    """

    leaves: Leaves
    openings: Openings
    heads: Heads

    def newest(self) -> SignedHead:
        """Return the newest signed head.

        Raises
        ------
        NotFound
            If none was signed yet.
        """
        heads = self.heads.heads()
        if not heads:
            raise NotFound("the log has no signed head", hint="`confide log head --sign` signs one")
        return heads[-1]

    def sign(self, identity: Identity, now: str) -> SignedHead:
        """Sign and keep a head over all leaves, once they are seen to extend the newest head.

        Parameters
        ----------
        identity : Identity
            The operator's log key.
        now : str
            Instant.

        Raises
        ------
        LogBroken
            By the name of the check; nothing was signed.
        """
        heads = self.heads.heads()
        after = heads[-1] if heads else None
        size = self.leaves.size()
        if after is not None:
            verify_head(after, identity.fingerprint)
            self.check_head(after.head)
        head = sign_head(identity, size, root_of(self.leaves, size), now, after)
        self.heads.append(head)
        return head

    def check_head(self, head: Head) -> None:
        """Check that the leaves are still those under a head.

        Raises
        ------
        LogBroken
            With check `shrunk` or `root`.
        """
        check_head(self.leaves, self.leaves.size(), head)

    def check(self, pin: str) -> None:
        """Check every head against its signature, the one before it, and the leaves.

        Parameters
        ----------
        pin : str
            Fingerprint of the operator's log key.

        Raises
        ------
        LogBroken
            By the name of the first check that fails.
        """
        before: SignedHead | None = None
        for signed in self.heads.heads():
            verify_head(signed, pin)
            if before is not None:
                check_after(before.head, signed.head)
            self.check_head(signed.head)
            before = signed

    def check_extends(self, old: Head) -> SignedHead:
        """Return the newest signed head, once an older one is seen to lead to it.

        Parameters
        ----------
        old : Head
            As somebody outside kept it; its signature is checked by who calls.

        Raises
        ------
        LogBroken
            With check `key`, `fork`, `shrunk`, `clock` or `extension`.
        NotFound
            If the log has no signed head.
        """
        signed = self.newest()
        new = signed.head
        check_after(old, new)
        path = consistency_of(self.leaves, old.size, new.size)
        roots = bytes.fromhex(old.root), bytes.fromhex(new.root)
        if not extends(old.size, new.size, path, *roots):
            broken("extension", f"{new.size} leaves do not begin with the {old.size} of that head")
        return signed


@dataclass(frozen=True, slots=True)
class OwnBook(LogBook):
    """A log that draws the salts and keeps the decisions, too.

    Parameters
    ----------
    leaves : KeptLeaves
    openings : KeptOpenings
    heads : Heads
    """

    leaves: KeptLeaves
    openings: KeptOpenings

    def add(self, records: Sequence[bytes]) -> range:
        """Log decisions.

        The openings are kept before the leaves are: a leaf is never without its opening, and an
        opening without a leaf is written over by the next.

        Parameters
        ----------
        records : sequence of bytes
            Canonical JSON of each (`server.prooflog.leaf.canonical`).

        Returns
        -------
        range
            Numbers of their leaves.
        """
        first = self.leaves.size()
        openings = [Opening(urandom(SALT_BYTES), record) for record in records]
        self.openings.put(first, openings)
        self.leaves.append([commitment(one) for one in openings])
        return range(first, first + len(records))

    def forget(self, indices: Iterable[int]) -> None:
        """Destroy the openings of decisions, as when a customer is deleted; the log still verifies.

        Raises
        ------
        NotFound
            If the log has no such leaf; nothing was destroyed.
        """
        wanted, size = sorted(set(indices)), self.leaves.size()
        if wanted and not 0 <= wanted[0] <= wanted[-1] < size:
            raise NotFound(f"the log has {size} leaves and none of every number given")
        for index in wanted:
            self.openings.destroy(index)
