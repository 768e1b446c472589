"""Several processes behind one listening socket: started, started again, and ended together."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from server.worker import DRAIN_S, Task
from shared.edge import logs
from shared.errors import EnvironmentFault

METRICS: Final = "metrics"
_POLL_S: Final = 0.2
_YOUNG_S: Final = 5.0  # who lived shorter may not be able to live at all
_LONGEST_WAIT_S: Final = 30.0
_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """One of the workers: the process that is there now, or when the next one may come."""

    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    failures: int = 0
    not_before: float = 0.0


class Supervisor:
    """Keeps a number of workers alive until it is told to stop.

    Parameters
    ----------
    task : Task
        With the descriptor of the listening socket.
    workers : int
    home : Path
        Folder of the service; the workers' numbers are counted together in a folder in it.
    """

    def __init__(self, task: Task, workers: int, home: Path) -> None:
        self._task = task
        self._places = [_Place() for _ in range(workers)]
        self._metrics = home / METRICS
        self._stop = threading.Event()

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; then let every worker finish what it has at hand."""
        logs.configure("limits")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)
        _empty(self._metrics)
        try:
            while not self._stop.is_set():
                for place in self._places:
                    self._look_after(place)
                self._stop.wait(_POLL_S)
        finally:
            self._end()

    def _told(self, _: int, __: FrameType | None) -> None:
        self._stop.set()

    def _look_after(self, place: _Place) -> None:
        now = time.monotonic()
        if place.process is not None:
            status = place.process.poll()
            if status is None:
                return
            young = now - place.began < _YOUNG_S
            place.failures = place.failures + 1 if young else 0
            wait = min(_LONGEST_WAIT_S, 0.5 * 2**place.failures) if young else 0.0
            place.not_before, place.process = now + wait, None
            _LOG.warning("a worker ended with status %s; another takes its place", status)
        if now >= place.not_before:
            place.process, place.began = self._start(), now

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._task.listener],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._metrics)},
        )
        if process.stdin is not None:  # it stays open: its end tells the worker that we are gone
            try:
                process.stdin.write(self._task.to_line())
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it ended at once, which is seen at the next look
        return process

    def _end(self) -> None:
        living = [place.process for place in self._places if place.process is not None]
        for process in living:
            process.terminate()
        deadline = time.monotonic() + DRAIN_S + 5
        for process in living:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _LOG.error("a worker did not end in time and is killed")
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _empty(folder: Path) -> None:
    """Make an empty folder: what earlier workers counted is of another life.

    Raises
    ------
    EnvironmentFault
        If the disk does not take it.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {folder}: {error.strerror}") from error
