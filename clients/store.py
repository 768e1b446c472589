"""What a party keeps on its own disk: its ledger, its journal, and the state of its runs.

What leaves the party is written down *before* it leaves. A run's state is written once and whole.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.journal import Journal
from clients.lines import append_line, read_lines
from shared import ledger
from shared.edge.clock import utc_now
from shared.edge.files import atomic_file, exclusive, write_atomic
from shared.edge.stored_arrays import read_array
from shared.errors import (
    EnvironmentFault,
    Refused,
)
from shared.jobs import check_run_name


class Store:
    """A party's folder.

    Parameters
    ----------
    home : Path
        The folder.
    now : callable
        Clock of the ledger.
    """

    def __init__(self, home: Path, now: Callable[[], str] = utc_now) -> None:
        self.home = home
        self.journal = Journal(home / "journal.jsonl")
        self._now = now

    def now(self) -> str:
        """Return this party's clock as an instant."""
        return self._now()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the folder: two runs at once would not see each other's journal.

        Raises
        ------
        EnvironmentFault
            If another process holds it.
        """
        with exclusive(self.home):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove the temporary files of a process that was killed while it wrote."""
        patterns = ("runs/*/.*.part", "feeds/.*.part", "releases/.*.part", ".pseudonym.key.*.part")
        for pattern in patterns:
            for stale in self.home.glob(pattern):
                if stale.is_dir():
                    shutil.rmtree(stale, ignore_errors=True)
                else:
                    stale.unlink(missing_ok=True)

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return self.home / "ledger.jsonl"

    def ledger(self) -> list[ledger.Line]:
        """Return the ledger, checked.

        Raises
        ------
        BadPeer
            If the chain is broken.
        """
        lines = [ledger.line_from_mapping(value) for value in read_lines(self.ledger_path)]
        ledger.verify(lines)
        return lines

    def record(self, run: str, phase: str, what: str, **details: Any) -> None:
        """Append one line to the ledger, unless the very same opening has its line already.

        See `shared.ledger.Entry` for the details, `shared.ledger.has_line` for what is the same.
        """
        lines = self.ledger()
        entry = ledger.Entry(time=self._now(), run=run, phase=phase, what=what, **details)
        if ledger.has_line(lines, entry):
            return
        append_line(
            self.ledger_path, ledger.append(lines[-1] if lines else None, entry).to_mapping()
        )

    def run_path(self, run: str, name: str) -> Path:
        """Return the path of a file of a run.

        Raises
        ------
        Refused
            If a name could lead elsewhere; see `shared.jobs.check_run_name`.
        """
        check_run_name(run)
        if set(name) & set("/\\"):
            raise Refused("the name of a run's file may not be a path")
        return self.home / "runs" / run / name

    def _fresh_path(self, run: str, name: str) -> Path:
        """Return the path of a file to write: what a run left is never written again.

        Signed releases rest on it, and the coordinator chooses the names of runs.
        """
        path = self.run_path(run, name)
        try:
            there = path.exists()
        except OSError:  # whoever writes says what is wrong
            there = False
        if there:
            raise Refused(
                f"run {run} has left {name} here already; what a run leaves is never replaced",
                hint="a run's name is used once: start a new run",
            )
        return path

    def save_value(self, run: str, name: str, value: Any) -> Path:
        """Write a JSON value of a run, whole or not at all, and once.

        Raises
        ------
        Refused
            If the run has left it already.
        """
        path = self._fresh_path(run, f"{name}.json")
        write_atomic(path, _packed(value))
        return path

    def keep_value(self, run: str, name: str, value: Any) -> None:
        """Write a JSON value of a run once; an attempt that was started again finds the very same.

        Raises
        ------
        Refused
            If the run has left another one.
        """
        there = self.run_path(run, f"{name}.json").exists()
        if there and self.load_value(run, name) == json.loads(json.dumps(value)):
            return
        self.save_value(run, name, value)

    def replace_value(self, run: str, name: str, value: Any) -> None:
        """Write a JSON value of a run over the one before; nothing that is signed rests on it."""
        write_atomic(self.run_path(run, f"{name}.json"), _packed(value))

    def load_value(self, run: str, name: str) -> Any:
        """Read a JSON value of a run.

        Raises
        ------
        EnvironmentFault
            If it is not there: an earlier phase has not ended at this party.
        """
        path = self.run_path(run, f"{name}.json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _missing(path) from error
        except ValueError as error:
            raise EnvironmentFault(f"{path} is not JSON", hint="start a new run") from error

    def save_array(self, run: str, name: str, array: NDArray[Any]) -> None:
        """Write an array of a run, whole or not at all, and once; see `save_value`."""
        with atomic_file(self._fresh_path(run, f"{name}.npy")) as stream:
            np.save(stream, array, allow_pickle=False)

    def keep_array(self, run: str, name: str, array: NDArray[Any]) -> None:
        """Write an array of a run once; see `keep_value`."""
        there = self.run_path(run, f"{name}.npy").exists()
        if there and np.array_equal(self.load_array(run, name), array):
            return
        self.save_array(run, name, array)

    def load_array(self, run: str, name: str) -> NDArray[Any]:
        """Read an array of a run; see `load_value`."""
        path = self.run_path(run, f"{name}.npy")
        try:
            return read_array(path)
        except OSError as error:
            raise _missing(path) from error
        except ValueError as error:
            raise EnvironmentFault(f"{path} is not an array", hint="start a new run") from error


def of_attempt(name: str, attempt: int) -> str:
    """Return the name of what an attempt leaves, where another one leaves something else."""
    return name if attempt == 1 else f"{name}_{attempt}"


def _packed(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _missing(path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path} is not there: an earlier phase of this run has not ended at this party",
        hint="start a new run",
    )
