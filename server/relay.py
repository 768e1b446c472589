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
import signal
import sys
from collections.abc import Iterable
from os import urandom
from pathlib import Path
from typing import Any, NoReturn, cast

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.coordinator import load_federation
from server.listening import listen
from server.relay_server import serve
from shared.edge.tls import read_certificate, tls_context
from shared.edge.websocket import PATH
from shared.errors import BadPeer, ConfideError
from shared.identity import Roster
from shared.link import NO_SESSION, REFUSED, REPLACED
from shared.pieces import (
    DOWN,
    UP,
    Message,
    pack_message,
    readdress,
)
from shared.proof import NONCE_BYTES, Proof, check_proof

_HANDSHAKE_S = 5.0
# How long a session outlives its coordinator's connection.
_GRACE_S = 300.0
# A close frame has room for 123 bytes of reason.
_REASON_BYTES = 120


class _Turned(Exception):
    """A connection is to be closed, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Member:
    """One member's connection in a session.

    Parameters
    ----------
    proof : Proof
        Who it is.
    websocket : WebSocket
    """

    def __init__(self, proof: Proof, websocket: WebSocket) -> None:
        self.name, self.epoch = proof.name, proof.epoch
        self._websocket = websocket
        self._gone = False

    @property
    def up(self) -> bytes:
        """The message that this member is there."""
        return pack_message(Message(UP, self.name, body=self.epoch))

    async def deliver(self, message: bytes) -> None:
        """Write a message to the member; drop it if the member is gone: its sender keeps it."""
        if self._gone:
            return
        try:
            await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, OSError, RuntimeError):
            # RuntimeError is how both libraries say that a close frame was sent before.
            self._gone = True

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        await _close(self._websocket, code, reason)
        self._gone = True


class Session:
    """The members of one phase that are connected."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.ending: asyncio.TimerHandle | None = None

    async def tell(self, message: bytes, *, but: str) -> None:
        """Tell everybody but one."""
        others = [member for name, member in self.members.items() if name != but]
        await asyncio.gather(*(member.deliver(message) for member in others))


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
    """

    def __init__(self, roster: Roster, certificate: bytes, *, grace: float) -> None:
        self._roster = roster
        self._certificate = certificate
        self._grace = grace
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """Return the application."""
        routes = [Route("/health", self._health), WebSocketRoute(PATH, self._serve)]
        return Starlette(routes=routes)

    async def _health(self, _: Request) -> JSONResponse:
        members = sum(len(session.members) for session in self._sessions.values())
        return JSONResponse({"status": "ok", "sessions": len(self._sessions), "members": members})

    async def _serve(self, websocket: WebSocket) -> None:
        """Serve one connection from its first byte to its last."""
        try:
            await websocket.accept()
            proof = await self._authenticate(websocket)
            session = self._session(proof)
            member = Member(proof, websocket)
            try:
                await self._enter(proof.scope, session, member)
                while (raw := await _receive(websocket)) is not None:
                    await self._forward(session, member, raw)
            finally:
                await self._leave(proof.scope, session, member)
        except _Turned as turned:
            await _close(websocket, turned.code, str(turned))
        except (WebSocketDisconnect, OSError):
            pass  # it went in the middle of its handshake

    async def _authenticate(self, websocket: WebSocket) -> Proof:
        nonce = urandom(NONCE_BYTES)
        await websocket.send_bytes(nonce)
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                raw = await _receive(websocket)
        except TimeoutError:
            raise _Turned(REFUSED, "no answer to the nonce in time") from None
        try:
            return check_proof(raw or b"", self._roster, nonce, self._certificate)
        except BadPeer as error:
            raise _Turned(REFUSED, error.message) from error

    def _session(self, proof: Proof) -> Session:
        session = self._sessions.get(proof.scope)
        if session is None:
            if proof.name != self._roster.coordinator:
                raise _Turned(NO_SESSION, "the coordinator has not opened this session")
            session = self._sessions[proof.scope] = Session()
        if proof.name == self._roster.coordinator and session.ending is not None:
            session.ending.cancel()
            session.ending = None
        return session

    async def _enter(self, scope: str, session: Session, member: Member) -> None:
        """Welcome a member, and introduce it and the others to each other."""
        await member.deliver(member.up)
        if self._sessions.get(scope) is not session:
            raise _Turned(NO_SESSION, "the coordinator has left this session")
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
            raise _Turned(REFUSED, error.message) from error
        if recipient not in self._roster.fingerprints:
            raise _Turned(REFUSED, f"{recipient!r} takes no part in this session")
        target = session.members.get(recipient)
        if target is not None:
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
    _Turned
        If it is a text.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    raw = message.get("bytes")
    if raw is None:
        raise _Turned(REFUSED, "members send bytes, not text")
    return cast("bytes", raw)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    try:
        await websocket.close(code, short)
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # it is closed already


def main(arguments: Iterable[str] | None = None) -> int:
    """Run a relay; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m server.relay", description=_ABOUT)
    for name in ("federation", "certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--grace", type=float, default=_GRACE_S, help=_GRACE_HELP)
    options = parser.parse_args(None if arguments is None else list(arguments))
    # uvicorn raises the signal again once it has stopped: then as before, this is how it ends.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        federation, _ = load_federation(options.federation)
        context = tls_context(
            options.certificate, options.key, options.ca, server=True, ca=federation.ca
        )
        own = read_certificate(options.certificate).public_bytes(Encoding.DER)
        relay = Relay(federation.roster, own, grace=options.grace)
        serve(relay.app(), context, listen(options.host, options.port))
    except ConfideError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its place on a screen
        return error.exit_status
    return 0


_GRACE_HELP = "Seconds that a session outlives its coordinator's connection."
_ABOUT = "Carry sealed messages between the members of a federation."


def _stop(*_: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
