"""The gate before a SuperLink, as a real process: who passes which of its two doors."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from clients.certificates import issue, new_authority
from clients.keys import make_keys
from server.coordinator import load_federation
from server.deployment import HOST, answers, deployed, free_ports, wait_for
from server.flower_control import Control, api
from server.flower_engine import _node_keys, _Plan, _services
from shared.edge.tls import tls_context
from shared.errors import EnvironmentFault
from tests.support import COORDINATOR, ROOT
from tests.whole_runs import build

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PARTIES = ("bank", "payments")
FLEET, CONTROL = "/v1/fleet/pull-messages", "/v1/control/start-run"


class Behind(BaseHTTPRequestHandler):
    """Stands where the SuperLink does, and writes down what reaches it."""

    protocol_version = "HTTP/1.1"
    reached: ClassVar[list] = []

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.reached.append((self.path, body[:100]))
        if self.path.endswith("stream"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"one", b"two"):
                self.wfile.write(b"3\r\n" + part + b"\r\n")
                self.wfile.flush()
                time.sleep(1.0)
            self.wfile.write(b"0\r\n\r\n")
            return
        said = json.dumps({"path": self.path, "length": len(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("X-Of-Superlink", "yes")
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST

    def log_message(self, *_):
        """Say nothing."""


class World:
    """Keys of a small federation, a stand-in for the SuperLink, and a gate before it."""

    def __init__(self, base):
        self.base = base
        everybody = {name: name for name in (*PARTIES, COORDINATOR)}
        pins = make_keys(base, "test", everybody, hosts=(), force=False)
        lines = [
            f'name = "test"\nbuilder = "bank"\ncontract = "contract.toml"\nca = "{pins.ca}"',
            f'[coordinator]\nfingerprint = "{pins.identities[COORDINATOR]}"',
        ]
        lines += [f'[parties.{name}]\nfingerprint = "{pins.identities[name]}"' for name in PARTIES]
        (base / "federation.toml").write_text("\n".join(lines) + "\n")
        home = base / COORDINATOR
        server_side = tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=True)
        server_side.verify_mode = ssl.CERT_NONE
        self.behind = ThreadingHTTPServer((HOST, 0), Behind)
        self.behind.socket = server_side.wrap_socket(self.behind.socket, server_side=True)
        threading.Thread(target=self.behind.serve_forever, daemon=True).start()

    def start(self, *options, superlink=None):
        home = self.base / COORDINATOR
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "server.gate"),
                f"--federation={self.base / 'federation.toml'}",
                f"--superlink={superlink or f'{HOST}:{self.behind.server_port}'}",
                *(f"--certificate={home / 'tls.crt'}", f"--key={home / 'tls.key'}"),
                *(f"--ca={home / 'ca.crt'}", "--port=0", "--operator-port=0", *options),
            ],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        said = json.loads(self.process.stdout.readline())
        self.doors = {name: int(place.rpartition(":")[2]) for name, place in said.items()}

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def context(self, name):
        home = self.base / name
        return tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=False)

    def ask(self, door, name, path, *, method="POST", body=b"x", context=None, headers=None):
        """Return status and body of an answer."""
        made = http.client.HTTPSConnection(
            HOST, self.doors[door], context=context or self.context(name), timeout=20
        )
        with contextlib.closing(made):
            made.request(method, path, body=body, headers=headers or {})
            got = made.getresponse()
            return got.status, got.read()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    one = World(tmp_path_factory.mktemp("gate"))
    metrics = free_ports(1)[0]
    one.start(f"--metrics={metrics}")
    one.metrics = metrics
    yield one
    one.stop()
    one.behind.shutdown()
    one.behind.server_close()


@pytest.fixture(autouse=True)
def reached():
    Behind.reached.clear()
    return Behind.reached


def test_a_party_reaches_the_fleet_paths_and_nothing_else(world, reached):
    status, body = world.ask("parties", "bank", FLEET)
    assert (status, json.loads(body)) == (200, {"path": FLEET, "length": 1})
    reached.clear()
    for path in (
        *(CONTROL, "/v1/runtime/create-task", "/health/", "/", "/metrics", "/docs"),
        *("/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run"),
        *("//v1/control/start-run", "/v1/fleet/x/y", "/V1/FLEET/pull-messages", "/v1/fleet/"),
        "/v1/fleet/pull-messages%00",
    ):
        status, body = world.ask("parties", "bank", path)
        assert (status, json.loads(body)) == (403, {"error": "not-a-fleet-path"}), path
    assert world.ask("parties", "bank", FLEET, method="GET")[0] == 405
    assert world.ask("parties", "bank", CONTROL, headers={"X-Forwarded-For": HOST})[0] == 403
    assert reached == []


def test_a_partys_certificate_opens_nothing_at_the_operators_door(world, reached):
    for path in (CONTROL, FLEET, "/v1/runtime/create-task"):
        status, body = world.ask("operator", "bank", path)
        assert (status, json.loads(body)) == (403, {"error": "not-the-coordinator"})
    assert reached == []


def test_the_coordinators_certificate_opens_everything_at_its_door_and_nothing_at_theirs(
    world, reached
):
    for path in (CONTROL, FLEET, "/v1/runtime/create-task"):
        assert world.ask("operator", COORDINATOR, path)[0] == 200
    assert len(reached) == 3
    assert world.ask("parties", COORDINATOR, FLEET)[0] == 403
    assert world.ask("operator", COORDINATOR, "/v1/control/%2e%2e/x")[0] == 404
    assert len(reached) == 3


def test_a_certificate_of_the_ca_that_is_of_no_member_opens_nothing(world, reached, tmp_path):
    """Such as the limit service's, or that of a party that is no longer in the federation."""
    for door in ("parties", "operator"):
        for path in (FLEET, CONTROL):
            assert world.ask(door, "limits", path)[0] == 403
    assert reached == []


def stranger(folder):
    """Make a certificate in the coordinator's name, of another authority."""
    now = datetime.now(UTC)
    authority = new_authority("test", now)
    made = issue(authority, COORDINATOR, (HOST,), now)
    (folder / "tls.crt").write_bytes(made.certificate)
    (folder / "tls.key").write_bytes(made.key)
    return folder


@pytest.mark.parametrize("door", ["parties", "operator"])
def test_without_a_certificate_of_the_federation_nobody_gets_past_tls(
    world, reached, tmp_path, door
):
    ours = world.base / "bank" / "ca.crt"
    for home in (None, stranger(tmp_path)):
        context = ssl.create_default_context(cafile=ours)
        if home is not None:
            context.load_cert_chain(home / "tls.crt", home / "tls.key")
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            world.ask(door, "", FLEET, context=context)
    assert reached == []


def test_a_big_body_is_passed_on_in_pieces_and_a_bigger_one_is_refused(world, reached):
    def resident():
        status = Path(f"/proc/{world.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    before = resident()
    status, body = world.ask("parties", "bank", FLEET, body=bytes(40 << 20))
    assert (status, json.loads(body)["length"]) == (200, 40 << 20)
    assert resident() - before < 20
    reached.clear()
    # Announced as a whole, and in chunks of which nobody knows how many will come.
    for headers in ({"Content-Length": str(80 << 20)}, {}):
        pieces = (bytes(1 << 20) for _ in range(80))
        try:
            status, body = world.ask("parties", "bank", FLEET, body=pieces, headers=headers)
        except OSError:
            continue  # it closed before all was written
        assert (status, json.loads(body)) == (413, {"error": "too-large"})
    assert reached == []


def test_an_answer_is_passed_on_as_it_comes(world):
    made = http.client.HTTPSConnection(
        HOST, world.doors["operator"], context=world.context(COORDINATOR), timeout=20
    )
    with contextlib.closing(made):
        made.request("POST", "/v1/control/stream", body=b"")
        began = time.monotonic()
        got = made.getresponse()
        assert got.read(3) == b"one"
        assert time.monotonic() - began < 0.9
        assert got.read() == b"two"


def test_a_head_that_does_not_end_is_let_go(world):
    with (
        socket.create_connection((HOST, world.doors["parties"])) as plain,
        world.context("bank").wrap_socket(plain, server_hostname=HOST) as sock,
    ):
        sock.settimeout(20)
        sock.sendall(b"POST /v1/fleet/x HTTP/1.1\r\n")
        began = time.monotonic()
        with contextlib.suppress(ssl.SSLError):
            assert sock.recv(1000) == b""
        assert 5 < time.monotonic() - began < 15


def test_who_connects_and_says_nothing_is_let_go(world):
    with socket.create_connection((HOST, world.doors["parties"])) as plain:
        plain.settimeout(20)
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(1000) == b""
        assert 3 < time.monotonic() - began < 12


def test_it_tells_what_it_turned_away_on_a_port_of_its_own(world):
    world.ask("parties", "bank", CONTROL)
    page = urllib.request.urlopen(f"http://{HOST}:{world.metrics}/metrics", timeout=10).read()
    text = page.decode()
    assert 'confide_gate_refused_total{door="parties",reason="not-a-fleet-path"}' in text
    assert 'confide_gate_requests_total{member="bank",status="200"}' in text
    for door in world.doors.values():
        assert str(door) not in text


def test_a_superlink_that_is_away_is_told_as_such(world, tmp_path):
    other = World(tmp_path)
    other.start(superlink=f"{HOST}:{free_ports(1)[0]}")
    try:
        assert other.ask("parties", "bank", FLEET) == (503, b'{"error": "superlink-away"}')
        assert other.ask("parties", "bank", "/health", method="GET")[0] == 200
    finally:
        other.stop()
        other.behind.shutdown()
        other.behind.server_close()


def test_a_real_superlink_is_driven_through_the_operators_door_alone(tmp_path):
    """Flower's own client, and a node that shows its party's certificate, get through."""
    path = build(tmp_path / "federation", customers=300)
    federation, _ = load_federation(path)
    plan = _Plan(federation, path, "gate", path.parent / COORDINATOR, "scorecard")
    ports = free_ports(2 + len(federation.holders))
    gate = World.__new__(World)
    gate.base, gate.behind = path.parent, None
    with deployed({}, print) as fleet:
        services = _services(plan, ports, "wss://unused:1", fleet.memory / "superlink.db")
        fleet.start(services[:1])
        assert wait_for(lambda: answers(ports[0]), 90, fleet)
        gate.start(superlink=f"{HOST}:{ports[0]}")
        try:
            operator, parties = (f"{HOST}:{gate.doors[door]}" for door in ("operator", "parties"))
            with Control(operator, path.parent / COORDINATOR / "ca.crt") as control:
                assert wait_for(control.reachable, 60, fleet)
                nodes = control.register(_node_keys(plan))
                assert set(nodes) == set(federation.holders)
            for door in (operator, parties):
                with (
                    Control(door, path.parent / "bank" / "ca.crt") as control,
                    pytest.raises(EnvironmentFault, match=r"not-the-coordinator|not-a-fleet-path"),
                ):
                    control.reachable()
            place = path.parent / "bank"
            node = subprocess.Popen(
                [
                    *(sys.executable, "-m", "clients.supernode", f"--superlink={parties}"),
                    f"--root-certificates={place / 'ca.crt'}",
                    f"--auth-supernode-private-key={place / 'node.key'}",
                    *(f"--host={HOST}", f"--port={ports[2]}"),
                    f"--node-config=federation='{path}' party='bank' relay='wss://unused:1'",
                ],
                cwd=ROOT,
                env=fleet._variables(services[2], tmp_path),
                start_new_session=True,
            )
            try:
                with Control(operator, path.parent / COORDINATOR / "ca.crt") as control:

                    def online():
                        rows = control._client.ListNodes(api.ListNodesRequest()).nodes_info
                        return [row.node_id for row in rows if row.status == "online"]

                    end = time.monotonic() + 60
                    while online() != [nodes["bank"]]:
                        assert time.monotonic() < end
                        time.sleep(0.2)
            finally:
                node.terminate()
                node.wait(20)
        finally:
            gate.stop()
