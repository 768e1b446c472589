"""A WebSocket over TLS that one thread reads and writes, waiting in one place for both.

The WebSocket is the `websockets` package without its sockets. Its blocking client holds one lock
while it writes, which whoever reads needs too: two members that send each other more than the
connections in between hold would wait for each other for ever. It also reads and writes one TLS
connection from two threads, which Python's `ssl` does not promise to bear.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from shared.errors import EnvironmentFault, Refused
from shared.pieces import MESSAGE_BYTES
from shared.wire import WireClosedError

PATH = "/v1/relay"

_CLOSE_S = 2.0
# The relay asks after a silent connection every 20 s: one that hears nothing is dead.
_SILENCE_S = 45.0
_READ_BYTES = 64 * 1024
_READS = 64  # at one go, before writing gets its turn
# With less than this to write, `receive` returns to be given more.
_REFILL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where a relay is.

    Parameters
    ----------
    host : str
    port : int
    path : str
        Of its WebSocket.
    """

    host: str
    port: int
    path: str = PATH

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"wss://{host}:{self.port}{self.path}"


class RelayWire:
    """A WebSocket over a TLS socket that never blocks; see `shared.link.Wire`.

    Parameters
    ----------
    sock : ssl.SSLSocket
        Connected; made non-blocking here.
    address : Address
        Of the relay.
    """

    def __init__(self, sock: ssl.SSLSocket, address: Address) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._protocol = ClientProtocol(parse_uri(str(address)), max_size=MESSAGE_BYTES)
        self._out: deque[memoryview] = deque()
        self._in: deque[bytes] = deque()
        self._backlog = 0
        self._more = False  # there may be bytes to read that the socket does not announce
        self._heard = time.monotonic()
        self._closed: WireClosedError | None = None
        self._alert: ssl.SSLError | None = None
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(sock, selectors.EVENT_READ)
        self._events = selectors.EVENT_READ
        self._lock = threading.Lock()  # of `_ringer`: it may be rung while it is closed

    @property
    def backlog(self) -> int:
        """Bytes handed in that are not written yet."""
        return self._backlog

    def send(self, message: bytes) -> None:
        """Hand a message in; never waits."""
        if self._closed is None:
            self._protocol.send_binary(message)
            self._queue()

    def receive(self, timeout: float) -> list[bytes]:
        """Move bytes both ways; see `shared.link.Wire.receive`."""
        if not self._in and self._closed is None:
            self._move(timeout)
        messages = list(self._in)
        self._in.clear()
        if not messages and self._closed is not None:
            raise self._closed
        return messages

    def wake(self) -> None:
        """Make `receive` return."""
        with self._lock, contextlib.suppress(OSError):  # full: it rings already; or closed
            self._ringer.send(b"\0")

    def close(self) -> None:
        """Write what was handed in, say so, and close; never raises."""
        limit = time.monotonic() + _CLOSE_S
        if self._closed is None and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._queue()
        while self._closed is None and (left := limit - time.monotonic()) > 0:
            self._move(left)
        self._selector.close()
        with self._lock:
            for sock in (self._sock, self._bell, self._ringer):
                with contextlib.suppress(OSError):
                    sock.close()

    def upgrade(self, timeout: float) -> None:
        """Ask for the WebSocket.

        Raises
        ------
        Refused
            If the relay does not take this side's certificate.
        EnvironmentFault
            If something else answers.
        WireClosedError
            If the connection ended, or nothing came in time.
        """
        self._protocol.send_request(self._protocol.connect())
        self._queue()
        limit = time.monotonic() + timeout
        while self._protocol.state is State.CONNECTING and self._closed is None:
            if self._protocol.handshake_exc is not None:
                break
            if (left := limit - time.monotonic()) <= 0:
                raise WireClosedError("it does not answer")
            self._move(left)
        problem = self._protocol.handshake_exc
        if isinstance(problem, InvalidStatus) and problem.response.status_code < 500:
            raise EnvironmentFault(f"it answers HTTP {problem.response.status_code}")
        if isinstance(problem, InvalidHandshake) and not self._protocol.reader.eof:
            raise EnvironmentFault(f"it answers, but not as a relay: {problem}")
        if self._alert is not None:
            raise Refused(f"it does not take this certificate: {reason_of(self._alert)}")
        if self._closed is not None and self._protocol.state is not State.OPEN:
            # Before the alert that says so arrives, the connection may be gone.
            doubt = "ended at its start; does the relay take this certificate?"
            raise WireClosedError(f"{self._closed.reason}: {doubt}", self._closed.code)

    def first(self, limit: float) -> bytes:
        """Return the next message alone, before `limit` on the monotonic clock.

        Raises
        ------
        WireClosedError
            If the connection ended, or nothing came in time.
        """
        while not self._in:
            if self._closed is not None:
                raise self._closed
            if (left := limit - time.monotonic()) <= 0:
                raise WireClosedError("it does not answer")
            self._move(left)
        return self._in.popleft()

    def _move(self, timeout: float) -> None:
        """Write and read what can be; wait for something to do, once, until the time is over."""
        before = self._backlog
        self._write()
        if before >= _REFILL_BYTES > self._backlog:
            timeout = 0.0  # there may be more to write
        if self._closed is None and not self._more:
            self._wait(timeout)
        if self._closed is None:
            self._write()
        if self._closed is None:
            self._read()

    def _wait(self, timeout: float) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if events != self._events:
            self._selector.modify(self._sock, events)
            self._events = events
        limit = time.monotonic() + timeout
        while True:
            ready = self._selector.select(max(0.0, limit - time.monotonic()))
            for key, _ in ready:
                if key.fileobj is self._bell:
                    with contextlib.suppress(BlockingIOError):
                        self._bell.recv(_READ_BYTES)
            if any(mask & selectors.EVENT_READ for _, mask in ready) or not ready:
                break
            self._write()  # it takes more, but not all
            if self._backlog < _REFILL_BYTES or self._closed is not None:
                break
        if time.monotonic() - self._heard > _SILENCE_S:
            self._finish(WireClosedError(f"nothing came from it for {_SILENCE_S:g} s"))

    def _write(self) -> None:
        while self._out:
            try:
                sent = self._sock.send(self._out[0])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as error:
                self._out.clear()
                self._backlog = 0
                self._read()  # it may have said why before it closed
                self._finish(broken(error))
                return
            head = self._out.popleft()
            self._backlog -= sent
            if sent < len(head):
                self._out.appendleft(head[sent:])

    def _read(self) -> None:
        self._more = True
        for _ in range(_READS):
            try:
                data = self._sock.recv(_READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._more = False
                return
            except OSError as error:
                self._ended(broken(error))
                if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
                    self._alert = error
                return
            if not data:
                self._ended(WireClosedError("the connection ended"))
                return
            self._heard = time.monotonic()
            self._protocol.receive_data(data)
            self._collect()
            if self._closed is not None:
                return

    def _ended(self, closed: WireClosedError) -> None:
        if self._closed is None:
            self._protocol.receive_eof()
            self._finish(closed)

    def _collect(self) -> None:
        for event in self._protocol.events_received():
            if not isinstance(event, Frame) or event.opcode in {Opcode.PING, Opcode.PONG}:
                continue
            if event.opcode is Opcode.BINARY and event.fin:
                self._in.append(bytes(event.data))
            elif event.opcode is not Opcode.CLOSE:
                self._finish(WireClosedError("it sent what is no message"))
        self._queue()
        said = self._protocol.close_rcvd
        if said is not None:
            self._write()
            self._finish(WireClosedError(said.reason or f"close code {said.code}", said.code))
        elif self._protocol.parser_exc is not None:
            self._finish(WireClosedError(f"it sent what is no WebSocket: {_name(self._protocol)}"))

    def _queue(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._out.append(memoryview(data))
                self._backlog += len(data)

    def _finish(self, closed: WireClosedError) -> None:
        if self._closed is None:
            self._closed = closed


def _name(protocol: ClientProtocol) -> str:
    return type(protocol.parser_exc).__name__


def broken(error: OSError) -> WireClosedError:
    """Return how a connection ends that the system, or TLS, broke off."""
    return WireClosedError(reason_of(error))


def reason_of(error: OSError) -> str:
    """Return what went wrong, in words."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error) or type(error).__name__
