"""Who is connected to the relay: members, how fast each may send, and the sessions they are in."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from server.hosting.acceptor import Bucket
from server.hosting.peers import Peer
from shared.pieces import UP, Message, pack_message
from shared.proof import Proof

# A close frame has room for 123 bytes of reason.
_REASON_BYTES = 120


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one member may send; beyond it, it is read from more slowly, never cut off.

    Parameters
    ----------
    bytes_s : float
        Bytes a second, in the long run; as many at one go.
    messages_s : float
        Messages a second.
    """

    bytes_s: float = 128 << 20
    messages_s: float = 20_000.0


class Turned(Exception):
    """A connection is to be closed, and why."""

    def __init__(self, code: int, reason: str, *, kind: str = "proof") -> None:
        super().__init__(reason)
        self.code, self.kind = code, kind


class Member:
    """One member's connection in a session.

    Parameters
    ----------
    proof : Proof
        Who it is.
    websocket : WebSocket
    pace : Pace
    peer : Peer
        Whose certificate the connection has shown.
    """

    def __init__(self, proof: Proof, websocket: WebSocket, pace: Pace, peer: Peer) -> None:
        self.name, self.epoch, self.peer = proof.name, proof.epoch, peer
        self._websocket = websocket
        self._gone = False
        self._bytes = Bucket(pace.bytes_s, pace.bytes_s)
        self._messages = Bucket(pace.messages_s, pace.messages_s)

    @property
    def gone(self) -> bool:
        """Whether nothing is taken of it, or brought to it, any more."""
        return self._gone

    @property
    def up(self) -> bytes:
        """The message that this member is there."""
        return pack_message(Message(UP, self.name, body=self.epoch))

    def owes(self, size: int) -> float:
        """Note a message that it sent; return the seconds by which it is too early."""
        now = time.monotonic()
        return max(self._bytes.take(size, now), self._messages.take(1, now))

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
        """Close the connection; what it still sends is not carried."""
        self._gone = True
        await close(self._websocket, code, reason)


class Session:
    """The members of one phase that are connected."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.ending: asyncio.TimerHandle | None = None

    async def tell(self, message: bytes, *, but: str) -> None:
        """Tell everybody but one."""
        others = [member for name, member in self.members.items() if name != but]
        await asyncio.gather(*(member.deliver(message) for member in others))


async def close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close a connection, if it is not closed already."""
    short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    try:
        await websocket.close(code, short)
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # it is closed already
