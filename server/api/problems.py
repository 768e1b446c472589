"""Every error as one JSON shape: `application/problem+json` (RFC 9457).

``type``, ``title``, ``status``, ``detail``, ``instance``, and two of our own: ``code``, stable
across versions, and ``hint``. A refusal or conflict names its ``check``; several findings stand in
``findings``. Nothing internal is told: a defect is logged under the ``instance`` of its answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.headers import ALWAYS
from shared.errors import (
    ConfideError,
    ConfigError,
    Conflict,
    DataError,
    DrawRefused,
    NotFound,
    ReleaseRefused,
    TooMany,
    Unauthorised,
    UsageError,
)

MEDIA_TYPE: Final = "application/problem+json"
_LOG = logging.getLogger(__name__)
Page: TypeAlias = Callable[
    [Request, Mapping[str, Any], Mapping[str, str]], Awaitable[Response | None]
]
"""See `install`."""
# What is in the way now will be gone in a moment.
_SOON: Final = frozenset({"in-flight", "pending"})
_TITLES: Final = {
    400: "The request is wrong",
    401: "No valid access token",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "In conflict with the present state",
    412: "Changed in between",
    413: "Too large",
    415: "Not a type that is taken",
    422: "The request is malformed",
    429: "Too often",
    499: "Stopped",
    500: "A defect of the service",
    503: "Not available now",
}


class Problem(JSONResponse):
    """An error of the service.

    Parameters
    ----------
    status : int
    code : str
        Kebab-case, stable.
    detail : str
        What is wrong.
    further : values
        More members; empty ones are left out.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **further: Any,
    ) -> None:
        self.instance = f"urn:uuid:{uuid4()}"
        self.members = _members(status, code, detail, self.instance, further)
        super().__init__(self.members, status_code=status, headers=headers)


_Handler: TypeAlias = Callable[[Request, Exception], Awaitable[Problem]]


def example(status: int, code: str, detail: str, **further: Any) -> dict[str, Any]:
    """Return a problem as it would look, for the document."""
    return _members(status, code, detail, f"urn:uuid:{UUID(int=1 << 127)}", further)


def _members(
    status: int, code: str, detail: str, instance: str, further: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": f"urn:confide:error:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
        **{name: value for name, value in further.items() if value},
    }


def install(app: FastAPI, page: Page | None = None) -> None:
    """Let every error of an application have this shape.

    Parameters
    ----------
    app : FastAPI
    page : callable, optional
        Gives a page in place of a problem, from the request, the problem's members and its headers;
        None where it is not a person who asks.
    """

    def shaped(handler: _Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(request: Request, error: Exception) -> Response:
            problem = await handler(request, error)
            shown = await page(request, problem.members, problem.headers) if page else None
            if shown is None:
                return problem
            if problem.status_code == 500:  # as in `_defect`
                for name, value in ALWAYS.items():
                    shown.headers.setdefault(name, value)
            return shown

        return answer

    app.add_exception_handler(ConfideError, shaped(_confide))
    app.add_exception_handler(RequestValidationError, shaped(_malformed))
    app.add_exception_handler(HTTPException, shaped(_http))
    app.add_exception_handler(Exception, shaped(_defect))


class Quiet:
    """Keep defects from the server around an application: it would log their text.

    Starlette answers a defect through `_defect`, which has logged what may be told, and then raises
    it again; the server's traceback would hold the exception's text, and with it customers' data.

    Parameters
    ----------
    app : ASGI application
        With `install`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise


async def _confide(request: Request, error: Exception) -> Problem:
    if not isinstance(error, ConfideError) or type(error) is ConfideError:
        return await _defect(request, error)
    status = _status_of(request, error)
    further: dict[str, Any] = {"hint": error.hint, "party": error.party}
    further["check"] = getattr(error, "check", "")
    if isinstance(error, DrawRefused):
        further["reason"] = error.reason
    if isinstance(error, ConfigError | DataError):
        further["findings"] = list(error.findings)
    headers = _headers_of(error, status)
    return Problem(status, error.code, without_store(request, error), headers=headers, **further)


def without_store(request: Request, error: ConfideError) -> str:
    """Return what an error says; where the store is, and as whom it is asked, is no caller's."""
    name: str = getattr(request.app.state, "store_name", "")
    return error.message.replace(name, "the store") if name else error.message


def _status_of(request: Request, error: ConfideError) -> int:
    if isinstance(error, ReleaseRefused):
        return 503  # a caller can do nothing about the champion: the service is not available
    check = getattr(error, "check", "")
    if isinstance(error, Conflict) and check == "version" and "if-match" in request.headers:
        return 412  # RFC 9110: only where the caller has said what must hold
    return error.http_status


def _headers_of(error: ConfideError, status: int) -> dict[str, str] | None:
    """Return when to come again, and how to come at all."""
    check = getattr(error, "check", "")
    if isinstance(error, TooMany):
        return {"Retry-After": str(error.after)}
    if isinstance(error, Unauthorised):
        # RFC 6750, section 3: without a token the header tells no error.
        why = "" if check == "missing" else f', error="invalid_token", error_description="{check}"'
        return {"WWW-Authenticate": f'Bearer realm="confide"{why}'}
    if status == 503:
        return {"Retry-After": "30"}
    return {"Retry-After": "1"} if check in _SOON else None


async def _malformed(_: Request, error: Exception) -> Problem:
    findings = []
    if isinstance(error, RequestValidationError):
        # Where and which rule; never the value that was sent.
        findings = [
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()
        ]
    return Problem(422, UsageError.code, "the request is malformed", findings=findings)


async def _http(request: Request, error: Exception) -> Problem:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    if status == 404:
        return Problem(404, NotFound.code, "there is nothing at this address")
    detail = str(getattr(error, "detail", "")) or _TITLES.get(status, "Error")
    if status == 405:
        detail, headers = f"{request.method} is not possible here", {"Allow": _allowed(request)}
    return Problem(status, _code_of(status), detail, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods of an address (RFC 9110, 15.5.6): each of its routes names its own."""
    methods: set[str] = set()
    # FastAPI keeps a router that it includes as one route of its own.
    inner = [route for router in request.app.state.routers for route in router.routes]
    for route in (*request.app.routes, *inner):
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


async def _defect(_: Request, error: Exception) -> Problem:
    why = "the service has a defect; its log has the instance"
    # Starlette answers a defect outside of every middleware.
    problem = Problem(500, ConfideError.code, why, headers=dict(ALWAYS))
    # Type and place, not the text: that may hold what a customer's data look like.
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    _LOG.error("%s %s at %s", problem.instance, type(error).__name__, where)
    return problem


def _code_of(status: int) -> str:
    known = {405: "method-not-allowed", 408: "too-slow", 413: "too-large", 415: "media-type"}
    return known.get(status, UsageError.code if status < 500 else ConfideError.code)
