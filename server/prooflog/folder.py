"""Leaves and heads in files that only grow: a line each, on the disk before anybody is told.

``leaves`` has a line of 130 bytes for each leaf: the leaf and the chain, in hex. The chain is the
SHA-256 of the chain before and the leaf, so that a line that was changed, moved or taken out is
named when the file is read, before any head is. A last line that a power cut tore off was never
confirmed to anybody; it is dropped. ``heads.jsonl`` has a line of canonical JSON for each head.
"""

from __future__ import annotations

import hashlib
import json
import os
from binascii import hexlify, unhexlify
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import rfc8785

from server.prooflog.book import OwnBook
from server.prooflog.heads import SignedHead, broken, read_head
from server.prooflog.leaf import LEAF_BYTES
from server.prooflog.merkle import Tree
from server.prooflog.vault import Vault
from shared.edge.files import exclusive
from shared.errors import EnvironmentFault, UsageError

LEAVES, HEADS = "leaves", "heads.jsonl"
LINE_BYTES: Final = 130
START: Final = hashlib.sha256(b"confide/1/log-chain").digest()
"""The chain before the first leaf."""
_LINES_AT_ONCE: Final = 16_384


class FileLeaves:
    """Leaves in a file, their tree in memory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    LogBroken
        With check `chain`, if a line was changed, moved or taken out.
    EnvironmentFault
        If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tree, self._chain = Tree(), START
        self._leaves = bytearray()
        for number, line in enumerate(whole_lines(path, LINE_BYTES), 1):
            self._take(number, line)
        entries = range(0, len(self._leaves), LEAF_BYTES)
        self._tree.extend(bytes(self._leaves[at : at + LEAF_BYTES]) for at in entries)

    def size(self) -> int:
        """Return the number of leaves."""
        return len(self._tree)

    def leaf(self, index: int) -> bytes:
        """Return a leaf, 32 bytes.

        Raises
        ------
        UsageError
            If there is no such leaf.
        """
        if not 0 <= index < self.size():
            raise UsageError(f"the log has {self.size()} leaves, and none of number {index}")
        return bytes(self._leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES])

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        return self._tree.node(level, index)

    def append(self, leaves: Sequence[bytes]) -> None:
        """Add leaves, all or none.

        Raises
        ------
        EnvironmentFault
            If the disk does not take them; the file is as it was.
        """
        chain, lines = self._chain, []
        for leaf in leaves:
            chain = linked(chain, leaf)
            lines.append(f"{leaf.hex()} {chain.hex()}\n")
        append_durably(self.path, "".join(lines).encode(), self.size() * LINE_BYTES)
        self._tree.extend(leaves)
        self._leaves += b"".join(leaves)
        self._chain = chain

    def _take(self, number: int, line: bytes) -> None:
        try:
            leaf = unhexlify(line[: 2 * LEAF_BYTES])
        except ValueError:
            leaf = b""
        self._chain = linked(self._chain, leaf)
        if line != b"%b %b\n" % (hexlify(leaf), hexlify(self._chain)):
            broken("chain", f"line {number} of {self.path} does not follow from the one before")
        self._leaves += leaf


class FileHeads:
    """Signed heads in a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    LogBroken
        With check `form`, if a line is malformed.
    EnvironmentFault
        If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._heads: list[SignedHead] = []
        self._bytes = 0
        for line in whole_lines(path):
            self._heads.append(_head_of(line, path))
            self._bytes += len(line)

    def heads(self) -> Sequence[SignedHead]:
        """Return all heads, oldest first."""
        return tuple(self._heads)

    def append(self, head: SignedHead) -> None:
        """Add a head.

        Raises
        ------
        EnvironmentFault
            If the disk does not take it; the file is as it was.
        """
        line = rfc8785.dumps(head.to_mapping()) + b"\n"
        append_durably(self.path, line, self._bytes)
        self._heads.append(head)
        self._bytes += len(line)


def read_book(folder: Path) -> OwnBook:
    """Read a log, for exports and checks; whoever writes may go on.

    Raises
    ------
    EnvironmentFault
        If there is none, or it cannot be read.
    LogBroken
        With check `chain` or `form`.
    """
    if not folder.is_dir():
        raise EnvironmentFault(f"there is no decision log at {folder}")
    # Heads first: leaves that come in meanwhile are more than were signed, never fewer.
    heads = FileHeads(folder / HEADS)
    return OwnBook(FileLeaves(folder / LEAVES), Vault(folder), heads)


@contextmanager
def open_book(folder: Path) -> Iterator[OwnBook]:
    """Open a log to write in, or begin one; nobody else can meanwhile.

    Raises
    ------
    EnvironmentFault
        If another process writes, or the folder cannot be used.
    LogBroken
        With check `chain` or `form`; or with `shrunk` or `root`, if the leaves are no longer those
        under the newest head.
    """
    with exclusive(folder, what="writer of the decision log"):
        book = read_book(folder)
        heads = book.heads.heads()
        if heads:
            book.check_head(heads[-1].head)
        yield book


def linked(chain: bytes, leaf: bytes) -> bytes:
    """Return the chain after one more leaf."""
    return hashlib.sha256(chain + leaf).digest()


def whole_lines(path: Path, length: int = 0) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; a last one without its end does not count.

    Parameters
    ----------
    path : Path
        A missing file has no lines.
    length : int
        Of every line, where they are all of one.

    Raises
    ------
    EnvironmentFault
        If the file cannot be read.
    """
    try:
        with path.open("rb", buffering=LINE_BYTES * _LINES_AT_ONCE) as stream:
            while line := stream.readline(length or -1):
                # A whole length without an end was not torn off: it is shown, and refused.
                if line.endswith(b"\n") or len(line) == length:
                    yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error


def append_durably(path: Path, content: bytes, at: int) -> None:
    """Write behind the first `at` bytes of a file, and wait for the disk.

    What lies behind them is a torn write that nobody was told of; it goes.

    Raises
    ------
    EnvironmentFault
        If the disk does not take it; the file ends at `at` again. If there are whole lines behind
        them, of a second writer; nothing is changed.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from error
    try:
        if b"\n" in os.pread(handle, 1 << 20, at):
            raise EnvironmentFault(f"{path} has grown meanwhile", hint="open the log once more")
        try:
            os.ftruncate(handle, at)
            written = 0
            while written < len(content):
                written += os.pwrite(handle, content[written:], at + written)
            os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, at)
            hint = "make room; nothing was logged"
            raise EnvironmentFault(f"cannot write {path}: {error.strerror}", hint=hint) from error
    finally:
        os.close(handle)


def _head_of(line: bytes, path: Path) -> SignedHead:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        broken("form", f"a line of {path} is not JSON")
    return read_head(value)
