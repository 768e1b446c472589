"""`confide` commands under way as real processes, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support import ROOT


class Running:
    """A `confide` command under way, in a session of its own.

    Parameters
    ----------
    folder : Path
        Where it runs, and for its output.
    arguments : values
        Of the command line.
    env : mapping, optional
        On top of this process's environment without what sets `confide`.
    """

    #: Seconds; generous: the machine may be busy with other work.
    limit = 240.0

    def __init__(self, folder, *arguments, env=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.err = folder / "out", folder / "err"
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("CONFIDE_")
        }
        with self.out.open("wb") as stdout, self.err.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=inherited | {"PYTHONPATH": str(ROOT)} | (env or {}),
                start_new_session=True,
            )

    @property
    def stderr(self):
        return self.err.read_text()

    @property
    def stdout(self):
        return self.out.read_text()

    def until(self, ready, limit=None):
        """Poll until `ready()` is true, or fail: the command ended, or the time is up."""
        limit = limit or self.limit
        end = time.monotonic() + limit
        while not (value := ready()):
            assert self.process.poll() is None, f"the command has ended: {self.stderr}"
            assert time.monotonic() < end, f"nothing happened within {limit} s: {self.stderr}"
            time.sleep(0.005)
        return value

    def end(self, limit=None):
        """Wait for the end; return the exit status."""
        return self.process.wait(timeout=limit or self.limit)

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
        """Return processes of the command that are still there after a while."""
        end = time.monotonic() + limit
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        return left
