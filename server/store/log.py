"""The tree over all decisions, in tables: leaves, inner nodes, signed heads, and what still waits.

A leaf is the hash of a decision: everything of its row and the hash before it in its chain. What is
appended to `decisions` waits in `log_pending`, written in the same transaction; `extend` takes it
from there into the tree, one transaction at a time, so that leaves and nodes are there together or
not at all. Triggers refuse every change of leaves, nodes and heads.

Reading goes through `StoredLog`, which is the `Leaves`, `Openings` and `Headers` of
`server.prooflog.book`, and through `StoredHeads`. Hashes of leaves are not kept, only those above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, overload

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, ForeignKey, LargeBinary, String, Table

from server.prooflog.header import FIELDS, Header
from server.prooflog.heads import Head, SignedHead
from server.prooflog.leaf import Opening
from server.prooflog.merkle import HASH_BYTES, Nodes, grown, leaf_hash
from server.store.tables import DECISIONS, ID, METADATA, RECORDS
from server.store.whole import whole
from shared.errors import NotFound

AT_ONCE: Final = 4096
"""Leaves that one transaction adds at most."""
_LOCK: Final = 0x636F6E666C6F67  # the word conf-log: one integrator at a time

PENDING: Final = Table(
    "log_pending",
    METADATA,
    Column("decision_id", ID, ForeignKey("decisions.id"), primary_key=True),
)
LEAVES: Final = Table(
    "log_leaves",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("decision_id", ID, ForeignKey("decisions.id"), nullable=False, unique=True),
    Column("leaf", LargeBinary, nullable=False),
)
NODES: Final = Table(
    "log_nodes",
    METADATA,
    Column("level", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
HEADS: Final = Table(
    "log_heads",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("log", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
    Column("time", String(20), nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)
APPEND_ONLY: Final = ("log_leaves", "log_nodes", "log_heads")
_IN_ORDER: Final = (
    sa.select(DECISIONS.c.id, DECISIONS.c.hash)
    .join(PENDING, PENDING.c.decision_id == DECISIONS.c.id)
    .order_by(DECISIONS.c.decided_at, DECISIONS.c.id)
)


class StoredLog:
    """The tree in the tables, as one transaction sees it; what was read once is kept.

    Every hash that is not there yet costs a query: `prepare` and `load` read many at once.

    Parameters
    ----------
    db : Connection
    """

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._size = _next(db, LEAVES)
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._rows: dict[int, Any] = {}

    def size(self) -> int:
        """Return the number of leaves."""
        return self._size

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        found = self._nodes.get((level, index))
        if found is None and level == 0:
            return leaf_hash(self.leaf(index))
        if found is None:
            self._read_nodes([(level, index)])
            found = self._nodes.get((level, index))
        if found is None:
            raise NotFound(f"the log has no node {index} at level {level}", hint=_CHECK)
        return found

    def leaf(self, index: int) -> bytes:
        """Return the hash of a decision, 32 bytes."""
        return bytes(self._row(index).leaf)

    def opening(self, index: int) -> Opening | None:
        """Return salt and record; None once they were deleted."""
        row = self._row(index)
        return None if row.salt is None else Opening(bytes(row.salt), bytes(row.record))

    def header(self, index: int) -> Header:
        """Return what the leaf is the hash of."""
        row = self._row(index)
        fields = {name: getattr(row, name) for name in FIELDS}
        return Header(**fields | {"decided_at": row.decided_at.isoformat()})

    def load(self, first: int, last: int) -> None:
        """Read leaves, openings and headers from `first` up to, not including, `last`."""
        query = _ROWS.where(LEAVES.c.number >= first, LEAVES.c.number < last)
        self._rows |= {row.at: row for row in self._db.execute(query)}

    def prepare(self, work: Callable[[Nodes], object]) -> None:
        """Read all hashes that some work on the tree will ask for, at once.

        Parameters
        ----------
        work : callable
            Takes the nodes; which it asks for must not depend on what it gets.
        """
        asked = _Asked()
        work(asked)
        missing = asked.seen - self._nodes.keys()
        self._read_nodes([one for one in missing if one[0]])
        leaves = [index for level, index in missing if not level and index not in self._rows]
        if leaves:
            query = _ROWS.where(LEAVES.c.number.in_(leaves))
            self._rows |= {row.at: row for row in self._db.execute(query)}

    def put(self, level: int, index: int, found: bytes) -> None:
        """Take a hash that was not written yet."""
        self._nodes[level, index] = found

    def _read_nodes(self, wanted: Sequence[tuple[int, int]]) -> None:
        if not wanted:
            return
        # More than was asked for, by one walk of the key; pairs in an IN would scan on SQLite.
        levels, numbers = ({one[part] for one in wanted} for part in (0, 1))
        query = sa.select(NODES).where(NODES.c.level.in_(levels), NODES.c.number.in_(numbers))
        rows = self._db.execute(query)
        self._nodes |= {(row.level, row.number): bytes(row.hash) for row in rows}

    def _row(self, index: int) -> Any:
        if index not in self._rows:
            self.load(index, index + 1)
        if index not in self._rows:
            raise NotFound(f"the log has {self._size} leaves and none of number {index}")
        return self._rows[index]


class StoredHeads:
    """Signed heads in their table.

    Parameters
    ----------
    db : Connection
    """

    def __init__(self, db: Connection) -> None:
        self._db = db

    def heads(self) -> Sequence[SignedHead]:
        """Return all heads, oldest first, each read when it is asked for."""
        return _Heads(self._db)

    def append(self, head: SignedHead) -> None:
        """Add a head."""
        row = {
            "number": _next(self._db, HEADS),
            "log": head.head.log,
            "size": head.head.size,
            "root": head.head.root,
            "time": head.head.time,
            "public_key": head.public_key,
            "signature": head.signature,
        }
        self._db.execute(sa.insert(HEADS), row)


@whole
def extend(db: Connection, most: int = AT_ONCE) -> int:
    """Take waiting decisions into the tree, in the order of (decided_at, id).

    Parameters
    ----------
    db : Connection
        In a transaction that writes. Until it ends, no other may extend the tree or sign.
    most : int
        Decisions at most.

    Returns
    -------
    int
        How many were taken.
    """
    lock(db)
    waiting = db.execute(_IN_ORDER.limit(most)).all()
    if not waiting:
        return 0
    stored = StoredLog(db)
    first = stored.size()
    stored.prepare(lambda nodes: _edge(nodes, first))
    leaves, nodes = [], []
    for number, row in enumerate(waiting, first):
        leaf = bytes.fromhex(row.hash)
        leaves.append({"number": number, "decision_id": row.id, "leaf": leaf})
        for level, found in enumerate(grown(stored, number, leaf_hash(leaf))):
            stored.put(level, number >> level, found)
            if level:
                nodes.append({"level": level, "number": number >> level, "hash": found})
    db.execute(sa.insert(LEAVES), leaves)
    if nodes:
        db.execute(sa.insert(NODES), nodes)
    taken = sa.select(LEAVES.c.decision_id).where(LEAVES.c.number >= first)
    db.execute(sa.delete(PENDING).where(PENDING.c.decision_id.in_(taken)))
    return len(waiting)


def lock(db: Connection) -> None:
    """Let nobody else extend the tree or sign a head until the transaction ends.

    On SQLite a transaction that writes is alone anyway.
    """
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def waiting(db: Connection) -> int:
    """Return how many decisions are not in the tree yet."""
    return db.execute(sa.select(sa.func.count()).select_from(PENDING)).scalar_one()


def is_waiting(db: Connection, decision_id: str) -> bool:
    """Return whether a decision waits for its place in the tree."""
    query = sa.select(PENDING.c.decision_id).where(PENDING.c.decision_id == decision_id)
    return db.execute(query).first() is not None


def number_of(db: Connection, decision_id: str) -> int | None:
    """Return the leaf of a decision; None if it is not in the tree."""
    query = sa.select(LEAVES.c.number).where(LEAVES.c.decision_id == decision_id)
    return db.execute(query).scalar()


def head_of_size(db: Connection, size: int) -> SignedHead | None:
    """Return the newest signed head over so many leaves."""
    query = sa.select(HEADS).where(HEADS.c.size == size).order_by(HEADS.c.number.desc())
    row = db.execute(query.limit(1)).first()
    return None if row is None else _signed(row)


_CHECK: Final = "run: confide log check"
_ROWS: Final = (
    sa.select(
        LEAVES.c.number.label("at"),
        LEAVES.c.leaf,
        *(DECISIONS.c[name] for name in FIELDS),
        RECORDS.c.salt,
        RECORDS.c.record,
    )
    .join(DECISIONS, DECISIONS.c.id == LEAVES.c.decision_id)
    .outerjoin(RECORDS, RECORDS.c.decision_id == DECISIONS.c.id)
)


class _Asked:
    """Notes which hashes some work asks for, and gives it others."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()

    def node(self, level: int, index: int) -> bytes:
        self.seen.add((level, index))
        return bytes(HASH_BYTES)


class _Heads(Sequence[SignedHead]):
    """The heads of a log, of which there may be very many: one is read at a time."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._count = _next(db, HEADS)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> SignedHead: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[SignedHead]: ...

    def __getitem__(self, at: int | slice) -> SignedHead | Sequence[SignedHead]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(self._count))]
        number = at + self._count if at < 0 else at
        row = self._db.execute(sa.select(HEADS).where(HEADS.c.number == number)).first()
        if row is None:
            raise IndexError(at)
        return _signed(row)

    def __iter__(self) -> Iterator[SignedHead]:
        query = sa.select(HEADS).order_by(HEADS.c.number).execution_options(yield_per=1000)
        return (_signed(row) for row in self._db.execute(query))


def _signed(row: Any) -> SignedHead:
    return SignedHead(Head(row.log, row.size, row.root, row.time), row.public_key, row.signature)


def _next(db: Connection, table: Table) -> int:
    last = db.execute(sa.select(sa.func.max(table.c.number))).scalar()
    return 0 if last is None else last + 1


def _edge(nodes: Nodes, size: int) -> None:
    """Ask for the complete subtrees of a tree from which every larger one grows."""
    for level in range(size.bit_length()):
        if size >> level & 1:
            nodes.node(level, (size >> level) - 1)
