"""The limit service as a FastAPI application.

There is no interactive page: the usual ones load code from elsewhere. `/openapi.json` describes
everything. Access is not logged, since addresses hold pseudonyms.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from server.api import problems, schemas, views
from server.api.service import LimitService
from server.api.upload import Upload
from server.limits.tables import LARGEST_MINOR
from shared.errors import ConfideError, FeedRefused

MAX_FEED_BYTES: Final = 512 << 20
"""Longest feed that is taken: about four million customers."""
UPLOADS: Final = 2
"""Feeds that are taken in at a time, each of another party: what bounds their memory."""

_PROBLEM: Final[dict[str, Any]] = {"model": schemas.ProblemShape}
Pseudonym = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{64}$",
        description="HMAC-SHA256 of the customer's id, in hex; only the parties can make it",
        examples=["0f" * 32],
    ),
]
Amount = Annotated[int | None, Query(ge=0, le=LARGEST_MINOR, description="In minor units")]


def create_app(service: LimitService, *, max_feed_bytes: int = MAX_FEED_BYTES) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    service : LimitService
        Started.
    max_feed_bytes : int
        Longest feed that is taken.
    """
    app = FastAPI(
        title="confide limit service",
        version=version("confide"),
        description="Credit limits from a federated score, each with the reasons for it.",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    _customers(app, service)
    _model(app, service)
    _feeds(app, service, max_feed_bytes)
    plain = app.openapi
    app.openapi = lambda: _as_problems(plain())  # type: ignore[method-assign]
    return app


def _as_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Give every error in an OpenAPI document its one shape and media type."""
    shape = {"schema": {"$ref": "#/components/schemas/ProblemShape"}}
    for methods in document["paths"].values():
        for method in methods.values():
            for status, answer in method["responses"].items():
                if int(status) >= 400:
                    answer["content"] = {problems.MEDIA_TYPE: shape}
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document


async def _current(service: LimitService) -> None:
    """Follow the registry, off the loop: loading a champion's feeds can take seconds."""
    if service.changed():
        await run_in_threadpool(service.refresh)


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return dict.fromkeys((*statuses, 500), _PROBLEM)


def _customers(app: FastAPI, service: LimitService) -> None:
    @app.get(
        "/v1/customers/{pseudonym}/score",
        response_model=schemas.Score,
        responses=_answers(404, 422, 503),
        tags=["customers"],
    )
    async def score(pseudonym: Pseudonym) -> Response:
        """Give a customer's score, and what costs it points."""
        await _current(service)
        return JSONResponse(views.score_view(service.score(pseudonym)))

    @app.get(
        "/v1/customers/{pseudonym}/limit",
        response_model=schemas.Limit,
        responses=_answers(404, 422, 503),
        tags=["customers"],
    )
    async def limit(
        pseudonym: Pseudonym,
        current_minor: Amount = None,
        drawn_minor: Amount = None,
        own_minor: Amount = None,
    ) -> Response:
        """Give a customer's limit: the smallest of the named caps, and the reasons for it.

        Who keeps the customer's line may name its limit of today, what is drawn, and the
        customer's own cap; nothing is stored here.
        """
        await _current(service)
        scored, decision = service.limit(
            pseudonym,
            current_minor=current_minor,
            drawn_minor=drawn_minor or 0,
            own_minor=own_minor,
        )
        return JSONResponse(views.limit_view(service, scored, decision, current_minor))


def _model(app: FastAPI, service: LimitService) -> None:
    @app.get("/v1/model", response_model=schemas.Model, responses=_answers(503), tags=["model"])
    async def model() -> Response:
        """Describe the release that serves."""
        await _current(service)
        release, _, shelf = service.serving(service.clock())
        return JSONResponse(views.model_view(release, shelf.digest))

    @app.get("/health", response_model=schemas.Health, tags=["model"])
    async def health() -> Response:
        """Say whether the service is up, and whether it can answer."""
        await _current(service)
        why: str | None = None
        now = service.clock()
        try:
            service.serving(now)
        except ConfideError as error:
            why = str(error)
        shelf = service.feeds.shelf
        rows = views.feeds_view(shelf, service.federation, now)
        return JSONResponse(
            {
                "status": "waiting" if why else "ok",
                "release": shelf.release.name if shelf.release else None,
                "missing": [row["party"] for row in rows if row["stale"]],
                "why": why,
                "version": app.version,
            }
        )


def _feeds(app: FastAPI, service: LimitService, max_feed_bytes: int) -> None:
    uploads = asyncio.Semaphore(UPLOADS)
    turns = {party: asyncio.Lock() for party in service.federation.parties}

    @app.get("/v1/feeds", response_model=schemas.Feeds, responses=_answers(), tags=["feeds"])
    async def feeds() -> Response:
        """List every party's score feed of the release that serves."""
        await _current(service)
        rows = views.feeds_view(service.feeds.shelf, service.federation, service.clock())
        return JSONResponse({"feeds": rows})

    @app.put(
        "/v1/feeds/{party}",
        response_model=schemas.Accepted,
        status_code=200,
        responses={201: {"model": schemas.Accepted}, **_answers(400, 403, 408, 413, 503)},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string"}}},
            }
        },
        tags=["feeds"],
    )
    async def put_feed(party: str, request: Request) -> Response:
        """Take a party's feed; its signature says whose it is.

        201 for the party's first feed of a release, 200 for one that takes the place of another.
        A feed of a release that does not serve yet is kept, and used once it does.
        """
        await _current(service)
        if party not in service.federation.parties:
            raise FeedRefused("no party of that name is in the federation file", check="party")
        upload = Upload(request, max_feed_bytes)
        claimed = await run_in_threadpool(
            service.feeds.check_header, await upload.first_line(), service.clock(), party=party
        )
        # From here on it is the party's own line, signed: nobody else can hold a place.
        async with turns[party], uploads:
            raw = await upload.whole(claimed.most_bytes)
            header, first = await run_in_threadpool(
                service.feeds.accept, raw, service.clock(), party=party
            )
        shelf = service.feeds.shelf
        answer = {
            "party": header.party,
            "release": header.release,
            "as_of": header.as_of,
            "expires": header.expires,
            "customers": header.customers,
            "in_use": shelf.release is not None and shelf.release.name == header.release,
        }
        return JSONResponse(answer, status_code=201 if first else 200)
