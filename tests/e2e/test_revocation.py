"""A party is out, or has new keys, while relay and gate run: neither is started again."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime

import pytest

from clients.keys.certificates import Issued, new_authority
from clients.keys.changes import revoke_party, rotate_keys
from clients.keys.revocation import revoke
from server.engines.deployment import HOST, free_ports
from shared.wire import REFUSED, WireClosedError
from tests.relays import RelayProcess, World, until_closed
from tests.support import COORDINATOR, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Seconds within which a change counts; it is looked at every second.
SOON_S = 8.0
FLEET = "/v1/fleet/pull-messages"


class Both:
    """A federation's folder, its relay, and a gate before a SuperLink that is away."""

    def __init__(self, base):
        self.world = World(base)
        self.path = base / "federation.toml"
        ports = free_ports(2)
        self.metrics = {"relay": ports[0], "gate": ports[1]}
        self.relay = RelayProcess(self.world, options=[f"--metrics={ports[0]}"])
        home = base / COORDINATOR
        self.log = base / "gate.log"
        words = [sys.executable, "-m", "server.gate", f"--federation={self.path}"]
        words += [f"--superlink={HOST}:{free_ports(1)[0]}", f"--metrics={ports[1]}"]
        words += [f"--certificate={home / 'tls.crt'}", f"--key={home / 'tls.key'}"]
        words += [f"--ca={home / 'ca.crt'}", "--port=0", "--operator-port=0"]
        with self.log.open("wb") as log:
            self.gate = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
        said = json.loads(self.gate.stdout.readline())
        self.doors = {name: int(place.rpartition(":")[2]) for name, place in said.items()}

    def stop(self):
        self.relay.kill()
        self.gate.kill()
        self.gate.wait()
        self.gate.stdout.close()

    def at_gate(self, name, *, context=None):
        """Open a connection to the parties' door."""
        return http.client.HTTPSConnection(
            HOST, self.doors["parties"], context=context or self.world.context(name), timeout=10
        )

    def ask(self, name, *, path=FLEET, method="POST", context=None):
        with contextlib.closing(self.at_gate(name, context=context)) as made:
            return say(made, method, path)

    def outdated(self, name):
        page = f"http://{HOST}:{self.metrics[name]}/metrics"
        text = urllib.request.urlopen(page, timeout=10).read().decode()
        return float(text.split(f"\nconfide_{name}_outdated ")[1].split()[0])

    def logs(self):
        return {"relay": self.relay.errors.read_text(), "gate": self.log.read_text()}


def say(made, method="POST", path=FLEET):
    made.request(method, path, body=b"x")
    got = made.getresponse()
    return got.status, json.loads(got.read())


AWAY = (503, {"error": "superlink-away"})


@pytest.fixture(scope="module")
def born(tmp_path_factory):
    return World(tmp_path_factory.mktemp("keys")).base


@pytest.fixture
def both(tmp_path, request):
    one = Both(tmp_path / "federation")
    one.world.scope = f"{request.node.name[:40]}/test/1"
    yield one
    one.stop()


def soon(condition):
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def still_open(made):
    """Return whether a kept connection is open, without saying anything on it."""
    made.sock.settimeout(0.2)
    try:
        return made.sock.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_a_revoked_party_is_closed_out_within_seconds_and_the_others_go_on(both):
    world, url = both.world, both.relay.url
    contexts = {name: world.context(name) for name in ("bank", "shop")}
    wires = {name: world.dial(url, name) for name in (COORDINATOR, "bank", "shop")}
    kept = {name: both.at_gate(name) for name in contexts}
    for made in kept.values():
        assert say(made, "GET", "/health")[0] == 200
    idle = contexts["shop"].wrap_socket(
        socket.create_connection((HOST, both.relay.port)), server_hostname=HOST
    )  # it has not even asked for a WebSocket
    began = time.monotonic()
    revoke_party(both.path, "shop", datetime.now(UTC))
    closed = until_closed(wires["shop"], SOON_S)
    assert closed.code == REFUSED
    assert closed.reason in {"the certificate of shop is revoked", "shop is no member any more"}
    soon(lambda: not still_open(kept["shop"]))
    idle.settimeout(SOON_S)
    with contextlib.suppress(ConnectionError):
        assert idle.recv(10) == b""
    idle.close()
    assert time.monotonic() - began < SOON_S
    # It comes again, with the certificate and the key that it had.
    with pytest.raises(WireClosedError, match="the certificate of shop is revoked") as refused:
        world.dial(url, "shop", context=contexts["shop"])
    assert refused.value.code == REFUSED
    for path, method in ((FLEET, "POST"), ("/health", "GET")):
        said = both.ask("shop", path=path, method=method, context=contexts["shop"])
        assert said == (403, {"error": "revoked"})
    # The control: the others' connections are the ones from before, and new ones are let in.
    assert still_open(kept["bank"])
    assert say(kept["bank"], "GET", "/health")[0] == 200
    assert wires["bank"].receive(0.0) is not None
    world.dial(url, "payments").close()
    assert both.ask("bank") == AWAY
    for log in both.logs().values():
        assert "a member's connection was closed member=shop reason=revoked" in log
        assert "member=bank" not in log
    for made in (*wires.values(), *kept.values()):
        made.close()


def test_a_party_with_new_keys_comes_in_with_them_and_not_with_the_old(both):
    world, url = both.world, both.relay.url
    old_identity, old_context = world.identity("shop"), world.context("shop")
    coordinator = world.dial(url, COORDINATOR)
    shop = world.dial(url, "shop")
    rotate_keys(both.path, "shop", datetime.now(UTC))
    closed = until_closed(shop, SOON_S)
    assert closed.code == REFUSED
    pinned = both.path.read_text().split("[parties.shop]")[1].split('fingerprint = "')[1][:64]
    world.pins.identities["shop"] = pinned
    world.dial(url, "shop").close()
    assert both.ask("shop") == AWAY
    # The new certificate does not help the old identity, nor the new identity the old one.
    with pytest.raises(WireClosedError, match="not the one pinned"):
        world.dial(url, "shop", identity=old_identity)
    with pytest.raises(WireClosedError, match="the certificate of shop is revoked"):
        world.dial(url, "shop", context=old_context)
    assert both.ask("shop", context=old_context) == (403, {"error": "revoked"})
    assert coordinator.receive(0.0) is not None
    coordinator.close()


def test_an_identity_that_is_replaced_alone_is_closed_out_too(both):
    """As where the party rotates at home, and its certificate stays."""
    world, url = both.world, both.relay.url
    wires = {name: world.dial(url, name) for name in (COORDINATOR, "shop")}
    text = both.path.read_text()
    replace(both.path, text.replace(world.pins.identities["shop"], "ab" * 32).encode())
    closed = until_closed(wires["shop"], SOON_S)
    assert (closed.code, closed.reason) == (REFUSED, "shop has other keys now")
    with pytest.raises(WireClosedError, match="not the one pinned"):
        world.dial(url, "shop")
    replace(both.path, text.encode())
    world.dial(url, "shop").close()  # looked at when it connects
    wires[COORDINATOR].close()


def replace(path, content):
    """Write a file as whoever gives it out does."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def test_a_damaged_file_is_told_and_what_it_said_before_goes_on(both):
    world, url = both.world, both.relay.url
    listed = world.base / COORDINATOR / "ca.crl"
    world.dial(url, COORDINATOR).close()
    first = both.path.read_bytes()
    revoke_party(both.path, "shop", datetime.now(UTC))
    second, revoked = both.path.read_bytes(), listed.read_bytes()
    (world.base / "shop" / "ca.crl").unlink()  # the shop does not look at it
    contexts = {name: world.context(name) for name in ("bank", "shop", COORDINATOR)}

    def well(outdated):
        soon(lambda: all(both.outdated(name) == outdated for name in both.metrics))
        assert both.ask("bank", context=contexts["bank"]) == AWAY
        wire = world.dial(url, COORDINATOR, context=contexts[COORDINATOR])
        world.dial(url, "bank", context=contexts["bank"]).close()
        with pytest.raises(WireClosedError, match=r"revoked|not in the federation file"):
            world.dial(url, "shop", context=contexts["shop"])
        assert both.ask("shop", context=contexts["shop"])[0] == 403
        wire.close()

    well(0.0)
    damaged = {
        both.path: (second[: len(second) // 2], b"\xff\xfe", second.replace(b'"test"', b'"b"')),
        listed: (b"", revoked[:200], None, forged(), older(world)),
    }
    for path, contents in damaged.items():
        good = path.read_bytes()
        for content in contents:
            if content is None:
                path.unlink()
            else:
                replace(path, content)
            well(1.0)
        replace(path, good)
        well(0.0)
    for log in both.logs().values():
        for why in ("federation.toml", "is of another federation", "ca.crl is gone"):
            assert why in log
        for why in ("not signed by the federation's CA", "older than the list in use"):
            assert why in log
        assert log.count("a changed file is refused") >= 8
    # The control: a good one counts at once, also one that takes a party in again.
    replace(both.path, first)
    assert both.ask("payments") == AWAY
    well(0.0)  # its certificate stays revoked


def forged():
    """Make an empty list of another authority under the federation's name."""
    return revoke(new_authority("test", datetime.now(UTC)), b"", [], datetime.now(UTC))


def older(world):
    """Make an empty list of the right authority, of the day before."""
    key = (world.base / "ca" / "ca.key").read_bytes()
    own = Issued((world.base / COORDINATOR / "ca.crt").read_bytes(), key)
    return revoke(own, b"", [], datetime.fromtimestamp(time.time() - 86_400, UTC))


def test_a_relay_and_a_gate_do_not_start_on_a_list_of_another_authority(born, tmp_path):
    base = tmp_path / "federation"
    shutil.copytree(born, base)
    (base / COORDINATOR / "ca.crl").write_bytes(forged())
    home = base / COORDINATOR
    words = [f"--certificate={home / 'tls.crt'}", f"--key={home / 'tls.key'}", "--port=0"]
    words += [f"--ca={home / 'ca.crt'}", f"--federation={base / 'federation.toml'}"]
    gate = ["--superlink=127.0.0.1:1", "--operator-port=0"]
    for module, more in (("server.relay", []), ("server.gate", gate)):
        done = subprocess.run(
            [sys.executable, "-m", module, *words, *more],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=60,
        )
        assert done.returncode == 4
        assert "ca.crl is not signed by the federation's CA" in done.stderr
