"""Connections that wait: who is slow with a request's head, or sends one without end, is let go.

Uvicorn bounds neither in its faster protocol. Such a connection is cut, not closed: TLS would wait
for the other side's goodbye, and take what it sends until then. A body is bounded by the routes
(`server.api.bodies`, `server.api.upload`); an idle connection between two requests is uvicorn's own
to close.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

_FAST: Final = find_spec("httptools") is not None  # uvicorn runs without it, only slower
if _FAST:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
else:
    HttpToolsProtocol = H11Protocol  # type: ignore[misc,assignment]

HEAD_S: Final = 10.0
"""Seconds that a request's head may take to arrive."""
HEAD_BYTES: Final = 64 << 10
"""Longest head that is taken, about."""


class _Patience:
    """What is added to a protocol of uvicorn: a clock for each head."""

    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)  # type: ignore[misc]
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs from the first of a head to its last."""
        before = self.cycle
        if before is None or before.response_complete:
            self._wait()
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not before:
            self._stop()

    def handle_websocket_upgrade(self, *event: Any) -> None:
        """Stop waiting: the head was whole, and no other follows it."""
        self._stop()
        super().handle_websocket_upgrade(*event)  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)  # type: ignore[misc]

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class PatientH11(_Patience, H11Protocol):
    """Uvicorn's own protocol, which bounds the length of a head itself."""


class PatientHttptools(_Patience, HttpToolsProtocol):
    """Uvicorn's faster protocol, with a bound on the length of a head."""

    _pending = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes; what neither ends a head nor is part of a body adds up."""
        self._pending += len(data)
        super().data_received(data)
        if self._pending > HEAD_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Begin to count anew."""
        self._pending = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Begin to count anew."""
        self._pending = 0
        super().on_body(body)


def protocol() -> type[asyncio.Protocol]:
    """Return the faster one of the two that can be had."""
    return PatientHttptools if _FAST else PatientH11
