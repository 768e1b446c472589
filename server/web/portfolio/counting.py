"""Counting the portfolio beside the pages, in a thread: pages say how far it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from server.accounts import picturing
from server.accounts.desk import Desk
from shared.errors import ConfideError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a count is.

    Parameters
    ----------
    state : {'idle', 'running', 'failed'}
        Of the last count that was begun in this process.
    done, every : int
        Lines.
    """

    state: Literal["idle", "running", "failed"] = "idle"
    done: int = 0
    every: int = 0


class Counting:
    """One count at a time in this process; `picturing.count` keeps other processes out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = Progress()
        self._thread: threading.Thread | None = None

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._progress

    def begin(self, desk: Desk) -> None:
        """Begin to count, unless a count is under way."""
        with self._lock:
            if self._progress.state == "running":
                return
            self._progress = Progress("running")
            # A count that is cut off leaves the figures of the one before: the service may stop.
            self._thread = threading.Thread(target=self._run, args=(desk,), daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until a count is over."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, desk: Desk) -> None:
        after = Progress("failed")
        try:
            picturing.count(desk, self._told)
            after = Progress()
        except ConfideError:
            pass  # the page says that it failed; the figures of the last count stay
        finally:
            self._progress = after

    def _told(self, done: int, every: int) -> None:
        self._progress = Progress("running", done, every)
