"""Relays and gates as real processes, the folders of who dials them, and an authority of others."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from clients.keys.certificates import issue, new_authority
from clients.keys.keyfiles import make_keys
from shared.edge.files import load_identity
from shared.edge.tls import tls_context
from shared.edge.wire import dial, read_address, relay_channel
from shared.wire import WireClosedError
from tests.support import COORDINATOR, ROOT

PARTIES = ("bank", "payments", "shop")
EVERYBODY = (*PARTIES, COORDINATOR)


class World:
    """A federation's folder, with everybody's keys and certificates."""

    scope = "run/test/1"

    def __init__(self, base):
        self.base = base
        homes = {name: name for name in EVERYBODY}
        self.pins = make_keys(base, "test", homes, hosts=(), force=False)
        lines = [
            'name = "test"\nbuilder = "bank"\ncontract = "contract.toml"',
            f'ca = "{self.pins.ca}"',
            f'[coordinator]\nfingerprint = "{self.pins.identities[COORDINATOR]}"',
        ]
        lines += [
            f'[parties.{name}]\nfingerprint = "{self.pins.identities[name]}"' for name in PARTIES
        ]
        (base / "federation.toml").write_text("\n".join(lines) + "\n")

    def identity(self, name):
        return load_identity(self.base / name / "identity.key", name, self.pins.identities[name])

    def context(self, name):
        home = self.base / name
        return tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=False)

    def dial(self, url, name, *, identity=None, context=None):
        """Connect as a member without a link behind it."""
        who = identity or self.identity(name)
        return dial(
            read_address(url), context or self.context(name), who, self.scope, os.urandom(8)
        )

    def channel(self, url, name, *, peers=None, scope="", deadline=20.0):
        others = [peer for peer in peers or EVERYBODY if peer != name]
        scope = scope or self.scope
        return relay_channel(url, self.base / name, self.identity(name), others, scope, deadline)


class RelayProcess:
    """A relay in a process of its own; it may be killed and started again on its port."""

    def __init__(self, world, *, host="127.0.0.1", home=None, options=()):
        self.world, self.host, self.options = world, host, options
        self.home = home or world.base / COORDINATOR
        self.port = 0
        self.errors = world.base / f"relay-{os.urandom(3).hex()}.log"
        self.start()

    def command(self, port):
        files = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
        return [
            *(sys.executable, "-m", "server.relay"),
            f"--federation={self.world.base / 'federation.toml'}",
            *(f"--{option}={self.home / name}" for option, name in files.items()),
            *(f"--host={self.host}", f"--port={port}", *self.options),
        ]

    def start(self):
        for _ in range(20):
            with self.errors.open("ab") as errors:
                self.process = subprocess.Popen(
                    self.command(self.port), stdout=subprocess.PIPE, stderr=errors, cwd=ROOT
                )
            line = self.process.stdout.readline()
            if line:
                self.said = json.loads(line)
                self.port = self.said["port"]
                return
            self.process.wait()
            time.sleep(0.2)  # somebody else's connection may have been given the port
        raise AssertionError(self.errors.read_text())

    @property
    def url(self):
        return f"wss://127.0.0.1:{self.port}"

    @property
    def peak_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def health(self):
        context = self.world.context("bank")
        asked = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        with contextlib.closing(asked):
            asked.request("GET", "/health")
            return json.loads(asked.getresponse().read())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(10)
        self.process.stdout.close()
        return status


def in_threads(work):
    """Run everybody at once; return what came of each."""
    came = {}

    def play(name):
        try:
            came[name] = work[name]()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            came[name] = error

    threads = {name: threading.Thread(target=play, args=(name,), daemon=True) for name in work}
    for thread in threads.values():
        thread.start()
    return threads, came


def until_closed(wire, limit=10.0):
    end = time.monotonic() + limit
    try:
        while time.monotonic() < end:
            wire.receive(0.5)
    except WireClosedError as closed:
        return closed
    finally:
        wire.close()
    raise AssertionError("the relay did not close the connection")


def other_authority(tmp_path, name="relay"):
    """Make certificates of another CA, as good as ours but for that."""
    now = datetime.now(UTC)
    authority = new_authority("other", now)
    made = issue(authority, name, ("127.0.0.1", "localhost"), now)
    for name, content in (
        ("ca.crt", authority.certificate),
        ("tls.crt", made.certificate),
        ("tls.key", made.key),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path
