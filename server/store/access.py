"""The programs that may ask for access tokens: their roles, and what their secrets are checked by.

A secret is 256 random bits that only its owner has; here stands its scrypt digest. Tokens are not
kept: one counts until it expires, unless its client is disabled or was given a new secret since.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Boolean, CheckConstraint, Column, Connection, LargeBinary, String, Table

from server.store.ids import name, utc
from server.store.tables import ID, METADATA, Instant
from server.store.whole import whole
from shared.errors import Conflict, NotFound, UsageError

# RFC 7914: 16 MiB and about 50 ms a guess. The secrets are no passwords, but the table may leak.
_COST: Final = {"n": 2**14, "r": 8, "p": 1, "maxmem": 2**26}
_SALT: Final = 16
_LONGEST: Final = 48

CLIENTS: Final = Table(
    "clients",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("subject", ID, nullable=False),
    Column("any_subject", Boolean(create_constraint=False), nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("tokens_from", Instant, nullable=False),
    Column("disabled_at", Instant),
    CheckConstraint("NOT any_subject OR (role = 'customer' AND subject = '')", name="any_subject"),
)
_C: Final = CLIENTS.c


@dataclass(frozen=True, slots=True, repr=False)
class Client:
    """A program that may ask for tokens.

    Parameters
    ----------
    id : str
    role : str
    subject : str
        The one customer or partner that it speaks for, or empty.
    any_subject : bool
        It may speak for every customer: the app's own backend.
    salt, digest : bytes
        Of its secret.
    created_at : datetime
        UTC.
    tokens_from : datetime
        Tokens made before count no more.
    disabled_at : datetime, optional
    """

    id: str
    role: str
    subject: str
    any_subject: bool
    salt: bytes
    digest: bytes
    created_at: datetime
    tokens_from: datetime
    disabled_at: datetime | None


@whole
def add_client(
    db: Connection,
    client_id: str,
    role: str,
    at: datetime,
    *,
    subject: str = "",
    any_subject: bool = False,
) -> str:
    """Add a client and return its secret, which is nowhere else.

    Raises
    ------
    UsageError
        If the id is malformed.
    Conflict
        With check `id`, if there is one of that id.
    """
    name(client_id, "the client's id")
    if len(client_id) > _LONGEST:  # records name a role beside it
        raise UsageError(f"the client's id may have {_LONGEST} characters")
    if any_subject and (role != "customer" or subject):
        raise UsageError("only a client of the role customer may speak for any subject")
    if db.execute(sa.select(_C.id).where(_C.id == client_id)).first() is not None:
        raise Conflict("there is a client of that id", check="id", hint="name another")
    secret, values = _fresh(at)
    row = {
        "id": client_id,
        "role": role,
        "subject": subject,
        "any_subject": any_subject,
        "created_at": utc(at),
        **values,
    }
    db.execute(sa.insert(CLIENTS), row)
    return secret


@whole
def renew_client(db: Connection, client_id: str, at: datetime) -> str:
    """Give a client a new secret and return it; the old one and its tokens count no more.

    Raises
    ------
    NotFound
    Conflict
        With check `state`, if it is disabled.
    """
    if get_client(db, client_id).disabled_at is not None:
        raise Conflict("the client is disabled", check="state", hint="add another one")
    secret, values = _fresh(at)
    db.execute(sa.update(CLIENTS).where(_C.id == client_id).values(**values))
    return secret


@whole
def disable_client(db: Connection, client_id: str, at: datetime) -> Client:
    """Take a client out for good, with its tokens; a second time changes nothing.

    Raises
    ------
    NotFound
    """
    mine = sa.and_(_C.id == client_id, _C.disabled_at.is_(None))
    db.execute(sa.update(CLIENTS).where(mine).values(disabled_at=utc(at)))
    return get_client(db, client_id)


def get_client(db: Connection, client_id: str) -> Client:
    """Return a client.

    Raises
    ------
    NotFound
    """
    found = find_client(db, client_id)
    if found is None:
        raise NotFound("there is no client of that id")
    return found


def find_client(db: Connection, client_id: str) -> Client | None:
    """Return a client, or None."""
    row = db.execute(sa.select(CLIENTS).where(_C.id == client_id)).mappings().first()
    return None if row is None else Client(**row)


def clients(db: Connection, *, after: str = "", count: int = 100) -> list[Client]:
    """Return clients in the order of their ids, from the first behind `after`."""
    query = sa.select(CLIENTS).where(_C.id > after).order_by(_C.id).limit(count)
    return [Client(**row) for row in db.execute(query).mappings()]


def is_secret_of(client: Client | None, secret: str) -> bool:
    """Return whether a secret is the client's; without a client it takes as long, and is none."""
    salt = client.salt if client else bytes(_SALT)
    same = hmac.compare_digest(_digest(secret, salt), client.digest if client else bytes(64))
    return same and client is not None


def _fresh(at: datetime) -> tuple[str, dict[str, object]]:
    """Return a new secret and what is kept of it."""
    secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    salt = os.urandom(_SALT)
    return secret, {"salt": salt, "digest": _digest(secret, salt), "tokens_from": utc(at)}


def _digest(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **_COST)
