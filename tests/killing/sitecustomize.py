"""Kill a process of a run at one exact step of it: Python loads this wherever it is on the path.

``KILL_AT`` names the step as ``<who> <what> <name>``: who sends, and the tag (`send` before a
message leaves, `sent` after), or who writes a ledger line, and of which phase (`record`). A tag may
be cut short. ``KILL`` names who dies of it: a party, or the coordinator. It is a SIGKILL, and the
step waits until the victim is gone: nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def _stat(pid):
    """Return a process's state and session, or None."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[3])


def _process_of(victim):
    """Return the victim's process in this session; the command that leads it is the coordinator."""
    session = os.getsid(0)
    if victim == "coordinator":
        return session
    for entry in Path("/proc").glob("[0-9]*"):
        stat = _stat(entry.name)
        if stat and stat[1] == session and stat[0] != "Z":
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"--party={victim}".encode() in words:
                return int(entry.name)
    message = f"{victim} has no process here"
    raise AssertionError(message)


def _kill(victim):
    pid = _process_of(victim)
    Path(os.environ["KILL_NOTE"]).write_text(f"{victim} {pid}")
    os.kill(pid, signal.SIGKILL)
    while (stat := _stat(pid)) and stat[0] != "Z":
        time.sleep(0.001)


def _install(who, what, name, victim):
    from shared.sealed import SealedChannel  # noqa: PLC0415 - only where somebody is killed

    send_all = SealedChannel.send_all

    def watched(self, to, tag, payload):
        to = tuple(to)
        here = self.me == who and tag.startswith(name)
        if here and what == "send":
            _kill(victim)
        send_all(self, to, tag, payload)
        if here and what == "sent":
            _kill(victim)

    SealedChannel.send_all = watched
    if what == "record":
        from clients.store import Store  # noqa: PLC0415 - the coordinator writes no ledger

        record = Store.record

        def recorded(self, run, phase, **details):
            if self.home.name == who and phase == name:
                _kill(victim)
            record(self, run, phase=phase, **details)

        Store.record = recorded


if os.environ.get("KILL_AT"):
    _install(*os.environ["KILL_AT"].split(" "), os.environ["KILL"])
