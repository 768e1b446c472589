"""The outsider's list: who is no member, or is one and does what it may not, is refused.

One federation as `confide federation up` starts it, and one limit service, for all of it; who is
slow begins at the start, so that everything else is asked while they hold their connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import httpx
import pytest
from flwr.cli.build import build_fab_from_files

from clients.keys.certificates import Issued, issue
from server.engines import flower_control
from server.engines.deployment import HOST, deployed, free_ports, tail
from server.engines.flower_control import Control
from server.federation.plan import Plan, node_keys, services
from server.federation.state import Places
from shared.errors import BadPeer, EnvironmentFault, PartyLost, Refused
from shared.identity import Identity
from shared.pieces import MESSAGE_BYTES
from shared.sealed import SealedChannel, Session
from shared.wire import REFUSED, WireClosedError
from tests.commands import Running
from tests.foreign_app import FOREIGN, UNCHECKED_NODE, UNCHECKED_SUPERLINK
from tests.outsiders import (
    OUTSIDE,
    PARTIES,
    Impostor,
    MaliciousRelay,
    Slow,
    Stack,
    Wiretap,
    family,
    listeners,
)
from tests.relays import in_threads, other_authority, until_closed
from tests.support import COORDINATOR
from tests.whole_runs import cards

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

FLEET, CONTROL = "/v1/fleet/pull-messages", "/v1/control/start-run"
#: Who asks for a certificate before anything else.
MUTUAL = ("gate", "operator", "relay")
#: What others than this machine reach.
OPEN = {"gate", "relay", "limits"}
TLS = (*MUTUAL, "superlink", "limits")
TURNED_AWAY = (ssl.SSLError, OSError, http.client.HTTPException)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    one = Stack(tmp_path_factory.mktemp("outsider"))
    yield one
    assert one.down() == (0, 0)


@pytest.fixture(scope="module", autouse=True)
def slow(stack):
    """Let everybody be slow, everywhere, from the start."""
    one = Slow()

    def tls(name, who):
        plain = socket.create_connection((HOST, stack.ports[name]))
        return stack.context(who).wrap_socket(plain, server_hostname=HOST)

    head = b"POST %s HTTP/1.1\r\nHost: x\r\n" % FLEET.encode()
    body = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    for name in MUTUAL:
        one.start(f"{name}, no handshake", socket.create_connection((HOST, stack.ports[name])))
    for name, who in (("gate", "bank"), ("operator", COORDINATOR), ("relay", "bank")):
        sock = tls(name, who)
        sock.sendall(head)
        one.start(f"{name}, a head that drips", sock, drip=b"X-Slow: x\r\n")
    sock = tls("limits", "bank")
    sock.sendall(b"GET /v1/model HTTP/1.1\r\nHost: x\r\n")
    one.start("limits, a head that drips", sock, drip=b"X-Slow: x\r\n")
    for name, start in (("gate", head), ("limits", b"POST /v1/repayments HTTP/1.1\r\nHost: x\r\n")):
        sock = tls(name, "bank")
        sock.sendall(start + body)
        one.start(f"{name}, a body that stops", sock)
    sock = tls("relay", "bank")
    key = b"GET /v1/relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    sock.sendall(key)
    one.start("relay, no answer to the nonce", sock)
    one.mute = [socket.create_connection((HOST, stack.ports["limits"])) for _ in range(20)]
    yield one
    for sock in one.mute:
        sock.close()


def named_elsewhere(stack, home):
    """Make a certificate of the federation's CA for a server at another address."""
    key = (stack.path.parent / "ca" / "ca.key").read_bytes()
    authority = Issued((stack.home(COORDINATOR) / "ca.crt").read_bytes(), key)
    made = issue(authority, COORDINATOR, ("elsewhere.example",), datetime.now(UTC))
    home.mkdir()
    (home / "tls.crt").write_bytes(made.certificate)
    (home / "tls.key").write_bytes(made.key)
    return home


#: Whom nodes are told to dial; the last is the control.
DIALLED = ("of another CA", "of another name", "the right one")


@pytest.fixture(scope="module", autouse=True)
def strangers(stack, slow, tmp_path_factory):
    """Start SuperLinks that are none of the federation's, and nodes that are told to dial them."""
    base = tmp_path_factory.mktemp("strangers")
    other = other_authority(base, COORDINATOR)
    impostors = {
        "of another CA": Impostor(other),
        "of another member": Impostor(stack.home("payments")),
        "of another name": Impostor(named_elsewhere(stack, base / "elsewhere")),
        "the right one": Impostor(stack.home(COORDINATOR)),
    }
    places = Places(free_ports(1)[0], 0, 0, 0, {}, ())
    plan = Plan(stack.path, stack.federation, HOST, places, ())
    theirs = services(plan)[0]
    words = list(theirs.command[2:])
    words[words.index("--database") + 1] = str(base / "superlink.db")
    command = ("-c", UNCHECKED_SUPERLINK, *words)
    address = f"{HOST}:{places.superlink}"
    with deployed({}, print) as fleet:
        fleet.start([replace(theirs, command=command, log=base / "superlink.log")])
        fleet.start(
            stack.node("bureau", impostors[name].address, base / f"{name}.log") for name in DIALLED
        )
        with Control(address, stack.home(COORDINATOR) / "ca.crt") as control:
            until(control.reachable)
            control.register(node_keys(plan))
            unchecked = ("-c", UNCHECKED_NODE)
            fleet.start([stack.node("bank", address, base / "checked.log")])
            fleet.start([stack.node("payments", address, base / "unchecked.log", words=unchecked)])
            yield base, impostors, control
    for one in impostors.values():
        one.close()


# Who listens where.


def test_nothing_listens_but_what_is_said_to_and_beyond_this_machine_only_three(stack):
    metrics = range(stack.first_metrics, stack.first_metrics + 3 + len(PARTIES))
    stated = {("0.0.0.0" if name in OPEN else HOST, port) for name, port in stack.ports.items()}
    stated |= {(HOST, port) for port in metrics}
    found, end = set(), time.monotonic() + 60
    while found != stated and time.monotonic() < end:  # nodes may be just beginning
        found = listeners(family(stack.pids.values()))
        time.sleep(0.2)
    assert found == stated


def test_from_another_address_a_scan_finds_the_gate_the_relay_and_the_limit_service(stack):
    every = stack.ports | {
        f"metrics {at}": stack.first_metrics + at for at in range(3 + len(PARTIES))
    }

    def seen(address):
        found = set()
        for name, port in every.items():
            with contextlib.suppress(OSError), socket.create_connection((address, port), 5):
                found.add(name)
        return found

    assert seen(OUTSIDE) == OPEN
    assert seen(HOST) == set(every)  # the control


@pytest.mark.parametrize("name", TLS)
def test_a_listener_says_nothing_in_the_clear(stack, name):
    with socket.create_connection((HOST, stack.ports[name]), 10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        with contextlib.suppress(ConnectionError):
            while data := plain.recv(4096):
                said += data
    assert b"HTTP" not in said  # an alert of TLS, or nothing


@pytest.mark.parametrize("name", MUTUAL)
def test_a_listener_answers_nobody_without_a_certificate_of_the_federation(stack, name, tmp_path):
    """None at all, one of another CA in the right name, and one that a party made for itself."""
    who = COORDINATOR if name == "operator" else "bank"
    others = other_authority(tmp_path, who)
    for home in (None, others):
        with pytest.raises(TURNED_AWAY):
            stack.ask(name, context=stack.bare(home))
    assert stack.ask(name, context=stack.context(who))[0] == 200


def test_the_limit_service_tells_a_stranger_nothing_of_anybody(stack):
    """It asks for no certificate: tokens are its own."""
    bare = stack.bare()
    forged = {"Authorization": "Bearer " + secrets.token_urlsafe(60)}
    for path in ("/v1/customers/" + "0" * 64 + "/limit", "/v1/lines", "/v1/records"):
        for headers in ({}, forged):
            status, body = stack.ask("limits", path=path, context=bare, headers=headers)
            assert status in {401, 404, 405}, (path, status)
            assert json.loads(body)["status"] == status
    limit = "/v1/customers/" + "0" * 64 + "/limit"
    assert stack.ask("limits", path=limit, context=bare, headers=forged)[0] == 401
    assert stack.ask("limits", path="/healthz", context=bare)[0] == 200


@pytest.mark.parametrize("name", TLS)
def test_who_dials_refuses_a_server_of_another_ca(stack, name, tmp_path):
    other = other_authority(tmp_path, COORDINATOR)
    path = "/healthz" if name == "limits" else "/health"
    with pytest.raises(ssl.SSLCertVerificationError):
        stack.ask(name, path=path, context=stack.bare(authority=other / "ca.crt"))


def test_at_the_relay_a_certificate_is_not_enough(stack):
    """It must be the pinned key, too: of a name that is no party, and of a party that it is not."""
    joined = stack.ask("relay", context=stack.context("bank"))
    for identity, text in (
        (Identity("mallory", os.urandom(32)), "'mallory' is not in the"),
        (Identity("bureau", os.urandom(32)), "not the one pinned"),
    ):
        with pytest.raises(WireClosedError, match=text) as closed:
            stack.wire("bank", "stranger/test/1", identity=identity)
        assert closed.value.code == REFUSED
    assert stack.ask("relay", context=stack.context("bank")) == joined


def test_a_party_gets_at_the_gate_what_is_a_partys_and_no_more(stack):
    party, coordinator = stack.context("bank"), stack.context(COORDINATOR)
    for door, path, error in (
        ("gate", CONTROL, "not-a-fleet-path"),
        ("gate", "/v1/fleet/%2e%2e/control/start-run", "not-a-fleet-path"),
        ("operator", CONTROL, "not-the-coordinator"),
        ("operator", FLEET, "not-the-coordinator"),
    ):
        got = stack.ask(door, "POST", path, context=party, body=b"x")
        assert got == (403, json.dumps({"error": error}).encode())
    status, _ = stack.ask("gate", "POST", FLEET, context=coordinator, body=b"x")
    assert status == 403
    for door in ("gate", "operator"):
        with (
            Control(f"{HOST}:{stack.ports[door]}", stack.home("bank") / "ca.crt") as control,
            pytest.raises(EnvironmentFault, match=r"not-the-coordinator|not-a-fleet-path"),
        ):
            control.reachable()
    with Control(f"{HOST}:{stack.ports['operator']}", stack.home(COORDINATOR) / "ca.crt") as own:
        assert own.reachable()


# What is recorded, sent again, or sent in another order.


def exchange(stack, url, how, *, deadline=20.0, count=8):
    """Let the bank send the coordinator some messages, sealed; return what came of both."""
    scope = f"{how}/test/1"
    session = Session(how, "test", 1, "0" * 64)
    sent = [f"payment {number};".encode() * 4000 for number in range(count)]

    def play(name):
        peers = ("bank", COORDINATOR)
        with stack.channel(name, scope, peers=peers, url=url, deadline=deadline) as channel:
            roster = stack.federation.roster
            safe = SealedChannel.open(channel, stack.identity(name), roster, session)
            if name == "bank":
                for one in sent:
                    safe.send(COORDINATOR, "data", one)
                return safe.receive(COORDINATOR, "thanks")
            came = [safe.receive("bank", "data") for _ in sent]
            safe.send("bank", "thanks", b"")
            return came if channel._inbox.empty() else "more came than was sent"

    threads, came = in_threads(
        {name: lambda name=name: play(name) for name in ("bank", COORDINATOR)}
    )
    for thread in threads.values():
        thread.join(60)
    return came.get(COORDINATOR), came.get("bank"), sent


@pytest.fixture(scope="module")
def malicious(stack):
    one = MaliciousRelay(stack)
    yield one
    one.close()


def test_messages_that_a_relay_sends_twice_count_once(stack, malicious):
    for how in ("honest", "doubled"):
        came, thanked, sent = exchange(stack, malicious.url, how)
        assert (came, thanked) == (sent, b""), how


@pytest.mark.parametrize(
    ("how", "purpose"), [("exchanged", "envelope"), ("replayed", "envelope"), ("recorded", "hello")]
)
def test_a_relay_that_numbers_anew_what_it_moves_or_repeats_is_found_out(
    stack, malicious, how, purpose
):
    """The sender's seal says session, sender, recipient, tag and sequence."""
    if purpose == "hello":
        exchange(stack, malicious.url, "doubled")  # it writes down that session's hello
    came, thanked, _ = exchange(stack, malicious.url, how)
    assert isinstance(came, BadPeer)
    assert f"a signature by 'bank' for '{purpose}' is not valid" in came.message
    assert isinstance(thanked, PartyLost)  # and the bank hears that the run is over
    assert thanked.party == COORDINATOR


def test_a_relay_that_only_moves_messages_ends_the_run_by_name_at_the_deadline(stack, malicious):
    began = time.monotonic()
    came, thanked, _ = exchange(stack, malicious.url, "swapped", deadline=3.0)
    assert isinstance(came, PartyLost)
    assert (came.party, "within 3 s" in came.message) == ("bank", True)
    assert isinstance(thanked, PartyLost)
    assert time.monotonic() - began < 30


def test_what_was_recorded_on_the_way_to_the_relay_is_worth_nothing_again(stack):
    tap = Wiretap(stack.ports["relay"])
    try:
        stack.wire(COORDINATOR, "tapped/test/1", url=tap.url).close()
    finally:
        tap.close()
    (said,) = tap.recorded
    assert len(said) > 1500  # a handshake, a certificate and a proof
    before = stack.ask("relay", context=stack.context("bank"))
    with socket.create_connection((HOST, stack.ports["relay"]), 20) as again:
        answer = b""
        with contextlib.suppress(ConnectionError):
            again.sendall(said)
            while data := again.recv(4096):
                answer += data
    assert b"HTTP" not in answer
    assert stack.ask("relay", context=stack.context("bank")) == before


def test_records_that_are_repeated_or_swapped_on_the_way_break_the_connection_and_no_more(stack):
    """TLS ends the connection; the link dials again, and everything comes once and in order."""
    tap = Wiretap(stack.ports["relay"], ["twice", "swap"])
    original = stack.channel

    def through(name, scope, *, peers, url, deadline):
        where = tap.url if name == "bank" else url
        return original(name, scope, peers=peers, url=where, deadline=deadline)

    stack.channel = through
    try:
        came, thanked, sent = exchange(stack, stack.url, "meddled", count=40)
    finally:
        stack.channel = original
        tap.close()
    assert (came, thanked) == (sent, b"")
    assert tap.meddled == ["twice", "swap"]
    assert tap.connections >= 3


# What is too large.


def test_a_message_that_is_too_large_ends_its_senders_connection_at_the_relay(stack):
    other = stack.wire(COORDINATOR, "large/test/1")
    wire = stack.wire("bank", "large/test/1")
    before = stack.peak_mb("relay")
    wire.send(bytes(MESSAGE_BYTES + 1))
    assert until_closed(wire).code == 1009  # RFC 6455: too big
    sock = stack.wire("bank", "large/test/1")._sock
    sock.settimeout(10.0)
    pour(sock, b"\x82\xff" + (1 << 30).to_bytes(8, "big") + bytes(4))  # a frame of 1 GiB
    assert stack.peak_mb("relay") - before < 8
    assert other.receive(0.0) is not None
    stack.wire("bank", "large/test/1").close()  # the control
    other.close()


def pour(sock, start):
    """Send a beginning, then bytes without end; check that the connection soon ends."""
    end, sent = time.monotonic() + 30, 0
    with contextlib.suppress(ConnectionError, ssl.SSLError), sock:
        sock.sendall(start)
        while True:
            assert time.monotonic() < end, f"it took {sent} bytes"
            sock.sendall(b"a" * 65_536)
            sent += 65_536
            if sent > 4 << 20:  # a close of TLS takes in what comes, for five seconds
                time.sleep(0.01)


@pytest.mark.parametrize("name", [*MUTUAL, "limits"])
def test_a_head_without_end_is_cut_off(stack, name):
    who = COORDINATOR if name == "operator" else "bank"
    before = stack.peak_mb(name.replace("operator", "gate"))
    plain = socket.create_connection((HOST, stack.ports[name]), 10)
    sock = stack.context(who).wrap_socket(plain, server_hostname=HOST)
    pour(sock, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
    assert stack.peak_mb(name.replace("operator", "gate")) - before < 8


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("name", "path", "size"), [("gate", FLEET, 80 << 20), ("limits", "/v1/repayments", 4 << 20)]
)
def test_a_body_that_is_too_large_is_refused(stack, name, path, size, declared):
    """Announced as a whole, and in chunks of which nobody knows how many will come."""
    before = stack.peak_mb(name)
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    headers |= {"Content-Length": str(size)} if declared else {}
    pieces = (bytes(1 << 20) for _ in range(size >> 20))
    try:
        status, _ = stack.ask(
            name, "POST", path, context=stack.context("bank"), body=pieces, headers=headers
        )
    except OSError:
        status = 413  # it closed before all was written
    assert status in ({413} if name == "gate" else {413, 401})
    assert stack.peak_mb(name) - before < 20
    assert stack.well() < 20


def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(stack):
    token = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    for name, path, size, said in (
        ("gate", FLEET, (64 << 20) + 1, {413}),
        ("limits", "/v1/repayments", (64 << 10) + 1, {413, 401}),
    ):
        made = http.client.HTTPSConnection(
            HOST, stack.ports[name], context=stack.context("bank"), timeout=20
        )
        with contextlib.closing(made):
            made.putrequest("POST", path)
            for key, value in {**token, "Content-Length": str(size)}.items():
                made.putheader(key, value)
            made.endheaders()
            assert made.getresponse().status in said


# Who is slow.


def test_who_is_slow_is_let_go_in_the_stated_time_and_others_are_served_meanwhile(stack, slow):
    served = stack.well()
    slow.join()
    stated = {"no handshake": 5, "no answer to the nonce": 5, "a head that drips": 10}
    assert len(slow.ended) == 10
    for name, seconds in slow.ended.items():
        where, _, what = name.partition(", ")
        limit = stated.get(what) or {"gate": 30, "limits": 10}[where]
        assert limit - 2 < seconds < limit + 15, (
            name
        )  # a busy machine, and an idle connection's 5 s
    assert b" 408 " in slow.said["gate, a body that stops"]
    assert b"too-slow" in slow.said["gate, a body that stops"]
    assert served < 15
    # The limit service gives a handshake asyncio's minute: they hold connections, and no more.
    assert all(sock.fileno() > 0 for sock in slow.mute)


# An app that is not on the list.


@pytest.fixture
def foreign(monkeypatch):
    """Let `Control.start` send another app than confide's."""
    content, _ = build_fab_from_files({name: text.encode() for name, text in FOREIGN.items()})
    with monkeypatch.context() as patch:
        patch.setattr(flower_control.bundle, "bundle", lambda: content)
        patch.setattr(flower_control.bundle, "digest", lambda: sha256(content).hexdigest())
        yield patch


def test_the_superlink_takes_no_other_app_even_of_the_operator(stack, foreign, tmp_path):
    with Control(
        f"{HOST}:{stack.ports['operator']}", stack.home(COORDINATOR) / "ca.crt"
    ) as control:
        with pytest.raises(EnvironmentFault, match="another app than confide's"):
            control.start({"mark": str(tmp_path)})
        client, api = control._client, flower_control.api
        kept = flower_control.Fab(hash_str=flower_control.bundle.digest())
        by_name = api.StartRunRequest(app_spec="@foreign/foreign", fab=kept)
        with pytest.raises(httpx.HTTPStatusError):  # nor was it kept, to be started by name
            client.StartRun(by_name)
        assert not client.ListRuns(api.ListRunsRequest()).run_dict
        foreign.undo()  # the control: confide's own app is taken, and runs
        outside = stack.path.parent / "outside"
        config = {"federation": str(stack.path), "run": "../../outside", "relay": "x"}
        number = control.start(config)
        until(lambda: control.status(number).ended)
        assert "it is no path" in control.log(number)
    assert not outside.exists()
    assert not list(tmp_path.iterdir())


def test_a_party_runs_no_other_app_whoever_sends_it(strangers, foreign, tmp_path):
    """A SuperLink of Flower's own takes every app; so does a node without confide's check."""
    base, _, control = strangers
    control.start({"mark": str(tmp_path)})
    until(lambda: b"another app than confide's" in tail(base / "checked.log"))
    until((tmp_path / "payments").exists)  # the control: it runs where nobody looks
    time.sleep(1.0)
    assert {found.name for found in tmp_path.iterdir()} == {COORDINATOR, "payments"}
    assert b"another app than confide's" not in tail(base / "unchecked.log")


def until(condition, limit=120.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# Another SuperLink on the port.


def test_a_node_talks_to_no_superlink_but_the_federations(strangers):
    base, impostors, _ = strangers
    until(lambda: impostors["the right one"].asked)  # the control
    assert impostors["the right one"].asked[0].startswith("/v1/fleet/")
    for name in DIALLED[:-1]:
        until(lambda name=name: b"CERTIFICATE_VERIFY_FAILED" in tail(base / f"{name}.log"), 60)
        assert not impostors[name].asked


def test_the_coordinator_talks_to_no_superlink_and_no_relay_of_another_ca(stack, strangers):
    _, impostors, _ = strangers
    for name, why in (
        ("of another CA", "certificate"),
        ("of another name", "IP address mismatch"),
        ("of another member", "unsuitable certificate purpose"),
    ):
        where = impostors[name].address
        with (
            Control(where, stack.home(COORDINATOR) / "ca.crt") as control,
            pytest.raises(BadPeer, match="shows a certificate that"),
        ):
            control.reachable()
        url, peers = f"wss://{where}", ("bank", COORDINATOR)
        refusal = rf"certificate of the relay .* does not hold: .*{why}"
        with (
            pytest.raises(Refused, match=refusal),
            stack.channel("bank", "elsewhere/test/1", peers=peers, url=url),
        ):
            pass
        assert not impostors[name].asked


# And after all of it.


def test_the_federation_is_as_well_as_before_and_trains(stack, slow):
    slow.join()
    assert stack.well() < 15
    where = ("--superlink", f"{HOST}:{stack.ports['operator']}")
    where += ("--relay", f"{HOST}:{stack.ports['relay']}")
    run = Running(stack.base / "train", "train", "-f", stack.path, "--engine", "flower", *where)
    assert run.end(240) == 0, run.stderr
    assert len(cards(stack.path.parent)) == 1
    for name in ("gate", "relay"):
        assert "Traceback" not in stack.log(name)
