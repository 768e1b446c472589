"""The gate before a SuperLink, as a real process: who passes which of its two doors.

Who is no member, too large or too slow is in `test_outsider.py`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from clients.keys.commands import make_keys
from server.engines.deployment import HOST, free_ports
from shared.edge.tls import tls_context
from tests.support import COORDINATOR, ROOT

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


def test_a_big_body_is_passed_on_in_pieces(world):
    def resident():
        status = Path(f"/proc/{world.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    before = resident()
    status, body = world.ask("parties", "bank", FLEET, body=bytes(40 << 20))
    assert (status, json.loads(body)["length"]) == (200, 40 << 20)
    assert resident() - before < 20


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


def test_it_tells_what_it_turned_away_on_a_port_of_its_own(world):
    world.ask("parties", "bank", CONTROL)
    assert world.ask("parties", "bank", FLEET)[0] == 200
    passed, end = 'confide_gate_requests_total{member="bank",status="200"}', time.monotonic() + 20
    text = ""
    while passed not in text and time.monotonic() < end:  # it is counted once it was answered
        page = urllib.request.urlopen(f"http://{HOST}:{world.metrics}/metrics", timeout=10).read()
        text = page.decode()
    assert passed in text
    assert 'confide_gate_refused_total{door="parties",reason="not-a-fleet-path"}' in text
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
