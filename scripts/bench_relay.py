"""Time the relay beside plain sockets: small messages, 100 MB payloads, memory; all in one run.

    python scripts/bench_relay.py --json relay.json

Two processes talk over three lines: a plain TCP socket, a TLS 1.3 socket, and the relay, a third
process that reads and writes every byte once more, over TLS on both sides. Lines take turns within
each repeat, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from _bench import Bar, load, machine, peak_rss_mb, show_bars, show_mapping, spread, versions
from _bench import write_json as write

from clients.keys.keyfiles import make_keys
from shared.channel import QueueChannel
from shared.edge.files import load_identity
from shared.edge.tls import tls_context
from shared.edge.wire import relay_channel

NEAR, FAR, COORDINATOR = "bank", "shop", "coordinator"
EVERYBODY = (NEAR, FAR, COORDINATOR)
SCOPE = "bench/relay/1"
SMALL = bytes(64)
LINES = ("tcp", "tls", "relay")
SPAWN = multiprocessing.get_context("spawn")
DEADLINE_S = 120.0
MAX_MEMORY_MB = 64.0


class Line(Protocol):
    """Something to talk over: messages in order, both ways."""

    def send(self, payload: bytes) -> None: ...
    def receive(self) -> bytes: ...


class SocketLine:
    """A socket; each message behind its length."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._stream = sock.makefile("rb", buffering=1 << 20)

    def send(self, payload: bytes) -> None:
        self._sock.sendall(struct.pack(">Q", len(payload)) + payload)

    def receive(self) -> bytes:
        (length,) = struct.unpack(">Q", self._stream.read(8))
        return self._stream.read(length)


class RelayLine:
    """A channel over the relay."""

    def __init__(self, channel: QueueChannel, peer: str) -> None:
        self._channel, self._peer = channel, peer

    def send(self, payload: bytes) -> None:
        self._channel.send(self._peer, "bench", payload)

    def receive(self) -> bytes:
        return self._channel.receive(self._peer, "bench")


def make_world(base: Path) -> None:
    """Make keys and a federation file."""
    pins = make_keys(base, "bench", {name: name for name in EVERYBODY}, hosts=(), force=False)
    text = f'name = "bench"\nbuilder = "{NEAR}"\ncontract = "contract.toml"\nca = "{pins.ca}"\n'
    for name in EVERYBODY:
        section = name if name == COORDINATOR else f"parties.{name}"
        text += f'[{section}]\nfingerprint = "{pins.identities[name]}"\n'
    (base / "federation.toml").write_text(text)


@contextlib.contextmanager
def running_relay(base: Path) -> Iterator[tuple[str, int]]:
    """Start a relay; yield its URL and process id."""
    home = base / COORDINATOR
    command = [sys.executable, "-m", "server.relay", f"--federation={base / 'federation.toml'}"]
    files = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
    command += [f"--{option}={home / name}" for option, name in files.items()]
    with subprocess.Popen([*command, "--port=0"], stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        yield json.loads(relay.stdout.readline())["url"], relay.pid
        relay.terminate()


def member(base: Path, url: str, name: str) -> contextlib.AbstractContextManager[QueueChannel]:
    identity = load_identity(base / name / "identity.key", name, None)
    peers = [peer for peer in EVERYBODY if peer != name]
    return relay_channel(url, base / name, identity, peers, SCOPE, DEADLINE_S)


def context_of(base: Path, name: str, *, server: bool) -> ssl.SSLContext:
    home = base / name
    return tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=server)


def play_far(base: Path, url: str, ports: dict[str, int], commands: Connection) -> None:
    """Answer in the other process: echo, or take everything and say so."""
    with contextlib.ExitStack() as stack:
        plain = socket.create_connection(("127.0.0.1", ports["tcp"]))
        raw = socket.create_connection(("127.0.0.1", ports["tls"]))
        context = context_of(base, FAR, server=False)
        tls = context.wrap_socket(raw, server_hostname="127.0.0.1")
        channel = stack.enter_context(member(base, url, FAR))
        lines: dict[str, Line] = {
            "tcp": SocketLine(plain),
            "tls": SocketLine(tls),
            "relay": RelayLine(channel, NEAR),
        }
        while (command := commands.recv()) is not None:
            line, echo, count = lines[command[0]], command[1], command[2]
            for _ in range(count):
                payload = line.receive()
                if echo:
                    line.send(payload)
            if not echo:
                line.send(b"done")
        commands.send(peak_rss_mb())


@contextlib.contextmanager
def lines_to_far(base: Path, url: str) -> Iterator[tuple[dict[str, Line], Connection]]:
    """Start the other process and connect to it in every way."""
    ours, theirs = SPAWN.Pipe()
    with contextlib.ExitStack() as stack:
        stack.enter_context(member(base, url, COORDINATOR))
        doors = {name: socket.create_server(("127.0.0.1", 0)) for name in ("tcp", "tls")}
        ports = {name: door.getsockname()[1] for name, door in doors.items()}
        far = SPAWN.Process(target=play_far, args=(base, url, ports, theirs))
        far.start()
        plain, _ = doors["tcp"].accept()
        raw, _ = doors["tls"].accept()
        tls = context_of(base, COORDINATOR, server=True).wrap_socket(raw, server_side=True)
        channel = stack.enter_context(member(base, url, NEAR))
        yield (
            {"tcp": SocketLine(plain), "tls": SocketLine(tls), "relay": RelayLine(channel, FAR)},
            ours,
        )
    far.join()


def ping_pong(line: Line, count: int) -> None:
    for _ in range(count):
        line.send(SMALL)
        line.receive()


def one_way(line: Line, payload: bytes, count: int) -> None:
    for _ in range(count):
        line.send(payload)
    line.receive()


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_of(process: int) -> float:
    """Return the largest resident set of a process, MiB (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(
    lines: dict[str, Line], commands: Connection, options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    """Return round trips a second, messages a second and MB a second, by line."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in LINES}
    big = os.urandom(options.megabytes * 1_000_000)

    def note(name: str, what: str, value: float) -> None:
        found[name].setdefault(what, []).append(value)

    for repeat in range(options.repeats + 1):
        for name, line in lines.items():
            commands.send((name, True, options.round_trips))
            trips = options.round_trips / timed(lambda: ping_pong(line, options.round_trips))  # noqa: B023 - called at once
            commands.send((name, False, options.messages))
            small = options.messages / timed(lambda: one_way(line, SMALL, options.messages))  # noqa: B023 - called at once
            commands.send((name, False, 1))
            large = options.megabytes / timed(lambda: one_way(line, big, 1))  # noqa: B023 - called at once
            if repeat:  # the first is to warm up
                note(name, "round_trips_per_second", trips)
                note(name, "messages_per_second", small)
                note(name, "megabytes_per_second", large)
    return found


def show(report: dict[str, Any]) -> bool:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    print(f"\n{'':<34}{'median':>12}  quartiles")
    for what in ("round_trips_per_second", "messages_per_second", "megabytes_per_second"):
        for name in LINES:
            one = report["lines"][name][what]
            quartiles = f"{one['lower_quartile']:,.0f} - {one['upper_quartile']:,.0f}"
            print(f"{name:<6} {what:<27}{one['median']:>12,.0f}  {quartiles}")
    print("\npeak memory, MiB")
    show_mapping(report["peak_rss_mb"])
    print()
    return show_bars([Bar(**{k: one[k] for k in ("name", "value", "relation", "limit")})
                      for one in report["bars"]])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--round-trips", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=20_000, help="small ones, one way")
    parser.add_argument("--megabytes", type=int, default=100, help="of the large payload")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_world(base)
        with running_relay(base) as (url, relay):
            idle = peak_of(relay)
            with lines_to_far(base, url) as (lines, commands):
                found = measure(lines, commands, options)
                commands.send(None)
                memory = {"relay idle": idle, "relay": peak_of(relay), "receiver": commands.recv()}
    memory["relay growth"] = memory["relay"] - memory["relay idle"]
    bar = Bar("relay grows by at most, MiB", memory["relay growth"], "<=", MAX_MEMORY_MB)
    report: dict[str, Any] = {
        "schema": "confide/bench-relay/1",
        "machine": machine(),
        "versions": versions("websockets", "uvicorn", "uvloop", "starlette", "cryptography"),
        "load": load(),
        "settings": {k: v for k, v in vars(options).items() if k != "json"},
        "lines": {
            name: {what: spread(values) for what, values in one.items()}
            for name, one in found.items()
        },
        "peak_rss_mb": {name: round(value, 1) for name, value in memory.items()},
        "bars": [bar.to_mapping()],
    }
    met = show(report)
    write(options.json, report)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
