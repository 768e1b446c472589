"""The real command line in real processes, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT

#: Generous: the machine may be busy with other work.
LIMIT_S = 120.0


@dataclass
class Running:
    """A `confide` command under way, in a session of its own."""

    process: subprocess.Popen
    out: Path
    err: Path

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
            time.sleep(0.005)
        return value

    def said(self, text):
        """Wait until the command has said something on stderr."""
        self.until(lambda: text in self.stderr)

    def end(self, limit=LIMIT_S):
        """Wait for the end; return the exit status."""
        return self.process.wait(timeout=limit)

    def party(self, name):
        """Return the id of a party's process, once it is there."""
        return self.until(lambda: next(iter(self.processes(f"--party={name}")), None))

    def processes(self, word=""):
        """Return the ids of the session's processes whose command has a word."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(session) == self.process.pid and state != "Z" and word in command:
                found.append(int(entry.name))
        return found

    def left_behind(self, limit=30.0):
        """Return processes of the session that are still there after a while."""
        end = time.monotonic() + limit
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        return left


@pytest.fixture
def start(tmp_path_factory):
    """Start `confide ...`; whatever a test leaves running is killed at its end."""
    started = []

    def start(*arguments, env=None):
        folder = tmp_path_factory.mktemp("output")
        out, err = folder / "out", folder / "err"
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("CONFIDE_")
        }
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=inherited | {"PYTHONPATH": str(ROOT)} | (env or {}),
                start_new_session=True,
            )
        started.append(Running(process, out, err))
        return started[-1]

    yield start
    for running in started:
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)
        running.process.wait()


@pytest.fixture
def confide(start):
    """Run `confide ...` to its end; return the exit status, stdout and stderr."""

    def run(*arguments, env=None):
        running = start(*arguments, env=env)
        return running.end(), running.stdout, running.stderr

    return run
