"""Ends every process of a deployment, whatever ends its launcher: `python guardian.py MARKER`.

The launcher starts it first and keeps the other end of its standard input. A line there is the id
of a process that leads a group, or the path of a folder for temporary files. When the input ends
(the launcher is done, crashed, or was killed) every process whose environment carries the marker is
asked to stop and, if it has not after a while, killed. Flower puts some of its processes into
sessions of their own, so that no group holds them all; what they inherit does.

Standard library only, and no import of confide: it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

#: Every process of a deployment has this in its environment.
MARKER = "CONFIDE_DEPLOYMENT"
#: The same and the name of what it belongs to: a party's processes alone.
PART = "CONFIDE_DEPLOYMENT_PART"

# Flower's processes have nothing to save; what a party writes is whole or not there at all.
_GRACE_S = 1.5
_GIVE_UP_S = 15.0
_POLL_S = 0.05
# So long nothing may be seen before nothing is left.
_SURE_S = 0.5
# Whoever shows no environment for longer has none: it is nobody's.
_UNSURE_S = 3.0
_PROC = Path("/proc")


def marked(marker: str, variable: str = MARKER) -> set[int]:
    """Return the living processes, other than this one, that carry the marker."""
    wanted = f"{variable}={marker}".encode()
    found = set()
    for entry in _PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, ValueError):
            pid, raw = int(entry.parent.name), entry.read_bytes()
            if pid != os.getpid() and wanted in raw.split(b"\0"):
                found.add(pid)
    return found


def unsure() -> bool:
    """Return whether some process shows no environment: it may carry any marker.

    A process that is just being replaced by another program shows none until that is loaded, which
    takes seconds where many processes wait for a core. Those of the kernel, and the dead, never do.
    """
    for entry in _PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.read_bytes():
                continue
            stat = (entry.parent / "stat").read_text().rpartition(")")[2].split()
            of_kernel = entry.parent.name == "2" or stat[1] == "2"
            if stat[0] not in "ZX" and not of_kernel and (entry.parent / "exe").exists():
                return True
    return False


def sweep(
    marker: str, leaders: Iterable[int] = (), *, grace: float = _GRACE_S, variable: str = MARKER
) -> set[int]:
    """End every process of a deployment.

    Parameters
    ----------
    marker : str
        In the environment of all of them.
    leaders : iterable of int
        Leaders of process groups, for systems without `/proc`.
    grace : float
        Seconds between asking and killing.
    variable : str
        Where the marker stands.

    Returns
    -------
    set of int
        What could not be ended within 15 s.
    """
    began = seen = time.monotonic()
    asked: set[int] = set()
    while True:
        left, now = _left(marker, leaders, variable), time.monotonic()
        spent = now - began
        seen = now if left or (unsure() and spent < _UNSURE_S) else seen
        if now - seen > _SURE_S:
            return set()
        if spent > _GIVE_UP_S:
            return left
        sign = signal.SIGTERM if spent < grace else signal.SIGKILL
        for process in left if sign == signal.SIGKILL else left - asked:
            with contextlib.suppress(OSError):
                (os.kill if _PROC.is_dir() else os.killpg)(process, sign)
        asked |= left
        time.sleep(_POLL_S)


def _left(marker: str, leaders: Iterable[int], variable: str) -> set[int]:
    if _PROC.is_dir():
        return marked(marker, variable)
    found = set()
    for leader in leaders:
        with contextlib.suppress(OSError):
            os.killpg(leader, 0)
            found.add(leader)
    return found


def main() -> int:
    """Run as a process."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    leaders, folders = set(), set()
    for line in sys.stdin:
        word = line.strip()
        if word.isdigit():
            leaders.add(int(word))
        elif word:
            folders.add(word)
    left = sweep(sys.argv[1], leaders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
