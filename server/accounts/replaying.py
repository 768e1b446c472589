"""Every kept decision made again from what was kept with it, of whichever kind its record is.

A verifier outside brings the rule texts as files; the store keeps every text that it decided by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts import recording
from server.limits.caps import record as limit_record
from server.limits.caps.record import Rules, digest_of
from server.store.decisions import commitment
from server.store.people import texts_at
from server.store.tables import DECISIONS, RECORDS
from shared.edge.files import read_text
from shared.errors import ConfideError, EnvironmentFault, LogBroken

_PAGE: Final = 500
_MOST: Final = 20


@dataclass(slots=True)
class Replayed:
    """What came of making decisions again.

    Parameters
    ----------
    same : int
        Decisions that came out bit for bit as they are kept.
    other : int
        Records of kinds that nothing was decided in.
    deleted : int
        Decisions whose record was deleted.
    findings : list of str
        Decisions that did not: the first 20, by id and check.
    failed : int
        How many did not.
    """

    same: int = 0
    other: int = 0
    deleted: int = 0
    failed: int = 0
    findings: list[str] = field(default_factory=list)


def again(record: Mapping[str, Any], texts: Mapping[str, str]) -> bool:
    """Make a decision again from its record; return whether the record was of a decision.

    Parameters
    ----------
    record : mapping
        As an export has it; an operator's note is no decision.
    texts : mapping of str to str
        Rule texts by their SHA-256.

    Raises
    ------
    LogBroken
        With check `form`, `policy`, `pack` or `replay`.
    """
    if record.get("kind") == recording.KIND:
        recording.replay(record, texts)
        return True
    if record.get("kind") == limit_record.KIND:
        read = limit_record.read_record(record)
        limit_record.replay(read, _rules(texts.get(read.policy, ""), texts.get(read.pack, "")))
        return True
    return False


def replay_store(db: Connection) -> Replayed:
    """Make every decision of a store again from its record, with the texts that the store keeps.

    Parameters
    ----------
    db : Connection
        In a transaction that sees one state throughout.
    """
    found, texts = Replayed(), dict(embedded_texts())
    for row in _records(db):
        if row.record is None:
            found.deleted += 1
            continue
        try:
            known = _again(db, row, texts)
        except ConfideError as error:
            found.failed += 1
            if len(found.findings) < _MOST:
                found.findings.append(f"decision {row.id}: {error.message}")
        else:
            found.same += known
            found.other += not known
    return found


def _again(db: Connection, row: Any, texts: dict[str, str]) -> bool:
    if commitment(bytes(row.salt), bytes(row.record)) != row.commitment:
        raise LogBroken("commitment: it is another record", check="commitment")
    try:
        record = json.loads(row.record)
    except ValueError as error:
        raise LogBroken("form: the record is not JSON", check="form") from error
    if not isinstance(record, dict):
        raise LogBroken("form: the record is no object", check="form")
    missing = digests_in(record) - texts.keys()
    if missing:
        texts |= texts_at(db, missing)
    return again(record, texts)


def texts_in(paths: Iterable[Path]) -> dict[str, str]:
    """Return the rule texts in files, or in the files of folders, by their SHA-256.

    Raises
    ------
    EnvironmentFault
        If one cannot be read.
    ConfigError
        If one is no text.
    """
    found = {}
    for path in paths:
        inside = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not inside:
            raise EnvironmentFault(f"there are no rule texts in {path}", hint="*.toml are read")
        for one in inside:
            text = read_text(one)
            found[digest_of(text)] = text
    return found


@lru_cache(maxsize=1)
def embedded_texts() -> Mapping[str, str]:
    """Return the rule texts that come with confide, by their SHA-256."""
    found = {}
    for folder in (files("server.policies"), files("server.limits") / "texts"):
        for one in folder.iterdir():
            if one.name.endswith(".toml"):
                raw = one.read_bytes()
                found[hashlib.sha256(raw).hexdigest()] = raw.decode()
    return found


def digests_in(record: Mapping[str, Any]) -> set[str]:
    """Return the SHA-256 of every rule text that a record names."""
    named = record.get("rules")
    told = set(named.values()) if isinstance(named, Mapping) else set()
    told |= {record.get("policy"), record.get("pack")}
    return {one for one in told if isinstance(one, str)}


def _records(db: Connection) -> Iterator[Any]:
    query = (
        sa.select(DECISIONS.c.id, DECISIONS.c.commitment, RECORDS.c.salt, RECORDS.c.record)
        .outerjoin(RECORDS, RECORDS.c.decision_id == DECISIONS.c.id)
        .order_by(DECISIONS.c.decided_at, DECISIONS.c.id)
    )
    yield from db.execute(query.execution_options(yield_per=_PAGE))


@lru_cache(maxsize=16)
def _rules(policy: str, pack: str) -> Rules:
    policies = [(policy, "policy")] if policy else []
    return Rules.of(policies, [(pack, "pack")] if pack else [])
