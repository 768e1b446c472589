"""The OpenAPI document: what FastAPI makes of the routes, completed by what all of them share.

Every error has one shape and an example; every secured operation says which roles it lets in; every
one that changes something asks for an Idempotency-Key. `docs/openapi.json` is this document, and a
test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from server.api import problems
from server.api.routes import token

READS: Final = "x-reads"
"""In `openapi_extra` of an operation that is a POST and changes nothing."""

_CHANGING: Final = frozenset({"post", "put", "patch", "delete"})
_SHAPE: Final = {"$ref": "#/components/schemas/ProblemShape"}
_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "Names the request: come again with the same key and the same body, and there "
    "is one effect and the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
    "example": "8c0f3f56-0d3e-4b0e-9a57-2f5f0a6f7b11",
}
_VERSION: Final[dict[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag that the line must still have; 412 if it has changed since.",
    "schema": {"type": "string", "minLength": 1},
    "example": '"7"',
}
_EXAMPLES: Final[dict[int, tuple[str, str, dict[str, Any]]]] = {
    400: ("usage", "Idempotency-Key is missing", {}),
    401: ("unauthorised", "the token has expired", {"check": "expiry"}),
    403: ("refused", "the role partner may not do this", {}),
    404: ("not-found", "there is nothing of that id", {}),
    408: ("too-slow", "the request did not arrive in time", {}),
    409: ("conflict", "more than is available", {"check": "available"}),
    412: ("conflict", "the line is at version 8", {"check": "version"}),
    413: ("too-large", "a request may have at most 65,536 bytes", {}),
    415: ("media-type", "the body must be application/json", {}),
    422: (
        "usage",
        "the request is malformed",
        {"findings": ["body.amount_minor: Input should be a valid integer"]},
    ),
    429: ("too-many", "you ask for this too often", {"hint": "wait 2 s"}),
    500: ("internal", "the service has a defect; its log has the instance", {}),
    503: ("environment", "no release serves", {}),
}
_MEANS: Final = {
    400: "The request is wrong in itself: no JSON, a name twice, no key",
    401: "No access token, or one that a check refuses, by name",
    403: "The caller may not do this, or a rule says no",
    404: "Not there, or not the caller's",
    408: "The request did not arrive in time",
    409: "What is there now stands against it, by name",
    412: "Changed since the version that If-Match names",
    413: "Too large",
    415: "The body is not application/json",
    422: "A field is malformed, by name; or the key came with another request",
    429: "Too often; Retry-After says when again",
    500: "A defect of the service",
    503: "The store, a feed or a release is not there now",
}
_RETRY: Final = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_BASIC: Final = {"type": "http", "scheme": "basic", "description": "Id and secret of a client"}


def install(app: FastAPI) -> None:
    """Let an application describe itself so."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    for path, method, operation in _operations(document):
        secured = any("token" in one for one in operation.get("security", []))
        if secured:
            _say_roles(operation)
        if secured and method in _CHANGING and not operation.pop(READS, False):
            operation.setdefault("parameters", []).append(_KEY)
            _may_answer(operation, 400, 409, 422)
            _say_version(operation)
        _may_answer(operation, *_usual(path, method, operation, secured=secured))
        _shape_errors(path, operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    document["components"].setdefault("securitySchemes", {})["client"] = _BASIC
    known = document["components"]["schemas"]
    for schema in known.values():
        if "example" in schema:
            schema["example"] = _with_nulls(schema["example"], schema, known)
    return document


def _with_nulls(example: Any, schema: Any, known: dict[str, Any]) -> Any:
    """Return an example with the nulls that FastAPI leaves out of everything it writes."""
    schema = known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(example, list):
        return [_with_nulls(one, schema.get("items", {}), known) for one in example]
    inner = schema.get("properties")
    if not isinstance(example, dict) or inner is None:
        return example
    names = [name for name in inner if name in example or name in schema.get("required", ())]
    return {
        name: _with_nulls(example[name], inner[name], known) if name in example else None
        for name in names
    }


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _say_roles(operation: dict[str, Any]) -> None:
    """Tell that one role is enough: in OpenAPI a list of scopes demands all of them."""
    roles = [role for one in operation["security"] for role in one.get("token", [])]
    operation["security"] = [{"token": [role]} for role in dict.fromkeys(roles)]


def _say_version(operation: dict[str, Any]) -> None:
    """Offer If-Match where the answer has a version, and nowhere else."""
    answers = operation["responses"].items()
    if any("ETag" in one.get("headers", {}) for status, one in answers if status < "300"):
        operation["parameters"].append(_VERSION)
        _may_answer(operation, 412)
    else:
        operation["responses"].pop("412", None)


def _usual(path: str, method: str, operation: dict[str, Any], *, secured: bool) -> tuple[int, ...]:
    """Return the errors that an operation may always answer with."""
    found = [500]
    if path.startswith("/v1/"):
        found.append(503)
    if secured:
        found += [401, 403, 429]
    content = operation.get("requestBody", {}).get("content", {})
    if method in _CHANGING and "application/json" in content:
        found += [400, 408, 413, 415, 422]
    if operation.get("parameters"):
        found.append(422)
    return tuple(found)


def _may_answer(operation: dict[str, Any], *statuses: int) -> None:
    for status in statuses:
        operation["responses"].setdefault(str(status), {})
    responses = operation["responses"]
    operation["responses"] = {status: responses[status] for status in sorted(responses)}


def _shape_errors(path: str, operation: dict[str, Any]) -> None:
    """Give every error its one shape, media type and example."""
    for status, answer in operation["responses"].items():
        number = int(status)
        if number < 400:
            continue
        if path == token.PATH and number in token.STATUSES:
            continue  # RFC 6749 has a form of its own
        code, detail, further = _EXAMPLES[number]
        answer["description"] = _MEANS[number]
        answer["content"] = {
            problems.MEDIA_TYPE: {
                "schema": _SHAPE,
                "example": problems.example(number, code, detail, **further),
            }
        }
        if number in {429, 503}:
            answer["headers"] = _RETRY
