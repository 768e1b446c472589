"""Where a run can be watched: left by `confide serve` in its folder, found by `confide train`."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from shared.edge.files import write_atomic

_FILE: Final = "watched.json"
PATH: Final = "/federation/runs/"


@dataclass(frozen=True, slots=True)
class Watched:
    """A service that shows the runs of a coordinator.

    Parameters
    ----------
    url : str
        Of the service.
    runs : str
        Path of the coordinator's folder, absolute.
    """

    url: str
    runs: str


def leave(home: Path, watched: Watched) -> None:
    """Write it down in the folder of the limit service, which holds its lock.

    Raises
    ------
    EnvironmentFault
        If the disk does not take it.
    """
    write_atomic(home / _FILE, json.dumps(asdict(watched)).encode() + b"\n")


def take_away(home: Path) -> None:
    """Remove it: the service ends."""
    (home / _FILE).unlink(missing_ok=True)


def link_to(home: Path, coordinator: Path, run: str) -> str:
    """Return where a run can be watched; empty where no service that lives shows it.

    Parameters
    ----------
    home : Path
        Folder of the limit service.
    coordinator : Path
        Its folder.
    run : str
    """
    try:
        known = Watched(**json.loads((home / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return ""
    if Path(known.runs) != coordinator.absolute() or not is_held(home / "lock"):
        return ""
    return f"{known.url}{PATH}{run}"


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock; it is opened for reading, and let go at once."""
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
