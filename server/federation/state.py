"""What runs of a federation, as its supervisor wrote it down and anybody may read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shared.edge.files import exclusive, write_atomic
from shared.errors import EnvironmentFault

FOLDER: Final = "federation"
"""In the coordinator's folder."""
_FILE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class Places:
    """The ports of a federation's processes.

    Parameters
    ----------
    superlink : int
        Flower's own, on this machine alone.
    operator, gate : int
        The gate's doors: the coordinator's, and the parties'.
    relay : int
    nodes : mapping of int to int
        Of the parties' nodes, by the place of the party.
    parties : tuple of str
    metrics : int
        The first of the ports for Prometheus, one a process; 0 for none.
    """

    superlink: int
    operator: int
    gate: int
    relay: int
    nodes: Mapping[int, int]
    parties: tuple[str, ...]
    metrics: int = 0

    def of(self, name: str) -> int:
        """Return the port of a process."""
        own = {"superlink": self.superlink, "gate": self.gate, "relay": self.relay}
        return own[name] if name in own else self.nodes[self.parties.index(name)]


@dataclass(frozen=True, slots=True)
class Running:
    """One process.

    Parameters
    ----------
    name : str
    pid, port : int
    since : str
        Instant.
    restarts : int
    """

    name: str
    pid: int
    port: int
    since: str
    restarts: int


@dataclass(frozen=True, slots=True)
class State:
    """All of them.

    Parameters
    ----------
    since : str
        Instant.
    ready : bool
    places : Places
    services : tuple of Running
    """

    since: str
    ready: bool
    places: Places
    services: tuple[Running, ...]


def write_state(home: Path, state: State) -> None:
    """Write it down.

    Raises
    ------
    EnvironmentFault
        If the disk does not take it.
    """
    write_atomic(home / FOLDER / _FILE, json.dumps(asdict(state), indent=2).encode() + b"\n")


def read_state(home: Path) -> State | None:
    """Return what runs; None if nothing does.

    Parameters
    ----------
    home : Path
        The coordinator's folder.
    """
    if not is_held(home):
        return None
    try:
        value: dict[str, Any] = json.loads((home / FOLDER / _FILE).read_bytes())
    except (OSError, ValueError):
        return None  # it is just starting, or just ending
    places = dict(value["places"])
    places["nodes"] = {int(at): port for at, port in places["nodes"].items()}
    places["parties"] = tuple(places["parties"])
    services = tuple(Running(**one) for one in value["services"])
    return State(value["since"], value["ready"], Places(**places), services)


def is_held(home: Path) -> bool:
    """Return whether a supervisor of the federation lives."""
    if not (home / FOLDER / "lock").exists():
        return False
    try:
        with exclusive(home / FOLDER):
            return False
    except EnvironmentFault:
        return True


def supervisor_of(home: Path) -> int:
    """Return the process that holds the lock, by its own word in `pid`; 0 if there is none."""
    try:
        return int((home / FOLDER / "pid").read_text())
    except (OSError, ValueError):
        return 0
