"""The whole log held against itself: chains, commitments, leaves, nodes, heads, and their number.

Every finding is a line that begins with the name of its check: `chain`, `commitment`, `leaf`,
`node`, `pending`, `count`, or of heads what `server.prooflog` names (`key`, `signature`, `fork`,
`shrunk`, `clock`, `root`). Nothing of a record is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from server.prooflog.book import LogBook, check_head
from server.prooflog.heads import SignedHead, check_after, verify_head
from server.prooflog.merkle import Tree
from server.store.decisions import StoredDecision, chain_findings, commitment, hash_of
from server.store.log import HEADS, LEAVES, NODES, PENDING, StoredHeads, StoredLog
from server.store.tables import DECISIONS, RECORDS
from shared.errors import LogBroken

MOST: Final = 20  # findings of one check
_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class LogCheck:
    """What was looked at, and what is wrong.

    Parameters
    ----------
    decisions, records, leaves, heads, pending : int
        How many there are.
    findings : tuple of str
        Of one check the first 20, then how many more.
    newest : SignedHead, optional
        The newest head.
    """

    decisions: int
    records: int
    leaves: int
    heads: int
    pending: int
    findings: tuple[str, ...]
    newest: SignedHead | None


def check_log(db: Connection, pin: str = "") -> LogCheck:
    """Look at all decisions, the tree over them and every head.

    Parameters
    ----------
    db : Connection
        In a transaction that sees one state throughout.
    pin : str
        Fingerprint of the operator's log key; empty: the one that signed the first head.
    """
    tree = Tree()
    found = [*_chains(db), *_commitments(db), *_leaves(db, tree), *_nodes(db, tree)]
    found += [*_heads(db, tree, pin), *_pending(db)]
    heads = StoredHeads(db).heads()
    counts = {table.name: _count(db, table) for table in (DECISIONS, RECORDS, LEAVES, PENDING)}
    if counts["log_leaves"] + counts["log_pending"] != counts["decisions"]:
        found.append(
            f"count: {counts['decisions']} decisions, {counts['log_leaves']} leaves and "
            f"{counts['log_pending']} that wait for theirs"
        )
    return LogCheck(
        decisions=counts["decisions"],
        records=counts["decision_records"],
        leaves=counts["log_leaves"],
        heads=len(heads),
        pending=counts["log_pending"],
        findings=_few(found),
        newest=heads[-1] if heads else None,
    )


def book_of(db: Connection) -> LogBook:
    """Return the log in a store's tables, as one transaction sees it."""
    log = StoredLog(db)
    return LogBook(log, log, StoredHeads(db))


def _count(db: Connection, table: Table) -> int:
    return db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def _few(found: list[str]) -> tuple[str, ...]:
    """Keep the first findings of each check, and say how many more there are."""
    seen: Counter[str] = Counter()
    kept = []
    for one in found:
        check = one.partition(":")[0]
        seen[check] += 1
        if seen[check] <= MOST:
            kept.append(one)
    more = [f"{check}: and {count - MOST} more" for check, count in seen.items() if count > MOST]
    return (*kept, *more)


def _rows(db: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    return iter(db.execute(query.execution_options(yield_per=_PAGE)))


def _chains(db: Connection) -> Iterator[str]:
    query = sa.select(DECISIONS).order_by(DECISIONS.c.chain, DECISIONS.c.number)
    decisions = (StoredDecision(**row._mapping) for row in _rows(db, query))  # noqa: SLF001 - its name
    for _, chain in groupby(decisions, key=lambda one: one.chain):
        yield from (f"chain: {one}" for one in chain_findings(list(chain)))


def _commitments(db: Connection) -> Iterator[str]:
    query = (
        sa.select(DECISIONS.c.id, DECISIONS.c.commitment, RECORDS.c.salt, RECORDS.c.record)
        .join(RECORDS, RECORDS.c.decision_id == DECISIONS.c.id)
        .order_by(DECISIONS.c.id)
    )
    for row in _rows(db, query):
        if len(row.salt) != 32 or commitment(bytes(row.salt), bytes(row.record)) != row.commitment:
            yield f"commitment: decision {row.id} is not the record that it commits to"


def _leaves(db: Connection, tree: Tree) -> Iterator[str]:
    """Compare leaves with decisions, and build the tree again from them."""
    query = (
        sa.select(LEAVES.c.number.label("at"), LEAVES.c.leaf, LEAVES.c.decision_id, DECISIONS)
        .outerjoin(DECISIONS, DECISIONS.c.id == LEAVES.c.decision_id)
        .order_by(LEAVES.c.number)
    )
    fields = StoredDecision.__slots__
    expected, page = 0, []
    for row in _rows(db, query):
        if row.at != expected:
            yield f"leaf: {expected} is missing before {row.at}"
        expected = row.at + 1
        page.append(bytes(row.leaf))
        if row.id is None:
            yield f"leaf: {row.at} is of decision {row.decision_id}, which is missing"
        elif hash_of(StoredDecision(*(getattr(row, f) for f in fields))) != row.leaf.hex():
            yield f"leaf: {row.at} is not the hash of decision {row.decision_id}"
        if len(page) == _PAGE:
            tree.extend(page)
            page = []
    tree.extend(page)


def _nodes(db: Connection, tree: Tree) -> Iterator[str]:
    """Compare stored hashes with those of the tree that was built again."""
    size, seen, level = len(tree), 0, 0
    query = sa.select(NODES).order_by(NODES.c.level, NODES.c.number)
    for row in _rows(db, query):
        if row.level != level:
            yield from _missing(level, seen, size)
            for between in range(level + 1, row.level):
                yield from _missing(between, 0, size)
            level, seen = row.level, 0
        if row.number >= size >> level or level == 0:
            yield f"node: {row.number} at level {level} has no leaves under it"
            continue
        if row.number != seen:
            yield f"node: {seen} at level {level} is missing"
        if bytes(row.hash) != tree.node(level, row.number):
            yield f"node: {row.number} at level {level} is not the hash of those below it"
        seen = row.number + 1
    yield from _missing(level, seen, size)
    for above in range(level + 1, size.bit_length()):
        yield from _missing(above, 0, size)


def _missing(level: int, seen: int, size: int) -> Iterator[str]:
    if level and seen < size >> level:
        yield f"node: {(size >> level) - seen} at level {level} are missing from {seen} on"


def _heads(db: Connection, tree: Tree, pin: str) -> Iterator[str]:
    """Check each head by itself, against the one before it, and against the tree built again."""
    before: SignedHead | None = None
    numbers = db.execute(sa.select(HEADS.c.number).order_by(HEADS.c.number)).scalars()
    heads = StoredHeads(db).heads()
    if list(numbers) != list(range(len(heads))):
        yield "head: a signed head is missing between others"
        return
    for number, signed in enumerate(heads):
        try:
            pin = pin or signed.head.log
            verify_head(signed, pin)
            if before is not None:
                check_after(before.head, signed.head)
            check_head(tree, len(tree), signed.head)
        except LogBroken as error:
            yield f"{error.message}, at signed head {number}"
        except ValueError:
            yield f"signature: that of head {number} is no signature at all"
        before = signed


def _pending(db: Connection) -> Iterator[str]:
    waits = PENDING.c.decision_id
    both = sa.select(waits).join(LEAVES, LEAVES.c.decision_id == waits)
    for one in db.execute(both.order_by(waits).limit(MOST)).scalars():
        yield f"pending: decision {one} waits, and is in the tree"
    lost = (
        sa.select(DECISIONS.c.id)
        .outerjoin(LEAVES, LEAVES.c.decision_id == DECISIONS.c.id)
        .outerjoin(PENDING, waits == DECISIONS.c.id)
        .where(LEAVES.c.number.is_(None), waits.is_(None))
    )
    for one in db.execute(lost.order_by(DECISIONS.c.id).limit(MOST)).scalars():
        yield f"pending: decision {one} is not in the tree and does not wait for it"
