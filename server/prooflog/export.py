"""What leaves the house: a decision, a range or a history as JSON that proves itself.

Every export is canonical JSON (RFC 8785) with a signed head in it. Nothing else is needed to verify
it but the fingerprint of the operator's log key (`server.prooflog.verify`).
"""

from __future__ import annotations

import json
from typing import Any, Final

import rfc8785

from server.prooflog.book import Headers, Leaves, Openings
from server.prooflog.heads import SignedHead
from server.prooflog.leaf import Opening
from server.prooflog.merkle import around, inclusion
from server.prooflog.merkle import consistency as consistency_of
from shared.errors import UsageError

DECISION: Final = "confide/log-decision/1"
RANGE: Final = "confide/log-range/1"
CHAINED_DECISION: Final = "confide/log-decision/2"
CHAINED_RANGE: Final = "confide/log-range/2"
"""Of a store: the leaf is the hash of a header, which has the commitment in it."""
CONSISTENCY: Final = "confide/log-consistency/1"


def export_decision(
    leaves: Leaves,
    openings: Openings | None,
    signed: SignedHead,
    index: int,
    headers: Headers | None = None,
) -> dict[str, Any]:
    """Return one decision with its salt, its path and the head.

    Parameters
    ----------
    leaves : Leaves
    openings : Openings, optional
        None for somebody who is to see that the decision stands in the log, and not the decision.
    signed : SignedHead
    index : int
        Number of the leaf.
    headers : Headers, optional
        Of a store that chains decisions.

    Returns
    -------
    dict
        `opening` is null where the salt was destroyed: the leaf can still be shown to be there.

    Raises
    ------
    UsageError
        If the head does not cover the leaf.
    """
    _check_covered(signed, index, index + 1)
    export: dict[str, Any] = {
        "kind": DECISION if headers is None else CHAINED_DECISION,
        "index": index,
        "leaf": leaves.leaf(index).hex(),
        "opening": None if openings is None else _opened(openings.opening(index)),
        "path": _hexes(inclusion(leaves, index, signed.head.size)),
        "head": signed.to_mapping(),
    }
    if headers is not None:
        export["header"] = headers.header(index).to_mapping()
    return export


def export_range(
    leaves: Leaves,
    openings: Openings | None,
    signed: SignedHead,
    first: int,
    last: int,
    headers: Headers | None = None,
) -> dict[str, Any]:
    """Return all leaves of a range, for an auditor: none can be left out or moved.

    Parameters
    ----------
    leaves : Leaves
    openings : Openings, optional
        None for an auditor who is to see that the log is whole, and no decision.
    signed : SignedHead
    first, last : int
        From `first` up to, not including, `last`.
    headers : Headers, optional
        Of a store that chains decisions; they are exported with the openings.

    Raises
    ------
    UsageError
        If the range is empty or the head does not cover it.
    """
    _check_covered(signed, first, last)
    numbers = range(first, last)
    opened = None if openings is None else [_opened(openings.opening(at)) for at in numbers]
    export: dict[str, Any] = {
        "kind": RANGE if headers is None else CHAINED_RANGE,
        "first": first,
        "leaves": [leaves.leaf(at).hex() for at in numbers],
        "openings": opened,
        "beside": _hexes(around(leaves, first, last, signed.head.size)),
        "head": signed.to_mapping(),
    }
    if headers is not None:
        told = None if openings is None else [headers.header(at).to_mapping() for at in numbers]
        export["headers"] = told
    return export


def export_consistency(leaves: Leaves, old: SignedHead, new: SignedHead) -> dict[str, Any]:
    """Return the proof that one head extends another.

    Raises
    ------
    UsageError
        If the older head has more leaves.
    """
    path = consistency_of(leaves, old.head.size, new.head.size)
    return {
        "kind": CONSISTENCY,
        "old": old.to_mapping(),
        "new": new.to_mapping(),
        "path": _hexes(path),
    }


def to_bytes(export: dict[str, Any]) -> bytes:
    """Return the bytes of an export."""
    return rfc8785.dumps(export)


def _check_covered(signed: SignedHead, first: int, last: int) -> None:
    size = signed.head.size
    if not 0 <= first < last <= size:
        asked = f"leaf {first}" if last == first + 1 else f"range from {first} to {last}"
        hint = "`confide log head --sign` signs a newer one"
        raise UsageError(f"the head covers {size} leaves, and no {asked}", hint=hint)


def _opened(opening: Opening | None) -> dict[str, Any] | None:
    if opening is None:
        return None
    return {"salt": opening.salt.hex(), "record": json.loads(opening.record)}


def _hexes(hashes: list[bytes]) -> list[str]:
    return [one.hex() for one in hashes]
