"""What a party keeps on its own disk: its ledger, its journal, and the state of its runs.

Ledger and journal are lines of JSON that are only ever appended, each fsynced before the caller
goes on: what leaves the party is written down *before* it leaves. A last line without its newline
is the trace of a crash before that point; nothing left on its account, and it is dropped. A run's
state is written once and whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared import ledger
from shared.edge.clock import utc_now
from shared.edge.files import atomic_file, exclusive, write_atomic
from shared.errors import (
    BadPeer,
    BudgetSpent,
    EnvironmentFault,
    Refused,
    ReleaseRefused,
    UsageError,
)
from shared.jobs import check_run_name
from shared.protocols.sum_job import check_reveal

#: Verdicts on a round: one, and another where the coordinator died and noise made another model.
VERDICTS = 2


class Journal:
    """A party's memory of what may happen only once; kept in `journal.jsonl`.

    Implements the journals that `shared.protocols` ask for.

    Parameters
    ----------
    path : Path
        The file; it is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _lines(self, kind: str) -> Iterable[dict[str, Any]]:
        return (line for line in read_lines(self._path) if line.get("kind") == kind)

    def use_seed(self, seed: bytes, columns: str, order: str) -> None:
        """See `shared.protocols.products.SeedJournal`."""
        digest = hashlib.sha256(seed).hexdigest()
        for line in self._lines("seed"):
            if line["seed"] == digest and (line["columns"], line["order"]) != (columns, order):
                raise Refused(
                    "the dealer sent a seed that already masked other columns or another row order",
                    hint="the coordinator must draw fresh seeds for every run and attempt",
                )
        append_line(
            self._path, {"kind": "seed", "seed": digest, "columns": columns, "order": order}
        )

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """See `shared.protocols.sum_job.SumJournal`."""
        records = [
            (line["job"], line["input"], tuple(line["cohort"])) for line in self._lines("reveal")
        ]
        check_reveal(records, job_digest, input_digest, cohort)
        note = {"job": job_digest, "input": input_digest, "cohort": list(cohort)}
        append_line(self._path, {"kind": "reveal", **note})

    def begin_round(self, run: str, number: int, model: str) -> int:
        """Record which model a round of the neural model begins from.

        A round that is asked for again, since the coordinator died, begins where it did; one that
        was undone is followed by one from the same model. But no round comes back once the next
        has begun, and no model once another has taken its place.

        Parameters
        ----------
        run : str
        number : int
        model : str
            Its digest.

        Returns
        -------
        int
            How many rounds before this one began from the same model, and were undone.

        Raises
        ------
        Refused
            If the round is out of order, or its model is an earlier one.
        """
        lines = [line for line in self._lines("round") if line["run"] == run]
        last, before = (lines[-1]["round"], lines[-1]["model"]) if lines else (0, "")
        if number not in (last, last + 1):
            raise Refused(
                f"round {number} of run {run} is asked for after round {last}",
                hint="a run's name is used once: --resume it, or start a new run",
            )
        if number == last and model != before:
            raise Refused(f"round {number} of run {run} has begun here from another model")
        if model != before and any(line["model"] == model for line in lines):
            raise Refused(f"round {number} of run {run} begins from a model of an earlier round")
        if number > last:
            append_line(self._path, {"kind": "round", "run": run, "round": number, "model": model})
        return sum(line["model"] == model and line["round"] < number for line in lines)

    def give_verdict(self, run: str, number: int, models: str) -> None:
        """Record a verdict on a round before it leaves.

        Whoever may ask about any models learns the held-out customers bit by bit.

        Parameters
        ----------
        run : str
        number : int
        models : str
            Digest of the models compared.

        Raises
        ------
        Refused
            If the round is not the one that has just been trained.
        BudgetSpent
            If it was judged on other models `VERDICTS` times.
        """
        begun = [line["round"] for line in self._lines("round") if line["run"] == run]
        if not begun or begun[-1] != number:
            raise Refused(f"a verdict on round {number} of run {run}, which has not been trained")
        judged = {
            line["models"]
            for line in self._lines("verdict")
            if (line["run"], line["round"]) == (run, number)
        }
        if models in judged:
            return
        if len(judged) >= VERDICTS:
            raise BudgetSpent(f"round {number} of run {run} was judged on {VERDICTS} models")
        append_line(self._path, {"kind": "verdict", "run": run, "round": number, "models": models})

    def open_scores(self, customers: str, points: str, allowed: int) -> None:
        """See `shared.protocols.score.ScoreJournal`."""
        opened = {line["points"] for line in self._lines("scores") if line["of"] == customers}
        if points in opened:
            return
        if len(opened) >= allowed:
            raise BudgetSpent(
                f"points of {len(opened)} different cards were opened over these customers; "
                f"{allowed} are allowed",
                hint="every card is one more equation about each customer; the parties may agree "
                "on a larger protocol.score_openings",
            )
        append_line(self._path, {"kind": "scores", "of": customers, "points": points})

    def open_moments(self, binding: str, *, accept_more: bool, kind: str = "moments") -> None:
        """Record one moments job.

        Parameters
        ----------
        binding : str
            Digest of the set of customers and of the bins.
        accept_more : bool
            The party's consent to jobs over other customers or bins than before.
        kind : {"moments", "bins"}
            ``bins`` are counts over public buckets, from which several banks plan their bins.

        Raises
        ------
        Refused
            If an earlier job had other customers or bins, and there is no consent.
        """
        earlier = [line["binding"] for line in self._lines(kind)]
        if earlier and binding not in earlier and not accept_more:
            raise Refused(
                f"{kind} over other customers or other bins left this party before; differences "
                "of the two would be counts of small groups",
                hint='consent with further_moments = "accept" in party.toml',
            )
        append_line(self._path, {"kind": kind, "binding": binding})

    @property
    def releases(self) -> dict[int, str]:
        """Digest of the manifest of every release that this party signed, by counter."""
        return {int(line["counter"]): str(line["manifest"]) for line in self._lines("release")}

    @property
    def last_release(self) -> int:
        """Counter of the last release that this party signed; 0 for none."""
        return max(self.releases, default=0)

    def sign_release(self, counter: int, digest: str) -> None:
        """Record one release before its signature leaves.

        Parameters
        ----------
        counter : int
        digest : str
            Of its manifest.

        Raises
        ------
        ReleaseRefused
            With check `counter`, if this party signed one with this counter or a higher one.
        """
        last = self.last_release
        if counter <= last:
            raise ReleaseRefused(
                f"this party signed release {last} already, and will not sign {counter}",
                check="counter",
            )
        append_line(self._path, {"kind": "release", "counter": counter, "manifest": digest})

    def publish_feed(self, as_of: str, release: str) -> None:
        """Record one score feed before it leaves.

        Raises
        ------
        UsageError
            If a feed with a later as-of date left this party before.
        """
        last = max((str(line["as_of"]) for line in self._lines("feed")), default="")
        if as_of < last:
            raise UsageError(
                f"a score feed as of {last} left this party already; as-of dates never go back",
                hint="the limit service keeps the newer feed",
            )
        append_line(self._path, {"kind": "feed", "as_of": as_of, "release": release})


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
        """Append one line to the ledger; see `shared.ledger.Entry` for the details."""
        lines = self.ledger()
        entry = ledger.Entry(time=self._now(), run=run, phase=phase, what=what, **details)
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
        write_atomic(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")
        return path

    def keep_value(self, run: str, name: str, value: Any) -> None:
        """Write a JSON value of a run once; an attempt that was started again finds the very same.

        Raises
        ------
        Refused
            If the run has left another one.
        """
        if self.run_path(run, f"{name}.json").exists() and self.load_value(run, name) == value:
            return
        self.save_value(run, name, value)

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

    def load_array(self, run: str, name: str) -> NDArray[Any]:
        """Read an array of a run; see `load_value`."""
        path = self.run_path(run, f"{name}.npy")
        try:
            array: NDArray[Any] = np.load(path, allow_pickle=False)
        except OSError as error:
            raise _missing(path) from error
        except ValueError as error:
            raise EnvironmentFault(f"{path} is not an array", hint="start a new run") from error
        return array


def _missing(path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path} is not there: an earlier phase of this run has not ended at this party",
        hint="start a new run",
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that was written by `append_line`; one cut short is left out.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    BadPeer
        If a whole line is not JSON.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    try:
        return [json.loads(line) for line in text.split(b"\n")[:-1]]
    except ValueError as error:
        raise BadPeer(
            f"{path} has a line that is not JSON: it was cut short or altered",
            hint="restore it from a backup; nothing leaves this party without it",
        ) from error


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line and wait until it is on the disk.

    Raises
    ------
    EnvironmentFault
        If the disk is full, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            _drop_unfinished_line(stream)
            stream.write(json.dumps(value, sort_keys=True).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}", hint="nothing left this party"
        ) from error


def _drop_unfinished_line(stream: BinaryIO) -> None:
    stream.seek(0)
    whole = stream.read().rfind(b"\n") + 1
    stream.truncate(whole)
