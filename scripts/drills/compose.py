"""The demo's containers as a system to drill: trainings while a service is harmed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from drills.containers import ContainerTarget, Project, missing, volume_disk
from drills.faults import FAULTS
from drills.processes import Disk, Mark
from drills.scenes import Scene, play
from drills.table import SKIPPED, Drill, Row
from drills.trainings import PHASES, Training, progress

SYSTEM = "compose"
#: Services by member; all of the coordinator's three mount its volume.
SERVICES = {"coordinator": "superlink", "gate": "gate", "relay": "relay"}
_OWN_DISK = "the coordinator's volume is drilled with its SuperLink"
_SPARE_MB = 64.0
_SLACK_S = 180.0
_TRIES, _RECOVERY_TRIES = 4, 8
_FIRST_TRAINING_S = 600.0
_REJOIN_S = 75.0
"""After which Flower lets a node in again whose container was started anew."""


class Compose:
    """The demo, brought up if it is not, and taken down at the end if it was not up before.

    Parameters
    ----------
    folder : Path
        A place of its own.
    parties : tuple of str
    """

    def __init__(self, folder: Path, parties: tuple[str, ...]) -> None:
        folder.mkdir(parents=True)
        self._folder, self._parties = folder, parties
        self._project = Project(os.environ.get("COMPOSE_PROJECT_NAME", "confide"))
        self._why = missing()
        self._mine = False
        if not self._why:
            self._mine = not self._project.runs("superlink")
            if self._mine:
                self._project.compose("--profile", "federation", "up", "--detach", "--wait")
            # The training that belongs to `up` has the coordinator's folder until it ends.
            status = self._project.ended("train", _FIRST_TRAINING_S)
            if self._mine and status:
                raise RuntimeError(f"the first training ended with {status}")
            self._place = self._seen()

    def close(self) -> None:
        """Take down what was brought up."""
        if self._mine:
            self._project.compose("--profile", "*", "down", "--volumes", check=False)

    def play(self, drill: Drill) -> Row:
        """Play one drill; a phase that was missed is tried again."""
        if self._why:
            return Row(drill, SKIPPED, note=self._why)
        fault = FAULTS[drill.fault]
        for _ in range(_TRIES):
            with ExitStack() as stack:
                target = self._target(drill, stack)
                if why := target.lacks(fault.needs):
                    return Row(drill, SKIPPED, note=why)
                if row := play(self._scene(target), drill, fault):
                    return row
        return Row(drill, SKIPPED, note=f"the phase was over too soon, {_TRIES} times")

    def _seen(self) -> Path:
        """Return a folder in which all volumes are as in the containers."""
        place = self._folder / "federation"
        place.mkdir()
        agreed = self._project.mountpoint("agreement")
        for name in ("federation.toml", "contract.toml"):
            shutil.copy(agreed / name, place / name)
        for volume in ("coordinator", "releases", *self._parties):
            (place / volume).symlink_to(self._project.mountpoint(volume))
        return place

    def _target(self, drill: Drill, stack: ExitStack) -> ContainerTarget:
        service = SERVICES.get(drill.target, drill.target)
        disk = None
        if FAULTS[drill.fault].needs == "disk" and not Disk.missing():
            if drill.target in self._parties:
                disk = volume_disk(self._project, service, (service,), _SPARE_MB, stack)
                time.sleep(_REJOIN_S)
            elif drill.target == "coordinator":
                users = tuple(SERVICES.values())
                disk = volume_disk(self._project, "coordinator", users, _SPARE_MB, stack)
                time.sleep(_REJOIN_S)
        return ContainerTarget(drill.target, self._project, service, disk)

    def _scene(self, target: ContainerTarget) -> Scene:
        path, mark = self._place / "federation.toml", Mark.new()
        command = self._command()
        runs = self._place / "coordinator" / "runs"

        def start(*words: str) -> Training:
            return Training(path, mark, words, {**os.environ, **_marked(mark)}, command=command)

        def begun(training: Training, phase: str) -> bool:
            event = "joining" if phase == PHASES[0] else "phase"
            return progress(runs, training, event, phase)

        def over(training: Training, phase: str) -> bool:
            if phase == PHASES[0]:
                return progress(runs, training, "phase", PHASES[1])
            return progress(runs, training, "done", phase)

        return Scene(
            path, self._deadline(), _SLACK_S, start, begun, over, target, tries=_RECOVERY_TRIES
        )

    def _command(self) -> tuple[str, ...]:
        """Return the words that train, as the service `train` has them."""
        told = json.loads(self._project.compose("--profile", "*", "config", "--format", "json"))
        script = "\n".join(told["services"]["train"]["command"])
        (line,) = (one for one in script.splitlines() if one.strip().startswith("confide train"))
        run = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "confide", "train")
        return (
            "docker",
            "compose",
            "--project-name",
            self._project.name,
            *run,
            *shlex.split(line)[1:],
            "--format",
            "json",
        )

    def _deadline(self) -> float:
        from server.coordinator import load_federation  # noqa: PLC0415 - once the file is there

        return float(load_federation(self._place / "federation.toml")[0].protocol.deadline_s)


def _marked(mark: Mark) -> dict[str, str]:
    return {"CONFIDE_DRILL": mark.value}


def full(parties: tuple[str, ...]) -> list[Drill]:
    """Return every fault of every service that trains, in every phase."""
    return [
        Drill(SYSTEM, fault, target, phase)
        for fault in FAULTS
        for target in (*SERVICES, *parties)
        for phase in PHASES
    ]
