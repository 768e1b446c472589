"""Access tokens: who calls, in which role, for how long, signed by the service itself.

A token is canonical JSON (RFC 8785) and its HMAC-SHA256 under a key of the service, both in base64
for addresses. There is one form and one algorithm, so nothing about either can be negotiated. The
file of keys has one key a line, 64 hex digits: the first signs, all verify. To change the key, put
a new line on top; take the old one away a quarter of an hour later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import rfc8785

from shared.edge.files import read_text, refuse_open, write_atomic
from shared.errors import ConfigError, Unauthorised, UsageError

KEY_FILE: Final = "token.key"
LIFE: Final = timedelta(minutes=15)
OFFLINE: Final = "offline"
"""The client of tokens that were made beside the key file; no row stands behind it."""

_SKEW: Final = timedelta(minutes=1)  # between the clocks of two machines that serve
_MOST: Final = 1024  # characters of a token
_DOMAIN: Final = b"confide access token 1\n"
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,63}")
_FIELDS: Final = {
    "client": str,
    "exp_ms": int,
    "iat_ms": int,
    "kid": str,
    "role": str,
    "subject": str,
}


class Role(StrEnum):
    """What a caller is to the service."""

    CUSTOMER = "customer"
    OFFICER = "officer"
    PARTNER = "partner"
    REGULATOR = "regulator"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Parameters
    ----------
    client : str
        The program that holds the secret, or `OFFLINE`.
    role : Role
    subject : str
        The customer's pseudonym, or the partner's id; empty for the other roles.
    """

    client: str
    role: Role
    subject: str

    @property
    def name(self) -> str:
        """How records name whoever decided: the client, and what it is."""
        return f"{self.role}:{self.client}"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Parameters
    ----------
    caller : Caller
    made, expires : datetime
        UTC, whole milliseconds.
    """

    caller: Caller
    made: datetime
    expires: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys that tokens are signed with, by their ids; the first of them signs."""

    by_id: dict[str, bytes]


def check_subject(role: Role, subject: str) -> None:
    """Check that a role comes with the subject that it needs, and no other.

    Raises
    ------
    UsageError
        A customer's is a pseudonym, a partner's its id; other roles have none.
    """
    if role is Role.CUSTOMER and not _PSEUDONYM.fullmatch(subject):
        raise UsageError("a customer's subject is the pseudonym, 64 small hex digits")
    if role is Role.PARTNER and not _NAME.fullmatch(subject):
        raise UsageError("a partner's subject is its id, 1 to 64 letters, digits or ._:-")
    if role not in {Role.CUSTOMER, Role.PARTNER} and subject:
        raise UsageError(f"the role {role} has no subject")


def make_keys(path: Path) -> Keys:
    """Return the keys in a file; make it with a fresh key if there is none.

    Raises
    ------
    ConfideError
        See `read_keys`.
    """
    if not path.exists():
        write_atomic(path, f"{os.urandom(32).hex()}\n".encode(), mode=0o600)
    return read_keys(path)


def read_keys(path: Path) -> Keys:
    """Return the keys in a file.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    Refused
        If others than its owner can read it.
    ConfigError
        If it is no list of keys.
    """
    refuse_open(path)
    lines = read_text(path).split()
    if not lines or not all(_KEY.fullmatch(line) for line in lines):
        raise ConfigError(str(path), ["must have one key a line, each of 64 small hex digits"])
    keys = [bytes.fromhex(line) for line in lines]
    return Keys({_id_of(key): key for key in keys})


def mint(keys: Keys, caller: Caller, now: datetime, *, life: timedelta = LIFE) -> str:
    """Return a token.

    Parameters
    ----------
    keys : Keys
    caller : Caller
    now : datetime
        With a time zone.
    life : timedelta
        After which it counts no more.

    Raises
    ------
    UsageError
        If role and subject do not fit.
    """
    check_subject(caller.role, caller.subject)
    kid, key = next(iter(keys.by_id.items()))
    claims: dict[str, str | int] = {
        "client": caller.client,
        "exp_ms": _milliseconds(now + life),
        "iat_ms": _milliseconds(now),
        "kid": kid,
        "role": str(caller.role),
        "subject": caller.subject,
    }
    raw = rfc8785.dumps(claims)
    return f"{_spelt(raw)}.{_spelt(_mac(key, raw))}"


def verify(keys: Keys, token: str, now: datetime) -> Claims:
    """Return what a token says, once every check has passed.

    Parameters
    ----------
    keys : Keys
    token : str
    now : datetime
        With a time zone.

    Raises
    ------
    Unauthorised
        By the check `form`, `key`, `signature`, `clock` or `expiry`.
    """
    raw, mac = _parts(token)
    claims = _claims(raw)
    key = keys.by_id.get(claims["kid"])
    if key is None:
        raise Unauthorised("the token is signed by another service's key", check="key")
    if not hmac.compare_digest(mac, _mac(key, raw)):
        raise Unauthorised("the token's signature is wrong", check="signature")
    made, expires = _instant(claims["iat_ms"]), _instant(claims["exp_ms"])
    if made > now + _SKEW:
        raise Unauthorised("the token is of the future: a clock went back", check="clock")
    if now >= expires:
        raise Unauthorised("the token has expired", check="expiry", hint="ask for a new one")
    caller = Caller(claims["client"], Role(claims["role"]), claims["subject"])
    return Claims(caller, made, expires)


def _parts(token: str) -> tuple[bytes, bytes]:
    """Split a token; only the one spelling that `mint` uses counts."""
    body, dot, mac = token.partition(".")
    try:
        raw, seal = _read(body), _read(mac)
    except ValueError:
        dot = ""
    if not dot or len(token) > _MOST or (_spelt(raw), _spelt(seal)) != (body, mac):
        raise Unauthorised("this is no access token", check="form")
    return raw, seal


def _claims(raw: bytes) -> dict[str, Any]:
    """Read the fields; nothing of them is believed before the signature is checked."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or {k: type(v) for k, v in value.items()} != _FIELDS:
        raise Unauthorised("this is no access token", check="form")
    return value


def _mac(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + raw, "sha256")


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"confide token key 1\n" + key).hexdigest()[:16]


def _spelt(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _milliseconds(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
