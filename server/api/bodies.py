"""Request bodies: read once, bounded in size and time, and JSON without surprises.

Two readers may take one JSON text differently where names come twice, where numbers are no numbers,
or where bytes are no text. Such a body is refused before a route sees it. The bytes are kept with
the request: they are what an Idempotency-Key is held against.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES: Final = 64 << 10
FORM: Final = "application/x-www-form-urlencoded"
READ_S: Final = 10.0
"""Seconds that a body may take to arrive."""
DEPTH: Final = 16
"""Arrays and objects that may stand in each other."""

_DIGITS: Final = 20  # of a whole number; no amount has more than 16
_KEY: Final = "confide.body"
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def body_of(request: Request) -> bytes:
    """Return the bytes of a request's body, as they came."""
    return bytes(request.scope.get(_KEY, b""))


class Bodies:
    """Reads bodies ahead of the routes.

    What is wrong with one is raised when the route reads it, so that an address that does not exist
    is still answered with 404, and a method that is not possible with 405.

    Parameters
    ----------
    app : ASGI application
    own : tuple of str
        Beginnings of addresses whose routes read their bodies themselves.
    most_bytes : int
    json_under : str
        Beginning of the addresses whose bodies are JSON; the others' are forms.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        own: tuple[str, ...] = (),
        most_bytes: int = MOST_BYTES,
        json_under: str = "/",
    ) -> None:
        self._app = app
        self._own = own
        self._most = most_bytes
        self._json_under = json_under

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        plain = scope["type"] != "http" or scope["method"] in _BODILESS
        if plain or scope["path"].startswith(self._own):
            await self._app(scope, receive, send)
            return
        try:
            raw, wrong = await self._read(scope, receive), None
        except _GoneError:
            return
        except HTTPException as error:
            raw, wrong = b"", error
        if raw and wrong is None:
            kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
            json_wanted = scope["path"].startswith(self._json_under)
            wrong = _finding(kind, raw) if json_wanted else _no_form(kind)
        scope[_KEY] = raw
        given = False

        async def again() -> Message:
            nonlocal given
            if wrong is not None:
                raise wrong
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": raw, "more_body": False}

        await self._app(scope, again, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Read a whole body.

        Raises
        ------
        HTTPException
            408 or 413.
        """
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            raise self._too_long()
        raw = bytearray()
        try:
            async with asyncio.timeout(READ_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    raw += message.get("body", b"")
                    if len(raw) > self._most:
                        raise self._too_long()
                    if not message.get("more_body", False):
                        return bytes(raw)
        except TimeoutError as error:
            raise HTTPException(408, "the request did not arrive in time") from error

    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"a request may have at most {self._most:,} bytes")


class _GoneError(Exception):
    """Who asked has gone."""


def parse(raw: bytes) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueError
        If it is no JSON, not in UTF-8, nested too deep, has a name twice in one object, a number
        that is none, or one with too many digits.
    """
    if _depth(raw) > DEPTH:
        raise ValueError(f"nested deeper than {DEPTH}")
    return json.loads(
        raw.decode("utf-8"),
        object_pairs_hook=_once,
        parse_constant=_no_number,
        parse_int=_whole,
        parse_float=_fraction,
    )


def _finding(kind: str, raw: bytes) -> HTTPException | None:
    """Return what is wrong with a body."""
    if kind != "application/json":
        return HTTPException(415, "the body must be application/json")
    try:
        parse(raw)
    except UnicodeDecodeError:
        return HTTPException(400, "the body is not in UTF-8")
    except json.JSONDecodeError as error:
        return HTTPException(400, f"the body is no JSON, at character {error.pos}")
    except ValueError as error:
        return HTTPException(400, f"the body is no JSON that can be taken: {error}")
    return None


def _no_form(kind: str) -> HTTPException | None:
    """Return what is wrong with a body that should be a form; its fields are read by the page."""
    return None if kind == FORM else HTTPException(415, f"the body must be {FORM}")


def _depth(raw: bytes) -> int:
    """Return how deep brackets stand in each other outside of texts, before anything recurses."""
    depth = deepest = 0
    in_text = skip = False
    for byte in raw:
        if skip:
            skip = False
        elif in_text:
            skip, in_text = byte == 0x5C, byte != 0x22
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(_: str) -> Any:
    raise ValueError("NaN and Infinity are no numbers")


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a whole number has more than {_DIGITS} digits")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError("a number is too large")
    return value
