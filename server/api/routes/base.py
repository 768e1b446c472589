"""What the routes have in common: how they stand in OpenAPI, who comes in, whose a line is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import Connection

from server.api import schemas
from server.api.access import Caller, Role, caller, own
from server.api.acts import check_version
from server.store import decisions, holds, lines
from server.store.decisions import StoredDecision
from shared.errors import NotFound

Customer = Annotated[Caller, caller(Role.CUSTOMER)]
Officer = Annotated[Caller, caller(Role.OFFICER)]
Operator = Annotated[Caller, caller(Role.OPERATOR)]
CustomerOrOfficer = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER)]
Reader = Annotated[Caller, caller(Role.CUSTOMER, Role.OFFICER, Role.REGULATOR)]
Watcher = Annotated[Caller, caller(Role.OFFICER, Role.REGULATOR, Role.OPERATOR)]
WATCHERS: Final = [caller(Role.OFFICER, Role.REGULATOR, Role.OPERATOR)]
"""Of routes that do not ask who of them it is."""

_ID: Final = r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$"
LineId = Annotated[str, Path(pattern=_ID, description="As `open_line` gave it")]
HoldId = Annotated[str, Path(pattern=_ID)]
ConsentId = Annotated[str, Path(pattern=_ID)]
DecisionId = Annotated[str, Path(pattern=_ID)]
CaseId = Annotated[str, Path(pattern=_ID)]
ApprovalId = Annotated[str, Path(pattern=_ID)]
PartnerId = Annotated[str, Path(pattern=_ID)]
Pseudonym = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The customer's pseudonym")]
AfterNumber = Annotated[
    int,
    Query(ge=0, le=10**9, description="`next` of the page before; without it the list begins"),
]

_PROBLEM: Final[Mapping[str, Any]] = {"model": schemas.ProblemShape}
_ALWAYS: Final = (404,)
_CHANGING: Final = (409, 412)
_ETAG: Final = {
    "ETag": {"schema": {"type": "string"}, "description": "Version of the line, in quotes"}
}


def router(tag: str) -> APIRouter:
    """Return a router whose operations are called like their functions."""
    return APIRouter(tags=[tag], generate_unique_id_function=_called)


def _called(route: APIRoute) -> str:
    return route.name


def link(operation: str, where: str = "path", **parameters: str) -> dict[str, Any]:
    """Return an OpenAPI link: what of an answer goes where in another operation.

    Parameters
    ----------
    operation : str
        Name of its function.
    where : str
        `path`, `query`, or `body`.
    parameters : str
        Parameter and field of the answer.
    """
    values = {name: f"$response.body#/{field}" for name, field in parameters.items()}
    if where == "body":
        return {operation: {"operationId": operation, "requestBody": values}}
    named = {f"{where}.{name}": value for name, value in values.items()}
    return {operation: {"operationId": operation, "parameters": named}}


def looks(
    shape: type[BaseModel] | Any,
    *links: Mapping[str, Any],
    also: tuple[int, ...] = (),
    etag: bool = False,
) -> dict[str, Any]:
    """Return how a route that reads stands in OpenAPI.

    Parameters
    ----------
    shape : type
        Of the answer.
    links : mapping
        See `link`.
    also : tuple of int
        Refusals besides 404 and those of every route.
    etag : bool
        Whether the answer has a version.
    """
    responses = {200: _success(shape, links, etag=etag), **_refusals(*_ALWAYS, *also)}
    return {"response_model": shape, "responses": responses}


def changes(
    shape: type[BaseModel] | Any,
    *links: Mapping[str, Any],
    status: int = 201,
    also: Mapping[int, type[BaseModel]] | None = None,
    etag: bool = False,
) -> dict[str, Any]:
    """Return how a route that changes something stands in OpenAPI.

    Parameters
    ----------
    shape : type
        Of the answer.
    links : mapping
        See `link`.
    status : int
        Of the answer.
    also : mapping of int to type
        Other answers that are no refusals.
    etag : bool
        Whether the answer has a version.
    """
    responses: dict[int | str, Any] = {
        status: _success(shape, links, etag=etag),
        **{code: {"model": other} for code, other in (also or {}).items()},
        **_refusals(*_ALWAYS, *_CHANGING),
    }
    return {"response_model": shape, "status_code": status, "responses": responses}


def _success(
    shape: type[BaseModel] | Any, links: tuple[Mapping[str, Any], ...], *, etag: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {"model": shape}
    if links:
        answer["links"] = {name: one for each in links for name, one in each.items()}
    if etag:
        answer["headers"] = _ETAG
    return answer


def _refusals(*statuses: int) -> dict[int | str, Any]:
    return {status: dict(_PROBLEM) for status in statuses}


def check_line(db: Connection, who: Caller, line_id: str, request: Request) -> None:
    """Check that a caller may see a line, and that it is at the version ``If-Match`` demands.

    Raises
    ------
    NotFound
        See `server.api.access.own_line`.
    Conflict
        With check `version`.
    """
    try:
        customer, version = lines.head_of(db, line_id, lock="if-match" in request.headers)
        own(who, customer)
    except NotFound:
        raise NotFound("there is no line of that id") from None
    check_version(request, version)


def hold_of(db: Connection, who: Caller, hold_id: str) -> holds.Hold:
    """Return a hold that a caller may see.

    Raises
    ------
    NotFound
        See `server.api.access.own_line`.
    """
    try:
        found = holds.get_hold(db, hold_id)
        own(who, lines.head_of(db, found.line_id)[0])
    except NotFound:
        raise NotFound("there is no hold of that id") from None
    return found


def decision_of(db: Connection, who: Caller, decision_id: str) -> tuple[StoredDecision, str]:
    """Return a decision that a caller may see, and the customer whom it is about.

    Raises
    ------
    NotFound
        See `server.api.access.own_line`.
    """
    try:
        found = decisions.get_decision(db, decision_id)
        customer_id = customer_of(db, found)
        own(who, customer_id)
    except NotFound:
        raise NotFound("there is no decision of that id") from None
    return found, customer_id


def customer_of(db: Connection, decision: StoredDecision) -> str:
    """Return whom a decision is about; '' where there was no line and its record was deleted."""
    try:
        return lines.get_line(db, decision.chain).customer_id
    except NotFound:
        pass
    try:
        raw, _salt = decisions.record_of(db, decision.id)
    except NotFound:
        return ""
    return str(json.loads(raw)["about"]["customer"])
