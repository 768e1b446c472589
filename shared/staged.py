"""A protocol in stages: where messages travel in rounds, and nobody can wait for one.

Engine `simulation` starts a simulated holder for every Flower message and ends it with its reply.
Protocol code waits in the middle for what others send. So at every stage it is played again from
its beginning over all that has arrived: what it sent before is left out, and where it asks for a
message that is not there yet, the stage ends. For that the protocol must do the same every time:
its random bytes come from one seed, see `entropy_of`.

What is sent here is signed, not sealed: who carries it reads it. That suits a sum that the
coordinator opens, where parties show each other public keys and commitments alone.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.arrays import pack_value, unpack_value
from shared.channel import Channel
from shared.errors import BadPeer
from shared.identity import Identity, Roster
from shared.masks import Keystream
from shared.sealed import SealedChannel, Session

T = TypeVar("T")

_SIZE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Post:
    """One payload on its way to several members.

    Parameters
    ----------
    sender : str
    to : tuple of str
    tag : str
    payload : bytes
    """

    sender: str
    to: tuple[str, ...]
    tag: str
    payload: bytes


def pack_posts(posts: Iterable[Post]) -> bytes:
    """Return posts as bytes: a list of who, to whom, what and how long, then all payloads."""
    whole = list(posts)
    head = pack_value(
        [{"from": p.sender, "to": list(p.to), "tag": p.tag, "size": len(p.payload)} for p in whole]
    )
    payloads = [post.payload for post in whole]
    return b"".join([len(head).to_bytes(_SIZE_BYTES, "big"), head, *payloads])


def unpack_posts(raw: bytes) -> list[Post]:
    """Read what `pack_posts` wrote.

    Raises
    ------
    BadPeer
        If it is something else.
    """
    end = _SIZE_BYTES + int.from_bytes(raw[:_SIZE_BYTES], "big")
    posts = []
    try:
        for entry in unpack_value(raw[_SIZE_BYTES:end]):
            start, end = end, end + int(entry["size"])
            to = tuple(str(name) for name in entry["to"])
            posts.append(Post(str(entry["from"]), to, str(entry["tag"]), raw[start:end]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("the messages of a stage are malformed") from error
    if end != len(raw):
        raise BadPeer("the messages of a stage are cut short")
    return posts


def entropy_of(seed: bytes) -> Callable[[int], bytes]:
    """Return a source of unpredictable bytes that gives the same ones at every stage.

    Parameters
    ----------
    seed : bytes
        32 bytes, fresh for every protocol, forgotten with it.
    """
    return Keystream(seed, "stages").read


class _NotThereYetError(Exception):
    """A message is asked for that comes in a later stage."""


class _Stage:
    """The `Channel` of one stage."""

    def __init__(self, me: str, peers: Iterable[str], arrived: Iterable[Post], sent: int) -> None:
        self.me = me
        self.peers = tuple(sorted(peers))
        self.posts: list[Post] = []
        self.sent = 0
        self._before = sent
        self._waiting: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(deque)
        for post in arrived:
            self._waiting[post.sender, post.tag].append(post.payload)

    def send(self, to: str, tag: str, payload: bytes) -> None:
        self.send_all((to,), tag, payload)

    def send_all(self, to: Iterable[str], tag: str, payload: bytes) -> None:
        self.sent += 1
        if self.sent > self._before:
            self.posts.append(Post(self.me, tuple(to), tag, payload))

    def receive(self, frm: str, tag: str) -> bytes:
        waiting = self._waiting[frm, tag]
        if not waiting:
            raise _NotThereYetError
        return waiting.popleft()


class _Signed(SealedChannel):
    """Signs and checks as a sealed channel does; what it sends is not sealed."""

    def __init__(
        self,
        transport: Channel,
        identity: Identity,
        session: Session,
        keys: Mapping[str, bytes],
        roster: Roster,
    ) -> None:
        both = {name: (key, b"") for name, key in keys.items()}
        super().__init__(transport, identity, session, both, X25519PrivateKey.generate(), roster)

    def send_all(self, to: Iterable[str], tag: str, payload: bytes) -> None:
        """Send bytes to several peers."""
        self._transport.send_all(to, tag, payload)

    def receive(self, frm: str, tag: str) -> bytes:
        """Return the next message of a sender under a tag."""
        return self._transport.receive(frm, tag)


@dataclass(frozen=True, slots=True)
class Member:
    """Who plays a protocol in stages.

    Parameters
    ----------
    identity : Identity
    roster : Roster
    keys : mapping of str to bytes
        Everybody's public key, raw; `roster` pins them.
    session : Session
    """

    identity: Identity
    roster: Roster
    keys: Mapping[str, bytes]
    session: Session


@dataclass(frozen=True, slots=True)
class Played(Generic[T]):
    """What came of a stage.

    Parameters
    ----------
    posts : list of Post
        What is to be sent now.
    sent : int
        How many were sent in all stages so far.
    done : bool
        Whether the protocol has ended.
    value : object
        What it returned, if it has ended.
    """

    posts: list[Post]
    sent: int
    done: bool
    value: T | None


def play(
    member: Member,
    arrived: Iterable[Post],
    sent: int,
    protocol: Callable[[SealedChannel], T],
) -> Played[T]:
    """Play a protocol as far as what has arrived lets it go.

    Parameters
    ----------
    member : Member
    arrived : iterable of Post
        All of the stages so far, in order.
    sent : int
        See `Played`; 0 at first.
    protocol : callable
        Takes a channel; does the same at every stage.

    Raises
    ------
    ConfideError
        Whatever the protocol raises.
    """
    me = member.identity.name
    stage = _Stage(me, set(member.keys) - {me}, arrived, sent)
    channel = _Signed(stage, member.identity, member.session, member.keys, member.roster)
    try:
        value = protocol(channel)
    except _NotThereYetError:
        return Played(stage.posts, stage.sent, done=False, value=None)
    return Played(stage.posts, stage.sent, done=True, value=value)
