"""Who may do what: bearer tokens at the door, roles at every route, owners at every object.

A route names the roles it lets in; a module gives each such set a name of its own::

    Officers = Annotated[Caller, caller(Role.OFFICER, Role.REGULATOR)]

    @router.get("/v1/lines/{line_id}")
    def line(line_id: LineId, who: Officers, request: Request) -> Response: ...

What an object belongs to is checked where it is read, by `own`: somebody else's is not there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Security
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlows
from fastapi.security.base import SecurityBase
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from server.api.throttle import Throttle
from server.api.tokens import (
    OFFLINE,
    Caller,
    Claims,
    Keys,
    Role,
    make_keys,
    mint,
    read_keys,
    verify,
)
from server.store.access import find_client
from server.store.engine import Store
from server.store.lines import StoredLine, get_line
from shared.errors import NotFound, Refused, Unauthorised

__all__ = ["Caller", "Door", "Role", "caller", "own", "own_line"]

KNOWN_S: Final = 5.0
"""Seconds for which a process believes that a client is as it was: so long a disabled one lives."""
_MOST_KNOWN: Final = 4096
_SCHEME: Final = OAuth2(
    description="Client credentials (RFC 6749, 4.4). A token lives for a quarter of an hour.",
    flows=OAuthFlows(
        clientCredentials=OAuthFlowClientCredentials(
            tokenUrl="/v1/token",
            scopes={
                Role.CUSTOMER: "what is the customer's own",
                Role.OFFICER: "lines, decisions and cases of all customers",
                Role.PARTNER: "a funding partner's own book",
                Role.REGULATOR: "reading everything that is decided, changing nothing",
                Role.OPERATOR: "money that comes in, partners, allocations, switches, metrics",
            },
        )
    ),
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a process knows of a client, and since when."""

    at: float
    tokens_from: datetime | None


@dataclass(slots=True)
class Door:
    """Lets requests in: the keys of tokens, the clients behind them, and how often they come.

    Parameters
    ----------
    key_file : Path
        Made if it is not there.
    store : Store
        With the table of clients.
    clock : callable
        Returns the present instant, UTC.
    throttle : Throttle
    known_s : float
        See `KNOWN_S`.
    """

    key_file: Path
    store: Store
    clock: Callable[[], datetime]
    throttle: Throttle
    known_s: float = KNOWN_S
    _keys: tuple[tuple[int, int], Keys] = field(init=False, repr=False)
    _known: dict[str, _Known] = field(init=False, repr=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Read the keys."""
        make_keys(self.key_file)
        # The stamp first: if another process was faster in between, the file is read again.
        self._keys = (self._stamp(), read_keys(self.key_file))

    @property
    def keys(self) -> Keys:
        """The keys in the file as it is now.

        Raises
        ------
        ConfideError
            If it is gone or malformed: nobody is let in by what it said before.
        """
        if self._stamp() != self._keys[0]:
            self._keys = (self._stamp(), read_keys(self.key_file))
        return self._keys[1]

    def mint(self, who: Caller) -> str:
        """Return a token for a caller."""
        return mint(self.keys, who, self.clock())

    async def admit(self, header: str | None) -> Caller:
        """Return who calls, from the header ``Authorization``.

        Raises
        ------
        Unauthorised
            By the name of the check.
        EnvironmentFault
            If the store does not say whether the client still counts.
        """
        kind, _, token = (header or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Unauthorised("this needs an access token", check="missing", hint="POST /v1/token")
        claims = verify(self.keys, token.strip(), self.clock())
        if claims.caller.client != OFFLINE:
            known = self._known.get(claims.caller.client)
            if known is None or time.monotonic() - known.at >= self.known_s:
                known = await run_in_threadpool(self._ask, claims.caller.client)
            _check_standing(claims, known)
        return claims.caller

    def forget(self, client: str) -> None:
        """Ask the store again for a client, the next time it comes."""
        self._known.pop(client, None)

    def _ask(self, client_id: str) -> _Known:
        with self.store.read() as db:
            found = find_client(db, client_id)
        counts = found is not None and found.disabled_at is None
        known = _Known(time.monotonic(), found.tokens_from if found and counts else None)
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[client_id] = known
        return known

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = self.key_file.stat()
        except FileNotFoundError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)


def _check_standing(claims: Claims, known: _Known) -> None:
    """Refuse a token whose client is gone, disabled, or had a new secret since.

    Raises
    ------
    Unauthorised
    """
    # A token has whole milliseconds; a client's instant has more digits.
    since = known.tokens_from and known.tokens_from.replace(
        microsecond=known.tokens_from.microsecond // 1000 * 1000
    )
    if since is None or claims.made < since:
        raise Unauthorised("the client of this token counts no more", check="client")


class _Guard(SecurityBase):
    """Lets some roles through, and each caller only so often."""

    def __init__(self, roles: tuple[Role, ...], often: str) -> None:
        self.model = _SCHEME
        self.scheme_name = "token"
        self._roles = frozenset(roles)
        self._often = often

    async def __call__(self, request: Request) -> Caller:
        door: Door = request.app.state.door
        who = await door.admit(request.headers.get("authorization"))
        if who.role not in self._roles:
            raise Refused(f"the role {who.role} may not do this")
        if self._often:
            door.throttle.check(self._often, who.client, who.subject)
        return who


def caller(*roles: Role, often: str = "") -> Any:
    """Return a dependency that gives who calls.

    Without a valid token it answers 401, to a role that may not 403, to who comes too often 429.

    Parameters
    ----------
    roles : Role
        Those that may; at least one.
    often : str
        Name of a rate of `server.api.throttle.Rates`, where there is one.
    """
    if not roles:
        raise TypeError("a route without a role lets nobody in")
    return Security(_Guard(roles, often), scopes=[str(role) for role in roles])


def own(who: Caller, customer_id: str = "", *, partner: str = "") -> None:
    """Check that a customer, or a partner, asks for its own; others may ask for everybody's.

    Parameters
    ----------
    who : Caller
    customer_id : str
        Whose it is, where it is a customer's.
    partner : str
        Whose it is, where it is a partner's.

    Raises
    ------
    NotFound
        Exactly as if there were no such thing.
    """
    mine = {Role.CUSTOMER: customer_id, Role.PARTNER: partner}.get(who.role, who.subject)
    if mine != who.subject:
        raise NotFound("there is nothing of that id")


def own_line(db: Connection, who: Caller, line_id: str) -> StoredLine:
    """Return a line that a caller may see; to a customer others' are not there.

    Raises
    ------
    NotFound
        In the same words whether it is somebody else's or nobody's.
    """
    try:
        line = get_line(db, line_id)
        own(who, line.customer_id)
    except NotFound:
        raise NotFound("there is no line of that id") from None
    return line
