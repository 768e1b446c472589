"""End-to-end delivery over a relay that keeps nothing, and that may go away at any time.

A `Link` is one member's connection to one session. It hands whole frames in at one end and out at
the other, each once and in order, whatever happens to connections and to the relay in between:
`Link.carry` and `Link.inbox` are what `shared.channel.QueueChannel` wants. The module knows no
socket: it is handed a function that connects.

One thread owns the connection, for reading and writing alike, and waits for neither alone. Whoever
waited to write while nobody read could wait for a peer that waits for it; and a TLS connection does
not bear two threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from os import urandom

from shared.channel import ABORT, Frame, pack_frame
from shared.delivery import CONFIRM_S, Delivery, Peer
from shared.errors import ConfideError, EnvironmentFault, PartyLost, Refused
from shared.inbox import Inbox
from shared.pieces import cut
from shared.wire import NO_SESSION, REFUSED, REPLACED, Wire, WireClosedError

_TOO_BIG = 1009  # RFC 6455, 7.4.1
#: Bytes that may be on their way to one recipient; beyond, whoever sends waits.
WINDOW_BYTES = 8 << 20

# Handed to the connection ahead of what it has written: enough to keep it busy.
_AHEAD_BYTES = 512 * 1024
_TICK_S = 0.5
_FIRST_REST_S, _LONGEST_REST_S = 0.05, 2.0
# A killed process does not say goodbye; a lost connection comes back sooner than this.
_ABSENT_S = 30.0
# How long the last confirmations are waited for when all else is done: a peer that comes back in
# time still needs this member to confirm what it sent.
_LINGER_S = _ABSENT_S
_QUITTING_S = 5.0


class Link:
    """One member's end of a session.

    Parameters
    ----------
    me : str
        Own name.
    peers : iterable of str
        Everybody else in the session.
    connect : callable
        Returns a `Wire`; raises `WireClosedError` where another attempt may help, and an error of
        `shared.errors` where it cannot.
    address : str
        Of the relay, for messages.
    deadline : float
        Seconds without the relay, or without progress to a peer, before it is given up.
    clock : callable
        Returns seconds that only rise.
    coordinator : str
        Name of the member that opens the session.
    """

    def __init__(
        self,
        me: str,
        peers: Iterable[str],
        connect: Callable[[], Wire],
        *,
        address: str,
        deadline: float,
        clock: Callable[[], float],
        coordinator: str = "coordinator",
    ) -> None:
        self.inbox = Inbox(self._no_relay)
        self._me, self._address, self._coordinator = me, address, coordinator
        self._connect, self._deadline, self._clock = connect, deadline, clock
        self._delivery = Delivery(me, peers)
        self._turns = {name: threading.Lock() for name in self._delivery.peers}
        self._changed = threading.Condition()  # guards everything below and the delivery
        self._thread = threading.Thread(target=self._work, name=f"link-{me}", daemon=True)
        self._wire: Wire | None = None
        self._welcomed = False
        self._failure: BaseException | None = None
        self._attempts = 0
        self._closed: WireClosedError | None = None  # while there is no connection, and why
        self._away_since = clock()
        self._stopped = False  # it has told its peers that it stops
        self._leaving: float | None = None  # since when
        self._limit = 0.0  # and until when at most

    def open(self) -> None:
        """Connect; return once the relay has let this member in.

        Raises
        ------
        Refused
            If the relay, or its certificate, is refused, or it refuses this member.
        EnvironmentFault
            If it cannot be reached before the deadline.
        PartyLost
            If the coordinator has not opened the session before the deadline.
        """
        self._away_since = self._clock()
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._welcomed or self._failure is not None)
            self._raise_failure()

    def carry(self, frame: Frame) -> None:
        """Bring a frame to its recipient; wait while too much is on its way to it.

        Raises
        ------
        PartyLost
            If the recipient takes nothing for as long as the deadline.
        ConfideError
            If the link has failed.
        """
        peer = self._delivery.peers[frame.recipient]
        # Whoever stops says so without waiting, and without a second reason over the first.
        last_words = frame.tag.rpartition("/")[2] == ABORT
        turn = self._turns[frame.recipient]
        if not turn.acquire(timeout=_QUITTING_S if last_words else -1):
            return  # another thread is in the middle of a frame, and stays there
        try:
            for flag, piece in cut(pack_frame(frame)):
                with self._changed:
                    if not last_words:
                        self._await_room(frame.recipient, peer)
                    self._stopped = self._stopped or last_words
                    if peer.left or (peer.lost and not last_words):
                        return
                    peer.outbox.add(flag, piece)
                    wire = self._wire
                if wire is not None:
                    wire.wake()
        finally:
            turn.release()

    def leave(self, *, finished: bool) -> None:
        """Wait until everybody has what was carried, say goodbye, and close.

        Parameters
        ----------
        finished : bool
            Whether this member has done its part; if not, or if it told its peers that it stops,
            it is gone within seconds.

        Raises
        ------
        PartyLost
            If it finished, and a peer has not confirmed what was sent to it before the deadline.
        ConfideError
            If it finished, and the link has failed.
        """
        with self._changed:
            finished = finished and not self._stopped
            self._leaving = self._clock()
            self._limit = self._leaving + (self._deadline if finished else _QUITTING_S)
            if self._wire is not None:
                self._wire.wake()
            self._changed.notify_all()
        self._thread.join()
        if not finished:
            return
        self._raise_failure()
        for name, why in self._delivery.undelivered.items():
            silent = f"has not confirmed what was sent in {self._deadline:g} s"
            raise PartyLost(why or silent, party=name)

    def _await_room(self, name: str, peer: Peer) -> None:
        confirmed, limit = peer.outbox.confirmed, self._clock() + self._deadline
        while True:
            self._raise_failure()
            if peer.left or peer.lost or peer.outbox.size < WINDOW_BYTES:
                return
            if peer.outbox.confirmed != confirmed:
                confirmed, limit = peer.outbox.confirmed, self._clock() + self._deadline
            left = limit - self._clock()
            if left <= 0:
                raise PartyLost(f"has taken nothing for {self._deadline:g} s", party=name)
            self._changed.wait(left)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # Everything below runs in the link's own thread.

    def _work(self) -> None:
        try:
            while not self._may_go():
                self._stay_connected()
        except BaseException as error:  # noqa: BLE001 - raised wherever the caller waits
            with self._changed:
                self._failure = error
                self.inbox.end(error)
                self._changed.notify_all()

    def _stay_connected(self) -> None:
        """Connect and talk until the connection ends, then rest: never try again at once."""
        try:
            wire = self._connect()
            try:
                self._begin(wire)
                self._talk(wire)
            finally:
                self._end()
                wire.close()
        except WireClosedError as closed:
            self._judge(closed)
            self._rest()

    def _begin(self, wire: Wire) -> None:
        with self._changed:
            self._wire, self._welcomed, self._closed = wire, True, None
            self._delivery.connected(self._clock())
            self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._wire, self._away_since = None, self._clock()
            self._delivery.disconnected()

    def _talk(self, wire: Wire) -> None:
        patience = min(self._deadline, _ABSENT_S)
        while True:
            with self._changed:
                now = self._clock()
                for news in self._delivery.miss_absent(now, patience):
                    self._hand_out(news)
                done = self._may_go()
                while wire.backlog < _AHEAD_BYTES:
                    message = self._delivery.next_message(now)
                    if message is None:
                        break
                    wire.send(message)
                if done and not wire.backlog:
                    return
                pause = CONFIRM_S if self._delivery.owes else _TICK_S
            messages = wire.receive(pause)
            if messages:
                self._take(messages)

    def _take(self, messages: Iterable[bytes]) -> None:
        with self._changed:
            before, now = self._delivery.progress, self._clock()
            for raw in messages:
                for frame in self._delivery.take(raw, now):
                    self._hand_out(frame)
            if self._delivery.progress > before:
                self._attempts = 0
                self._changed.notify_all()

    def _hand_out(self, frame: Frame) -> None:
        self.inbox.put(frame)
        if frame.tag == ABORT:  # the peer may be lost, and whoever waits for room finds out
            self._changed.notify_all()

    def _may_go(self) -> bool:
        """Return whether this member wants to go, and nobody waits for anything of it."""
        with self._changed:
            if self._leaving is None:
                return False
            self._delivery.say_goodbye()
            now = self._clock()
            if now > self._limit or self._delivery.is_done:
                return True
            lost = all(self._delivery.undelivered.values())
            return lost and now > self._leaving + _LINGER_S

    def _judge(self, closed: WireClosedError) -> None:
        """Raise where another attempt cannot help, or too many did not."""
        if closed.code == REFUSED:
            raise Refused(f"the relay at {self._address} refused {self._me}: {closed.reason}")
        if closed.code == REPLACED:
            raise Refused(f"another process took the place of {self._me} at the relay")
        if closed.code == _TOO_BIG:
            raise Refused(f"the relay at {self._address} refused a message: it is too large")
        with self._changed:
            self._closed = closed
        if self._clock() - self._away_since >= self._deadline:
            raise self._no_relay() or closed

    def _no_relay(self) -> ConfideError | None:
        """Return the error that there is no connection, if there is none."""
        with self._changed:
            closed = self._closed
        if closed is None:
            return None
        if closed.code == NO_SESSION:
            return PartyLost(
                f"has not opened the session at the relay for {self._deadline:g} s",
                party=self._coordinator,
                hint=closed.reason,
            )
        return EnvironmentFault(
            f"no connection to the relay at {self._address} for {self._deadline:g} s",
            hint=closed.reason,
        )

    def _rest(self) -> None:
        """Wait before the next attempt, longer each time, and not as long as everybody else."""
        longest = min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(self._attempts, 10))
        self._attempts += 1
        seconds = longest * (0.5 + urandom(1)[0] / 512)
        with self._changed:
            self._changed.wait_for(self._may_go, timeout=seconds)
