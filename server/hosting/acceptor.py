"""Accepting connections: how many at once, how fast, and how long TLS may take.

uvicorn accepts whatever comes, and asyncio gives a TLS handshake a minute, in which nothing of the
application has seen the connection yet. Whoever is beyond a bound is closed at once, by a reason
that is counted; who keeps within them is not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_NO_ROOM_S: Final = 0.2
_FORGET_AFTER: Final = 4096

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a listener bears.

    Parameters
    ----------
    connections : int
        Open at once.
    of_one_address : int
        Open at once from one address.
    handshakes : int
        TLS handshakes under way at once.
    handshake_s : float
        Seconds that a handshake may take.
    rate : float
        New connections a second from one address, in the long run.
    burst : int
        And at one go.
    """

    connections: int = 1024
    of_one_address: int = 256
    handshakes: int = 128
    handshake_s: float = 5.0
    rate: float = 20.0
    burst: int = 256


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time.

    Parameters
    ----------
    rate : float
        Tokens a second.
    size : float
        Most of them.
    """

    rate: float
    size: float
    _left: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Begin full."""
        self._left = self.size

    def take(self, count: float, now: float) -> float:
        """Take tokens, on credit if need be; return the seconds until the debt is paid."""
        self._left = min(self.size, self._left + (now - self._at) * self.rate)
        self._at = now
        self._left -= count
        return max(0.0, -self._left / self.rate)

    def has(self, now: float) -> bool:
        """Return whether one token can be taken, and take it if it can."""
        wait = self.take(1.0, now)
        if wait:
            self._left += 1.0
        return not wait


class Acceptor:
    """Takes connections from listening sockets within bounds.

    Parameters
    ----------
    bounds : Bounds
    refused : callable
        Told the reason each time a connection is refused: `full`, `address`, `rate`, `handshakes`,
        `slow`, `tls` or `descriptors`.
    clock : callable
        Seconds, never going back.
    """

    def __init__(
        self,
        bounds: Bounds,
        refused: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds, self._refused, self._clock = bounds, refused, clock
        self._open: dict[asyncio.BaseTransport, str] = {}
        self._buckets: dict[str, Bucket] = {}
        self._shaking: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many connections are open."""
        self._sweep()
        return len(self._open)

    async def accept(self, sock: socket.socket, factory: Factory, context: ssl.SSLContext) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            while True:
                try:
                    connection, address = await loop.sock_accept(sock)
                except OSError:  # no descriptor is left, or it went while it waited
                    self._refused("descriptors")
                    await asyncio.sleep(_NO_ROOM_S)
                    continue
                host = str(address[0])
                reason = self.reason(host)
                if reason:
                    self._refused(reason)
                    connection.close()
                    continue
                task = loop.create_task(self._encrypt(connection, host, factory, context))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)
        finally:
            for task in self._shaking:
                task.cancel()

    def reason(self, host: str) -> str:
        """Return why a connection from an address is refused now; nothing if it is not."""
        self._sweep()
        if len(self._buckets) > _FORGET_AFTER:
            self._buckets.clear()
        bounds = self._bounds
        bucket = self._buckets.setdefault(host, Bucket(bounds.rate, bounds.burst))
        if not bucket.has(self._clock()):
            return "rate"
        if len(self._shaking) >= bounds.handshakes:
            return "handshakes"
        if len(self._open) + len(self._shaking) >= bounds.connections:
            return "full"
        if Counter(self._open.values())[host] >= bounds.of_one_address:
            return "address"
        return ""

    async def _encrypt(
        self, connection: socket.socket, host: str, factory: Factory, context: ssl.SSLContext
    ) -> None:
        limit = self._bounds.handshake_s
        try:
            async with asyncio.timeout(2 * limit):
                transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                    factory,
                    connection,
                    ssl=context,
                    ssl_handshake_timeout=limit,
                    ssl_shutdown_timeout=limit,
                )
        except (OSError, TimeoutError) as error:
            slow = isinstance(error, ConnectionAbortedError | TimeoutError)
            self._refused("slow" if slow else "tls")
            with contextlib.suppress(OSError):
                connection.close()
            return
        self._open[transport] = host

    def _sweep(self) -> None:
        for transport in [one for one in self._open if one.is_closing()]:
            del self._open[transport]
