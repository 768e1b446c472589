"""Counts and times by route, in the form that Prometheus reads.

Routes are told by their templates, never by their addresses: those hold pseudonyms. With several
workers each keeps its numbers in files of a common folder, and whichever is asked tells the sum.
"""

from __future__ import annotations

import logging
import os
import time
from secrets import token_hex
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.edge import logs

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library looks at it when it is loaded: who starts workers sets it for them."""

REQUEST_HEADER: Final = "X-Request-Id"
"""Of every answer: the number under which the log tells of the request. It is drawn here; one that
somebody sends could be a pseudonym."""

_LOG: Final = logging.getLogger(__name__)
_BOUNDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """What one process counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "confide_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "confide_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("method", "route"),
            buckets=_BOUNDS,
            registry=self._registry,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Return everything that was counted, of all workers."""
        if os.environ.get(FOLDER_VARIABLE):
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self._registry)


class Measured:
    """Counts every request to an application, and tells the log of it.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, number = time.perf_counter(), 500, token_hex(8)

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_HEADER] = number
            await send(message)

        with logs.bound(request=number):
            try:
                await self._app(scope, receive, told)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                took = time.perf_counter() - began
                self._metrics.note(method, route, status, took)
                if _LOG.isEnabledFor(logging.INFO):
                    logs.step(
                        _LOG,
                        "a request was answered",
                        seconds=took,
                        method=method,
                        route=route,
                        status=status,
                    )
