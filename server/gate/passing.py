"""Passing a request on to the SuperLink and its answer back, piece by piece."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
from starlette.types import Receive, Scope, Send

from server.gate.metrics import GateMetrics
from shared.edge import logs

MOST_BYTES: Final = 64 << 20
"""Longest body that is passed on; Flower sends arrays in pieces of 5 MiB."""
BODY_S: Final = 30.0
"""Seconds that the next piece of a body may take."""

# Of one connection, not of the message (RFC 9110, 7.6.1); and what the other connection sets.
_OWN: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"host", b"expect", b"proxy-connection"),
    }
)
_LOG: Final = logging.getLogger(__name__)


class _Turned(Exception):
    """A body is not passed on: the status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Passing:
    """The way to a SuperLink.

    Parameters
    ----------
    superlink : str
        Its host and port.
    context : ssl.SSLContext
        With the federation's CA.
    metrics : GateMetrics
    most_bytes : int
        Longest body.
    body_s : float
        Seconds between its pieces.
    """

    def __init__(
        self,
        superlink: str,
        context: ssl.SSLContext,
        metrics: GateMetrics,
        *,
        most_bytes: int = MOST_BYTES,
        body_s: float = BODY_S,
    ) -> None:
        self._base = f"https://{superlink}"
        self._context, self._metrics = context, metrics
        self._most_bytes, self._body_s = most_bytes, body_s
        self._client: httpx.AsyncClient | None = None

    def _open(self) -> httpx.AsyncClient:
        """Return the client; made once the loop runs that it belongs to."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._context,
                trust_env=False,  # no proxy stands between a gate and what it guards
                timeout=httpx.Timeout(30.0, connect=5.0, read=None),
                limits=httpx.Limits(max_connections=512, max_keepalive_connections=64),
            )
            for name in list(self._client.headers):
                del self._client.headers[name]  # what is asked for is what was asked for
        return self._client

    async def on(self, member: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on; stop when whoever asked is gone."""
        began = time.perf_counter()
        body = _Body(receive, scope, self._most_bytes, self._body_s)
        with self._metrics.under_way.track_inprogress():
            gone = asyncio.create_task(body.gone())
            work = asyncio.create_task(self._pass(member, scope, body, send))
            try:
                await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (gone, work):
                    task.cancel()
                done = await asyncio.gather(gone, work, return_exceptions=True)
        self._metrics.seconds.observe(time.perf_counter() - began)
        if isinstance(done[1], Exception):
            raise done[1]

    async def _pass(self, member: str, scope: Scope, body: _Body, send: Send) -> None:
        sent = received = 0
        status, said = 502, "superlink"
        try:
            body.check()
            target = self._base + scope["raw_path"].decode("ascii")
            if query := scope["query_string"].decode("latin-1"):
                target += f"?{query}"
            request = self._open().build_request(
                scope["method"], target, headers=_passed(scope["headers"]), content=body.pieces()
            )
            response = await self._client.send(request, stream=True)  # type: ignore[union-attr]
            try:
                status, said = response.status_code, ""
                received = await _back(response, send)
            finally:
                await response.aclose()
        except _Turned as turned:
            status, said = turned.status, turned.reason
        except httpx.ConnectError:
            status, said = 503, "superlink-away"
        except httpx.HTTPError as error:
            if not said:  # the answer has begun: only an end without its last piece tells of it
                raise
            # What ended the body stands behind the library's own word for it.
            cause = error.__cause__ or error.__context__
            if isinstance(cause, _Turned):
                status, said = cause.status, cause.reason
        sent = body.passed
        if said:
            self._metrics.refuse("body" if status < 500 else "superlink", said)
            logs.step(_LOG, "a request was not passed on", member=member, reason=said)
            await answer(send, status, {"error": said})
        self._metrics.requests.labels(member, str(status)).inc()
        self._metrics.bytes.labels(member, "sent").inc(sent)
        self._metrics.bytes.labels(member, "received").inc(received)


class _Body:
    """The body of a request, as it comes."""

    def __init__(self, receive: Receive, scope: Scope, most: int, seconds: float) -> None:
        self._receive, self._most, self._seconds = receive, most, seconds
        self._ended = asyncio.Event()
        self.passed = 0
        self.announced = 0
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                self.announced = int(value)

    def check(self) -> None:
        """Refuse a body that is too long by its own word, before any of it is read."""
        if self.announced > self._most:
            raise _Turned(413, "too-large")

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it."""
        try:
            more = True
            while more:
                try:
                    async with asyncio.timeout(self._seconds):
                        message = await self._receive()
                except TimeoutError:
                    raise _Turned(408, "too-slow") from None
                if message["type"] == "http.disconnect":
                    raise _Turned(400, "cut-short")
                piece = message.get("body", b"")
                more = message.get("more_body", False)
                self.passed += len(piece)
                if self.passed > self._most:
                    raise _Turned(413, "too-large")
                if piece:
                    yield piece
        finally:
            self._ended.set()

    async def gone(self) -> None:
        """Return when whoever asked is gone, after the body has ended."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _passed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _OWN]


async def _back(response: httpx.Response, send: Send) -> int:
    """Pass an answer back; return the bytes of its body."""
    headers = _passed(response.headers.raw)
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    count = 0
    async for piece in response.aiter_raw():
        count += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return count


async def answer(send: Send, status: int, value: Any) -> None:
    """Answer with JSON, and close the connection of whoever was turned away."""
    body = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status >= 400:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
