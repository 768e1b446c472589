"""The Merkle tree of RFC 6962, section 2.1: hashes, inclusion and consistency proofs.

A tree keeps the hash of every complete subtree, so that appending a leaf, a root and a proof of any
size each read O(log n) hashes. Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2.

A path does not bind the size of the tree: trees of 6 and of 7 leaves give the first leaf paths of
the same shape. The signed head does (`server.prooflog.heads`); no proof counts without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from shared.errors import UsageError

HASH_BYTES: Final = 32
EMPTY: Final = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""


class Nodes(Protocol):
    """Where the hashes of complete subtrees are kept."""

    def node(self, level: int, index: int) -> bytes:
        """Return the hash over the leaves from `index << level` to `(index + 1) << level`."""
        ...


class Tree:
    """A tree in memory: 64 bytes a leaf."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = []

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES if self._levels else 0

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree; see `Nodes`."""
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def append(self, entry: bytes) -> None:
        """Add a leaf."""
        self.extend((entry,))

    def extend(self, entries: Iterable[bytes]) -> None:
        """Add leaves, level by level: a few times faster for many than one by one."""
        new, level, pair = b"".join(map(leaf_hash, entries)), 0, 2 * HASH_BYTES
        while new:
            if level == len(self._levels):
                self._levels.append(bytearray())
            row, done = self._levels[level], len(self._levels[level]) // pair
            row += new
            pairs = range(done * pair, len(row) // pair * pair, pair)
            new = b"".join(hashlib.sha256(b"\x01" + row[at : at + pair]).digest() for at in pairs)
            level += 1


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256 of 0x01 and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grown(nodes: Nodes, index: int, leaf: bytes) -> list[bytes]:
    """Return the hashes of the subtrees that a new leaf completes.

    Parameters
    ----------
    nodes : Nodes
        With all that the leaves before completed.
    index : int
        Number of the new leaf.
    leaf : bytes
        Its hash.

    Returns
    -------
    list of bytes
        By level, from 0: the k-th is `node(k, index >> k)`.
    """
    found = [leaf]
    while index & 1:
        found.append(node_hash(nodes.node(len(found) - 1, index - 1), found[-1]))
        index >>= 1
    return found


def root_of(nodes: Nodes, size: int) -> bytes:
    """Return the root of the tree of the first `size` leaves."""
    return _span(nodes, 0, size) if size else EMPTY


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Return the audit path of a leaf, lowest first (RFC 6962, 2.1.1).

    Raises
    ------
    UsageError
        If the tree of that size has no such leaf.
    """
    if not 0 <= index < size:
        raise UsageError(f"a tree of {size} leaves has no leaf {index}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_span(nodes, middle, end))
            end = middle
        else:
            path.append(_span(nodes, start, middle))
            start = middle
    return path[::-1]


def consistency(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `new` leaves extends that of `old` (RFC 6962, 2.1.2).

    Raises
    ------
    UsageError
        If the older tree is the larger one.
    """
    if not 0 <= old <= new:
        raise UsageError(f"a tree of {new} leaves does not extend one of {old}")
    start, end, path = 0, new, []
    while 0 < old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_span(nodes, middle, end))
            end = middle
        else:
            path.append(_span(nodes, start, middle))
            start = middle
    if start > 0:
        path.append(_span(nodes, start, end))
    return path[::-1]


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether a path leads from the hash of leaf `index` to the root of `size` leaves."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            at, last = _up(at, last)
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def extends(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Return whether a proof shows that the tree of `new` leaves begins with that of `old`."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            at, last = _up(at, last)
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def around(nodes: Nodes, first: int, last: int, size: int) -> list[bytes]:
    """Return the hashes beside a range of leaves, from left to right.

    Together with the leaves from `first` up to, not including, `last` they give the root: no leaf
    in between can be left out, added or moved.

    Raises
    ------
    UsageError
        If the range is empty or the tree of that size does not have it.
    """
    if not 0 <= first < last <= size:
        raise UsageError(f"a tree of {size} leaves has no range from {first} to {last}")
    found: list[bytes] = []

    def visit(start: int, end: int) -> None:
        if end <= first or last <= start:
            found.append(_span(nodes, start, end))
        elif not first <= start < end <= last:
            middle = start + _split(end - start)
            visit(start, middle)
            visit(middle, end)

    visit(0, size)
    return found


def root_around(leaves: Sequence[bytes], first: int, size: int, beside: Sequence[bytes]) -> bytes:
    """Return the root that a range of leaf hashes and the hashes beside it give.

    Parameters
    ----------
    leaves : sequence of bytes
        Hashes of the leaves from `first` on.
    first, size : int
    beside : sequence of bytes
        As `around` returns them.

    Raises
    ------
    ValueError
        If the range does not lie in the tree, or there are too few or too many hashes.
    """
    last = first + len(leaves)
    if not 0 <= first < last <= size:
        raise ValueError("the range does not lie in the tree")
    rest: Iterator[bytes] = iter(beside)

    def visit(start: int, end: int) -> bytes:
        if end <= first or last <= start:
            return next(rest)
        if end - start == 1:
            return leaves[start - first]
        middle = start + _split(end - start)
        return node_hash(visit(start, middle), visit(middle, end))

    try:
        root = visit(0, size)
    except StopIteration as error:
        raise ValueError("there are too few hashes beside the range") from error
    if next(rest, None) is not None:
        raise ValueError("there are too many hashes beside the range")
    return root


def _span(nodes: Nodes, start: int, end: int) -> bytes:
    """Return the hash over leaves that are complete subtrees of falling size, `start` fitting."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return nodes.node(level, start >> level)
    middle = start + _split(width)
    return node_hash(_span(nodes, start, middle), _span(nodes, middle, end))


def _split(width: int) -> int:
    """Return the largest power of two below a width of at least 2."""
    return 1 << ((width - 1).bit_length() - 1)


def _up(at: int, last: int) -> tuple[int, int]:
    """Climb past the levels at which a node on the right edge has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last
