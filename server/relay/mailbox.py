"""The relay: a mailbox without memory that members of a federation dial.

It lets in whoever proves to be a member, tells a session's members who is there, and writes what
one sends into the connection of the other. It keeps no message; `shared.link` sends again what got
lost. It reads from a member only what the recipient's connection has room for, so its memory is
bounded by its connections; a member that takes nothing for a while is cut off, and may come back.
Who is a member is followed while it runs: one that is revoked, or has other keys, is closed out.
"""

from __future__ import annotations

import asyncio
import logging
from os import urandom
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.hosting.following import Following, Members
from server.hosting.peers import Peer, Peers
from server.relay.members import Member, Pace, Session, Turned, close
from server.relay.metrics import RelayMetrics
from shared.edge import logs
from shared.edge.websocket import PATH
from shared.errors import BadPeer
from shared.identity import Roster
from shared.pieces import (
    DOWN,
    Message,
    pack_message,
    readdress,
)
from shared.proof import NONCE_BYTES, Proof, check_proof
from shared.wire import NO_SESSION, REFUSED, REPLACED

_HANDSHAKE_S = 5.0
# How long who is closed out may take to hear it, before the connection is cut.
_LAST_WORD_S = 1.0
_WHY = {
    "revoked": "the certificate of {} is revoked",
    "replaced": "{} has other keys now",
    "not-a-member": "{} is no member any more",
}
_LOG = logging.getLogger(__name__)


class Relay:
    """All sessions, and the way into them.

    Parameters
    ----------
    following : Following
        Who is a member, with which pinned identity.
    peers : Peers
        Whose connections are open.
    certificate : bytes
        The relay's own TLS certificate, DER: what members must have seen.
    grace : float
        Seconds that a session outlives its coordinator's connection.
    pace : Pace, optional
    metrics : RelayMetrics, optional
    """

    def __init__(
        self,
        following: Following,
        peers: Peers,
        certificate: bytes,
        *,
        grace: float,
        pace: Pace | None = None,
        metrics: RelayMetrics | None = None,
    ) -> None:
        self._following, self._peers = following, peers
        self._certificate = certificate
        self._grace = grace
        self._pace = pace or Pace()
        self.metrics = metrics or RelayMetrics()
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()
        following.tell(self._changed)

    @property
    def _roster(self) -> Roster:
        return self._following.now.roster

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
        self._following.look()
        peer = self._peers.of(websocket.scope)
        if peer is None:
            return  # it went before it was looked at
        holder = peer.name if peer.name in self._following.ever else "unknown"
        try:
            await websocket.accept()
            proof = await self._authenticate(websocket, peer, holder)
            session = self._session(proof)
            run, phase, attempt = (*proof.scope.split("/"), "", "", "")[:3]
            logs.bind(party=proof.name, run=run, phase=phase)
            member = Member(proof, websocket, self._pace, peer)
            try:
                await self._enter(proof.scope, session, member)
                self.metrics.joined.labels(member.name).inc()
                logs.step(_LOG, "a member joined", attempt=attempt)
                while (raw := await _receive(websocket)) is not None and not member.gone:
                    await self._forward(session, member, raw)
            finally:
                await self._leave(proof.scope, session, member)
                logs.step(_LOG, "a member left")
        except Turned as turned:
            self.metrics.refuse(turned.kind)
            logs.step(_LOG, "a connection was refused", member=holder, reason=turned.kind)
            await close(websocket, turned.code, str(turned))
        except (WebSocketDisconnect, OSError):
            pass  # it went in the middle of its handshake

    async def _authenticate(self, websocket: WebSocket, peer: Peer, holder: str) -> Proof:
        if peer.serial in self._following.now.revoked:
            raise Turned(REFUSED, _WHY["revoked"].format(holder), kind="revoked")
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

    def _changed(self, before: Members, now: Members) -> None:
        """Close out who is no member, or with other keys, or shows a revoked certificate."""
        pins, old = now.roster.fingerprints, before.roster.fingerprints
        out = {name for name, pin in old.items() if pins.get(name) != pin}
        ending = set()
        for session in self._sessions.values():
            for name, member in session.members.items():
                revoked = member.peer.serial in now.revoked
                if not revoked and name not in out:
                    continue
                reason = "revoked" if revoked else "replaced" if name in pins else "not-a-member"
                self.metrics.refuse(reason)
                said = "a member's connection was closed"
                logs.step(_LOG, said, level=logging.WARNING, member=name, reason=reason)
                self._later(member.close(REFUSED, _WHY[reason].format(name)))
                ending.add(member.peer)
        self._peers.drop(
            lambda peer: "out" if peer in ending or peer.serial in now.revoked else "",
            after=_LAST_WORD_S,
        )

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
        pin = self._roster.fingerprints.get(member.name)
        await member.deliver(member.up)
        if self._roster.fingerprints.get(member.name) != pin:
            raise Turned(REFUSED, _WHY["replaced"].format(member.name), kind="replaced")
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
