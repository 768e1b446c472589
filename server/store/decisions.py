"""Decisions: written once, chained by hash, each with the record that it can be replayed from.

A decision commits to its record (HMAC-SHA256 under a salt of its own) and to the decision before
it in its chain, one chain a line. The record and the salt stand in a table apart: deleting them
deletes the person's data, and the chain of commitments still verifies. Triggers of the database
refuse every other change. What is appended waits for its place in the tree (`server.store.log`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.prooflog import leaf
from server.prooflog.header import FIELDS, START, Header
from server.prooflog.leaf import SALT_BYTES, Opening
from server.store.ids import name, utc
from server.store.log import PENDING
from server.store.tables import DECISIONS, RECORDS
from server.store.whole import whole
from shared.errors import Conflict, NotFound, UsageError

_D: Final = DECISIONS.c
_R: Final = RECORDS.c


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision to be kept.

    Parameters
    ----------
    id : str
    chain : str
        The line, or the customer where there is no line.
    purpose : str
        `open`, `review`, `increase`, ...
    record : bytes
        Inputs and outcome as canonical JSON: kept and committed to as these bytes.
    policy_ref, model_ref, pack_ref : str
    occasion : str
        What it was decided for, as a review's date: a chain has one decision of a purpose for it.
        Empty: the decision's own id.
    """

    id: str
    chain: str
    purpose: str
    record: bytes
    policy_ref: str
    model_ref: str
    pack_ref: str
    occasion: str = ""

    def __post_init__(self) -> None:
        """Refuse a malformed decision."""
        for field in ("id", "chain", "purpose"):
            name(getattr(self, field), field)
        if self.occasion:
            name(self.occasion, "occasion")
        if not isinstance(self.record, bytes) or not self.record:
            raise UsageError("a decision's record must be bytes")


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as it is kept.

    Parameters
    ----------
    id, chain, purpose, occasion, policy_ref, model_ref, pack_ref : str
        See `NewDecision`.
    number : int
        In its chain, from 1.
    commitment : str
        To the record, in hexadecimal.
    prev_hash, hash : str
        Of the decision before it, and its own.
    decided_at : datetime
        UTC.
    """

    id: str
    chain: str
    number: int
    purpose: str
    occasion: str
    policy_ref: str
    model_ref: str
    pack_ref: str
    commitment: str
    prev_hash: str
    hash: str
    decided_at: datetime


@whole
def append(db: Connection, decision: NewDecision, at: datetime) -> StoredDecision:
    """Keep a decision; see `append_all`."""
    return append_all(db, [decision], at)[0]


@whole
def append_all(
    db: Connection, decisions: Sequence[NewDecision], at: datetime
) -> list[StoredDecision]:
    """Keep decisions, all of them or none, each behind the last one of its chain.

    Hand in some thousand at a time, not more: they are looked up by one query.

    Raises
    ------
    Conflict
        With check `occasion`, if a chain has a decision for that occasion; with check `id`, if
        the chain grew at the same moment.
    """
    if not decisions:
        return []
    heads = _heads(db, {one.chain for one in decisions})
    _check_occasions(db, decisions)
    kept: list[StoredDecision] = []
    records = []
    for one in decisions:
        salt = os.urandom(SALT_BYTES)
        number, before = heads.get(one.chain, (0, START))
        made = _chained(one, number + 1, before, commitment(salt, one.record), utc(at))
        heads[one.chain] = (made.number, made.hash)
        kept.append(made)
        records.append({"decision_id": one.id, "salt": salt, "record": one.record})
    rows = [{field: getattr(one, field) for field in StoredDecision.__slots__} for one in kept]
    db.execute(sa.insert(DECISIONS), rows)
    db.execute(sa.insert(RECORDS), records)
    db.execute(sa.insert(PENDING), [{"decision_id": one.id} for one in kept])
    return kept


def get_decision(db: Connection, decision_id: str) -> StoredDecision:
    """Return a decision.

    Raises
    ------
    NotFound
    """
    row = db.execute(sa.select(DECISIONS).where(_D.id == decision_id)).mappings().first()
    if row is None:
        raise NotFound("there is no decision of that id")
    return StoredDecision(**row)


def record_of(db: Connection, decision_id: str) -> tuple[bytes, bytes]:
    """Return the record of a decision and its salt.

    Raises
    ------
    NotFound
        If there is no such decision, or its record was deleted.
    """
    row = db.execute(sa.select(_R.record, _R.salt).where(_R.decision_id == decision_id)).first()
    if row is None:
        raise NotFound("there is no record of that decision", hint="it may have been deleted")
    return bytes(row.record), bytes(row.salt)


def chain_of(
    db: Connection, chain: str, *, after: int = 0, count: int = 100
) -> list[StoredDecision]:
    """Return the decisions of a chain in order, from the first behind a number."""
    query = sa.select(DECISIONS).where(_D.chain == chain, _D.number > after)
    rows = db.execute(query.order_by(_D.number).limit(count)).mappings()
    return [StoredDecision(**row) for row in rows]


def decided(db: Connection, chains: Iterable[str], purpose: str, occasion: str) -> set[str]:
    """Return those of the chains that have a decision for the occasion: a run can be resumed."""
    same = (_D.chain.in_(list(chains)), _D.purpose == purpose, _D.occasion == occasion)
    return set(db.execute(sa.select(_D.chain).where(*same)).scalars())


@whole
def erase_records(db: Connection, chain: str) -> int:
    """Delete records and salts of a chain; its decisions stay. Return how many there were."""
    mine = sa.select(_D.id).where(_D.chain == chain)
    return db.execute(sa.delete(RECORDS).where(_R.decision_id.in_(mine))).rowcount


def commitment(salt: bytes, record: bytes) -> str:
    """Return the commitment to a record under its salt, in hexadecimal."""
    return leaf.commitment(Opening(salt, record)).hex()


def header_of(decision: StoredDecision) -> Header:
    """Return what the hash of a decision is taken of."""
    fields = {field: getattr(decision, field) for field in FIELDS}
    return Header(**fields | {"decided_at": decision.decided_at.isoformat()})


def hash_of(decision: StoredDecision) -> str:
    """Return SHA-256 of everything a decision says, the hash before it included."""
    return header_of(decision).digest().hex()


def chain_findings(decisions: Sequence[StoredDecision]) -> list[str]:
    """Return what is wrong with a whole chain, one line each; nothing if it is as it was written.

    Parameters
    ----------
    decisions : sequence of StoredDecision
        In order, from the first.
    """
    findings, before = [], START
    for number, one in enumerate(decisions, start=1):
        if one.number != number:
            findings.append(f"{one.chain}: decision {number} is missing")
        if one.prev_hash != before:
            findings.append(f"{one.chain}: decision {one.number} does not follow the one before it")
        if hash_of(one) != one.hash:
            findings.append(f"{one.chain}: decision {one.number} was altered")
        before = one.hash
    return findings


def _chained(
    one: NewDecision, number: int, before: str, committed: str, at: datetime
) -> StoredDecision:
    made = StoredDecision(
        id=one.id,
        chain=one.chain,
        number=number,
        purpose=one.purpose,
        occasion=one.occasion or one.id,
        policy_ref=one.policy_ref,
        model_ref=one.model_ref,
        pack_ref=one.pack_ref,
        commitment=committed,
        prev_hash=before,
        hash="",
        decided_at=at,
    )
    fields = {field: getattr(made, field) for field in StoredDecision.__slots__}
    return StoredDecision(**fields | {"hash": hash_of(made)})


def _heads(db: Connection, chains: set[str]) -> dict[str, tuple[int, str]]:
    last = (
        sa.select(_D.chain, sa.func.max(_D.number).label("number"))
        .where(_D.chain.in_(chains))
        .group_by(_D.chain)
        .subquery()
    )
    same = (_D.chain == last.c.chain, _D.number == last.c.number)
    query = sa.select(_D.chain, _D.number, _D.hash).join(last, sa.and_(*same))
    return {row.chain: (row.number, row.hash) for row in db.execute(query)}


def _check_occasions(db: Connection, decisions: Sequence[NewDecision]) -> None:
    asked: dict[tuple[str, str], set[str]] = {}
    for one in decisions:
        if not one.occasion:  # its own id then, which the table keeps apart
            continue
        chains = asked.setdefault((one.purpose, one.occasion), set())
        if one.chain in chains:
            raise Conflict("two decisions of one chain for one occasion", check="occasion")
        chains.add(one.chain)
    for (purpose, occasion), chains in asked.items():
        if decided(db, chains, purpose, occasion):
            raise Conflict("the occasion has its decision already", check="occasion")
