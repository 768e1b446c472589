"""The Merkle log over the store's decisions: taking them in, signing, proving, checking.

Who decides only appends (`server.store.decisions`). `tick`, called beside the requests, takes what
waits into the tree and signs heads; workers let each other in one by one. What leaves the house is
what `server.prooflog.verify` accepts offline. Every function takes the desk first, as all of this
layer do, whether or not it needs more of it than the transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.log_keys import KEY, Kept, Place, check_pin, log_key, make_log_key
from server.prooflog.book import LogBook
from server.prooflog.export import export_consistency, export_decision, export_range
from server.prooflog.heads import SignedHead
from server.prooflog.merkle import around, inclusion, root_of
from server.prooflog.merkle import consistency as consistency_of
from server.store import log
from server.store.decisions import get_decision
from server.store.log import AT_ONCE, StoredHeads, StoredLog
from server.store.log_checks import book_of
from shared.errors import Conflict, NotFound
from shared.instants import seconds_of

MOST_EXPORTED: Final = 1000
"""Leaves of one export."""
FRESH: Final = timedelta(hours=1)
"""A head is signed at least this often, whether or not there are decisions."""


def integrate(_desk: Kept, db: Connection, _now: datetime, *, most: int = AT_ONCE) -> int:
    """Take decisions that wait into the tree, in the order of (decided_at, id).

    Parameters
    ----------
    desk : Desk
    db : Connection
        In a transaction that writes.
    now : datetime
    most : int
        Decisions at most: what a transaction should not be longer for.

    Returns
    -------
    int
        How many were taken.
    """
    return log.extend(db, most)


def sign(desk: Kept, db: Connection, now: datetime) -> SignedHead:
    """Sign a head over the whole tree, once it is seen to extend the newest head.

    Raises
    ------
    LogBroken
        By the name of the check; nothing was signed.
    EnvironmentFault, Refused
        If the log key is not there, or others can read it.
    """
    log.lock(db)
    stored, heads = StoredLog(db), StoredHeads(db)
    kept = heads.heads()
    sizes = [one for one in (stored.size(), kept[-1].head.size if kept else 0) if one]
    stored.prepare(lambda nodes: [root_of(nodes, one) for one in sizes])
    return LogBook(stored, stored, heads).sign(log_key(desk.home), _text(now))


def newest(db: Connection) -> SignedHead:
    """Return the newest signed head.

    Raises
    ------
    NotFound
        If none was signed yet.
    """
    return book_of(db).newest()


def proof(_desk: Kept, db: Connection, decision_id: str, *, opened: bool = True) -> dict[str, Any]:
    """Return a decision with its header, its path to the newest head and, opened, its record.

    Parameters
    ----------
    desk : Desk
    db : Connection
    decision_id : str
    opened : bool
        Whether salt and record go with it, as far as they were not deleted.

    Raises
    ------
    NotFound
        If there is no such decision.
    Conflict
        With check `pending`, if no signed head covers it yet: ask again in a moment.
    """
    number, heads = log.number_of(db, decision_id), StoredHeads(db).heads()
    signed = heads[-1] if heads else None
    if number is None or signed is None or signed.head.size <= number:
        get_decision(db, decision_id)
        why = "the decision has no place under a signed head yet"
        raise Conflict(why, check="pending", hint="ask again in a moment")
    stored = StoredLog(db)
    stored.load(number, number + 1)
    stored.prepare(lambda nodes: inclusion(nodes, number, signed.head.size))
    return export_decision(stored, stored if opened else None, signed, number, stored)


def consistency(_desk: Kept, db: Connection, first: int, second: int) -> dict[str, Any]:
    """Return the proof that the head over `second` leaves extends the one over `first`.

    Raises
    ------
    NotFound
        If no head was signed over so many leaves.
    Conflict
        With check `extension`, if the first has more leaves than the second.
    """
    if first > second:
        why = f"a log of {second} leaves extends none of {first}"
        raise Conflict(why, check="extension", hint="name the smaller one first")
    old, new = _head_of(db, first), _head_of(db, second)
    if new.head.time < old.head.time:  # heads of one size, signed again later
        old = new if first == second else old
    stored = StoredLog(db)
    stored.prepare(lambda nodes: consistency_of(nodes, first, second))
    return export_consistency(stored, old, new)


def export(
    _desk: Kept, db: Connection, first: int, count: int, *, opened: bool = True
) -> dict[str, Any]:
    """Return all decisions of a range of leaves with what ties them to the newest head.

    Parameters
    ----------
    desk : Desk
    db : Connection
    first, count : int
        At most `MOST_EXPORTED`; fewer where the head covers no more.
    opened : bool
        Whether headers, salts and records go with the leaves.

    Raises
    ------
    NotFound
        If no head was signed yet, or it does not cover the first leaf.
    """
    signed = newest(db)
    last = min(first + min(count, MOST_EXPORTED), signed.head.size)
    if first >= last:
        raise NotFound(f"the newest head covers {signed.head.size} leaves, and no leaf {first}")
    stored = StoredLog(db)
    stored.load(first, last)
    stored.prepare(lambda nodes: around(nodes, first, last, signed.head.size))
    return export_range(stored, stored if opened else None, signed, first, last, stored)


def tick(desk: Kept) -> int:
    """Take in everything that waits, and sign if the newest head is behind or an hour old.

    Returns
    -------
    int
        How many decisions were taken in.
    """
    with desk.store.read() as db:
        waits, behind = log.waiting(db) > 0, _is_behind(db, desk.clock())
    total = take_in(desk) if waits else 0
    if total or behind:
        with desk.store.write() as db:
            log.lock(db)
            if _is_behind(db, desk.clock()):  # another worker may have been here
                sign(desk, db, desk.clock())
    return total


def take_in(desk: Kept) -> int:
    """Take in everything that waits, a transaction for each few thousand; return how many."""
    total, taken = 0, AT_ONCE
    while taken == AT_ONCE:
        with desk.store.write() as db:
            taken = integrate(desk, db, desk.clock())
        total += taken
    return total


def _head_of(db: Connection, size: int) -> SignedHead:
    found = log.head_of_size(db, size)
    if found is None:
        raise NotFound(f"no head was signed over {size} leaves", hint="/v1/log/sth has the newest")
    return found


def _is_behind(db: Connection, now: datetime) -> bool:
    heads = StoredHeads(db).heads()
    if not heads:
        return True
    head = heads[-1].head
    age = now.timestamp() - seconds_of(head.time)
    return head.size < StoredLog(db).size() or age >= FRESH.total_seconds()


def _text(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


__all__ = [
    "FRESH",
    "KEY",
    "MOST_EXPORTED",
    "Kept",
    "Place",
    "check_pin",
    "consistency",
    "export",
    "integrate",
    "log_key",
    "make_log_key",
    "newest",
    "proof",
    "sign",
    "take_in",
    "tick",
]
