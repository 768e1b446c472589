"""uvicorn as the relay needs it: back-pressure on writing, bounds on who connects."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.hosting.acceptor import Acceptor
from server.hosting.connections import protocol
from server.hosting.peers import Peers, named
from server.hosting.server import Beside, host
from shared.edge.websocket import PATH
from shared.pieces import MESSAGE_BYTES

# A member that takes nothing for so long holds up everybody who sends to it.
_STALL_S = 10.0


class PatientProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with the back-pressure that its `send` waits for and nobody signals.

    uvicorn before 0.52.1 leaves out `pause_writing` here, and a slow reader grows the server's
    memory without bound (its pull requests 3048 and 3050).
    """

    def pause_writing(self) -> None:
        """Make `send` wait: the reader has not taken what is written."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self.writable.set()

    def handle_ping(self) -> None:
        """Answer a ping; cut off whoever sends pings and takes no answers.

        uvicorn writes each answer whether it is read or not, and no `send` waits for it.
        """
        if not self.writable.is_set():
            self.transport.abort()
            return
        super().handle_ping()

    def keepalive_timeout(self) -> None:
        """Cut off a member that answers no ping: closing would wait until it has read all."""
        super().keepalive_timeout()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits to write find out that nobody reads any more."""
        super().connection_lost(exc)
        self.writable.set()

    async def send(self, message: Any) -> None:
        """Write, once the reader has room; cut off a reader that has none for too long."""
        if not self.writable.is_set():
            try:
                async with asyncio.timeout(_STALL_S):
                    await self.writable.wait()
            except TimeoutError:
                self.transport.abort()
            if self.transport.is_closing():
                raise ClientDisconnected
        await super().send(message)


def serve(
    app: ASGIApp,
    context: ssl.SSLContext,
    sock: socket.socket,
    acceptor: Acceptor,
    peers: Peers,
    beside: Beside,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    app : ASGIApp
    context : ssl.SSLContext
        See `shared.edge.tls.tls_context`.
    sock : socket.socket
        Listening.
    acceptor : Acceptor
    peers : Peers
        Where it is written down whose connections are open.
    beside : callable
        What is to run beside it.
    """
    name, port = sock.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    host(
        app,
        context,
        [sock],
        acceptor,
        {"host": name, "port": port, "url": f"wss://{shown}:{port}{PATH}"},
        beside,
        http=named(peers, protocol()),  # a head that is slow or endless is let go
        ws=named(peers, PatientProtocol),
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,  # ciphertext does not get smaller
    )
