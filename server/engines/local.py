"""Engine `local`: one operating-system process a party, a Flower `Grid` over pipes.

The launcher's process is the coordinator. A thread for each party reads its pipe: Flower replies go
to the grid, frames for the coordinator to its mailbox, all others straight on to their recipient. A
pipe names its party, so a frame under another name is refused; payloads are sealed anyway.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Mapping
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from flwr.app import Error, Message
from flwr.common import serde
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.serverapp import Grid

from shared.channel import ABORT, Frame, QueueChannel, pack_frame, unpack_frame
from shared.errors import BadPeer, PartyLost
from shared.jobs import COORDINATOR
from shared.transport import MESSAGE, READY, REPLY, STOP

PARTY_DIED, PARTY_FORGED = 1000, 1001
DIED = "its process died"
# Frames that may wait for one party: back-pressure on whoever writes to it.
_MAX_WAITING = 256


class Hub:
    """Moves frames between the parties' pipes and the coordinator.

    Parameters
    ----------
    pipes : mapping of str to Connection
        The launcher's end of each party's pipe.
    """

    def __init__(self, pipes: Mapping[str, Connection]) -> None:
        self._pipes = dict(pipes)
        self._outbox: dict[str, queue.Queue[Frame | None]] = {
            party: queue.Queue(_MAX_WAITING) for party in pipes
        }
        self.inbox: queue.Queue[Frame] = queue.Queue()
        self.replies: queue.Queue[Frame] = queue.Queue()
        self.dead: dict[str, str] = {}  # and why
        self._threads = [
            threading.Thread(target=target, args=(party,), daemon=True)
            for party in pipes
            for target in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def carry(self, frame: Frame) -> None:
        """Bring a frame to its recipient."""
        if frame.recipient == COORDINATOR:
            target = self.replies if frame.tag in {REPLY, READY} else self.inbox
            target.put(frame)
        elif frame.recipient not in self.dead:
            self._outbox[frame.recipient].put(frame)

    def channel(self, deadline: float) -> QueueChannel:
        """Return the coordinator's own channel."""
        return QueueChannel(COORDINATOR, self._pipes, self.inbox, self.carry, deadline=deadline)

    def close(self) -> None:
        """Ask every party to stop."""
        for party, outbox in self._outbox.items():
            # Whoever takes nothing any more finds its pipe closed.
            with contextlib.suppress(queue.Full):
                outbox.put_nowait(Frame(COORDINATOR, party, STOP, b""))

    def _read(self, party: str) -> None:
        try:
            while True:
                frame = unpack_frame(self._pipes[party].recv_bytes())
                self._check(party, frame)
                self.carry(frame)
        except (EOFError, OSError):
            self._bury(party, DIED)
        except BadPeer as error:
            self._bury(party, error.message)

    def _check(self, party: str, frame: Frame) -> None:
        if frame.sender != party or frame.recipient == party:
            raise BadPeer("a frame under another party's name", party=party)
        if frame.recipient not in {*self._pipes, COORDINATOR}:
            raise BadPeer("a frame to nobody in this run", party=party)

    def _write(self, party: str) -> None:
        while (frame := self._outbox[party].get()) is not None:
            try:
                self._pipes[party].send_bytes(pack_frame(frame))
            except OSError:
                self._bury(party, DIED)

    def _bury(self, party: str, why: str) -> None:
        """Tell everybody that a party is out, so that nobody waits out a deadline."""
        if party in self.dead:
            return
        self.dead[party] = why
        for other in (*self._pipes, COORDINATOR):
            if other != party:
                self.carry(Frame(party, other, ABORT, why.encode()))
        self.replies.put(Frame(party, COORDINATOR, ABORT, why.encode()))


class LocalGrid(Grid):
    """A Flower grid whose nodes are the hub's parties.

    Parameters
    ----------
    hub : Hub
    parties : iterable of str
        In the order of their node ids, from 1.
    """

    def __init__(self, hub: Hub, parties: Iterable[str]) -> None:
        self._hub = hub
        self._node_of = {party: node for node, party in enumerate(parties, start=1)}
        self._pending: dict[str, Message] = {}
        self._arrived: dict[str, Message] = {}
        self._count = count()
        self._run: Any = None

    def set_run(self, run: Any) -> None:
        """Set the run; the local engine has one."""
        self._run = run

    @property
    def run(self) -> Any:
        """Run information."""
        return self._run

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Refuse the deprecated way to make a message."""
        raise NotImplementedError("build messages with flwr.app.Message")

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes whose process is alive."""
        return [node for party, node in self._node_of.items() if party not in self._hub.dead]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; a party takes one at a time. Returns their identifiers."""
        party_of = {node: party for party, node in self._node_of.items()}
        identifiers = []
        for message in messages:
            party = party_of[message.metadata.dst_node_id]
            identifier = f"{party}/{next(self._count)}"
            # Flower's own links name a message when it is pushed, in this same way.
            message.metadata.__dict__["_message_id"] = identifier
            self._pending[party] = message
            raw = serde.message_to_proto(message).SerializeToString()
            self._hub.carry(Frame(COORDINATOR, party, MESSAGE, raw))
            identifiers.append(identifier)
            if party in self._hub.dead:
                why = self._hub.dead[party].encode()
                self._take(Frame(party, COORDINATOR, ABORT, why))
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived."""
        while True:
            try:
                self._take(self._hub.replies.get_nowait())
            except queue.Empty:
                break
        return [self._arrived.pop(name) for name in message_ids if name in self._arrived]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, each within `timeout`."""
        waiting = set(self.push_messages(messages))
        replies: list[Message] = []
        while waiting:
            for name in [name for name in waiting if name in self._arrived]:
                replies.append(self._arrived.pop(name))
                waiting.discard(name)
            if waiting:
                try:
                    self._take(self._hub.replies.get(timeout=timeout))
                except queue.Empty:
                    break
        return replies

    def wait_ready(self, timeout: float) -> None:
        """Wait until every party's process has started.

        Raises
        ------
        PartyLost
            Names the first that died or did not start in time.
        """
        missing = set(self._node_of)
        while missing:
            try:
                frame = self._hub.replies.get(timeout=timeout)
            except queue.Empty:
                raise PartyLost("did not start in time", party=min(missing)) from None
            if frame.tag != READY:
                raise PartyLost("its process died while it started", party=frame.sender)
            missing.discard(frame.sender)

    def _take(self, frame: Frame) -> None:
        request = self._pending.pop(frame.sender, None)
        if request is None:
            return
        if frame.tag == REPLY:
            reply = serde.message_from_proto(MessageProto.FromString(frame.payload))
        else:
            why = frame.payload.decode()
            code = PARTY_DIED if why == DIED else PARTY_FORGED
            reply = Message(Error(code, f"{frame.sender}: {why}"), reply_to=request)
        self._arrived[request.metadata.message_id] = reply
