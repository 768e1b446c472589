"""Flower's own grid, as the phases want it: every node is a party, and every loss has a name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from flwr.app import Error, Message
from flwr.serverapp import Grid

from server.engines.grids import Front
from server.engines.local import DIED, PARTY_DIED, PARTY_FORGED
from shared.arrays import unpack_value
from shared.errors import BadPeer, ConfideError, EnvironmentFault

# An empty pull costs the SuperLink some milliseconds of one core.
_POLL_S = 0.1
_LONGEST_REASON = 300


class NamedGrid(Front):
    """A grid over HTTP whose nodes are the parties' registered ones.

    Parameters
    ----------
    grid : Grid
        Flower's.
    nodes : mapping of str to int
        The node that was registered with each party's key. Names come from here, never from the
        order of ids: a reply under another party's name is not taken.
    deadline : float
        Seconds to wait for all nodes to be there.
    dead : callable
        Returns the parties whose node is known to have died: Flower itself notices after a minute.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[str, int],
        deadline: float,
        dead: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        super().__init__(grid)
        self._dead = dead
        self._party_of = {node: party for party, node in nodes.items()}
        self._deadline = deadline
        self._sent: dict[str, Message] = {}
        self._pulled = 0.0

    def get_node_ids(self) -> Iterable[int]:
        """Wait until every party's node is there; return those that are when the time is up.

        Those known to have died are neither waited for nor returned.
        """
        end = time.monotonic() + self._deadline
        while True:
            dead = self._dead()
            wanted = {node for node, party in self._party_of.items() if party not in dead}
            there = [node for node in self._grid.get_node_ids() if node in wanted]
            if len(there) == len(wanted) or time.monotonic() > end:
                return there
            time.sleep(_POLL_S)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their identifiers."""
        whole = list(messages)
        phase = _phase(whole[0]) if whole else ""
        with _told(f"phase {phase} could not be opened"):
            identifiers = list(self._grid.push_messages(whole))
        self._sent.update(zip(identifiers, whole, strict=True))
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived, ten times a second at most."""
        time.sleep(max(0.0, self._pulled + _POLL_S - time.monotonic()))
        wanted = set(message_ids)
        with _told("the parties' replies could not be fetched"):
            replies = [self._named(reply) for reply in self._grid.pull_messages(wanted)]
        self._pulled = time.monotonic()
        there = {reply.metadata.reply_to_message_id for reply in replies}
        dead = self._dead()
        asked = {name: self._sent[name] for name in wanted - there} if dead else {}
        replies += [self._lost(one) for one in asked.values() if self._asked(one) in dead]
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies."""
        waiting = set(self.push_messages(messages))
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (end is None or time.monotonic() < end):
            arrived = list(self.pull_messages(waiting))
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            replies += arrived
        return replies

    def _asked(self, request: Message) -> str:
        return self._party_of[request.metadata.dst_node_id]

    def _lost(self, request: Message, why: str = "") -> Message:
        lost = f"{self._asked(request)}: {DIED} in phase {_phase(request)}{why}"
        return Message(Error(PARTY_DIED, lost), reply_to=request)

    def _named(self, reply: Message) -> Message:
        """Return a reply, or an error under the name of the party that was asked."""
        request = self._sent[reply.metadata.reply_to_message_id]
        if reply.has_error():
            why = (reply.error.reason or "").strip()[:_LONGEST_REASON]
            return self._lost(request, f"; Flower says: {why}")
        party = self._asked(request)
        if _signed(reply) != party:
            forged = f"{party}: its node answers phase {_phase(request)} under another name"
            return Message(Error(PARTY_FORGED, forged), reply_to=request)
        return reply


def _phase(message: Message) -> str:
    return message.metadata.message_type.partition(".")[2]


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Say what Flower could not do."""
    # It waits for a SuperLink that is away, but loses a message whose parts were on their way.
    try:
        yield
    except ConfideError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"{what}: Flower's SuperLink lost it ({type(error).__name__})", hint="train again"
        ) from error


def _signed(reply: Message) -> str:
    """Return the name that a reply gives itself; empty if it has none."""
    try:
        value = unpack_value(bytes(reply.content["reply"]["value"]))  # type: ignore[arg-type]
        return str(value["party"])
    except (BadPeer, KeyError, TypeError):
        return ""
