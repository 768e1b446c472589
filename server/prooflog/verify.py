"""Verification of what was exported, offline: the JSON and one pinned fingerprint, nothing else.

Files are first checked one by one, then against each other: two heads of one size with other roots
are a fork, a later head with fewer leaves is a log that shrank, whichever files they came in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from server.prooflog.export import (
    CHAINED_DECISION,
    CHAINED_RANGE,
    CONSISTENCY,
    DECISION,
    RANGE,
    to_bytes,
)
from server.prooflog.header import START, Header, read_header
from server.prooflog.heads import (
    KIND,
    Head,
    broken,
    check_after,
    hexadecimal,
    of_kind,
    read_head,
    verify_head,
    whole,
)
from server.prooflog.leaf import LEAF_BYTES, SALT_BYTES, Opening, canonical, opens
from server.prooflog.merkle import HASH_BYTES, extends, includes, leaf_hash, root_around
from shared.errors import LogBroken

MOST_LEAVES: Final = 1 << 22
"""Longest range that is read."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What an export was found to prove.

    Parameters
    ----------
    kind : str
    heads : tuple of Head
        Signed with the pinned key; of a history the older first.
    first, count : int
        Leaves that were shown to stand in the log.
    records : mapping of int to mapping
        Opened decisions, by leaf.
    headers : mapping of int to Header
        Of a store's decisions, by leaf.
    """

    kind: str
    heads: tuple[Head, ...]
    first: int = 0
    count: int = 0
    records: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[int, Header] = field(default_factory=dict)


def verify_bytes(raw: bytes, pin: str) -> Verified:
    """Verify the bytes of an export.

    Parameters
    ----------
    raw : bytes
        Canonical JSON: one byte more is one too many.
    pin : str
        Fingerprint of the operator's log key, 64 small hex digits, as the verifier knows it.

    Raises
    ------
    LogBroken
        By the name of the check: `form`, `key`, `signature`, `opening`, `inclusion`, `range`,
        `extension`, or between two heads `fork`, `shrunk` or `clock`.
    """
    try:
        value = json.loads(raw)
        same = isinstance(value, dict) and to_bytes(value) == raw
    except (ValueError, RecursionError):  # rfc8785's own errors are ValueErrors
        broken("form", "it is not JSON that can be carried exactly")
    if not same:
        broken("form", "it is not in canonical form (RFC 8785)")
    readers = {
        KIND: _head,
        DECISION: _decision,
        CHAINED_DECISION: _decision,
        RANGE: _range,
        CHAINED_RANGE: _range,
        CONSISTENCY: _consistency,
    }
    reader = readers.get(str(value.get("kind")))
    if reader is None:
        broken("form", f"kind must be one of {', '.join(readers)}")
    return reader(value, pin)


def verify_together(found: Sequence[Verified]) -> bool:
    """Check heads from several exports against each other.

    Returns
    -------
    bool
        Whether the exports' own histories lead from every head to every other. Where not, nothing
        is wrong yet, but who holds the files has not seen that they are of one log.

    Raises
    ------
    LogBroken
        With check `fork` or `shrunk`.
    """
    heads = sorted({head for one in found for head in one.heads}, key=lambda head: head.size)
    for older, newer in pairwise(heads):
        if older.size == newer.size and older.root != newer.root:
            broken("fork", f"there are two logs of {newer.size} leaves")
    for older, newer in pairwise(sorted(heads, key=lambda head: (head.time, head.size))):
        check_after(older, newer)
    sizes = sorted({head.size for head in heads})
    steps = {
        (old.size, new.size)
        for one in found
        if one.kind == CONSISTENCY
        for old, new in [(one.heads[0], one.heads[-1])]
    }
    return _linked(sizes, steps)


def missing_between(found: Sequence[Verified]) -> list[str]:
    """Return what lies between the decisions of each chain and was not shown, one line each.

    Decisions of a chain are numbered, and each has the hash of the one before it, which is that
    one's leaf: a chain without a gap up to its newest decision is all there is of it so far.

    Raises
    ------
    LogBroken
        With check `chain`, if two decisions of a chain have one number, or one does not follow the
        one before it.
    """
    chains: dict[str, dict[int, Header]] = {}
    for one in found:
        for header in one.headers.values():
            kept = chains.setdefault(header.chain, {}).setdefault(header.number, header)
            if kept != header:
                broken("chain", f"{header.chain} has two decisions of number {header.number}")
    gaps = []
    for chain, headers in sorted(chains.items()):
        before = 0
        for number, header in sorted(headers.items()):
            if number > before + 1:
                last = "" if number == before + 2 else f" to {number - 1}"
                gaps.append(f"{chain}: decision {before + 1}{last} was not shown")
            else:
                _check_link(headers.get(before), header)
            before = number
    return gaps


def _check_link(before: Header | None, header: Header) -> None:
    hashed = START if before is None else before.digest().hex()
    if header.prev_hash != hashed:
        broken("chain", f"{header.chain}: decision {header.number} does not follow the one before")


def _linked(sizes: Sequence[int], steps: set[tuple[int, int]]) -> bool:
    """Return whether the steps lead from the smallest size to all others, either way."""
    reached, todo = set(sizes[:1]), list(sizes[:1])
    while todo:
        at = todo.pop()
        for old, new in steps:
            for here, there in ((old, new), (new, old)):
                if here == at and there not in reached:
                    reached.add(there)
                    todo.append(there)
    return reached == set(sizes)


def _head(value: dict[str, Any], pin: str) -> Verified:
    return Verified(KIND, (_signed(value, pin),))


def _decision(value: dict[str, Any], pin: str) -> Verified:
    kind = str(value["kind"])
    chained = ("header",) if kind == CHAINED_DECISION else ()
    fields = of_kind(value, kind, ("index", "leaf", "opening", "path", "head", *chained))
    head, index = _signed(fields["head"], pin), whole(fields, "index")
    leaf = hexadecimal(fields["leaf"], LEAF_BYTES, "leaf")
    path = _hashes(fields["path"], "path")
    if not includes(leaf_hash(leaf), index, head.size, path, bytes.fromhex(head.root)):
        broken("inclusion", f"no path leads from this leaf at {index} to the signed root")
    headers = {index: _header(fields["header"], leaf, index)} if chained else {}
    records = _records(index, [leaf], headers, [fields["opening"]])
    return Verified(kind, (head,), index, 1, records, headers)


def _range(value: dict[str, Any], pin: str) -> Verified:
    kind = str(value["kind"])
    chained = ("headers",) if kind == CHAINED_RANGE else ()
    fields = of_kind(value, kind, ("first", "leaves", "openings", "beside", "head", *chained))
    head, first = _signed(fields["head"], pin), whole(fields, "first")
    leaves, beside = _hashes(fields["leaves"], "leaves"), _hashes(fields["beside"], "beside")
    try:
        root = root_around([leaf_hash(one) for one in leaves], first, head.size, beside)
    except ValueError as error:
        raise LogBroken(f"range: {error}", check="range") from error
    if root.hex() != head.root:
        broken("range", "these leaves, in this order, are not the ones under the signed root")
    openings, told = fields["openings"], fields.get("headers")
    for name, entries in (("openings", openings), ("headers", told)):
        if entries is not None and (not isinstance(entries, list) or len(entries) != len(leaves)):
            broken("form", f"{name} must be null, or have an entry for each leaf")
    if chained and (openings is None) != (told is None):
        broken("form", "openings and headers must both be null, or neither")
    if openings is None:
        return Verified(kind, (head,), first, len(leaves))
    pairs = enumerate(zip(told or (), leaves, strict=bool(chained)), first)
    headers = {index: _header(header, leaf, index) for index, (header, leaf) in pairs}
    records = _records(first, leaves, headers, openings)
    return Verified(kind, (head,), first, len(leaves), records, headers)


def _consistency(value: dict[str, Any], pin: str) -> Verified:
    fields = of_kind(value, CONSISTENCY, ("old", "new", "path"))
    old, new = _signed(fields["old"], pin), _signed(fields["new"], pin)
    path = _hashes(fields["path"], "path")
    check_after(old, new)
    if not extends(old.size, new.size, path, bytes.fromhex(old.root), bytes.fromhex(new.root)):
        broken("extension", f"{new.size} leaves are not shown to begin with the {old.size}")
    return Verified(CONSISTENCY, (old, new))


def _signed(value: Any, pin: str) -> Head:
    signed = read_head(value)
    verify_head(signed, pin)
    return signed.head


def _header(value: Any, leaf: bytes, index: int) -> Header:
    """Return the header of a leaf, once it is seen to be what the leaf is the hash of."""
    header = read_header(value)
    if header.digest() != leaf:
        broken("opening", f"the header is not the one of leaf {index}")
    return header


def _records(
    first: int, leaves: Sequence[bytes], headers: Mapping[int, Header], openings: Sequence[Any]
) -> dict[int, Mapping[str, Any]]:
    """Return the records of those leaves that are opened, by leaf."""
    records = {}
    for index, (leaf, opening) in enumerate(zip(leaves, openings, strict=True), first):
        header = headers.get(index)
        committed = leaf if header is None else bytes.fromhex(header.commitment)
        record = _record(opening, committed, index)
        if record is not None:
            records[index] = record
    return records


def _record(value: Any, committed: bytes, index: int) -> Mapping[str, Any] | None:
    """Return the record of a leaf, once it is seen to open; None where the salt is destroyed."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"salt", "record"}:
        broken("form", "an opening must be null, or have a salt and a record")
    record = value["record"]
    if not isinstance(record, dict):
        broken("form", "a record must be an object")
    salt = hexadecimal(value["salt"], SALT_BYTES, "salt")
    if not opens(Opening(salt, canonical(record)), committed):
        broken("opening", f"salt and record do not open leaf {index}")
    return record


def _hashes(value: Any, name: str) -> list[bytes]:
    if not isinstance(value, list) or len(value) > MOST_LEAVES:
        broken("form", f"{name} must be a list of at most {MOST_LEAVES:,} hashes")
    return [hexadecimal(one, HASH_BYTES, name) for one in value]
