"""Every error as one JSON shape: `application/problem+json` (RFC 9457).

``type``, ``title``, ``status``, ``detail``, ``instance``, and two of our own: ``code``, stable
across versions, and ``hint``. A refusal names its ``check``; several findings stand in
``findings``. Nothing internal is told: a defect is logged under the ``instance`` of its answer.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import (
    ConfideError,
    ConfigError,
    DataError,
    FeedRefused,
    NotFound,
    ReleaseRefused,
    UsageError,
)

MEDIA_TYPE: Final = "application/problem+json"
_LOG = logging.getLogger(__name__)
_TITLES: Final = {
    400: "The request is wrong",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "In conflict with the present state",
    413: "Too large",
    422: "The request is malformed",
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
        content = {
            "type": f"urn:confide:error:{code}",
            "title": _TITLES.get(status, "Error"),
            "status": status,
            "detail": detail,
            "code": code,
            "instance": self.instance,
            **{name: value for name, value in further.items() if value},
        }
        super().__init__(content, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Let every error of an application have this shape."""
    app.add_exception_handler(ConfideError, _confide)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _defect)


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


async def _confide(_: Request, error: Exception) -> Problem:
    if not isinstance(error, ConfideError) or type(error) is ConfideError:
        return await _defect(_, error)
    # A caller can do nothing about the champion: the service is what is not available.
    status = 503 if isinstance(error, ReleaseRefused) else error.http_status
    further: dict[str, Any] = {"hint": error.hint, "party": error.party}
    if isinstance(error, ReleaseRefused | FeedRefused):
        further["check"] = error.check
    if isinstance(error, ConfigError | DataError):
        further["findings"] = list(error.findings)
    headers = {"Retry-After": "30"} if status == 503 else None
    return Problem(status, error.code, error.message, headers=headers, **further)


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
        detail = f"{request.method} is not possible here"
    return Problem(status, _code_of(status), detail, headers=headers)


async def _defect(_: Request, error: Exception) -> Problem:
    problem = Problem(500, ConfideError.code, "the service has a defect; its log has the instance")
    # Type and place, not the text: that may hold what a customer's data look like.
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
    _LOG.error("%s %s at %s", problem.instance, type(error).__name__, where)
    return problem


def _code_of(status: int) -> str:
    return {405: "method-not-allowed", 408: "too-slow", 413: "too-large"}.get(
        status, UsageError.code if status < 500 else ConfideError.code
    )
