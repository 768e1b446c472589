"""What one member knows of the others in a session: what it sent, what it took, who is there.

`Delivery` is the whole of end-to-end delivery but for connections, threads and waiting, which are
`shared.link`'s: messages go in and come out, and the time is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shared.channel import ABORT, Frame, unpack_frame
from shared.errors import BadPeer
from shared.pieces import (
    ACK,
    DATA,
    DOWN,
    GOODBYE,
    UP,
    Intake,
    Message,
    Outbox,
    pack_message,
    unpack_message,
)

# Small pieces are confirmed a few at a time: on its own each would cost as much as the piece.
_PROMPT_BYTES = 64 * 1024
CONFIRM_S = 0.01


@dataclass(slots=True)
class Peer:
    """Another member.

    Attributes
    ----------
    outbox : Outbox
        What goes to it.
    intake : Intake
        What came from it.
    up : bool
        Whether it is connected, as far as the relay says.
    epoch : bytes
        Its process; empty before it was ever there.
    absent_since : float or None
        When it was found to be gone.
    left : bool
        It said goodbye: all it had to say has arrived, and it needs nothing more.
    lost : str
        Why it will not come back; empty while it may.
    """

    outbox: Outbox = field(default_factory=Outbox)
    intake: Intake = field(default_factory=Intake)
    up: bool = False
    epoch: bytes = b""
    absent_since: float | None = None
    left: bool = False
    lost: str = ""
    told: bool = False  # that this member leaves
    owed: int = 0  # bytes taken and not confirmed
    owed_since: float | None = None


class Delivery:
    """One member's view of all others.

    Parameters
    ----------
    me : str
        Own name.
    peers : iterable of str
        Everybody else.
    """

    def __init__(self, me: str, peers: Iterable[str]) -> None:
        self._me = me
        self.peers = {name: Peer() for name in sorted(peers)}
        self._turns = deque(self.peers)
        #: Rises with every piece taken, and with every one confirmed.
        self.progress = 0

    def connected(self, now: float) -> None:
        """Begin a connection: who is there is named at once, whoever is not is absent since now."""
        for peer in self.peers.values():
            peer.absent_since = now if peer.epoch else None

    def disconnected(self) -> None:
        """End a connection: nothing is known of anybody."""
        for peer in self.peers.values():
            peer.up, peer.absent_since = False, None

    def next_message(self, now: float) -> bytes | None:
        """Return what to send next: confirmations first, then the peers' pieces in turn."""
        for name, peer in self.peers.items():
            if peer.up and peer.owed_since is not None and self._is_due(peer, now):
                peer.owed, peer.owed_since = 0, None
                return pack_message(Message(ACK, name, peer.intake.taken))
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            name = self._turns[0]
            if self.peers[name].up and (message := self.peers[name].outbox.next(name)):
                return pack_message(message)
        return None

    @property
    def owes(self) -> bool:
        """Whether a confirmation waits for its time."""
        return any(peer.up and peer.owed_since is not None for peer in self.peers.values())

    def take(self, raw: bytes, now: float) -> Iterator[Frame]:
        """Take a message of the relay; yield the frame it completes, or the news of a loss.

        Raises
        ------
        BadPeer
            If the message or its frame is malformed, or says another sender than the relay does.
        """
        message = unpack_message(raw)
        peer = self.peers.get(message.name)
        if peer is None:  # a member of the federation that has no part in this phase
            return
        if message.kind == DATA:
            yield from self._take_piece(peer, message, now)
        elif message.kind == ACK:
            self.progress += peer.outbox.confirm(message.number)
        elif message.kind == UP:
            yield from self._greet(peer, message)
        elif message.kind == DOWN:
            peer.up, peer.absent_since = False, now

    def miss_absent(self, now: float, patience: float) -> Iterator[Frame]:
        """Give up peers that went without a goodbye and do not come back; yield the news."""
        for name, peer in self.peers.items():
            since = peer.absent_since
            if since is not None and not peer.left and now - since > patience:
                yield from self._lose(name, f"its connection has been gone for {patience:g} s")

    def say_goodbye(self) -> None:
        """Tell everybody who has confirmed all frames, and once, that nothing more will come.

        Not before: whoever hears it may leave at once, and take with it what it has not confirmed.
        """
        for peer in self.peers.values():
            if peer.epoch and not (peer.left or peer.told or peer.outbox.frames):
                peer.told = True
                peer.outbox.add(GOODBYE, b"")

    @property
    def undelivered(self) -> dict[str, str]:
        """Peers that have not confirmed all frames and have not left: name, and why it is lost."""
        return {
            name: peer.lost
            for name, peer in self.peers.items()
            if peer.outbox.frames and not peer.left
        }

    @property
    def is_done(self) -> bool:
        """Whether nobody waits for anything of this member, not even a confirmation."""
        there = [peer for peer in self.peers.values() if not (peer.left or peer.lost)]
        return not any(len(peer.outbox) for peer in there) and not self.owes

    @staticmethod
    def _is_due(peer: Peer, now: float) -> bool:
        since = peer.owed_since
        return peer.owed >= _PROMPT_BYTES or (since is not None and now - since >= CONFIRM_S)

    def _take_piece(self, peer: Peer, message: Message, now: float) -> Iterator[Frame]:
        before = peer.intake.taken
        raw = peer.intake.take(message)
        peer.owed_since = now if peer.owed_since is None else peer.owed_since
        # What comes twice was sent again for want of a confirmation.
        again = peer.intake.taken == before
        peer.owed += _PROMPT_BYTES if again or message.flag == GOODBYE else len(message.body)
        self.progress += not again
        if message.flag == GOODBYE and not again:
            peer.left = True
            peer.outbox.reset()
        if raw is None:
            return
        frame = unpack_frame(raw)
        if frame.sender != message.name or frame.recipient != self._me:
            raise BadPeer(
                f"sent a frame from {frame.sender!r} to {frame.recipient!r}", party=message.name
            )
        yield frame

    def _greet(self, peer: Peer, message: Message) -> Iterator[Frame]:
        epoch = bytes(message.body)
        if peer.epoch and peer.epoch != epoch:
            # The new process can take part in nothing; what it can take is being told so.
            peer.outbox.reset()
            peer.told = False
            yield from self._lose(message.name, "was restarted within the phase")
        peer.up, peer.epoch, peer.absent_since = True, epoch, None
        peer.outbox.rewind()

    def _lose(self, name: str, why: str) -> Iterator[Frame]:
        if not self.peers[name].lost:
            self.peers[name].lost = why
            yield Frame(name, self._me, ABORT, why.encode())
