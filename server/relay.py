"""The relay: a mailbox without memory that members of a federation dial.

It lets in whoever proves to be a member, tells a session's members who is there, and writes what
one sends into the connection of the other. It keeps no message; `shared.link` sends again what got
lost. It reads from a member only what the recipient's connection has room for, so its memory is
bounded by its connections; a member that takes nothing for a while is cut off, and may come back.

    python -m server.relay --federation federation.toml --certificate coordinator/tls.crt \
        --key coordinator/tls.key --ca coordinator/ca.crt --host 127.0.0.1 --port 8443

prints its address as one line of JSON once it is ready; port 0 lets the system choose one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterable
from os import urandom
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.acceptor import Acceptor, Bounds
from server.coordinator import load_federation
from server.hosting import end_well
from server.listening import listen
from server.relay_members import Member, Pace, Session, Turned, close
from server.relay_metrics import RelayMetrics
from server.relay_server import serve
from shared.edge import logs
from shared.edge.exporter import expose
from shared.edge.tls import read_certificate, tls_context
from shared.edge.websocket import PATH
from shared.errors import BadPeer, ConfideError
from shared.identity import Roster
from shared.link import NO_SESSION, REFUSED, REPLACED
from shared.pieces import (
    DOWN,
    Message,
    pack_message,
    readdress,
)
from shared.proof import NONCE_BYTES, Proof, check_proof

_HANDSHAKE_S = 5.0
# How long a session outlives its coordinator's connection.
_GRACE_S = 300.0
_LOG = logging.getLogger(__name__)


class Relay:
    """All sessions, and the way into them.

    Parameters
    ----------
    roster : Roster
        The federation's pinned identities.
    certificate : bytes
        The relay's own TLS certificate, DER: what members must have seen.
    grace : float
        Seconds that a session outlives its coordinator's connection.
    pace : Pace, optional
    metrics : RelayMetrics, optional
    """

    def __init__(
        self,
        roster: Roster,
        certificate: bytes,
        *,
        grace: float,
        pace: Pace | None = None,
        metrics: RelayMetrics | None = None,
    ) -> None:
        self._roster = roster
        self._certificate = certificate
        self._grace = grace
        self._pace = pace or Pace()
        self.metrics = metrics or RelayMetrics()
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """Return the application."""
        routes = [Route("/health", self._health), WebSocketRoute(PATH, self._serve)]
        return Starlette(routes=routes)

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    @property
    def members(self) -> int:
        """How many members are connected, in all sessions."""
        return sum(len(session.members) for session in self._sessions.values())

    async def _health(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "sessions": self.sessions, "members": self.members})

    async def _serve(self, websocket: WebSocket) -> None:
        """Serve one connection from its first byte to its last."""
        with logs.bound():
            await self._served(websocket)

    async def _served(self, websocket: WebSocket) -> None:
        try:
            await websocket.accept()
            proof = await self._authenticate(websocket)
            session = self._session(proof)
            run, phase, attempt = (*proof.scope.split("/"), "", "", "")[:3]
            logs.bind(party=proof.name, run=run, phase=phase)
            member = Member(proof, websocket, self._pace)
            try:
                await self._enter(proof.scope, session, member)
                self.metrics.joined.labels(member.name).inc()
                logs.step(_LOG, "a member joined", attempt=attempt)
                while (raw := await _receive(websocket)) is not None:
                    await self._forward(session, member, raw)
            finally:
                await self._leave(proof.scope, session, member)
                logs.step(_LOG, "a member left")
        except Turned as turned:
            self.metrics.refuse(turned.kind)
            logs.step(_LOG, "a connection was refused", reason=turned.kind)
            await close(websocket, turned.code, str(turned))
        except (WebSocketDisconnect, OSError):
            pass  # it went in the middle of its handshake

    async def _authenticate(self, websocket: WebSocket) -> Proof:
        nonce = urandom(NONCE_BYTES)
        await websocket.send_bytes(nonce)
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                raw = await _receive(websocket)
        except TimeoutError:
            raise Turned(REFUSED, "no answer to the nonce in time", kind="slow") from None
        try:
            return check_proof(raw or b"", self._roster, nonce, self._certificate)
        except BadPeer as error:
            raise Turned(REFUSED, error.message) from error

    def _session(self, proof: Proof) -> Session:
        session = self._sessions.get(proof.scope)
        if session is None:
            if proof.name != self._roster.coordinator:
                raise Turned(
                    NO_SESSION, "the coordinator has not opened this session", kind="session"
                )
            session = self._sessions[proof.scope] = Session()
        if proof.name == self._roster.coordinator and session.ending is not None:
            session.ending.cancel()
            session.ending = None
        return session

    async def _enter(self, scope: str, session: Session, member: Member) -> None:
        """Welcome a member, and introduce it and the others to each other."""
        await member.deliver(member.up)
        if self._sessions.get(scope) is not session:
            raise Turned(NO_SESSION, "the coordinator has left this session", kind="session")
        before = session.members.get(member.name)
        session.members[member.name] = member
        if before is not None:
            self._later(before.close(REPLACED, "another connection took its place"))
        for name, other in list(session.members.items()):
            if name != member.name and session.members.get(name) is other:
                await member.deliver(other.up)
        await session.tell(member.up, but=member.name)

    async def _forward(self, session: Session, member: Member, raw: bytes) -> None:
        try:
            recipient, message = readdress(raw, member.name)
        except BadPeer as error:
            raise Turned(REFUSED, error.message, kind="message") from error
        if recipient not in self._roster.fingerprints:
            why = f"{recipient!r} takes no part in this session"
            raise Turned(REFUSED, why, kind="message")
        metrics = self.metrics
        metrics.frames.labels(member.name).inc()
        metrics.bytes.labels(member.name).inc(len(raw))
        if (early := member.owes(len(raw))) > 0.0:
            metrics.slowed.labels(member.name).inc(early)
            await asyncio.sleep(early)
        target = session.members.get(recipient)
        if target is None:
            metrics.dropped.inc()
            return
        with metrics.waiting.track_inprogress():
            await target.deliver(message)

    async def _leave(self, scope: str, session: Session, member: Member) -> None:
        if session.members.get(member.name) is not member:
            return  # a newer connection took its place
        del session.members[member.name]
        if member.name == self._roster.coordinator:
            loop = asyncio.get_running_loop()
            session.ending = loop.call_later(self._grace, self._end, scope, session)
        await session.tell(pack_message(Message(DOWN, member.name)), but=member.name)

    def _end(self, scope: str, session: Session) -> None:
        """Forget a session whose coordinator has not come back."""
        if self._sessions.get(scope) is session:
            del self._sessions[scope]
        for member in session.members.values():
            self._later(member.close(NO_SESSION, "the coordinator has left this session"))

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _receive(websocket: WebSocket) -> bytes | None:
    """Return the next message; None when the connection has ended.

    Raises
    ------
    Turned
        If it is a text.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    raw = message.get("bytes")
    if raw is None:
        raise Turned(REFUSED, "members send bytes, not text", kind="message")
    return cast("bytes", raw)


def main(arguments: Iterable[str] | None = None) -> int:
    """Run a relay; return its exit status."""
    options = _options().parse_args(None if arguments is None else list(arguments))
    end_well()
    logs.configure("relay")
    try:
        federation, _ = load_federation(options.federation)
        context = tls_context(
            options.certificate, options.key, options.ca, server=True, ca=federation.ca
        )
        own = read_certificate(options.certificate).public_bytes(Encoding.DER)
        pace = Pace(options.bytes_per_second, options.messages_per_second)
        relay = Relay(federation.roster, own, grace=options.grace, pace=pace)
        bounds = Bounds(
            connections=options.connections, of_one_address=options.connections_of_one_address
        )
        acceptor = Acceptor(bounds, relay.metrics.refuse)
        relay.metrics.follow(
            lambda: relay.members, lambda: relay.sessions, lambda: float(acceptor.open)
        )
        if options.metrics:
            port = expose(relay.metrics.registry, options.metrics)
            logs.step(_LOG, "metrics are told", port=port)
        serve(relay.app(), context, listen(options.host, options.port), acceptor)
    except ConfideError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its place on a screen
        return error.exit_status
    return 0


def _options() -> argparse.ArgumentParser:
    about = "Carry sealed messages between the members of a federation."
    parser = argparse.ArgumentParser(prog="python -m server.relay", description=about)
    for name in ("federation", "certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    for name, default, text in (
        ("grace", _GRACE_S, "Seconds that a session outlives its coordinator's connection."),
        ("bytes-per-second", Pace().bytes_s, "Beyond it, a member is read from more slowly."),
        ("messages-per-second", Pace().messages_s, "The same for messages."),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, help=text)
    for name, most, text in (
        ("connections", Bounds().connections, "Most open at once."),
        ("connections-of-one-address", Bounds().of_one_address, "The same of one address."),
    ):
        parser.add_argument(f"--{name}", type=int, default=most, help=text)
    parser.add_argument("--metrics", default="", help="HOST:PORT for Prometheus; none by default.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
