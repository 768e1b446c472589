"""Engine `flower` as machines apart: a network for each party, `confide federation up`, nodes.

The coordinator's machine is a network namespace with SuperLink, gate and relay under their own
supervisor; each party is another, joined to it by a pair of interfaces and to nobody else. A node
that dies is started again after a while, as a party's own system would.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from drills.faults import FAULTS
from drills.links import Link, Links, join, name_hosts, spaces, within
from drills.nodes import Node
from drills.processes import ROOT, Disk, Mark, ProcessTarget, new_clock, small_disk
from drills.scenes import Scene, play
from drills.table import SKIPPED, Drill, Row
from drills.trainings import PHASES, Training, progress
from tests.whole_runs import build

SYSTEM = "flower"
COORDINATOR, SUPERLINK, GATE, RELAY = "coordinator", "superlink", "gate", "relay"
_PATTERNS = {
    # All of it, the app of a run too, as when its container dies; or the SuperLink's process alone.
    COORDINATOR: r"server\.superlink --host",
    SUPERLINK: r"server\.superlink --host",
    GATE: r"-m server\.gate ",
    RELAY: r"-m server\.relay ",
}
_AS_COORDINATOR = dict.fromkeys(("disk", "link", "clock"), "as the coordinator's")
_SPARE_MB = 64.0
_SLACK_S = 120.0
_PHASE_TRIES = 4
_RECOVERY_TRIES = 8
"""Flower lets a node that died in again once it counts its last life as over, after a minute."""
_MOST_DEATHS = 3
"""A service of the coordinator that dies a fourth time ends all."""


class Flower:
    """A federation that stays up from drill to drill; it is made anew when one has spoilt it.

    Parameters
    ----------
    folder : Path
    parties : tuple of str
    deadline : int
        Seconds for which peers wait for each other.
    """

    def __init__(self, folder: Path, parties: tuple[str, ...], *, deadline: int = 20) -> None:
        folder.mkdir(parents=True)
        self._folder, self._parties, self._deadline = folder, parties, deadline
        build(folder / "world", parties=parties, customers=2000, deadline_s=deadline, thresholds=12)
        self._stage: Stage | None = None

    def close(self) -> None:
        """Take everything down."""
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def play(self, drill: Drill) -> Row:
        """Play one drill; a phase that was missed is tried again."""
        fault = FAULTS[drill.fault]
        why = Link.missing() or Disk.missing()
        if why:
            return Row(drill, SKIPPED, note=why)
        for _ in range(_PHASE_TRIES):
            stage = self._ready(drill.target if fault.needs == "clock" else "")
            scene = stage.scene(drill, self._deadline)
            if why := scene.target.lacks(fault.needs):
                return Row(drill, SKIPPED, note=why)
            if drill.target in _PATTERNS and fault.lasts == "moment":
                stage.deaths += 1
            row = play(scene, drill, fault)
            if row is not None:
                if not row.good:
                    self.close()
                return row
        return Row(drill, SKIPPED, note=f"the phase was over too soon, {_PHASE_TRIES} times")

    def _ready(self, clocked: str) -> Stage:
        old = self._stage
        if old is not None and (old.clocked != clocked or old.deaths >= _MOST_DEATHS):
            self.close()
        if self._stage is None:
            place = Path(tempfile.mkdtemp(dir=self._folder, prefix="stage-")) / "federation"
            shutil.copytree(self._folder / "world", place)
            self._stage = Stage(place, self._parties, clocked)
        return self._stage


class Stage:
    """The networks and processes of one federation.

    Parameters
    ----------
    place : Path
        Of its files.
    parties : tuple of str
    clocked : str
        Whose clock can be set; empty for nobody's.
    """

    def __init__(self, place: Path, parties: tuple[str, ...], clocked: str) -> None:
        self.place, self.clocked, self.deaths = place, clocked, 0
        self._parties, self._stack, self.mark = parties, ExitStack(), Mark.new()
        self._space = f"drill-{self.mark.value[:5]}"
        self._clocks: dict[str, Path] = {}
        if clocked and (file := new_clock(place.parent / "clock")):
            self._clocks[clocked] = file
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Take everything down."""
        self._stack.close()

    def _open(self) -> None:
        spaces_of = {party: f"{self._space}{at}" for at, party in enumerate(self._parties)}
        self._stack.callback(shutil.rmtree, self.place.parent, ignore_errors=True)
        self._stack.enter_context(spaces(self._space, *spaces_of.values()))
        self.disks = {
            name: self._stack.enter_context(small_disk(self.place / name, _SPARE_MB))
            for name in (COORDINATOR, *self._parties)
        }
        self.links: dict[str, Links] = {}
        near = []
        for at, (party, space) in enumerate(spaces_of.items(), start=1):
            far, address = join(self._space, space, at)
            # Both ends, since each slows what it sends.
            self.links[party] = Links((far, Link(self._space, f"dr{at}a")))
            name_hosts(space, {"coordinator": address})
            near.append(f"dr{at}a")
        self._stack.callback(self.mark.gone, 1.0)
        told = self._up()
        ports = {
            name: int(told[key].rpartition(":")[2])
            for name, key in ((GATE, "parties"), (RELAY, "relay"), (COORDINATOR, "superlink"))
        }
        self.train = (
            "--engine",
            "flower",
            "--superlink",
            told["superlink"],
            "--relay",
            f"127.0.0.1:{ports[RELAY]}",
        )
        machine = tuple(one for links in self.links.values() for one in links.each)
        self.shared: dict[str, Links] = {COORDINATOR: Links(machine)}
        for name in (GATE, RELAY):
            each = (*near, "lo") if name == RELAY else near
            self.shared[name] = Links(tuple(Link(self._space, one, ports[name]) for one in each))
        for party, space in spaces_of.items():
            node = Node(party, self.place, space, ports[GATE], ports[RELAY], self.environment())
            self._stack.callback(node.close)
            node.start()

    def environment(self) -> dict[str, str]:
        """Return the environment of everything that stays."""
        patterns = {**_PATTERNS, **{party: _node(party) for party in self._parties}}
        return self.mark.environment(
            {patterns[name]: file for name, file in self._clocks.items()} or None
        )

    def _up(self) -> dict[str, Any]:
        words = ["-m", "server.cli", "federation", "up", "-f", str(self.place / "federation.toml")]
        words += ["--no-parties", "--host", "0.0.0.0", "--format", "json"]
        with within(self._space):
            done = subprocess.run(
                [sys.executable, *words],
                capture_output=True,
                text=True,
                timeout=400,
                cwd=ROOT,
                env=self.environment(),
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"the federation does not come up: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout)["data"])

    def scene(self, drill: Drill, deadline: float) -> Scene:
        """Return a scene for one drill."""
        name, own = drill.target, Mark.new()
        pattern = _PATTERNS.get(name) or _node(name)
        target = ProcessTarget(
            name,
            lambda: self.mark.pids(pattern)[: 1 if name == SUPERLINK else None],
            disk=self.disks.get(name),
            link=self.shared.get(name) or self.links.get(name),
            clock=self._clocks.get(name),
            whys=_AS_COORDINATOR if name == SUPERLINK else None,
        )
        path = self.place / "federation.toml"
        runs = self.place / COORDINATOR / "runs"

        def start(*words: str) -> Training:
            return Training(path, own, (*self.train, *words), own.environment(), self._space)

        def begun(training: Training, phase: str) -> bool:
            return progress(runs, training, "joining" if phase == PHASES[0] else "phase", phase)

        def over(training: Training, phase: str) -> bool:
            if phase == PHASES[0]:
                return progress(runs, training, "phase", PHASES[1])
            return progress(runs, training, "done", phase)

        return Scene(path, deadline, _SLACK_S, start, begun, over, target, tries=_RECOVERY_TRIES)


def _node(party: str) -> str:
    return f"clients\\.supernode.*party='{party}'"


def full(parties: tuple[str, ...]) -> list[Drill]:
    """Return every fault of every member in every phase; those with settable clocks last."""
    drills = [
        Drill(SYSTEM, fault, target, phase)
        for fault in FAULTS
        for target in (*_PATTERNS, *parties)
        for phase in PHASES
        if target != SUPERLINK or FAULTS[fault].needs == "process"
    ]
    return sorted(drills, key=lambda drill: FAULTS[drill.fault].needs == "clock")
