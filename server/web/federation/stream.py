"""`/federation/runs/.../events`: server-sent events that say that a run has changed, and no more.

What it changed to is on its page, which asks who looks. A stream is short, so that whoever was
disabled is out with it, and a browser opens the next one by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from server.web.federation.common import Operators, RunName, runs_of
from server.web.render import Site
from shared.errors import TooMany

LONGEST_S: Final = 30.0
EVERY_S: Final = 1.0
TICK_S: Final = 5.0
"""While a run is under way its clock goes on, even where nothing is told."""
MOST: Final = 32
"""Streams of one process at a time; whoever comes later asks now and then instead."""


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""
    gate = Gate(MOST)

    @found.get("/federation/runs/{run}/events")
    async def events(request: Request, _who: Operators, run: RunName) -> Response:
        """Say whenever a run has changed."""
        folder = runs_of(site)
        await run_in_threadpool(folder.version, run)  # who asks for none is told so
        ending: Callable[[], bool] = getattr(request.app.state, "ending", lambda: False)
        gate.check()
        return StreamingResponse(
            changes(lambda: _state(site, run), ending, gate),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


class Gate:
    """Counts the streams that are open.

    Parameters
    ----------
    most : int
    """

    def __init__(self, most: int) -> None:
        self._most, self._open = most, 0

    def check(self) -> None:
        """Refuse one more where there is no room.

        Raises
        ------
        TooMany
        """
        if self._open >= self._most:
            raise TooMany("too many pages are watched at once", after=30)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one, from its first word to its last."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def changes(
    state: Callable[[], tuple[str, bool]],
    ending: Callable[[], bool],
    gate: Gate,
    *,
    longest_s: float = LONGEST_S,
    every_s: float = EVERY_S,
) -> AsyncIterator[str]:
    """Yield an event whenever a run's version is another one, until the run is over.

    Parameters
    ----------
    state : callable
        Returns the version, and whether the run is over.
    ending : callable
        Returns whether the service ends.
    gate : Gate
    longest_s, every_s : float
    """
    with gate.counted():
        yield "retry: 1000\n\n"
        before, end = "", time.monotonic() + longest_s
        while time.monotonic() < end and not ending():
            version, over = await run_in_threadpool(state)
            version += f"-{time.monotonic() // TICK_S:.0f}" if not over else ""
            if version != before:
                yield f"event: changed\ndata: {version}\n\n"
                before = version
            if over:
                return
            await anyio.sleep(every_s)


def _state(site: Site, run: str) -> tuple[str, bool]:
    folder = runs_of(site)
    version = folder.version(run)
    return version, folder.story(run, site.desk.clock().timestamp()).over
