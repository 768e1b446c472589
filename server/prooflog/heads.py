"""Signed tree heads: how many leaves there were at an instant, and their root, under one signature.

A head binds everything before it. Two heads of one log of which neither extends the other are the
proof that its operator keeps two logs; whoever holds both can show it to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import rfc8785

from server.prooflog.merkle import EMPTY, HASH_BYTES
from shared.errors import BadPeer, LogBroken
from shared.identity import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Identity,
    Roster,
    fingerprint_of,
)
from shared.instants import seconds_of

KIND: Final = "confide/log-head/1"
MAX_SIZE: Final = 2**53 - 1
"""Most leaves of a log: the largest whole number that JSON carries exactly."""
_PURPOSE: Final = "log-head"
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Head:
    """A log at an instant.

    Parameters
    ----------
    log : str
        Fingerprint of the operator's log key: which log it is.
    size : int
        Leaves.
    root : str
        Root of the tree, in hex.
    time : str
        Instant at which it was signed.
    """

    log: str
    size: int
    root: str
    time: str

    def to_bytes(self) -> bytes:
        """Return the canonical JSON that is signed."""
        return rfc8785.dumps(
            {
                "kind": KIND,
                "log": self.log,
                "size": self.size,
                "root": self.root,
                "time": self.time,
            }
        )


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head with the operator's signature.

    Parameters
    ----------
    head : Head
    public_key, signature : str
        Raw Ed25519, in hex.
    """

    head: Head
    public_key: str
    signature: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        head = self.head
        return {
            "kind": KIND,
            "log": head.log,
            "size": head.size,
            "root": head.root,
            "time": head.time,
            "public_key": self.public_key,
            "signature": self.signature,
        }


def broken(check: str, message: str, *, hint: str = "") -> NoReturn:
    """Refuse by the name of a check.

    Raises
    ------
    LogBroken
    """
    raise LogBroken(f"{check}: {message}", check=check, hint=hint)


def sign_head(
    identity: Identity, size: int, root: bytes, now: str, after: SignedHead | None = None
) -> SignedHead:
    """Sign the head of a log.

    Parameters
    ----------
    identity : Identity
        The operator's log key.
    size, root : int, bytes
    now : str
        Instant.
    after : SignedHead, optional
        The newest head before it.

    Raises
    ------
    LogBroken
        With check `key`, `fork`, `shrunk` or `clock`, if the head before is of another key, has
        as many leaves and another root, more leaves, or a later time. Whether it extends that head
        is for `server.prooflog.book` to check, which has the leaves.
    """
    seconds_of(now)
    head = Head(identity.fingerprint, size, root.hex(), now)
    if after is not None:
        check_after(after.head, head)
    signature = identity.sign(_PURPOSE, head.to_bytes())
    return SignedHead(head, identity.public_key.hex(), signature.hex())


def check_after(older: Head, newer: Head) -> None:
    """Check that a head may follow another, as far as sizes, roots and times tell.

    Raises
    ------
    LogBroken
        With check `key`, `fork`, `shrunk` or `clock`.
    """
    if newer.log != older.log:
        broken("key", "the head before it was signed with another key")
    if newer.size == older.size and newer.root != older.root:
        broken("fork", f"there are two logs of {newer.size} leaves")
    if newer.size < older.size:
        broken("shrunk", f"a log that had {older.size} leaves has {newer.size}")
    if newer.time < older.time:
        broken("clock", f"a head of {newer.time} follows one of {older.time}")


def verify_head(signed: SignedHead, pin: str) -> None:
    """Check that a head was signed with the operator's key.

    Parameters
    ----------
    signed : SignedHead
    pin : str
        Fingerprint of that key, as the verifier knows it; never taken from the head.

    Raises
    ------
    LogBroken
        With check `key` or `signature`.
    """
    key = bytes.fromhex(signed.public_key)
    if fingerprint_of(key) != pin or signed.head.log != pin:
        broken("key", "the head was not signed with the pinned key of the log")
    roster = Roster({"log": pin})
    signature = bytes.fromhex(signed.signature)
    try:
        roster.verify("log", key, _PURPOSE, signed.head.to_bytes(), signature)
    except BadPeer:
        broken("signature", f"that under the head of {signed.head.size} leaves is not valid")


def read_head(value: Any) -> SignedHead:
    """Read the JSON form.

    Raises
    ------
    LogBroken
        With check `form`, if it is malformed. The signature is not checked: see `verify_head`.
    """
    fields = of_kind(value, KIND, ("log", "size", "root", "time", "public_key", "signature"))
    size, time = whole(fields, "size"), fields["time"]
    try:
        seconds_of(time)
    except ValueError:
        broken("form", "time must be an instant such as 2026-03-01T12:00:00Z")
    root = hexadecimal(fields["root"], HASH_BYTES, "root")
    if size == 0 and root != EMPTY:
        broken("form", "root must be that of the empty tree")
    head = Head(hexadecimal(fields["log"], HASH_BYTES, "log").hex(), size, root.hex(), time)
    return SignedHead(
        head,
        hexadecimal(fields["public_key"], PUBLIC_KEY_BYTES, "public_key").hex(),
        hexadecimal(fields["signature"], SIGNATURE_BYTES, "signature").hex(),
    )


def of_kind(value: Any, kind: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a mapping of a kind with exactly these keys.

    Raises
    ------
    LogBroken
        With check `form`.
    """
    if not isinstance(value, dict) or value.get("kind") != kind:
        broken("form", f"it is not of kind {kind}")
    if value.keys() != {"kind", *keys}:
        broken("form", f"{kind} must have kind, {', '.join(keys)}, and nothing else")
    return value


def whole(fields: Mapping[str, Any], key: str) -> int:
    """Return a number of leaves.

    Raises
    ------
    LogBroken
        With check `form`.
    """
    value = fields[key]
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        broken("form", f"{key} must be a whole number from 0 to {MAX_SIZE}")
    return value


def hexadecimal(value: Any, length: int, name: str) -> bytes:
    """Return bytes from small hex digits.

    Raises
    ------
    LogBroken
        With check `form`.
    """
    if not isinstance(value, str) or len(value) != 2 * length or not _HEX.issuperset(value):
        broken("form", f"{name} must be {2 * length} small hex digits")
    return bytes.fromhex(value)
