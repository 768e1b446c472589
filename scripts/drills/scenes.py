"""One drill of a training: harm in a phase, the end of the run, the work again, a verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills import checks
from drills.faults import Fault, Target
from drills.table import Drill, Row
from drills.trainings import Training, until
from shared.errors import codes

_STOP_S = 30.0
_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A federation in which one drill is played.

    Parameters
    ----------
    path : Path
        The federation file.
    deadline : float
        Seconds for which peers wait for each other.
    slack : float
        Seconds that a start and a calm run may take on top of it.
    start : callable
        Takes further words of the command; returns a `Training`.
    begun, over : callable
        Take a training and the phase: whether the target is in it, whether it is through.
    target : Target
    is_command : bool
        Whether the target is the command itself: then it has nobody to tell an error to.
    tries : int
        How often the command is given again before the work counts as lost.
    first : tuple of str
        Words of the command to which harm is done, and not of those that follow.
    """

    path: Path
    deadline: float
    slack: float
    start: Callable[..., Training]
    begun: Callable[[Training, str], bool]
    over: Callable[[Training, str], bool]
    target: Target
    is_command: bool = False
    tries: int = 1
    first: tuple[str, ...] = ()

    def limit(self, fault: Fault) -> float:
        """Return after how many seconds a run is called hung: nobody may wait for longer."""
        return fault.seconds(self.deadline) + 2 * self.deadline + 20.0 + self.slack


def play(scene: Scene, drill: Drill, fault: Fault) -> Row | None:
    """Do harm in a phase, see how the run ends, do the work again, and judge.

    Returns None where the phase was over before the harm was done; then it is tried again.
    """
    limit = scene.limit(fault)
    earlier = checks.remember(scene.path)
    with scene.start(*scene.first) as training:
        if not until(lambda: scene.begun(training, drill.phase), limit, training):
            training.end()
            return Row(drill, "not recovered: the phase did not begin", note=said(training)[-900:])
        fault.begin(scene.target)
        try:
            began = time.monotonic()
            hit = not scene.over(training, drill.phase)
            _hold(fault, training, scene.deadline)
        finally:  # a drill that is stopped leaves nobody harmed
            fault.end(scene.target)
        mended = time.monotonic()
        status = training.wait(limit)
        ended = time.monotonic()
        if status is None:
            training.end()
            told = f"it had not ended after {limit:.0f} s; {training.told[-300:]}"
            return Row(drill, "hung", ended - began, 0.0, limit, note=told)
    if not hit:
        training.mark.gone(_STOP_S)
        return None
    named = outcome(scene, training, status)
    left = _left(training)
    told = said(training)
    between = checks.remember(scene.path)
    gone = tuple(checks.lost(earlier, between))
    how = "" if status == 0 else _again(scene, training, limit)
    recovered = time.monotonic()
    return judged(
        scene,
        drill,
        named + how,
        between,
        gone,
        left,
        told,
        (ended - began, recovered - mended, limit),
    )


def said(training: Training) -> str:
    """Return what a run said of itself, to whoever gave the command and as its result."""
    return training.told + json.dumps(training.result().get("error", ""))


def judged(
    scene: Scene,
    drill: Drill,
    named: str,
    between: checks.Memory,
    gone: tuple[str, ...],
    left: tuple[str, ...],
    told: str,
    seconds: tuple[float, float, float],
) -> Row:
    """Return the row of a drill whose work has been done whole, or could not be."""
    lost = (*gone, *checks.lost(between, checks.remember(scene.path)), *checks.broken(scene.path))
    if not checks.remember(scene.path).releases:
        lost = (*lost, "there is no release")
    half = tuple(checks.half_written(scene.path.parent))
    twice = tuple(checks.doubled(scene.path))
    bad = not named.startswith(("finished", "refused", "died")) or "not" in named.split()
    note = told[-900:] if bad else ""
    return Row(drill, named, *seconds, tuple(dict.fromkeys(lost)), twice, (*left, *half), note)


def outcome(scene: Scene, training: Training, status: int) -> str:
    """Return what the end of a run is called."""
    if status == 0:
        return "finished"
    if status < 0:
        return f"died {-status}" if scene.is_command else f"unnamed: signal {-status}"
    error = training.result().get("error", {})
    kind = codes().get(error.get("code", ""))
    if kind is None or "Traceback" in training.told or kind.code == "internal":
        return f"unnamed: status {status} {error.get('code', '')}"
    if kind.exit_status != status:
        return f"unnamed: {kind.code} with status {status}"
    party = f" ({error['party']})" if error.get("party") else ""
    return f"refused {kind.code}{party}"


def _hold(fault: Fault, training: Training, deadline: float) -> None:
    """Let a fault last as long as it does, or until the run is over."""
    end = time.monotonic() + fault.seconds(deadline)
    while time.monotonic() < end and (training.alive or fault.lasts == "moment"):
        time.sleep(0.02)


def _left(training: Training) -> tuple[str, ...]:
    """Return a finding if processes of an ended run are still there."""
    found = until(lambda: not training.mark.pids(), _STOP_S, step=0.1)
    return () if found else (f"{len(training.mark.pids())} processes are left",)


def _again(scene: Scene, before: Training, limit: float) -> str:
    """Do the work once more: the run is resumed where that is possible, or another begins."""
    if before.run:
        with scene.start("--resume", before.run) as resumed:
            status = resumed.wait(limit)
        if status == 0:
            return ", resumed"
        if status is None:
            return ", not resumed: hung"
    for number in range(1, scene.tries + 1):
        with scene.start() as once_more:
            status = once_more.wait(limit)
        if status == 0:
            return ", again" + (f" at try {number}" if number > 1 else "")
        if status is None:
            return ", not recovered: hung"
        named = outcome(scene, once_more, status)
        if not named.startswith("refused"):
            break
        time.sleep(_PAUSE_S if number < scene.tries else 0.0)
    return f", not recovered: {named}"
