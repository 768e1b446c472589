"""A whole federation and a limit service as processes, and what an outsider brings along."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from server.coordinator import load_federation
from server.engines.deployment import HOST, Service, answers, free_ports
from server.engines.flower import node_config
from server.federation.state import read_state
from shared.edge.files import load_identity
from shared.edge.tls import tls_context
from shared.edge.wire import dial, read_address, relay_channel
from tests.commands import Running
from tests.support import COORDINATOR, ROOT
from tests.whole_runs import build

PARTIES = ("bank", "bureau", "payments")
#: Another address of this machine: what listens there is not for this machine alone.
OUTSIDE = "127.0.0.2"
LISTEN = "0A"


class Stack:
    """What `confide federation up` starts, and `confide serve` with TLS, on one machine."""

    def __init__(self, base):
        self.base = base
        self.path = build(base / "federation", parties=PARTIES, customers=300)
        self.federation, _ = load_federation(self.path)
        self.first_metrics = row_of_ports(3 + len(PARTIES))
        home = self.path.parent / "limits"
        words = ("serve", "-f", self.path, "--host", "0.0.0.0", "--port", "0", "--format", "json")
        files = ("--certificate", home / "tls.crt", "--key", home / "tls.key")
        self.serve = Running(base / "serve", *words, *files)
        words = ("federation", "up", "-f", self.path, "--host", "0.0.0.0", "--format", "json")
        metrics = ("--metrics", self.first_metrics)
        up = Running(base / "up", *words, *metrics, env={"CONFIDE_LOG": "text"})
        assert up.end(240) == 0, up.stderr
        state = read_state(self.path.parent / COORDINATOR)
        self.pids = {one.name: one.pid for one in state.services}
        self.ports = {one.name: one.port for one in state.services}
        self.ports["operator"] = state.places.operator
        self.serve.until(lambda: self.serve.stdout.rstrip().endswith("}"))
        self.pids["limits"] = self.serve.process.pid
        self.ports["limits"] = json.loads(self.serve.stdout)["data"]["port"]
        self.pids["supervisor"] = int(
            (self.path.parent / COORDINATOR / "federation" / "pid").read_text()
        )

    def down(self):
        down = Running(self.base / "down", "federation", "down", "-f", self.path)
        status = down.end(120)
        self.serve.process.terminate()
        return status, self.serve.end(60)

    @property
    def url(self):
        """The relay's."""
        return f"wss://{HOST}:{self.ports['relay']}"

    def home(self, name):
        return self.path.parent / name

    def log(self, name):
        return (self.home(COORDINATOR) / "logs" / f"federation.{name}.log").read_text()

    def identity(self, name):
        member = self.federation.parties.get(name, self.federation.coordinator)
        return load_identity(self.home(name) / "identity.key", name, member.fingerprint)

    def context(self, name):
        """Return how a member dials."""
        home = self.home(name)
        return tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=False)

    def bare(self, home=None, *, authority=None):
        """Return how somebody dials who trusts the federation's CA, with another certificate."""
        context = ssl.create_default_context(cafile=authority or self.home("bank") / "ca.crt")
        if home is not None:
            context.load_cert_chain(home / "tls.crt", home / "tls.key")
        return context

    def ask(self, name, method="GET", path="/health", *, context, body=None, headers=None):
        """Ask one of the listeners over HTTP; return status and body."""
        made = http.client.HTTPSConnection(HOST, self.ports[name], context=context, timeout=30)
        with contextlib.closing(made):
            made.request(method, path, body=body, headers=headers or {})
            got = made.getresponse()
            return got.status, got.read()

    def wire(self, name, scope, *, context=None, identity=None, url=None):
        """Connect to the relay as a member, without a link behind it."""
        who = identity or self.identity(name)
        address = read_address(url or self.url)
        return dial(address, context or self.context(name), who, scope, os.urandom(8))

    def channel(self, name, scope, *, peers, url=None, deadline=20.0):
        others = [peer for peer in peers if peer != name]
        where = url or self.url
        return relay_channel(where, self.home(name), self.identity(name), others, scope, deadline)

    def well(self):
        """Check that everybody is served; return how many seconds the slowest took."""
        slowest = 0.0
        for name, who, path in (
            ("gate", "bank", "/health"),
            ("operator", COORDINATOR, "/health"),
            ("relay", "bureau", "/health"),
            ("limits", "bank", "/healthz"),
        ):
            began = time.monotonic()
            assert self.ask(name, path=path, context=self.context(who))[0] == 200
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def peak_mb(self, name):
        status = Path(f"/proc/{self.pids[name]}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def node(self, party, superlink, log, *, words=("-m", "clients.supernode")):
        """Return a further node of a party, for a SuperLink of somebody else."""
        place = self.home(party)
        config = {"federation": str(self.path), "party": party, "relay": "wss://unused:1"}
        options = ["--superlink", superlink, "--root-certificates", str(place / "ca.crt")]
        options += ["--auth-supernode-private-key", str(place / "node.key"), "--host", HOST]
        options += ["--port", str(free_ports(1)[0]), "--node-config", node_config(config)]
        return Service(f"{log.stem}", (*words, *options), place, log)


def row_of_ports(count):
    """Return the first of a row of free ports."""
    for _ in range(100):
        (first,) = free_ports(1)
        if first < 65_000 and not any(answers(first + at) for at in range(count)):
            return first
    raise AssertionError("no row of ports is free")


def family(pids):
    """Return processes with all that they have started."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, ahead = set(), list(pids)
    while ahead:
        pid = ahead.pop()
        if pid not in found:
            found.add(pid)
            ahead += children.get(pid, [])
    return found


def listeners(pids):
    """Return addresses and ports on which processes listen, by the system's own tables."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(entry.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].partition(":")
                raw = b"".join(
                    bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)
                )
                kind = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
                found.add((socket.inet_ntop(kind, raw), int(port, 16)))
    return found


class Impostor:
    """A TLS server with somebody's certificate; it writes down what it is asked for."""

    def __init__(self, home):
        asked = self.asked = []

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, *_):
                """Say nothing."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(home / "tls.crt", home / "tls.key")
        self.server = ThreadingHTTPServer((HOST, 0), Answer)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"{HOST}:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Wiretap:
    """Stands between a member and the relay: records what the member sends, or meddles with it.

    It sees TLS records, and may send one of them twice or two in the wrong order.
    """

    #: The record of a connection that is meddled with: long after the handshake.
    AT = 12

    def __init__(self, port, meddling=()):
        self._port, self._meddling = port, list(meddling)
        self.recorded, self.meddled, self.connections = [], [], 0
        self._listener = socket.create_server((HOST, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"wss://{HOST}:{self._listener.getsockname()[1]}"

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                member, _ = self._listener.accept()
            except OSError:
                return
            relay = socket.create_connection((HOST, self._port))
            self.connections += 1
            how = self._meddling.pop(0) if self._meddling else ""
            for work, ends in ((self._up, (member, relay, how)), (_copy, (relay, member))):
                threading.Thread(target=work, args=ends, daemon=True).start()

    def _up(self, member, relay, how):
        said = bytearray()
        self.recorded.append(said)
        held = b""
        with contextlib.suppress(OSError), member.makefile("rb") as stream:
            for number, record in enumerate(iter(lambda: _record(stream), b"")):
                said += record
                if how == "swap" and number == self.AT:
                    held = record
                    continue
                relay.sendall(record)
                if held or (how == "twice" and number == self.AT):
                    relay.sendall(held or record)
                    self.meddled.append(how)
                    held = b""
        _end(relay)


def _record(stream):
    head = stream.read(5)
    return head + stream.read(int.from_bytes(head[3:5], "big")) if len(head) == 5 else b""


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _end(target)


def _end(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


#: A relay that meddles with what the bank sends to the coordinator, as the session's name says.
MALICE = """
import sys
from server.relay import mailbox, starting
from shared.channel import pack_frame, unpack_frame
from shared.pieces import DATA, Message, pack_message, unpack_message

honest, state, recorded = mailbox.Relay._forward, {}, []

async def forward(self, session, member, raw):
    scope = next(scope for scope, one in self._sessions.items() if one is session)
    how = scope.split("/")[0]
    if raw[0] != DATA or member.name != "bank" or how == "honest":
        return await honest(self, session, member, raw)
    sent = unpack_message(raw)
    number, body = sent.number, bytes(sent.body)
    async def on(number, body, flag=sent.flag):
        message = pack_message(Message(DATA, sent.name, number, flag, body))
        await honest(self, session, member, message)
    if how == "doubled":
        recorded.append(body)
        await on(number, body)
        await on(number, body)
    elif how == "swapped":  # 4 before 3, as they are
        if number == 3:
            state[how] = body
            return
        await on(number, body)
        if number == 4:
            await on(3, state[how])
    elif how == "exchanged":  # 4 in the place of 3, and 3 in that of 4
        if number == 3:
            state[how] = body
            return
        if number == 4:
            await on(3, body)
            body = state[how]
        await on(number, body)
    elif how == "replayed":  # 3 again in the place of 4
        if number == 3:
            state[how] = body
        await on(number, state[how] if number == 4 else body)
    elif how == "recorded":  # a hello of another session in the place of this one's
        if number == 1:
            old, new = unpack_frame(recorded[0]), unpack_frame(body)
            new = type(new)(new.sender, new.recipient, new.tag, old.payload)
            body = pack_frame(new)
        await on(number, body)

mailbox.Relay._forward = forward
sys.exit(starting.main(sys.argv[1:]))
"""


class MaliciousRelay:
    """The relay's own program, keys and certificate, in the hands of somebody else."""

    def __init__(self, stack):
        home = stack.home(COORDINATOR)
        words = [sys.executable, "-c", MALICE, "--federation", str(stack.path), "--port", "0"]
        words += ["--certificate", str(home / "tls.crt"), "--key", str(home / "tls.key")]
        words += ["--ca", str(home / "ca.crt")]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        self.url = f"wss://{HOST}:{json.loads(self.process.stdout.readline())['port']}"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Slow:
    """Connections of who is slow, all at once; each writes down when it was let go."""

    def __init__(self):
        self.began = time.monotonic()
        self.ended, self.said = {}, {}
        self._threads = []

    def start(self, name, sock, *, drip=b""):
        """Watch a connection on which too little was said; drip more on it, if need be."""
        thread = threading.Thread(target=self._watch, args=(name, sock, drip), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self, name, sock, drip):
        began, said = time.monotonic(), b""
        sock.settimeout(0.5)
        with contextlib.suppress(OSError), sock:
            while time.monotonic() < began + 60:
                try:
                    data = sock.recv(4096)
                except TimeoutError:
                    if drip:
                        sock.sendall(drip)
                    continue
                said += data
                if not data:
                    break
        self.said[name], self.ended[name] = said, time.monotonic() - began

    def join(self):
        for thread in self._threads:
            thread.join(70)
