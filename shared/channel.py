"""How protocol code talks: `Channel`, and the mailbox behind its transports.

A protocol is straight-line code over a channel: it sends to a named peer under a tag and receives
from a named peer under a tag. Messages of one sender and tag arrive in order; those of other tags
wait in the mailbox until they are asked for. `QueueChannel` moves frames through queues inside one
process and is what the protocol tests run on; other engines hand their frames to the same mailbox.
"""

from __future__ import annotations

import queue
import struct
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import BadPeer, PartyLost

ABORT = "abort"
NO_ANSWER = "no answer"
"""How a loss is told that is no echo of another."""
_MAX_NAME = 255


def printable(text: str, most: int = 400) -> str:
    """Return what somebody else wrote as it may stand in a message: short, and on one line.

    A terminal obeys escape sequences and marks of direction; whoever sent them could write over
    what stands beside.
    """
    return "".join(mark if mark.isprintable() else "?" for mark in text[:most])


class Channel(Protocol):
    """What a protocol may do with the world outside."""

    @property
    def me(self) -> str:
        """Own name."""

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of everybody else, sorted, the coordinator among them."""

    def send(self, to: str, tag: str, payload: bytes) -> None:
        """Send bytes to one peer."""

    def send_all(self, to: Iterable[str], tag: str, payload: bytes) -> None:
        """Send the same bytes to several peers; they are encrypted once."""

    def receive(self, frm: str, tag: str) -> bytes:
        """Return the next message of a sender under a tag.

        Raises
        ------
        PartyLost
            If the sender stopped, or nothing came before the deadline.
        BadPeer
            If what came is not what its sender sealed.
        """


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on its way: who, to whom, under which tag, and the bytes."""

    sender: str
    recipient: str
    tag: str
    payload: bytes


def pack_frame(frame: Frame) -> bytes:
    """Return the wire form: three length-prefixed names, then the payload."""
    parts = []
    for text in (frame.sender, frame.recipient, frame.tag):
        raw = text.encode()
        if len(raw) > _MAX_NAME:
            raise ValueError(f"a name on the wire has at most {_MAX_NAME} bytes")
        parts.append(struct.pack("<B", len(raw)) + raw)
    return b"".join(parts) + frame.payload


def unpack_frame(raw: bytes) -> Frame:
    """Read the wire form of a frame.

    Raises
    ------
    BadPeer
        If it is cut short or a name is not UTF-8.
    """
    names, start = [], 0
    try:
        for _ in range(3):
            length = raw[start]
            names.append(raw[start + 1 : start + 1 + length].decode())
            start += 1 + length
    except (IndexError, UnicodeDecodeError) as error:
        raise BadPeer("a frame is cut short or misspelt") from error
    if start > len(raw):
        raise BadPeer("a frame is cut short or misspelt")
    sender, recipient, tag = names
    return Frame(sender, recipient, tag, raw[start:])


@dataclass(slots=True)
class Traffic:
    """Bytes that passed a channel, by peer: payload of frames, without transport headers."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)

    @property
    def total_sent(self) -> int:
        """Bytes sent to all peers."""
        return sum(self.sent.values())

    @property
    def total_received(self) -> int:
        """Bytes received from all peers."""
        return sum(self.received.values())


class QueueChannel:
    """A channel over an inbox queue and a function that carries frames away.

    Parameters
    ----------
    me : str
        Own name.
    peers : iterable of str
        Everybody else.
    inbox : queue of Frame
        Where frames for `me` arrive.
    carry : callable
        Takes a frame and brings it to its recipient's inbox.
    deadline : float
        Seconds that one `receive` waits before it gives the sender up.
    scope : str
        Prefix of every tag: the phase. What comes for another scope waits for it.
    """

    def __init__(
        self,
        me: str,
        peers: Iterable[str],
        inbox: queue.Queue[Frame],
        carry: Callable[[Frame], None],
        *,
        deadline: float,
        scope: str = "",
    ) -> None:
        self.me = me
        self.peers = tuple(sorted(peers))
        self.traffic = Traffic()
        self._inbox = inbox
        self._carry = carry
        self._deadline = deadline
        self._scope = scope
        self._left_out: frozenset[str] = frozenset()
        self._waiting: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(deque)

    def scoped(self, scope: str) -> QueueChannel:
        """Return a channel over the same queues for one phase, with counters of its own."""
        other = QueueChannel(
            self.me,
            self.peers,
            self._inbox,
            self._carry,
            deadline=self._deadline,
            scope=f"{scope}/",
        )
        other._waiting = self._waiting
        return other

    def among(self, peers: Iterable[str]) -> QueueChannel:
        """Return this channel to fewer peers: what the others send from now on is dropped."""
        kept = set(peers) & set(self.peers)
        self._left_out |= set(self.peers) - kept
        self.peers = tuple(sorted(kept))
        return self

    def send(self, to: str, tag: str, payload: bytes) -> None:
        """Send bytes to one peer; returns at once."""
        if to not in self.peers:
            raise BadPeer(f"{to!r} takes no part in this run")
        self.traffic.sent[to] += len(payload)
        self._carry(Frame(self.me, to, self._scope + tag, payload))

    def send_all(self, to: Iterable[str], tag: str, payload: bytes) -> None:
        """Send the same bytes to several peers."""
        for peer in to:
            self.send(peer, tag, payload)

    def abort(self, reason: str) -> None:
        """Tell every peer that this party stops, so that nobody waits out a deadline."""
        for peer in self.peers:
            self.send(peer, ABORT, reason.encode())

    def bury(self, peer: str, why: str) -> None:
        """Have whoever waits on this channel hear that a peer is gone; from any thread."""
        self._inbox.put(Frame(peer, self.me, ABORT, why.encode()))

    def receive(self, frm: str, tag: str) -> bytes:
        """Return the next message of a sender under a tag; see `Channel.receive`."""
        waiting = self._waiting[frm, self._scope + tag]
        while not waiting:
            self._take_in(frm)
        return waiting.popleft()

    def _take_in(self, awaited: str) -> None:
        try:
            frame = self._inbox.get(timeout=self._deadline)
        except queue.Empty:
            raise PartyLost(f"{NO_ANSWER} within {self._deadline:g} s", party=awaited) from None
        if frame.sender in self._left_out:
            return
        if frame.recipient != self.me or frame.sender not in self.peers:
            raise BadPeer(f"a frame from {frame.sender!r} to {frame.recipient!r} came to {self.me}")
        if frame.tag in {ABORT, self._scope + ABORT}:
            why = printable(frame.payload[:1600].decode(errors="replace"))
            raise PartyLost(f"stopped: {why}", party=frame.sender)
        self.traffic.received[frame.sender] += len(frame.payload)
        self._waiting[frame.sender, frame.tag].append(frame.payload)


def queue_channels(names: Iterable[str], *, deadline: float = 30.0) -> Mapping[str, QueueChannel]:
    """Connect several names inside one process.

    Parameters
    ----------
    names : iterable of str
        The coordinator and the parties.
    deadline : float
        Seconds that one `receive` waits.

    Returns
    -------
    mapping of str to QueueChannel
    """
    everybody = tuple(sorted(names))
    inboxes: dict[str, queue.Queue[Frame]] = {name: queue.Queue() for name in everybody}

    def carry(frame: Frame) -> None:
        inboxes[frame.recipient].put(frame)

    return {
        name: QueueChannel(name, set(everybody) - {name}, inboxes[name], carry, deadline=deadline)
        for name in everybody
    }
