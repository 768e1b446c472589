"""A training under way as processes, followed by what its members tell.

The phase is read off the members' own logs, never slept for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from drills.links import within
from drills.processes import ROOT, Mark

PHASES = ("join", "align", "moments", "score", "release")
_END_S = 30.0


@dataclass
class Training:
    """`confide train` under way.

    Parameters
    ----------
    path : Path
        The federation file.
    mark : Mark
    words : tuple of str
        Further words of the command.
    environment : mapping
    space : str
        Network namespace in which the command is.
    command : tuple of str
        What to run in place of this Python's `confide train` on the file.
    """

    path: Path
    mark: Mark
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    space: str = ""
    command: tuple[str, ...] = ()
    popen: subprocess.Popen[bytes] = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        folder = self.path.parent.with_name(self.path.parent.name + ".told")
        folder.mkdir(exist_ok=True)
        number = len(list(folder.iterdir()))
        self._out, self._err = folder / f"{number:03d}.out", folder / f"{number:03d}.err"
        self.since = time.time()
        own = (sys.executable, "-m", "server.cli", "train", "-f", str(self.path))
        command = self.command or (*own, "--format", "json")
        with self._out.open("wb") as out, self._err.open("wb") as err, within(self.space):
            self.popen = subprocess.Popen(
                [*command, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=dict(self.environment),
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        """What it said to whoever gave the command."""
        return self._err.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    @property
    def run(self) -> str:
        """The run's name, once it was told."""
        found = re.search(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b", self.told)
        return found[0] if found else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:  # a drill that is stopped leaves no training behind
            self.end()

    def end(self) -> None:
        """End it, and whatever it has started."""
        self.popen.kill()
        self.popen.wait()
        self.mark.gone(_END_S)

    def wait(self, limit: float) -> int | None:
        """Wait for the end; return the exit status, or None if it does not end in time."""
        try:
            return self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            return None

    def result(self) -> dict[str, Any]:
        """Return what it printed."""
        with suppress(ValueError):
            return dict(json.loads(self._out.read_text()))
        return {}


def events(*logs: Path | str) -> list[dict[str, Any]]:
    """Return the JSON lines of logs; lines of other form are passed over."""
    found = []
    for log in logs:
        try:
            text = log if isinstance(log, str) else log.read_text(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            with suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
    return found


def progress(runs: Path, training: Training, event: str, phase: str) -> bool:
    """Return whether the `ServerApp` of a run has told of an event.

    Parameters
    ----------
    runs : Path
        The coordinator's folder of runs.
    training : Training
    event : {'joining', 'phase', 'done'}
    phase : str
    """
    files = [one for one in runs.glob("*/progress.jsonl") if one.stat().st_mtime >= training.since]
    return any(
        one.get("event") == event
        and (event == "joining" or one.get("details", {}).get("name") == phase)
        for one in events(*files)
    )


def until(
    condition: Callable[[], Any],
    limit: float,
    training: Training | None = None,
    step: float = 0.004,
) -> Any:
    """Poll for a condition until it holds, or the time or the training is over."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end or (training is not None and not training.alive):
            return condition()
        time.sleep(step)
    return found
