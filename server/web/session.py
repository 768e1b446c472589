"""Who sits before a page: signed in with a client's id and secret, held by a cookie.

The cookie is the API's own signed access token, the instant of the sign-in, and a MAC over both.
The token is renewed while pages are looked at, at most for `LONGEST`; nothing is stored, and a
client that was disabled is out as it is at the API.

A page names the roles it is for::

    Officers = Annotated[Visit, visitor(Role.OFFICER)]
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import Depends, Request, Response

from server.api.access import Caller, Door, Role
from server.api.tokens import LIFE, Keys, verify
from shared.errors import Refused, Unauthorised

LONGEST: Final = timedelta(hours=8)
"""After a sign-in; then a person signs in again, whatever was looked at."""
RENEW_AFTER: Final = LIFE / 3
"""Age of a token from which a page that is shown brings a new one."""

_SESSION: Final = b"confide session 1\n"
_FORM: Final = b"confide form 1\n"
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in.

    Parameters
    ----------
    caller : Caller
    since : datetime
        Of the sign-in, UTC.
    made : datetime
        Of the token, UTC.
    csrf : str
        What every form of this session carries.
    """

    caller: Caller
    since: datetime
    made: datetime
    csrf: str

    @property
    def role(self) -> Role:
        """What the person is to the service."""
        return self.caller.role

    @property
    def subject(self) -> str:
        """The customer's pseudonym, or the partner's id; empty for the other roles."""
        return self.caller.subject


def visitor(*roles: Role, often: str = "") -> Any:
    """Return a dependency that gives who looks at a page: a `Visit`.

    Parameters
    ----------
    roles : Role
        Those that may; at least one.
    often : str
        Name of a rate of `server.api.throttle.Rates`, shared with the API's routes.
    """
    check_roles(roles)

    async def admitted(request: Request) -> Visit:
        return await admit(request, roles, often)

    return Depends(admitted)


async def visit_of(request: Request) -> Visit | None:
    """Return who is signed in, or None: for pages that are for everybody.

    Raises
    ------
    EnvironmentFault
        If the store does not say whether the client still counts.
    """
    try:
        return await _visit(request)
    except Unauthorised:
        return None


def sign_in(request: Request, response: Response, caller: Caller) -> None:
    """Begin a session."""
    door: Door = request.app.state.door
    _give(request, response, caller, door.clock())


def renew(request: Request, response: Response, visit: Visit) -> None:
    """Give a newer token with a page, where the present one is no longer young."""
    door: Door = request.app.state.door
    if door.clock() - visit.made >= RENEW_AFTER:
        _give(request, response, visit.caller, visit.since)


def sign_out(request: Request, response: Response) -> None:
    """End a session in this browser."""
    response.delete_cookie(cookie_name(request), path="/", secure=is_secure(request))


def cookie_name(request: Request) -> str:
    """Return what the cookie is called: a name that only this host could set, where that is known.

    Browsers take the prefix with `Secure` alone.
    """
    return "__Host-confide" if is_secure(request) else "confide"


def check_roles(roles: tuple[Role, ...]) -> None:
    """Refuse a page that is for nobody.

    Raises
    ------
    TypeError
    """
    if not roles:
        raise TypeError("a page without a role lets nobody in")


async def admit(request: Request, roles: tuple[Role, ...], often: str) -> Visit:
    """Return who looks, if the role may, as often as it may.

    Raises
    ------
    Unauthorised, Refused, TooMany, EnvironmentFault
    """
    visit = await _visit(request)
    if visit.role not in roles:
        raise Refused(f"the role {visit.role} may not do this")
    door: Door = request.app.state.door
    if often:
        door.throttle.check(often, visit.caller.client, visit.subject)
    return visit


async def _visit(request: Request) -> Visit:
    known: Visit | None = getattr(request.state, "visit", None)
    if known is not None:
        return known
    door: Door = request.app.state.door
    cookie = request.cookies.get(cookie_name(request), "")
    if not cookie:
        raise Unauthorised("nobody is signed in", check="missing", hint="sign in")
    token, since = _opened(door.keys, cookie)
    caller = await door.admit(f"Bearer {token}")
    now = door.clock()
    if now >= since + LONGEST:
        raise Unauthorised("the session is over", check="expiry", hint="sign in again")
    csrf = _form_mac(next(iter(door.keys.by_id.values())), caller, since)
    request.state.visit = Visit(caller, since, verify(door.keys, token, now).made, csrf)
    return request.state.visit  # type: ignore[no-any-return]


def _give(request: Request, response: Response, caller: Caller, since: datetime) -> None:
    door: Door = request.app.state.door
    body = f"{door.mint(caller)}.{_milliseconds(since)}"
    key = next(iter(door.keys.by_id.values()))
    response.set_cookie(
        cookie_name(request),
        f"{body}.{_mac(key, _SESSION, body)}",
        path="/",
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )


def _opened(keys: Keys, cookie: str) -> tuple[str, datetime]:
    """Return a cookie's token and instant, once its MAC is seen to be ours.

    Raises
    ------
    Unauthorised
        By the check `form` or `signature`.
    """
    body, _, mac = cookie.rpartition(".")
    token, _, since = body.rpartition(".")
    if not (token and since.isascii() and since.isdigit() and len(since) < 16):
        raise Unauthorised("this is no session", check="form")
    given = mac.encode()
    if not any(
        hmac.compare_digest(given, _mac(key, _SESSION, body).encode())
        for key in keys.by_id.values()
    ):
        raise Unauthorised("the session's signature is wrong", check="signature")
    return token, datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(since))


def form_macs(request: Request, visit: Visit) -> list[str]:
    """Return what a form of a session may carry, under each key that counts."""
    door: Door = request.app.state.door
    return [_form_mac(key, visit.caller, visit.since) for key in door.keys.by_id.values()]


def _form_mac(key: bytes, caller: Caller, since: datetime) -> str:
    """Return the MAC of a session: what of it stays the same when its token is renewed."""
    told = f"{caller.client}\n{caller.role}\n{caller.subject}\n{_milliseconds(since)}"
    return _mac(key, _FORM, told)


def _mac(key: bytes, domain: bytes, text: str) -> str:
    return hmac.digest(key, domain + text.encode(), "sha256").hex()


def _milliseconds(at: datetime) -> int:
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def is_secure(request: Request) -> bool:
    """Return whether the cookie is for TLS alone: always, but in clear on this machine itself.

    The service speaks in clear on the loopback only. A browser that came through a proxy with TLS
    names another host, and gets the cookie that TLS alone carries.
    """
    return request.url.scheme == "https" or request.url.hostname not in _HERE
