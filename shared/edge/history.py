"""What phases took, of one member: a file of lines that is appended to.

Flower gives every message a process of its own, which is gone before anybody could ask it. So each
phase leaves a line of JSON in the member's folder, and whoever serves metrics there adds the lines
up (`shared.edge.phase_metrics`): the numbers outlive processes and restarts. A line holds names,
counts and seconds, never a row.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "phases.jsonl"
RUN: Final = "run"
"""In place of a phase: the whole run, as the coordinator sees it."""
OK: Final = "ok"

_LARGEST: Final = 8 << 20  # beyond it the file begins anew, and the one before is kept


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one phase.

    Parameters
    ----------
    member : str
        Who tells: a party, or the coordinator.
    run, phase : str
    outcome : str
        `OK`, or the code of the error.
    seconds : float
    bytes_sent, bytes_received : int
    lost : str
        The party that was lost, if one was.
    """

    member: str
    run: str
    phase: str
    outcome: str = OK
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    lost: str = ""


def note(home: Path, entry: Entry) -> None:
    """Append a line to a member's file; a disk that does not take it stops no phase."""
    line = json.dumps({**asdict(entry), "at": round(time.time(), 3)}).encode() + b"\n"
    path = home / FILE
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > _LARGEST:
            path.replace(path.with_suffix(".jsonl.1"))
        with path.open("ab") as stream:
            stream.write(line)


def entries(home: Path) -> Iterator[Entry]:
    """Yield what a member's file tells, oldest first; a torn line is passed over."""
    for path in (home / f"{FILE}.1", home / FILE):
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                value = json.loads(line)
                value.pop("at", None)
                yield Entry(**value)
