"""End-to-end delivery over a relay that forgets: nothing lost, nothing doubled, order kept."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import link as link_module
from shared.channel import Frame, QueueChannel, pack_frame
from shared.delivery import Delivery
from shared.errors import BadPeer, EnvironmentFault, PartyLost, Refused
from shared.identity import Identity, Roster
from shared.link import WINDOW_BYTES, Link
from shared.pieces import (
    ACK,
    DATA,
    DOWN,
    LAST,
    MESSAGE_BYTES,
    MORE,
    PIECE_BYTES,
    UP,
    Intake,
    Message,
    Outbox,
    cut,
    pack_message,
    readdress,
    unpack_message,
)
from shared.proof import check_proof, prove
from shared.wire import NO_SESSION, REFUSED, REPLACED, WireClosedError
from tests.depth import depth

SCOPE = "run/test/1"


class FakeRelay:
    """The relay's rules without sockets; connections end where a test says so."""

    def __init__(self, cut_at=()):
        self.lock = threading.RLock()
        self.wires = {}
        self.carried = []
        self.closed_to = {}  # name to the close code that meets it
        self.dials = self.cuts = 0
        self._cut_at = set(cut_at)  # (how many-th message, "sender" or "recipient")

    def connect(self, name, epoch=None):
        with self.lock:
            self.dials += 1
            if name in self.closed_to:
                raise WireClosedError("no", self.closed_to[name])
            wire = FakeWire(self, name)
            before = self.wires.pop(name, None)
            if before is not None:
                before.end(REPLACED)
            for other, its in list(self.wires.items()):
                wire.put(pack_message(Message(UP, other, body=its.epoch)))
            wire.epoch = epoch or name.encode().ljust(8)[:8]
            for its in self.wires.values():
                its.put(pack_message(Message(UP, name, body=wire.epoch)))
            self.wires[name] = wire
            return wire

    def carry(self, name, raw):
        with self.lock:
            recipient, onward = readdress(raw, name)
            count = len(self.carried)
            self.carried.append((name, recipient, raw))
            cut_one = {side for k, side in self._cut_at if k == count}
            if cut_one:  # the message is lost with the connection
                self.drop(name if "sender" in cut_one else recipient)
                if "sender" in cut_one:
                    return
            if recipient in self.wires:
                self.wires[recipient].put(onward)

    def drop(self, name, code=0):
        with self.lock:
            wire = self.wires.pop(name, None)
            if wire is None:
                return
            self.cuts += 1
            wire.end(code)
            for its in self.wires.values():
                its.put(pack_message(Message(DOWN, name)))

    def link(self, name, peers, *, deadline=5.0, epoch=None):
        connect = partial(self.connect, name, epoch)
        return Link(
            name, peers, connect, address="wss://relay", deadline=deadline, clock=time.monotonic
        )


class FakeWire:
    backlog = 0

    def __init__(self, relay, name):
        self._relay, self._name = relay, name
        self._queue = queue.Queue()
        self._closed = None

    def put(self, raw):
        self._queue.put(raw)

    def end(self, code):
        self._closed = WireClosedError("cut", code)
        while not self._queue.empty():  # what was on its way is lost
            self._queue.get_nowait()
        self._queue.put(None)

    def send(self, raw):
        if self._closed is None:
            self._relay.carry(self._name, raw)

    def receive(self, timeout):
        if self._closed is not None:
            raise self._closed
        try:
            raw = self._queue.get(timeout=timeout)
        except queue.Empty:
            return []
        if self._closed is not None:
            raise self._closed
        return [] if raw is None else [raw]

    def wake(self):
        self._queue.put(None)

    def close(self):
        with self._relay.lock:
            if self._relay.wires.get(self._name) is self:
                self._relay.drop(self._name)
                self._relay.cuts -= 1


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Rest briefly: a test has no relay to spare."""
    monkeypatch.setattr(link_module, "_FIRST_REST_S", 0.001)
    monkeypatch.setattr(link_module, "_LONGEST_REST_S", 0.02)
    monkeypatch.setattr(link_module, "_LINGER_S", 1.0)
    monkeypatch.setattr(link_module, "_QUITTING_S", 0.3)


def frame(sender, recipient, payload, tag="t"):
    return Frame(sender, recipient, tag, payload)


def taken(link, count, timeout=5.0):
    return [link.inbox.get(timeout=timeout).payload for _ in range(count)]


def exchange(relay, names, payloads):
    """Everybody sends everybody the payloads; return what each got from each."""
    links = {name: relay.link(name, [p for p in names if p != name]) for name in names}
    got = {}

    def play(name):
        try:
            link = links[name]
            link.open()
            others = [peer for peer in names if peer != name]
            for payload in payloads:
                for peer in others:
                    link.carry(frame(name, peer, payload))
            got[name] = {peer: [] for peer in others}
            for _ in range(len(payloads) * len(others)):
                one = link.inbox.get(timeout=10)
                got[name][one.sender].append(one.payload)
            link.leave(finished=True)
            got[name]["rest"] = link.inbox.qsize()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            got[name] = error

    threads = [threading.Thread(target=play, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return got


def expected(names, payloads):
    return {
        name: {**{peer: payloads for peer in names if peer != name}, "rest": 0} for name in names
    }


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 40, PIECE_BYTES, 3 * PIECE_BYTES + 7])
def test_frames_of_any_size_arrive_whole(size):
    payloads = [b"a" * size, b"b", b"c" * size]
    assert exchange(FakeRelay(), ["a", "b"], payloads) == expected(["a", "b"], payloads)


PAYLOADS = [b"x" * (PIECE_BYTES + 3), b"y", b"z" * (2 * PIECE_BYTES)]


def test_a_connection_lost_at_any_message_loses_and_doubles_nothing():
    names = ["a", "b"]
    calm = FakeRelay()
    assert exchange(calm, names, PAYLOADS) == expected(names, PAYLOADS)
    points, cuts = len(calm.carried), 0
    assert points >= 14  # two streams of six pieces and a goodbye, and confirmations
    for point in range(points):
        for side in ("sender", "recipient"):
            relay = FakeRelay(cut_at=[(point, side)])
            assert exchange(relay, names, PAYLOADS) == expected(names, PAYLOADS), (point, side)
            cuts += relay.cuts
    assert cuts > points  # nearly all fell into the exchange


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(["sender", "recipient"])), max_size=12
    ),
    sizes=st.lists(st.integers(0, 2 * PIECE_BYTES), min_size=1, max_size=6),
)
def test_any_number_of_cuts_loses_and_doubles_nothing(cuts, sizes):
    payloads = [bytes([i]) * size for i, size in enumerate(sizes)]
    names = ["a", "b", "c"]
    assert exchange(FakeRelay(cut_at=cuts), names, payloads) == expected(names, payloads)


@settings(max_examples=depth(75, 150), deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3 * PIECE_BYTES), min_size=1, max_size=8),
    steps=st.lists(
        st.sampled_from(["send", "send", "send", "confirm", "lose a", "lose b", "reorder"]),
        max_size=60,
    ),
)
def test_delivery_survives_any_sequence_of_losses(sizes, steps):
    """Without threads: messages move one by one, and a lost connection loses those on their way."""
    a, b = Delivery("a", ["b"]), Delivery("b", ["a"])
    sides = {"a": a, "b": b}
    payloads = [bytes([i + 1]) * size for i, size in enumerate(sizes)]
    for payload in payloads:
        for flag, piece in cut(pack_frame(frame("a", "b", payload))):
            a.peers["b"].outbox.add(flag, piece)
    now, got = 0.0, []
    on_way = {"a": [], "b": []}

    def connect(name):
        other = "b" if name == "a" else "a"
        on_way[name].clear()
        on_way[other].clear()
        sides[name].disconnected()
        sides[name].connected(now)
        for to, who in ((name, other), (other, name)):
            up = pack_message(Message(UP, who, body=who.encode() * 8))
            list(sides[to].take(up, now))

    def move(name):
        other = "b" if name == "a" else "a"
        if (message := sides[name].next_message(now)) is not None:
            on_way[other].append(readdress(message, name)[1])
        while on_way[other]:
            got.extend(one.payload for one in sides[other].take(on_way[other].pop(0), now))

    connect("a")
    for step in steps:
        now += 1.0
        if step == "send":
            move("a")
        elif step == "confirm":
            move("b")
        elif step == "reorder":  # a piece of the old connection comes late on the new one
            message = a.next_message(now)
            connect("b")
            if message is not None:
                late = b.take(readdress(message, "a")[1], now)
                got.extend(one.payload for one in late)
        else:
            connect(step[-1])
    connect("b")
    for _ in range(200):
        now += 1.0
        move("a")
        move("b")
    assert got == payloads
    assert a.is_done
    assert a.peers["b"].outbox.size == 0


def test_whoever_sends_more_than_the_window_waits_for_the_recipient():
    relay = FakeRelay()
    link = relay.link("a", ["b"], deadline=10.0)
    link.open()
    sent = []

    def send():
        for i in range(12):
            link.carry(frame("a", "b", bytes(1 << 20)))
            sent.append(i)

    sender = threading.Thread(target=send)
    sender.start()
    sender.join(0.5)
    assert sender.is_alive()
    assert len(sent) * (1 << 20) <= WINDOW_BYTES
    late = relay.link("b", ["a"])
    late.open()
    assert len(taken(late, 12)) == 12
    sender.join(5)
    assert not sender.is_alive()
    leave_together(link, late)


def leave_together(*links):
    threads = [
        threading.Thread(target=link.leave, kwargs={"finished": True}, daemon=True)
        for link in links
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_frames_of_several_threads_do_not_mix():
    relay = FakeRelay()
    a, b = relay.link("a", ["b"]), relay.link("b", ["a"])
    a.open(), b.open()
    payloads = [bytes([i]) * (2 * PIECE_BYTES + i) for i in range(6)]
    threads = [
        threading.Thread(target=a.carry, args=(frame("a", "b", payload),)) for payload in payloads
    ]
    for thread in threads:
        thread.start()
    assert sorted(taken(b, 6)) == payloads
    leave_together(a, b)


def test_a_recipient_that_takes_nothing_is_lost_by_name():
    link = FakeRelay().link("a", ["b"], deadline=0.3)
    link.open()
    with pytest.raises(PartyLost, match="b: has taken nothing"):
        link.carry(frame("a", "b", bytes(WINDOW_BYTES + 1)))
    link.leave(finished=False)


def channel_of(link, me, peers, deadline=2.0):
    return QueueChannel(me, peers, link.inbox, link.carry, deadline=deadline, scope=f"{SCOPE}/")


def test_a_process_restarted_within_the_phase_is_lost_by_name_and_is_told():
    relay = FakeRelay()
    a, b = relay.link("a", ["b"]), relay.link("b", ["a"], epoch=b"first---")
    a.open(), b.open()
    a.carry(frame("a", "b", b"hello"))
    assert taken(b, 1) == [b"hello"]
    time.sleep(0.05)  # the confirmation is back: nothing of it will be sent again
    again = relay.link("b", ["a"], epoch=b"second--")
    again.open()
    channel = channel_of(a, "a", ["b"])
    with pytest.raises(PartyLost, match="b: stopped: was restarted within the phase"):
        channel.receive("b", "t")
    channel.abort("b was restarted")
    with pytest.raises(PartyLost, match="a: stopped: b was restarted"):
        channel_of(again, "b", ["a"]).receive("a", "t")
    with pytest.raises(Refused, match="another process took the place of b"):
        channel_of(b, "b", ["a"]).receive("a", "t")
    for link in (a, b, again):
        link.leave(finished=False)


def test_a_killed_party_is_lost_by_name_and_one_that_left_is_not(monkeypatch):
    monkeypatch.setattr(link_module, "_ABSENT_S", 0.3)
    relay = FakeRelay()
    links = {name: relay.link(name, {"a", "b", "c"} - {name}) for name in "abc"}
    for link in links.values():
        link.open()
    time.sleep(0.05)
    links["b"].leave(finished=True)
    time.sleep(0.8)
    assert links["a"].inbox.empty()  # b has gone for longer than a lost one may
    relay.closed_to["c"] = NO_SESSION
    relay.drop("c")
    with pytest.raises(PartyLost, match="c: stopped: its connection has been gone for"):
        channel_of(links["a"], "a", ["b", "c"]).receive("c", "t")
    links["a"].leave(finished=True)
    links["c"].leave(finished=False)


def test_leaving_waits_until_everything_is_confirmed():
    relay = FakeRelay()
    a = relay.link("a", ["b"])
    a.open()
    a.carry(frame("a", "b", b"late"))
    leaving = threading.Thread(target=a.leave, kwargs={"finished": True})
    leaving.start()
    leaving.join(0.3)
    assert leaving.is_alive()
    b = relay.link("b", ["a"])
    b.open()
    assert taken(b, 1) == [b"late"]
    leaving.join(5)
    assert not leaving.is_alive()
    b.leave(finished=True)


def test_leaving_names_a_peer_that_never_came():
    a = FakeRelay().link("a", ["b"], deadline=0.3)
    a.open()
    a.carry(frame("a", "b", b"for nobody"))
    with pytest.raises(PartyLost, match="b: has not confirmed"):
        a.leave(finished=True)


def test_whoever_stops_is_gone_in_seconds_and_its_last_words_do_not_wait():
    a = FakeRelay().link("a", ["b"], deadline=60.0)
    a.open()
    a._delivery.peers["b"].outbox.add(LAST, bytes(WINDOW_BYTES))
    started = time.monotonic()
    channel_of(a, "a", ["b"]).abort("data: a column is missing")
    a.leave(finished=True)  # it has said otherwise
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (REFUSED, Refused, "the relay at wss://relay refused a: no"),
        (REPLACED, Refused, "another process took the place of a"),
        (1009, Refused, "too large"),
        (NO_SESSION, PartyLost, "coordinator: has not opened the session"),
        (0, EnvironmentFault, "no connection to the relay at wss://relay for 0.3 s"),
    ],
)
def test_what_the_relay_says_reaches_the_caller_by_name(code, kind, text):
    relay = FakeRelay()
    relay.closed_to["a"] = code
    with pytest.raises(kind, match=text):
        relay.link("a", ["b"], deadline=0.3).open()


def test_a_refusal_in_the_middle_reaches_whoever_waits_and_whoever_sends():
    relay = FakeRelay()
    link = relay.link("a", ["b"])
    link.open()
    channel = channel_of(link, "a", ["b"])
    relay.drop("a", code=REFUSED)
    for _ in range(2):  # and again, whoever asks
        with pytest.raises(Refused, match="refused a: cut"):
            channel.receive("b", "t")
    with pytest.raises(Refused, match="refused a: cut"):
        channel.send("b", "t", b"")
    with pytest.raises(Refused):
        link.leave(finished=True)
    channel.abort("this cannot be told to anybody, and hides no error")


def test_a_defect_in_the_thread_is_loud():
    def connect():
        raise ZeroDivisionError("a defect")

    link = Link("a", ["b"], connect, address="x", deadline=5.0, clock=time.monotonic)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        link.open()
    with pytest.raises(ZeroDivisionError):
        channel_of(link, "a", ["b"]).receive("b", "t")


def test_it_rests_longer_after_every_vain_attempt(monkeypatch):
    monkeypatch.setattr(link_module, "_FIRST_REST_S", 0.05)
    monkeypatch.setattr(link_module, "_LONGEST_REST_S", 2.0)
    relay = FakeRelay()
    relay.closed_to["a"] = NO_SESSION
    with pytest.raises(PartyLost):
        relay.link("a", ["b"], deadline=1.0).open()
    assert 3 <= relay.dials <= 8


def test_it_rests_too_after_connections_that_end_at_once(monkeypatch):
    monkeypatch.setattr(link_module, "_FIRST_REST_S", 0.05)
    monkeypatch.setattr(link_module, "_LONGEST_REST_S", 2.0)
    relay = FakeRelay()
    link = relay.link("a", ["b"], deadline=5.0)
    link.open()
    stop = time.monotonic() + 1.0
    while time.monotonic() < stop:
        relay.drop("a")
        time.sleep(0.002)
    assert 3 <= relay.dials <= 9
    link.leave(finished=False)


def test_a_frame_under_another_name_is_refused_by_the_name_that_sent_it():
    relay = FakeRelay()
    a, b = relay.link("a", ["b", "c"]), relay.link("b", ["a", "c"])
    a.open(), b.open()
    a.carry(Frame("c", "b", "t", b"forged"))
    with pytest.raises(BadPeer, match="a: sent a frame from 'c' to 'b'"):
        b.inbox.get(timeout=5)
    for link in (a, b):
        link.leave(finished=False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        b"\x01\x05ab",
        b"\x01\x01a",
        b"\x02\x01a\x00",
        b"\x03\x01a\x00",
        b"\x04\x01a\x00",
        b"\x09\x01a",
        b"\x01\x01\xff" + bytes(9),
        b"\x01\x01a" + bytes(MESSAGE_BYTES),
    ],
)
def test_a_malformed_message_is_refused(raw):
    with pytest.raises(BadPeer):
        unpack_message(raw)
    with pytest.raises(BadPeer):
        readdress(raw, "a")


def test_only_the_relay_says_who_is_there():
    for kind, body in ((UP, bytes(8)), (DOWN, b"")):
        with pytest.raises(BadPeer):
            readdress(pack_message(Message(kind, "b", body=body)), "a")


@pytest.mark.parametrize(
    "message",
    [
        Message(DATA, "bank", 7, MORE, b"piece"),
        Message(ACK, "bank", 2**40),
        Message(UP, "bank", body=bytes(8)),
        Message(DOWN, "bank"),
    ],
)
def test_a_message_survives_the_wire(message):
    assert unpack_message(pack_message(message)) == message


def test_a_confirmation_of_what_was_never_sent_changes_nothing_else():
    outbox = Outbox()
    outbox.add(LAST, b"one")
    assert outbox.confirm(99)
    assert (len(outbox), outbox.size, outbox.frames) == (0, 0, 0)
    assert not outbox.confirm(99)


def test_a_frame_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("shared.pieces.FRAME_BYTES", 1000)
    intake = Intake()
    intake.take(Message(DATA, "a", 1, MORE, bytes(900)))
    with pytest.raises(BadPeer, match="a: sends a frame of more than"):
        intake.take(Message(DATA, "a", 2, MORE, bytes(900)))


ALICE, MALLORY = Identity("a", b"\x01" * 32), Identity("a", b"\x02" * 32)
ROSTER = Roster({"a": ALICE.fingerprint})
NONCE, CERTIFICATE, EPOCH = bytes(32), b"certificate", bytes(8)


def test_a_member_proves_who_it_is():
    raw = prove(ALICE, SCOPE, EPOCH, NONCE, CERTIFICATE)
    proof = check_proof(raw, ROSTER, NONCE, CERTIFICATE)
    assert (proof.name, proof.scope, proof.epoch) == ("a", SCOPE, EPOCH)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (prove(ALICE, SCOPE, EPOCH, b"\x01" * 32, CERTIFICATE), "signature"),
        (prove(ALICE, SCOPE, EPOCH, NONCE, b"of somebody in between"), "signature"),
        (prove(MALLORY, SCOPE, EPOCH, NONCE, CERTIFICATE), "not the one pinned"),
        (prove(Identity("m", b"\x02" * 32), SCOPE, EPOCH, NONCE, CERTIFICATE), "'m' is not in"),
        (prove(ALICE, SCOPE, EPOCH, NONCE, CERTIFICATE).replace(b"run", b"ruN"), "signature"),
        (prove(ALICE, "", EPOCH, NONCE, CERTIFICATE), "malformed"),
        (prove(ALICE, SCOPE, b"short", NONCE, CERTIFICATE), "malformed"),
        (b"[]", "malformed"),
        (b'{"name": 1}', "malformed"),
        (b"\xff", "JSON"),
    ],
)
def test_any_other_answer_is_refused(raw, text):
    with pytest.raises(BadPeer, match=text):
        check_proof(raw, ROSTER, NONCE, CERTIFICATE)
