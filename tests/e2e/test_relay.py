"""The relay as a real process: killed, refused, held up, and looked into."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from shared.edge.websocket import RelayWire
from shared.edge.wire import read_address, relay_channel
from shared.errors import ConfigError, EnvironmentFault, PartyLost, Refused
from shared.identity import Identity, Roster
from shared.pieces import DATA, MESSAGE_BYTES, MORE, PIECE_BYTES, Message, pack_message
from shared.proof import prove
from shared.sealed import SealedChannel, Session
from shared.wire import NO_SESSION, REFUSED, WireClosedError
from tests.relays import (
    EVERYBODY,
    PARTIES,
    RelayProcess,
    World,
    in_threads,
    other_authority,
    until_closed,
)
from tests.support import COORDINATOR, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("federation"))


@pytest.fixture
def start(world):
    """Start relays that end with the test."""
    running = []

    def one(**options):
        running.append(RelayProcess(options.pop("world", world), **options))
        return running[-1]

    yield one
    for relay in running:
        if relay.process.poll() is None:
            relay.kill()


@pytest.fixture(scope="module")
def relay(world):
    """One relay for all tests that leave it as it was."""
    one = RelayProcess(world)
    yield one
    one.kill()


@pytest.fixture(autouse=True)
def _own_session(world, request):
    world.scope = f"{request.node.name}/test/1"


def payload(name, peer, i):
    return f"{name}>{peer}:{i};".encode() * 3000  # about 50 kB


def exchange_with_restarts(world, relay, *, messages=100, kills=(0.15, 0.45, 0.75), pause=0.2):
    """Three parties send each other 30 MB while the relay is killed; return what went wrong."""
    counts = dict.fromkeys(PARTIES, 0)
    total = messages * len(PARTIES) * (len(PARTIES) - 1)

    def party(name):
        peers = [peer for peer in PARTIES if peer != name]
        wrong = []
        with world.channel(relay.url, name, deadline=60.0) as channel:
            channel.receive(COORDINATOR, "go")

            def send():
                for i in range(messages):
                    for peer in peers:
                        channel.send(peer, "data", payload(name, peer, i))

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            for i in range(messages):
                for peer in peers:
                    if channel.receive(peer, "data") != payload(peer, name, i):
                        wrong.append((peer, i))
                    counts[name] += 1
            sender.join(60)
            channel.send(COORDINATOR, "done", b"")
        return wrong or channel._inbox.qsize()

    def coordinator():
        with world.channel(relay.url, COORDINATOR, deadline=60.0) as channel:
            channel.send_all(PARTIES, "go", b"")
            for name in PARTIES:
                channel.receive(name, "done")
        return channel._inbox.qsize()

    work = {name: lambda name=name: party(name) for name in PARTIES} | {COORDINATOR: coordinator}
    threads, came = in_threads(work)
    early = 0
    for share in kills:
        limit = time.monotonic() + 60
        while sum(counts.values()) < share * total and time.monotonic() < limit:
            time.sleep(0.001)
        relay.kill()
        early += sum(counts.values()) < total
        time.sleep(pause)
        relay.start()
    for thread in threads.values():
        thread.join(90)
    failures = {name: came.get(name, "hangs") for name in EVERYBODY if came.get(name, "hangs") != 0}
    return failures, early


@pytest.mark.slow
def test_a_relay_killed_in_the_middle_of_30_mb_loses_and_doubles_nothing(world, start):
    relay = start()
    failures, early = exchange_with_restarts(world, relay)
    assert not failures
    assert early >= 2  # the relay was killed before everything had arrived


def test_a_party_that_comes_before_the_coordinator_waits_for_it(world, relay):
    def bank():
        with world.channel(relay.url, "bank", peers=("bank", COORDINATOR)) as channel:
            return channel.receive(COORDINATOR, "hello")

    threads, came = in_threads({"bank": bank})
    time.sleep(1.0)
    with world.channel(relay.url, COORDINATOR, peers=("bank", COORDINATOR)) as channel:
        channel.send("bank", "hello", b"here I am")
    threads["bank"].join(10)
    assert came == {"bank": b"here I am"}


def test_an_unknown_session_is_refused_by_name(world, relay):
    with pytest.raises(WireClosedError, match="the coordinator has not opened") as closed:
        world.dial(relay.url, "bank")
    assert closed.value.code == NO_SESSION
    with (
        pytest.raises(PartyLost, match="coordinator: has not opened the session"),
        world.channel(relay.url, "bank", deadline=1.0),
    ):
        pass


def test_unknown_names_and_wrong_keys_are_refused_by_name(world, relay):
    stranger = Identity("mallory", os.urandom(32))
    impostor = Identity("bank", os.urandom(32))
    for identity, text in ((stranger, "'mallory' is not in the"), (impostor, "not the one pinned")):
        with pytest.raises(WireClosedError, match=text) as closed:
            world.dial(relay.url, "bank", identity=identity)
        assert closed.value.code == REFUSED
    with (
        pytest.raises(Refused, match=r"relay at wss://127\.0\.0\.1:\d+/v1/relay refused mallory"),
        relay_channel(relay.url, world.base / "bank", stranger, ["shop"], world.scope, 5.0),
    ):
        pass


def test_a_replayed_signature_is_refused(world, relay, monkeypatch):
    answers = []

    def watched(*details):
        answers.append(prove(*details))
        return answers[0]

    monkeypatch.setattr("shared.edge.wire.prove", watched)
    world.dial(relay.url, COORDINATOR).close()
    with pytest.raises(WireClosedError, match=r"signature by 'coordinator' .* is not valid"):
        world.dial(relay.url, COORDINATOR)
    assert len(answers) == 2


def test_what_a_member_may_not_send_ends_its_connection_by_name(world, relay):
    data = Message(DATA, "nobody", 1, MORE, b"x")
    for raw, code, text in (
        (pack_message(data), REFUSED, "'nobody' takes no part in this session"),
        (b"\x03\x04bank" + bytes(8), REFUSED, "of a kind that members do not send"),
        (b"\x00", REFUSED, "cut short"),
        (bytes(MESSAGE_BYTES + 1), 1009, ""),
    ):
        wire = world.dial(relay.url, COORDINATOR)
        wire.send(raw)
        closed = until_closed(wire)
        assert (closed.code, text in closed.reason) == (code, True), closed.reason


def test_a_partys_own_certificate_is_checked_before_it_dials(world, tmp_path):
    other = other_authority(tmp_path)
    (other / "ca.crt").write_bytes((world.base / "bank" / "ca.crt").read_bytes())
    with (
        pytest.raises(Refused, match=r"tls\.crt is not signed by the CA in .*ca\.crt"),
        relay_channel(
            "wss://127.0.0.1:1", other, world.identity("bank"), ["shop"], world.scope, 5.0
        ),
    ):
        pass


def test_a_ca_that_is_not_the_pinned_one_is_refused(world, tmp_path):
    other = other_authority(tmp_path)
    with (
        pytest.raises(Refused, match=r"ca\.crt is not the CA that the federation file pins"),
        relay_channel(
            *("wss://127.0.0.1:1", other, world.identity("bank"), ["shop"], "s", 5.0),
            ca=world.pins.ca,
        ),
    ):
        pass


def test_tls_before_1_3_is_refused(world, relay):
    context = world.context("bank")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((Refused, WireClosedError)):
        world.dial(relay.url, COORDINATOR, context=context)
    world.dial(relay.url, COORDINATOR).close()


def test_something_else_at_the_address_is_named(world, relay):
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer():
            one, _ = plain.accept()
            one.sendall(b"220 mail.example.com\r\n")
            one.recv(1000)
            one.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Refused, match=r"no TLS 1\.3 with the relay at"):
            world.dial(f"wss://127.0.0.1:{plain.getsockname()[1]}", "bank")
    with pytest.raises(EnvironmentFault, match="it answers HTTP 403"):
        world.dial(f"{relay.url}/elsewhere", "bank")
    with pytest.raises(ConfigError, match="must be a URL such as wss://"):
        read_address("https://relay:8443")


def test_a_relay_that_stays_away_is_named_after_the_deadline(world, start):
    relay = start()

    def play():
        with world.channel(relay.url, COORDINATOR, deadline=1.5) as channel:
            relay.kill()
            channel.receive("bank", "never")

    with pytest.raises(EnvironmentFault, match=rf"no connection to the relay at .*:{relay.port}/"):
        play()


def test_a_session_ends_some_time_after_its_coordinator_has_left(world, start):
    relay = start(options=["--grace=0.5"])
    coordinator = world.dial(relay.url, COORDINATOR)
    bank = world.dial(relay.url, "bank")
    assert relay.health() == {"status": "ok", "sessions": 1, "members": 2}
    coordinator.close()
    world.dial(relay.url, COORDINATOR).close()  # it may come back in between
    closed = until_closed(bank)
    assert (closed.code, closed.reason) == (NO_SESSION, "the coordinator has left this session")
    assert relay.health() == {"status": "ok", "sessions": 0, "members": 0}


@pytest.mark.slow
def test_a_reader_that_does_not_read_does_not_fill_the_relay(world, relay):
    """100 MB to a member that never reads: the sender is held up, then the member is cut off."""
    coordinator = world.dial(relay.url, COORDINATOR)
    bank = world.dial(relay.url, "bank")  # never asked for what it received
    piece = pack_message(Message(DATA, "bank", 1, MORE, bytes(PIECE_BYTES)))
    before, stalled, sent = relay.peak_mb, 0.0, 0
    while sent < 100 << 20:
        mark = time.monotonic()
        while coordinator.backlog > 0:
            coordinator.receive(0.5)
        stalled = max(stalled, time.monotonic() - mark)
        coordinator.send(piece)
        sent += len(piece)
    assert stalled > 5.0  # it was held up, so the relay had not read on
    assert relay.peak_mb - before < 16.0
    assert until_closed(bank).code == 0  # cut off
    coordinator.close()


def test_a_member_that_sends_pings_and_reads_no_answers_is_cut_off(world, relay):
    coordinator = world.dial(relay.url, COORDINATOR)
    sock = world.dial(relay.url, "bank")._sock
    sock.settimeout(10.0)
    ping = b"\x89\xfd" + bytes(4) + bytes(125)  # RFC 6455, 5.2: final, masked, of 125 bytes
    before, sent = relay.peak_mb, []

    def flood():
        while sum(sent) < 40 << 20:
            sock.sendall(ping * 500)
            sent.append(500 * len(ping))

    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe|EOF"):
        flood()
    assert sum(sent) > 1 << 20  # answered for as long as the connection took the answers
    assert relay.peak_mb - before < 8.0
    sock.close()
    coordinator.close()


def test_the_relay_sees_no_plaintext(world, relay, monkeypatch):
    seen, secret = [], b"customer 4711 owes nothing to anybody"
    send = RelayWire.send
    monkeypatch.setattr(RelayWire, "send", lambda wire, raw: (seen.append(raw), send(wire, raw)))
    roster = Roster(world.pins.identities)
    session = Session("run", "test", 1, "0" * 64)

    def play(name, other, sealed, scope):
        with world.channel(relay.url, name, peers=("bank", COORDINATOR), scope=scope) as channel:
            if sealed:
                safe = SealedChannel.open(channel, world.identity(name), roster, session)
            else:
                safe = channel
            safe.send(other, "secret", secret)
            return safe.receive(other, "secret")

    for sealed in (True, False):
        seen.clear()
        scope = f"run/test/{int(sealed)}"
        work = {
            "bank": lambda s=sealed, c=scope: play("bank", COORDINATOR, s, c),
            COORDINATOR: lambda s=sealed, c=scope: play(COORDINATOR, "bank", s, c),
        }
        threads, came = in_threads(work)
        for thread in threads.values():
            thread.join(20)
        assert came == dict.fromkeys(work, secret)
        found = sum(secret in raw for raw in seen)
        assert found == (0 if sealed else 2)  # in clear, the same search finds both
        assert any(b"secret" in raw for raw in seen)  # tags and names it does see


def test_a_taken_port_is_named(world, relay):
    other = subprocess.run(
        relay.command(relay.port), capture_output=True, text=True, cwd=ROOT, check=False, timeout=30
    )
    assert other.returncode == 3
    assert f"cannot listen on 127.0.0.1 port {relay.port}" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_key_that_others_can_read_is_refused(world, relay, tmp_path):
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).write_bytes((world.base / COORDINATOR / name).read_bytes())
    (tmp_path / "tls.key").chmod(0o640)
    command = [part.replace(str(relay.home), str(tmp_path)) for part in relay.command(0)]
    other = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=30
    )
    assert other.returncode == 4
    assert "tls.key can be read by others" in other.stderr


def test_it_stops_at_once_says_where_it_listens_and_nothing_else(world, start):
    relay = start()
    assert set(relay.said) == {"host", "port", "url"}
    wires = [world.dial(relay.url, name) for name in (COORDINATOR, "bank")]
    started = time.monotonic()
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait(10) == 0
    assert time.monotonic() - started < 5.0
    assert relay.process.stdout.read() == b""
    assert relay.errors.read_text() == ""
    for wire in wires:
        assert until_closed(wire).code in {0, 1012}
