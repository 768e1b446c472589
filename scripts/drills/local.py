"""Engine `local` as a system to drill: the command is the coordinator, a process each party."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from drills.faults import FAULTS
from drills.processes import Disk, Mark, ProcessTarget, new_clock, small_disk
from drills.scenes import Scene, play
from drills.table import SKIPPED, Drill, Row
from drills.trainings import PHASES, Training, events
from tests.whole_runs import build

SYSTEM = "local"
COORDINATOR = "coordinator"
_TRIES = 8
_SHORT_S = 6
"""Deadline of the run that a long fault is to outlast."""
_SLACK_S = 60.0
_SPARE_MB = 6.0  # what two runs write


class Local:
    """One world, copied for each drill.

    Parameters
    ----------
    folder : Path
        A place of its own.
    parties : tuple of str
    deadline : int
        Seconds for which peers wait for each other.
    customers : int
    """

    def __init__(
        self, folder: Path, parties: tuple[str, ...], *, deadline: int = 60, customers: int = 1200
    ) -> None:
        self._folder, self._deadline = folder, deadline
        two = {"two_party_scores": "accept"} if len(parties) == 2 else {}
        size = {"thresholds": 12, "pair_thresholds": 2}
        self._world = folder / "world"
        build(self._world, parties=parties, customers=customers, deadline_s=deadline, **two, **size)

    def play(self, drill: Drill) -> Row:
        """Play one drill in a fresh copy; a phase that was missed is tried again."""
        fault = FAULTS[drill.fault]
        for _ in range(_TRIES):
            place = Path(tempfile.mkdtemp(dir=self._folder, prefix="drill-")) / "federation"
            shutil.copytree(self._world, place)
            try:
                with ExitStack() as stack:
                    scene = self._scene(place, drill, stack)
                    if why := scene.target.lacks(fault.needs):
                        return Row(drill, SKIPPED, note=why)
                    if row := play(scene, drill, fault):
                        return row
            finally:
                shutil.rmtree(place.parent, ignore_errors=True)
        return Row(drill, SKIPPED, note=f"the phase was over too soon, {_TRIES} times")

    def _scene(self, place: Path, drill: Drill, stack: ExitStack) -> Scene:
        mark, path = Mark.new(), place / "federation.toml"
        is_command = drill.target == COORDINATOR
        pattern = r"server\.cli train" if is_command else f"--party={drill.target}( |$)"
        clock = new_clock(place.parent / "clock")
        clocks = {pattern: clock} if clock and FAULTS[drill.fault].needs == "clock" else None
        environment = mark.environment(clocks)
        stack.callback(mark.gone, 0.0)
        disk = None
        if FAULTS[drill.fault].needs == "disk" and not Disk.missing():
            disk = stack.enter_context(self._disk(place, drill.target))
        target = ProcessTarget(drill.target, lambda: mark.pids(pattern), disk=disk, clock=clock)

        def start(*words: str) -> Training:
            return Training(path, mark, words, environment)

        def happened(training: Training, event: str, phase: str) -> bool:
            return is_told(training, place, drill.target, event, phase)

        def begun(training: Training, phase: str) -> bool:
            return happened(training, "a phase began", phase) and bool(target.pids())

        def over(training: Training, phase: str) -> bool:
            return happened(training, "a phase ended", phase)

        first: tuple[str, ...] = ()
        deadline = self._deadline
        if FAULTS[drill.fault].lasts == "long":
            deadline, first = _SHORT_S, ("--set", f"protocol.deadline_s={_SHORT_S}")
        return Scene(
            path, deadline, _SLACK_S, start, begun, over, target, is_command=is_command, first=first
        )

    def _disk(self, place: Path, target: str) -> Iterator[Disk]:
        if target != COORDINATOR:
            return small_disk(place / target, _SPARE_MB)
        holders = [one.parent.name for one in place.glob("*/party.toml")]
        return small_disk(place, _SPARE_MB, spared=tuple(holders))


def is_told(training: Training, place: Path, target: str, event: str, phase: str) -> bool:
    """Return whether a member has told of an event of a phase of this run.

    Joining is told by nobody: it is under way once the target is there, until the next phase.
    """
    if phase == PHASES[0]:
        return event == "a phase began" or is_told(
            training, place, target, "a phase began", PHASES[1]
        )
    logs = [training.told] if target == COORDINATOR else [*(place / target / "logs").glob("*.log")]
    return any((one.get("event"), one.get("phase")) == (event, phase) for one in events(*logs))


def quick() -> list[Drill]:
    """Return the drills of the tests: each fault, in turning phases; every phase is killed in."""
    kills = [Drill(SYSTEM, "kill", "bank", phase) for phase in PHASES]
    turning = [
        ("kill", COORDINATOR, "moments"),
        ("restart", COORDINATOR, "score"),
        ("pause", "bank", "score"),
        ("long-pause", "bank", "moments"),
        ("full-disk", "bank", "moments"),
        ("clock-ahead", "bank", "release"),
        ("clock-behind", COORDINATOR, "release"),
    ]
    return kills + [Drill(SYSTEM, *one) for one in turning]


def full(parties: tuple[str, ...]) -> list[Drill]:
    """Return every fault of every member in every phase."""
    return [
        Drill(SYSTEM, fault, target, phase)
        for target in (COORDINATOR, *parties)
        for phase in PHASES
        for fault in FAULTS
    ]


__all__ = ["SYSTEM", "Local", "full", "is_told", "quick"]
