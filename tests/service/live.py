"""`confide serve` as processes: started, asked, and ended with the test."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from server.api.tokens import OFFLINE, Caller, Role, mint, read_keys
from tests.support import ROOT

LONG_S = 180.0  # a busy machine takes long to start three processes


class Service:
    """The command, its supervisor and its workers."""

    def __init__(self, kit, *options, workers=2, env=None):
        self.kit = kit
        self.home = kit.folder / "limits"
        self.log = kit.folder / "serve.log"
        command = [sys.executable, "-m", "server.cli", "serve", "--federation", str(kit.path)]
        command += ["--port", "0", "--workers", str(workers), "--format", "json", *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": "ignore", **(env or {})},
            )
        told = b""
        while line := self.process.stdout.readline():
            told += line
            if line == b"}\n":
                break
        assert told, self.log.read_text()
        self.port = json.loads(told)["data"]["port"]

    def bearer(self, role=Role.OPERATOR, subject=""):
        keys = read_keys(self.home / "token.key")
        token = mint(keys, Caller(OFFLINE, role, subject), datetime.now(UTC))
        return {"Authorization": f"Bearer {token}"}

    def ask(self, path, method="GET", body=None, headers=None):
        """Ask on a connection of its own, so that any worker may be the one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        try:
            connection.request(method, path, body, self.bearer() if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def workers(self):
        """Ids of the processes that answer."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return sorted(found)

    def until(self, what):
        deadline = time.monotonic() + LONG_S
        while not what():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)


@contextmanager
def serving(kit, *options, **more):
    service = Service(kit, *options, **more)
    try:
        service.until(lambda: _ready(service))
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait()
        service.process.stdout.close()


def _ready(service):
    try:
        return service.ask("/readyz")[0] == 200
    except OSError:
        return False
