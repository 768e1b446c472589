"""Idempotency keys: the same request twice has one effect and one answer.

A request first *claims* its key, on its own and so that it need not outlive a power cut.
Then its effects and its answer are written in one transaction, which ends the claim only if the
claim is still its own. A worker that is killed leaves a claim whose lease runs out; who comes again
takes it over, and whatever the first worker might still want to commit is refused then. So there is
one effect in any order of crashes, and a claim that was lost costs nothing but a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam
from sqlalchemy.dialects import postgresql, sqlite

from server.store.ids import new_id, utc
from server.store.tables import KEYS, Instant, Mapped
from server.store.whole import whole
from shared.errors import Conflict, KeyReused, UsageError

_K: Final = KEYS.c
_OWN: Final = sa.and_(
    _K.key == bindparam("p_key"),
    _K.route == bindparam("p_route"),
    _K.caller == bindparam("p_caller"),
)
_MINE: Final = sa.and_(_OWN, _K.token == bindparam("p_token"), _K.status.is_(None))
_ADD: Final = {
    kind.dialect.name: kind.insert(KEYS).on_conflict_do_nothing().returning(_K.key)
    for kind in (postgresql, sqlite)
}
_FIND: Final = sa.select(KEYS).where(_OWN)
# Of those who find the same lease run out, one takes over.
_TAKE_OVER: Final = (
    sa.update(KEYS)
    .where(_OWN, _K.token == bindparam("p_before"), _K.status.is_(None))
    .values(token=bindparam("p_token"), lease_until=bindparam("p_lease_until", type_=Instant))
)
_FINISH: Final = (
    sa.update(KEYS)
    .where(_MINE)
    .values(
        status=bindparam("p_status"),
        headers=bindparam("p_headers", type_=Mapped),
        body=bindparam("p_body"),
    )
)
_ABANDON: Final = sa.delete(KEYS).where(_MINE)
LEASE: Final = timedelta(seconds=60)  # longer than any transaction may take, see `engine`


@dataclass(frozen=True, slots=True)
class Request:
    """What a key is used for.

    Parameters
    ----------
    key : str
        The header, 1 to 128 printable characters.
    route : str
        Method and address: a key counts for one of them.
    caller : str
        Who asks: two callers may use the same key.
    digest : str
        SHA-256 of the body, in hexadecimal.
    """

    key: str
    route: str
    caller: str
    digest: str

    def __post_init__(self) -> None:
        """Refuse a malformed key."""
        if not 1 <= len(self.key) <= 128 or not self.key.isprintable() or not self.key.isascii():
            raise UsageError("Idempotency-Key must be 1 to 128 printable ASCII characters")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer a request, until the lease runs out."""

    request: Request
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer that a request got.

    Parameters
    ----------
    status : int
    headers : mapping
    body : bytes
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@whole
def claim(
    db: Connection, request: Request, at: datetime, *, lease: timedelta = LEASE
) -> Claim | Answer:
    """Claim a key, or return the answer that it got before; for `Store.guard`.

    Raises
    ------
    KeyReused
        If the key came with another body before.
    Conflict
        With check `in-flight`, if it is being answered now.
    """
    made = Claim(request, new_id(at))
    row = {
        "key": request.key,
        "route": request.route,
        "caller": request.caller,
        "digest": request.digest,
        "token": made.token,
        "lease_until": utc(at) + lease,
        "created_at": utc(at),
    }
    if db.execute(_ADD[db.dialect.name], row).first() is not None:
        return made
    found = db.execute(_FIND, _own(request)).first()
    if found is None:  # forgotten, or given up, at this moment
        raise Conflict("the key is in use", check="in-flight", hint="repeat this request")
    if found.digest != request.digest:
        raise KeyReused("the key came with another request before", check="key")
    if found.status is not None:
        return Answer(found.status, found.headers, bytes(found.body))
    if found.lease_until > utc(at):
        raise Conflict("the same request is being answered", check="in-flight", hint="wait")
    values = {"p_before": found.token, "p_lease_until": row["lease_until"]}
    if db.execute(_TAKE_OVER, _mine(made) | values).rowcount == 0:
        raise Conflict("the key is in use", check="in-flight", hint="repeat this request")
    return made


@whole
def finish(db: Connection, made: Claim, answer: Answer) -> None:
    """Keep an answer, in the transaction of the effects it tells of.

    Raises
    ------
    Conflict
        With check `in-flight`, if the lease ran out and another took the key over: this
        transaction must not count.
    """
    values = {"p_status": answer.status, "p_headers": dict(answer.headers), "p_body": answer.body}
    if db.execute(_FINISH, _mine(made) | values).rowcount == 0:
        raise Conflict("the request took longer than its lease", check="in-flight", hint="repeat")


@whole
def abandon(db: Connection, made: Claim) -> None:
    """Give a claim up, so that the request can be made again at once."""
    db.execute(_ABANDON, _mine(made))


@whole
def forget(db: Connection, before: datetime) -> int:
    """Delete keys that were first used before an instant; return how many."""
    return db.execute(sa.delete(KEYS).where(_K.created_at < utc(before))).rowcount


@whole
def forget_naming(db: Connection, text: str) -> int:
    """Delete keys whose answer holds a text, a customer's pseudonym; return how many."""
    sought = sa.literal(text.encode(), sa.LargeBinary)
    if db.dialect.name == "postgresql":
        found = sa.func.position(sought.op("IN")(_K.body))
    else:
        found = sa.func.instr(_K.body, sought)
    return db.execute(sa.delete(KEYS).where(found > 0)).rowcount


def _own(request: Request) -> dict[str, Any]:
    return {"p_key": request.key, "p_route": request.route, "p_caller": request.caller}


def _mine(made: Claim) -> dict[str, Any]:
    return _own(made.request) | {"p_token": made.token}
