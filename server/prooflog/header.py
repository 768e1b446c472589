"""What a decision says beside its record, and the hash that stands in the tree for all of it.

A store that chains decisions puts this hash into the tree, not the bare commitment: so the signed
root binds the decision's place in its line's chain, too, and whoever holds all decisions of a line
sees that none is missing between them. The commitment in the header is to a salted record; without
the salt the header, and so its hash, cannot be guessed either.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from server.prooflog.heads import MAX_SIZE, broken

START: Final = "0" * 64
"""What the first decision of a chain has before it."""
FIELDS: Final = (
    "id",
    "chain",
    "number",
    "purpose",
    "occasion",
    "policy_ref",
    "model_ref",
    "pack_ref",
    "commitment",
    "prev_hash",
    "decided_at",
)
_MOST_LETTERS: Final = 128
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Header:
    """A decision without its record.

    Parameters
    ----------
    id, chain, purpose, occasion, policy_ref, model_ref, pack_ref : str
        See `server.store.decisions.NewDecision`.
    number : int
        In its chain, from 1.
    commitment, prev_hash : str
        To the record, and the hash of the decision before it; 64 hex digits.
    decided_at : str
        As `datetime.isoformat` spells it, in UTC.
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
    decided_at: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in FIELDS}

    def digest(self) -> bytes:
        """Return the decision's hash, 32 bytes: its leaf."""
        text = json.dumps(
            self.to_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(b"confide decision 1\n" + text.encode()).digest()


def read_header(value: Any) -> Header:
    """Read the JSON form.

    Raises
    ------
    LogBroken
        With check `form`, if it is malformed.
    """
    if not isinstance(value, Mapping) or set(value) != set(FIELDS):
        broken("form", f"a header must have {', '.join(FIELDS)}, and nothing else")
    number = value["number"]
    if type(number) is not int or not 1 <= number <= MAX_SIZE:
        broken("form", "a header's number must be a whole number from 1")
    for name in FIELDS:
        text = value[name]
        if name != "number" and (not isinstance(text, str) or len(text) > _MOST_LETTERS):
            broken("form", f"a header's {name} must be a text of at most {_MOST_LETTERS} letters")
    for name in ("commitment", "prev_hash"):
        if not _DIGEST.fullmatch(value[name]):
            broken("form", f"a header's {name} must be 64 small hex digits")
    if not _is_instant(value["decided_at"]):
        broken("form", "a header's decided_at must be an instant in UTC")
    return Header(**value)


def _is_instant(text: str) -> bool:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return False
    return read.tzinfo is not None and read.astimezone(UTC).isoformat() == text
