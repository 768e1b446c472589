"""Which drills there are, and the systems they are played on, each brought up when it is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from drills import compose, flower, limits, local
from drills.compose import Compose
from drills.flower import Flower
from drills.limits import Limits
from drills.local import Local
from drills.table import Drill, Row

FEW = ("bank", "payments")
PARTIES = ("bank", "bureau", "ecommerce", "payments")


def plan(size: str, only: Mapping[str, frozenset[str]]) -> list[Drill]:
    """Return the drills of a size, but for those that were not asked for.

    Parameters
    ----------
    size : {'quick', 'full', 'compose'}
    only : mapping
        Values by field of `Drill`.
    """
    if size == "quick":
        drills = local.quick() + limits.quick()
    elif size == "compose":
        drills = compose.full(PARTIES)
    else:
        drills = local.full(PARTIES) + limits.full() + flower.full(PARTIES)
    systems = groupby(drills, key=lambda drill: drill.system)
    ordered = [drill for _, group in systems for drill in spread(list(group))]
    return [drill for drill in ordered if drill.chosen(dict(only))]


def spread(drills: Sequence[Drill]) -> list[Drill]:
    """Order a system's drills so that few of them try much.

    The first round has each fault at each member once, in another phase each time; the next round
    has them in the phase after that. A night cut short has seen all faults and members.
    """
    faults, targets, phases = (
        list(dict.fromkeys(getattr(one, name) for one in drills))
        for name in ("fault", "target", "phase")
    )

    def round_of(one: Drill) -> int:
        turn = phases.index(one.phase) - faults.index(one.fault) - targets.index(one.target)
        return turn % len(phases)

    return sorted(drills, key=round_of)


class Systems:
    """What drills are played on.

    Parameters
    ----------
    folder : Path
        A place of its own.
    size : {'quick', 'full', 'compose'}
    """

    def __init__(self, folder: Path, size: str) -> None:
        self._folder, self._quick = folder, size == "quick"
        self._stack = ExitStack()
        self._up: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def play(self, drill: Drill) -> Row:
        """Play a drill; one that fails by itself is a row that misses the bar, and no end."""
        try:
            if drill.system not in self._up:
                self._up[drill.system] = self._made(drill.system)
            row: Row = self._up[drill.system].play(drill)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next is played
            self.close()
            said = getattr(error, "stderr", b"") or b""
            why = f"{type(error).__name__}: {error} {said!r}"[:600]
            return Row(drill, "not played", note=why)
        return row

    def close(self) -> None:
        """Take down what is up."""
        self._up.clear()
        self._stack.close()

    def _made(self, system: str) -> Any:
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"{system}-")) / system
        if system in limits.SYSTEMS:
            return Limits(folder, limits.SYSTEMS[system], hurry=self._quick)
        if system in {flower.SYSTEM, compose.SYSTEM}:
            made = (Flower if system == flower.SYSTEM else Compose)(folder, PARTIES)
            self._stack.callback(made.close)
            return made
        return Local(folder, FEW if self._quick else PARTIES)
