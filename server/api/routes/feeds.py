"""Score feeds on their way in: each is signed by its party, which needs no token for it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from server.accounts.desk import Desk
from server.api import schemas, views
from server.api.upload import Upload
from shared.errors import FeedRefused

PREFIX: Final = "/v1/feeds/"
MAX_FEED_BYTES: Final = 512 << 20
"""Longest feed that is taken: about four million customers."""
UPLOADS: Final = 2
"""Feeds that a process takes in at a time, each of another party: what bounds their memory."""

_PROBLEM: Final[dict[str, Any]] = {"model": schemas.ProblemShape}


def routes(desk: Desk, *, max_feed_bytes: int = MAX_FEED_BYTES) -> APIRouter:
    """Return the routes of score feeds.

    Parameters
    ----------
    desk : Desk
    max_feed_bytes : int
        Longest feed that is taken.
    """
    found, service = APIRouter(tags=["feeds"]), desk.scores
    uploads = asyncio.Semaphore(UPLOADS)
    turns = {party: asyncio.Lock() for party in service.federation.parties}

    @found.get("/v1/feeds", response_model=schemas.Feeds, operation_id="feeds")
    async def feeds() -> Response:
        """List every party's score feed of the release that serves."""
        rows = views.feeds_view(service.feeds.shelf, service.federation, service.clock())
        return JSONResponse({"feeds": rows})

    @found.put(
        PREFIX + "{party}",
        response_model=schemas.Accepted,
        status_code=200,
        responses={
            201: {"model": schemas.Accepted},
            **dict.fromkeys((400, 403, 408, 413, 503), _PROBLEM),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string"}}},
            }
        },
        operation_id="put_feed",
    )
    async def put_feed(party: str, request: Request) -> Response:
        """Take a party's feed; its signature says whose it is.

        201 for the party's first feed of a release, 200 for one that takes the place of another.
        A feed of a release that does not serve yet is kept, and used once it does.
        """
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

    return found
