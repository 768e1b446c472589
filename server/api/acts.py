"""One request, one effect, one answer: keys, transactions and versions of every changing route.

A request claims its Idempotency-Key in a transaction of its own; effect and answer are written in
another, as one. The same request with the same key gets the same answer, byte for byte, from any
worker, whatever was killed in between. A request that is refused changed nothing and is not kept:
the same key may be used again, and may succeed then.

A route says which version of a line it would change in ``If-Match``; ``ETag`` tells the version
that came out. Whatever a route does with that header it must do through `if_match` or
`check_version`: a condition that nobody looked at is refused, not ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import Request, Response
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.policies import follow
from server.api.bodies import body_of
from server.api.tokens import Caller
from server.store import idempotency as keys
from server.store.idempotency import Answer, Claim
from shared.errors import ConfideError, Conflict, UsageError

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_JSON: Final = "application/json"
_NO_VERSION: Final = -1  # a tag that no line of ours ever has


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a route's work came to.

    Parameters
    ----------
    body : mapping
        Ready for JSON.
    etag : int, optional
        Version of the line that the answer tells of.
    status : int, optional
        Where it is not the route's usual one.
    location : str, optional
        Address of what was made.
    """

    body: Mapping[str, Any]
    etag: int | None = None
    status: int | None = None
    location: str | None = None


Work = Callable[[Connection, datetime], Outcome]
Look = Callable[[Connection, datetime], Outcome | Mapping[str, Any]]


def act(request: Request, who: Caller, desk: Desk, work: Work, *, status: int = 201) -> Response:
    """Answer a request that changes something; call it from a plain `def` route.

    Parameters
    ----------
    request : Request
    who : Caller
    desk : Desk
    work : callable
        Does everything in the transaction it is given, at the instant it is given; raises what
        refuses it. It is called at most once.
    status : int
        Of the answer, where the outcome names none.

    Raises
    ------
    UsageError
        Without a key, or with a malformed one; or if nobody looked at ``If-Match``.
    KeyReused
        If the key came with another request before.
    Conflict
        With check `in-flight`, if the same request is being answered.
    ConfideError
        Whatever the work raises.
    """
    now, asked = desk.clock(), _asked(request, who)
    with desk.store.guard() as db:
        claimed = keys.claim(db, asked, now)
    if isinstance(claimed, Answer):
        return _respond(claimed, replayed=True)
    try:
        with desk.store.write() as db:
            follow(desk, db, now)
            answer = _answer(work(db, now), status)
            _refuse_unheard(request)
            keys.finish(db, claimed, answer)
    except BaseException:
        _give_up(desk, claimed)
        raise
    return _respond(answer)


def read(desk: Desk, work: Look, *, request: Request | None = None) -> Response:
    """Answer a request that changes nothing, from one state of the store.

    Parameters
    ----------
    desk : Desk
    work : callable
        Reads in the transaction it is given, at the instant it is given.
    request : Request, optional
        Hand it in where the outcome has a version: ``If-None-Match`` then gives 304.
    """
    now = desk.clock()
    with desk.store.read() as db:
        follow(desk, db, now)
        found = work(db, now)
    outcome = found if isinstance(found, Outcome) else Outcome(found)
    answer = _answer(outcome, 200)
    if request is not None and outcome.etag is not None:
        tags = [tag.strip().removeprefix("W/") for tag in _tags(request, "if-none-match")]
        if "*" in tags or _tag(outcome.etag) in tags:
            return Response(status_code=304, headers={"ETag": _tag(outcome.etag)})
    return _respond(answer)


def if_match(request: Request) -> int | None:
    """Return the version that ``If-Match`` demands; None where any will do.

    Raises
    ------
    UsageError
        If it names several, or none: a version is one number here.
    """
    request.state.heard_if_match = True
    tags = _tags(request, "if-match")
    if not tags and "if-match" in request.headers:
        raise UsageError("If-Match is empty", hint="leave it out")
    if not tags or "*" in tags:
        return None
    if len(tags) > 1:
        raise UsageError("If-Match must name one version")
    inner = tags[0][1:-1]
    if tags[0] != f'"{inner}"' or not inner.isascii() or not inner.isdigit() or len(inner) > 9:
        return _NO_VERSION
    return int(inner)


def check_version(request: Request, version: int) -> None:
    """Check ``If-Match`` against the version that a line has, its row locked.

    Raises
    ------
    Conflict
        With check `version`, which is answered with 412.
    """
    wanted = if_match(request)
    if wanted is not None and wanted != version:
        raise Conflict(f"the line is at version {version}", check="version", hint="read it again")


def _refuse_unheard(request: Request) -> None:
    if "if-match" in request.headers and not getattr(request.state, "heard_if_match", False):
        raise UsageError("If-Match means nothing here", hint="leave it out")


def _asked(request: Request, who: Caller) -> keys.Request:
    key = request.headers.get(HEADER)
    if key is None:
        raise UsageError(f"{HEADER} is missing", hint="name each request, and repeat it as it was")
    # The whole address goes into the digest: a key that comes back for another line is a mistake.
    address = f"{request.url.path}?{request.url.query}\n".encode()
    return keys.Request(
        key=key,
        route=f"{request.method} {request.scope['route'].path}",
        caller=hashlib.sha256(f"{who.client}\n{who.role}\n{who.subject}".encode()).hexdigest(),
        digest=hashlib.sha256(address + body_of(request)).hexdigest(),
    )


def _give_up(desk: Desk, claimed: Claim) -> None:
    """Let the request come again at once; where that fails its lease runs out.

    An answer that was kept after all (a commit whose echo was lost) stays.
    """
    with contextlib.suppress(ConfideError), desk.store.guard() as db:
        keys.abandon(db, claimed)


def _answer(outcome: Outcome, status: int) -> Answer:
    headers = {}
    if outcome.etag is not None:
        headers["ETag"] = _tag(outcome.etag)
    if outcome.location is not None:
        headers["Location"] = outcome.location
    text = json.dumps(
        dict(outcome.body), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return Answer(outcome.status or status, headers, text.encode())


def _respond(answer: Answer, *, replayed: bool = False) -> Response:
    headers = {**answer.headers, REPLAYED: "true"} if replayed else dict(answer.headers)
    return Response(answer.body, answer.status, headers, media_type=_JSON)


def _tag(version: int) -> str:
    return f'"{version}"'


def _tags(request: Request, header: str) -> list[str]:
    return [
        tag.strip()
        for line in request.headers.getlist(header)
        for tag in line.split(",")
        if tag.strip()
    ]
