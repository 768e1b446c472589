"""The limit service as a FastAPI application: the API under `/v1`, and the pages for people.

There is no interactive page of the API: the usual ones load code from elsewhere. `/openapi.json`
describes everything (`server.api.document`). Access is not logged, since addresses hold pseudonyms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from server.accounts.desk import Desk
from server.api import checks, document, problems
from server.api.access import Door
from server.api.bodies import Bodies
from server.api.guesses import Guesses
from server.api.headers import Secured
from server.api.metrics import Measured, Metrics
from server.api.routes import (
    answers,
    cases,
    customers,
    decisions,
    feeds,
    lines,
    log,
    money,
    monitoring,
    officers,
    partners,
    policies,
    scores,
    simulations,
    token,
)
from server.api.throttle import Rates, Throttle, load_rates
from server.api.tokens import KEY_FILE
from server.runs.folder import RunsFolder
from server.store.engine import POOL
from server.web.app import pages

# In the order in which OpenAPI tells them.
_ROUTES: Final = (
    token,
    scores,
    customers,
    lines,
    money,
    decisions,
    cases,
    partners,
    officers,
    log,
    answers,
    policies,
    monitoring,
    simulations,
)


def create_app(
    desk: Desk,
    *,
    rates: Rates | None = None,
    max_feed_bytes: int = feeds.MAX_FEED_BYTES,
    known_s: float | None = None,
    runs: RunsFolder | None = None,
) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    desk : Desk
    rates : Rates, optional
        Without them, those of the desk's folder.
    max_feed_bytes : int
        Longest feed that is taken.
    known_s : float, optional
        See `server.api.access.KNOWN_S`.
    runs : RunsFolder, optional
        Of the coordinator, for the operator's pages.
    """
    app = FastAPI(
        title="confide limit service",
        version=version("confide"),
        description="Credit limits from a federated score, each with the reasons for it.",
        docs_url=None,
        redoc_url=None,
        lifespan=_threads,
    )
    throttle = Throttle(rates or load_rates(desk.home))
    app.state.store_name = desk.store.name
    app.state.door = Door(desk.home / KEY_FILE, desk.store, desk.clock, throttle)
    if known_s is not None:
        app.state.door.known_s = known_s
    app.state.guesses = Guesses(desk.store)
    mounted = pages(desk, runs)
    problems.install(app, mounted.problem)
    follow, metrics = [Depends(_follower(desk))], Metrics()
    answering = [one.routes(desk) for one in _ROUTES]
    answering.append(feeds.routes(desk, max_feed_bytes=max_feed_bytes))
    for router in (*answering, *mounted.routers):
        app.include_router(router, dependencies=follow)
    watching = checks.routes(desk, metrics)
    app.include_router(watching)
    app.state.pages = mounted
    app.state.routers = (*answering, *mounted.routers, watching)
    # The last one added is the outermost.
    app.add_middleware(Bodies, own=(feeds.PREFIX, token.PATH), json_under="/v1/")
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(Secured)
    document.install(app)
    return app


@asynccontextmanager
async def _threads(_: FastAPI) -> AsyncIterator[None]:
    """Take no more requests at once than there are connections: the others wait in their order."""
    current_default_thread_limiter().total_tokens = POOL
    yield


def _follower(desk: Desk) -> Callable[[], Awaitable[None]]:
    """Return what lets a process follow promotions, and feeds that another process took."""
    scores = desk.scores

    async def follow() -> None:
        # Off the loop: loading a champion's feeds can take seconds.
        if scores.changed():
            await run_in_threadpool(scores.refresh)
        elif scores.fed():
            await run_in_threadpool(scores.follow)

    return follow
