"""What became of lines, from the limit service to the party with the label: signed, by pseudonym.

Only customers who consented to it are in it, and only those whose time is over: nobody counts as
good before. What lending itself makes becomes labels of the next training (mission M30).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from shared.errors import DataError
from shared.identity import Identity, Roster
from shared.instants import days_of

KIND: Final = "confide/outcomes/1"
SERVICE: Final = "the limit service"
_FIELDS: Final = {"kind", "since", "until", "rows"}
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of lines between two days.

    Parameters
    ----------
    since, until : str
        Days, as ``2026-01-31``. Who defaulted after the first and by the last is bad.
    bad : mapping of str to bool
        By pseudonym.
    """

    since: str
    until: str
    bad: Mapping[str, bool]


def pack_outcomes(identity: Identity, outcomes: Outcomes) -> bytes:
    """Return a signed file of outcomes.

    Parameters
    ----------
    identity : Identity
        Of the service: its log key.
    outcomes : Outcomes
    """
    body: dict[str, Any] = {
        "kind": KIND,
        "since": outcomes.since,
        "until": outcomes.until,
        "rows": [[name, int(bad)] for name, bad in sorted(outcomes.bad.items())],
    }
    signature = identity.sign(KIND, rfc8785.dumps(body)).hex()
    signed: dict[str, Any] = {
        "outcomes": body,
        "key": identity.public_key.hex(),
        "signature": signature,
    }
    return rfc8785.dumps(signed) + b"\n"


def open_outcomes(raw: bytes, pin: str, source: str) -> Outcomes:
    """Check a file of outcomes and return what it tells.

    Parameters
    ----------
    raw : bytes
    pin : str
        Fingerprint of the service's log key.
    source : str
        Name of the file, for errors.

    Raises
    ------
    DataError
        If it is none.
    BadPeer
        If the key is not the pinned one, or the signature is wrong.
    """
    try:
        found = json.loads(raw)
        body, key, signature = found["outcomes"], found["key"], found["signature"]
        message, key, signature = rfc8785.dumps(body), bytes.fromhex(key), bytes.fromhex(signature)
    except (ValueError, KeyError, TypeError, RecursionError, rfc8785.CanonicalizationError):
        raise _malformed(source) from None
    Roster({SERVICE: pin}).verify(SERVICE, key, KIND, message, signature)
    try:
        return _read(body)
    except (ValueError, KeyError, TypeError):
        raise _malformed(source) from None


def _read(body: dict[str, Any]) -> Outcomes:
    since, until = body["since"], body["until"]
    rows = dict(body["rows"])
    right = body.keys() == _FIELDS and body["kind"] == KIND and days_of(since) < days_of(until)
    right = right and len(rows) == len(body["rows"])
    if not right or not all(_PSEUDONYM.fullmatch(name) for name in rows):
        raise ValueError("not outcomes")
    if any(type(bad) is not int or bad not in (0, 1) for bad in rows.values()):
        raise ValueError("not outcomes")
    return Outcomes(since, until, {name: bool(bad) for name, bad in rows.items()})


def _malformed(source: str) -> DataError:
    return DataError(source, ["is no file of outcomes: `confide line outcomes` makes one"])
