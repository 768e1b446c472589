"""``POST /v1/token``: OAuth 2.0 client credentials (RFC 6749, section 4.4).

The app's own backend holds one secret and speaks for many customers: it asks for a token for one of
them with the further parameter ``subject``, so that what it does for a customer can never touch
another. Errors have the form of section 5.2.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.accounts.desk import Desk
from server.api import schemas
from server.api.access import Door
from server.api.bodies import READ_S
from server.api.guesses import Guesses
from server.api.tokens import LIFE, Caller, Role, check_subject
from server.store.access import Client
from shared.errors import UsageError

PATH: Final = "/v1/token"
STATUSES: Final = (400, 401)
"""Those of its answers that have the form of RFC 6749."""
_FORM: Final = "application/x-www-form-urlencoded"
_MOST: Final = 8192
_KNOWN: Final = ("grant_type", "client_id", "client_secret", "scope", "subject")
_BODY: Final[dict[str, Any]] = {
    "security": [{"client": []}, {}],
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["client_credentials"]},
                        "client_id": {"type": "string", "description": "Or by Basic"},
                        "client_secret": {"type": "string", "description": "Or by Basic"},
                        "scope": {"type": "string", "description": "The client's own role"},
                        "subject": {
                            "type": "string",
                            "description": "The customer to speak for, for a client of any",
                        },
                    },
                }
            }
        },
    },
}


class _RefusedError(Exception):
    """No token is given, by the name that RFC 6749 has for it."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error = error
        self.why = why


def routes(_desk: Desk) -> APIRouter:
    """Return the route."""
    found = APIRouter(tags=["access"])
    refusal = {"model": schemas.TokenRefusal}

    @found.post(
        PATH,
        response_model=schemas.Token,
        responses={**dict.fromkeys(STATUSES, refusal), 408: {}, 429: {}},
        openapi_extra=_BODY,
        operation_id="token",
    )
    async def token(request: Request) -> Response:
        """Give an access token for the client's own role, for a quarter of an hour."""
        door: Door = request.app.state.door
        guesses: Guesses = request.app.state.guesses
        address = request.client.host if request.client else ""
        try:
            form = _form(request, await _read(request))
            name, secret = _credentials(request, form)
            door.throttle.check("token", address, name)
            who = _caller(_known(await guesses.client(name, secret)), form)
        except _RefusedError as refused:
            return _refusal(refused)
        answer = {
            "access_token": door.mint(who),
            "token_type": "Bearer",
            "expires_in": int(LIFE.total_seconds()),
            "scope": str(who.role),
        }
        return JSONResponse(answer, headers={"Pragma": "no-cache"})

    return found


async def _read(request: Request) -> bytes:
    """Read the body.

    Raises
    ------
    _RefusedError
        If it is too long.
    HTTPException
        400 if its sender goes, 408 if it does not come.
    """
    raw = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.stream():
                raw += part
                if len(raw) > _MOST:
                    why = f"the body may have at most {_MOST:,} bytes"
                    raise _RefusedError("invalid_request", why)
    except TimeoutError as error:
        raise HTTPException(408, "the request did not arrive in time") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the request ended in the middle") from error
    return bytes(raw)


def _form(request: Request, raw: bytes) -> dict[str, str]:
    """Read the parameters; each may come once."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise _RefusedError("invalid_request", f"the body must be {_FORM}")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(_KNOWN) + 8,
        )
    except ValueError as error:
        raise _RefusedError("invalid_request", "the body is malformed") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _RefusedError("invalid_request", "a parameter came twice")
    if "grant_type" not in form:
        raise _RefusedError("invalid_request", "grant_type is missing")
    if form["grant_type"] != "client_credentials":
        raise _RefusedError("unsupported_grant_type", "only client_credentials")
    return form


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Return id and secret of the client, from the header or from the body, not from both."""
    header = request.headers.get("authorization")
    in_body = "client_id" in form or "client_secret" in form
    if header is None:
        if not form.get("client_id") or not form.get("client_secret"):
            raise _RefusedError("invalid_client", "the client says no id and secret")
        return form["client_id"], form["client_secret"]
    if in_body:
        raise _RefusedError("invalid_request", "the client's secret came in two ways")
    kind, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except ValueError:
        text = ""
    name, colon, secret = text.partition(":")
    if kind.lower() != "basic" or not colon:
        raise _RefusedError("invalid_client", "the header is no Basic authentication")
    # Section 2.3.1: both are form-encoded before they are joined.
    return unquote_plus(name), unquote_plus(secret)


def _known(client: Client | None) -> Client:
    if client is None:
        raise _RefusedError("invalid_client", "there is no such client, or its secret is wrong")
    return client


def _caller(client: Client, form: dict[str, str]) -> Caller:
    """Return who the token stands for.

    Raises
    ------
    _RefusedError
        If the client asks for more than it has.
    """
    role = Role(client.role)
    if form.get("scope", role) != role:
        raise _RefusedError("invalid_scope", f"the client has the scope {role} alone")
    subject = form.get("subject", client.subject)
    if client.any_subject and not subject:
        raise _RefusedError("invalid_request", "subject is missing: the customer to speak for")
    if not client.any_subject and subject != client.subject:
        raise _RefusedError("invalid_scope", "the client may not speak for that subject")
    try:
        check_subject(role, subject)
    except UsageError as error:
        raise _RefusedError("invalid_request", error.message) from error
    return Caller(client.id, role, subject)


def _refusal(refused: _RefusedError) -> Response:
    status, headers = 400, {"Pragma": "no-cache"}
    if refused.error == "invalid_client":
        status = 401
        headers["WWW-Authenticate"] = 'Basic realm="confide", charset="UTF-8"'
    answer = {"error": refused.error, "error_description": refused.why}
    return JSONResponse(answer, status, headers)
