"""Runs of engine `flower` for tests; a mark finds every process that one leaves behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
from pathlib import Path

from tests.commands import Running

MARK = "CONFIDE_TEST_MARK"


class FlowerRun(Running):
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

    limit = 180.0

    def __init__(self, path, folder, *arguments):
        self.base = path.parent
        self.mark = secrets.token_hex(8)
        command = ("train", "-f", path, "--engine", "flower", *arguments)
        super().__init__(folder, *command, env={MARK: self.mark})

    def in_phase(self, name):
        """Wait until a phase has begun."""
        word = '"joining"' if name == "join" else f'"event": "phase", "details": {{"name": "{name}"'
        self.until(lambda: word in self.progress())

    def progress(self):
        """Return what the `ServerApp` wrote about its progress."""
        found = sorted((self.base / "coordinator" / "runs").glob("*/progress.jsonl"))
        return found[-1].read_text() if found else ""

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

    def clean_up(self):
        """Kill whatever is left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
