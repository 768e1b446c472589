"""Runs of engine `flower` for tests; a mark finds every process that one leaves behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support import ROOT

#: Generous: the machine may be busy with other work.
LIMIT_S = 180.0
MARK = "CONFIDE_TEST_MARK"


class FlowerRun:
    """`confide train --engine flower` under way.

    Parameters
    ----------
    path : Path
        The federation file.
    folder : Path
        For its output.
    arguments : str
        Further ones.
    """

    def __init__(self, path, folder, *arguments):
        folder.mkdir(parents=True, exist_ok=True)
        self.base = path.parent
        self.mark = secrets.token_hex(8)
        self.out, self.err = folder / "out", folder / "err"
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("CONFIDE_")
        }
        command = ["train", "-f", str(path), "--engine", "flower", *arguments]
        with self.out.open("wb") as stdout, self.err.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", *command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=inherited | {"PYTHONPATH": str(ROOT), MARK: self.mark},
                start_new_session=True,
            )

    @property
    def stderr(self):
        return self.err.read_text()

    @property
    def stdout(self):
        return self.out.read_text()

    def until(self, ready, limit=LIMIT_S):
        """Poll until `ready()` is true, or fail: the command ended, or the time is up."""
        end = time.monotonic() + limit
        while not (value := ready()):
            assert self.process.poll() is None, f"the command has ended: {self.stderr}"
            assert time.monotonic() < end, f"nothing happened within {limit} s: {self.stderr}"
            time.sleep(0.02)
        return value

    def in_phase(self, name):
        """Wait until a phase has begun."""
        word = '"joining"' if name == "join" else f'"event": "phase", "details": {{"name": "{name}"'
        self.until(lambda: word in self.progress())

    def progress(self):
        """Return what the `ServerApp` wrote about its progress."""
        found = sorted((self.base / "coordinator" / "runs").glob("*/progress.jsonl"))
        return found[-1].read_text() if found else ""

    def end(self, limit=LIMIT_S):
        """Wait for the end; return the exit status."""
        return self.process.wait(timeout=limit)

    def kill(self, word, sign=signal.SIGKILL):
        """Kill the eldest process whose command matches, once it is there; return its id."""
        pid = self.until(lambda: next(iter(self.processes(word)), None))
        os.kill(pid, sign)
        return pid

    def processes(self, word=""):
        """Return the living processes of this run whose command matches, the eldest first."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() not in (entry / "environ").read_bytes():
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z" and re.search(word, command):
                found.append((int(stat[19]), int(entry.name)))
        return [pid for _, pid in sorted(found)]

    def left_behind(self, limit=30.0):
        """Return processes of this run that are still there after a while."""
        end = time.monotonic() + limit
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def clean_up(self):
        """Kill whatever is left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
