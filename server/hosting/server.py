"""A uvicorn server for strangers: it accepts within bounds, and says where it listens."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn

import uvicorn

from server.hosting.acceptor import Acceptor

_STOP_S = 1

Beside = Callable[[], Coroutine[Any, Any, None]]


class Hosting(uvicorn.Server):
    """A server that accepts through an `Acceptor` and says where it listens as soon as it does.

    Parameters
    ----------
    config : uvicorn.Config
    acceptor : Acceptor
    address : mapping
        Printed as one line of JSON.
    beside : callable, optional
        What is to run beside it, as long as it serves.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        acceptor: Acceptor,
        address: Mapping[str, Any],
        beside: Beside | None = None,
    ) -> None:
        super().__init__(config)
        self._acceptor, self._address, self._beside = acceptor, address, beside
        self._working: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and print the address."""
        await super().startup([])  # it accepts nothing by itself
        context = self.config.ssl
        assert context is not None
        for sock in sockets or ():
            work = self._acceptor.accept(sock, self._protocol, context)
            self._working.append(asyncio.create_task(work))
        if self._beside is not None:
            self._working.append(asyncio.create_task(self._beside()))
        print(json.dumps(self._address), flush=True)  # noqa: T201 - for whoever started it

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; do not wait for members that do not answer the closing of their connection."""
        for task in self._working:
            task.cancel()
        asyncio.get_running_loop().call_later(_STOP_S / 2, self._abort)
        await super().shutdown(sockets)

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return made


def host(
    app: Any,
    context: ssl.SSLContext,
    sockets: Sequence[socket.socket],
    acceptor: Acceptor,
    address: Mapping[str, Any],
    beside: Beside | None = None,
    **options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    app : ASGI application
    context : ssl.SSLContext
        See `shared.edge.tls.tls_context`.
    sockets : sequence of socket
        Listening.
    acceptor : Acceptor
    address : mapping
    beside : callable, optional
        See `Hosting`.
    options
        Of `uvicorn.Config`.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
        ssl_context_factory=lambda *_: context,
        **options,
    )
    Hosting(config, acceptor, address, beside).run(sockets=list(sockets))


def end_well() -> None:
    """Let SIGTERM and SIGINT end this process with status 0, whenever they come.

    uvicorn raises the signal again once it has stopped: then as before, this is how it ends.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)
