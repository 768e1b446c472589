"""What a run leaves at the coordinator: its progress and its outcome.

Under engine `flower` the `ServerApp` runs in a process of Flower's; whoever gave the command
follows two files in `runs/<run>/` of the coordinator's folder, and so does the operator's page
(`server.runs`), under engine `local`, too. `progress.jsonl` is appended to, a line an event.
`outcome.json` is there whole or not at all, and is the last thing written. The other way, the
follower writes to `dead.json` which party's process died. None of them holds a row.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.coordinator import Report, report_to
from shared.config import Federation
from shared.edge.files import write_atomic
from shared.errors import (
    ConfideError,
    ConfigError,
    DataError,
    EnvironmentFault,
    RunFailed,
    codes,
)
from shared.jobs import COORDINATOR, check_run_name

# What some classes of errors carry beside message, hint and party.
_OWN = ("reported", "check", "reason", "after")


class RunFiles:
    """Progress and outcome of one run; each event has its time, in seconds since 1970.

    Parameters
    ----------
    folder : Path
        `runs/<run>/` of the coordinator's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._progress = folder / "progress.jsonl"
        self._outcome = folder / "outcome.json"
        self._dead = folder / "dead.json"
        self._read = 0

    def clear(self) -> None:
        """Remove what an earlier start of the run wrote; other files of its folder stay."""
        for path in (self._progress, self._outcome, self._dead):
            path.unlink(missing_ok=True)

    def bury(self, party: str) -> None:
        """Write down, for the `ServerApp`, that a party's process died."""
        write_atomic(self._dead, json.dumps(sorted({*self.dead(), party})).encode() + b"\n")

    def dead(self) -> frozenset[str]:
        """Return the parties whose process died."""
        try:
            return frozenset(json.loads(self._dead.read_bytes()))
        except FileNotFoundError:
            return frozenset()

    def tell(self, event: str, details: dict[str, Any]) -> None:
        """Append one event.

        Raises
        ------
        EnvironmentFault
            If the disk does not take it.
        """
        value = {"event": event, "details": details, "at": time.time()}
        line = json.dumps(value).encode() + b"\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._progress.open("ab") as stream:
                stream.write(line)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {self._progress}: {error.strerror}") from error

    def begin(self) -> None:
        """Tell that the run has begun, in this process, and waits for the parties."""
        self.tell("began", {"process": os.getpid()})
        self.tell("joining", {})

    def finish(self, outcome: dict[str, Any]) -> None:
        """Write the outcome of a run that ended well."""
        self._write({"ok": True, "outcome": outcome})

    def fail(self, error: ConfideError) -> None:
        """Write the error that ended the run."""
        self._write({"ok": False, "error": error_to_value(error)})

    def _write(self, value: Any) -> None:
        write_atomic(self._outcome, json.dumps(value).encode() + b"\n")

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events that were told since the last call."""
        try:
            with self._progress.open("rb") as stream:
                stream.seek(self._read)
                fresh = stream.read()
        except FileNotFoundError:
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            value = json.loads(line)
            yield value["event"], value["details"]

    def outcome(self) -> dict[str, Any] | None:
        """Return the outcome, or None while there is none.

        Raises
        ------
        ConfideError
            The error that ended the run.
        """
        try:
            value = json.loads(self._outcome.read_bytes())
        except FileNotFoundError:
            return None
        if not value["ok"]:
            raise error_from_value(value["error"])
        outcome: dict[str, Any] = value["outcome"]
        return outcome


@contextlib.contextmanager
def written(home: Path, run: str, report: Report) -> Iterator[RunFiles]:
    """Write down how a run of this process goes, and report it, too.

    Parameters
    ----------
    home : Path
        The coordinator's folder.
    run : str
    report : callable
        Told of the run's events, each after it is written down.
    """
    files = RunFiles(run_folder(home, run))
    files.clear()

    def both(event: str, details: dict[str, Any]) -> None:
        files.tell(event, details)
        report(event, details)

    report_to(both)
    files.begin()
    try:
        yield files
    except ConfideError as error:
        files.fail(error)
        raise
    except BaseException as error:  # Ctrl-C, too: nobody will write again
        failed = f"the run ended early: {type(error).__name__}"
        files.fail(RunFailed(failed, reported=ConfideError.code))
        raise


@contextlib.contextmanager
def recorded(home: Path, run: str) -> Iterator[RunFiles]:
    """Write down how a run goes; an error is written down before it ends the app.

    Parameters
    ----------
    home : Path
        The coordinator's folder.
    run : str
    """
    files = RunFiles(run_folder(home, run))
    report_to(files.tell)
    files.begin()
    try:
        yield files
    except ConfideError as error:
        files.fail(error)
        raise
    except Exception as error:
        log = home / "logs" / f"{run}.serverapp.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        failed = f"the coordinator's app failed: unexpected {type(error).__name__}"
        files.fail(RunFailed(failed, hint=f"see {log}", reported=ConfideError.code))
        raise


def coordinator_home(federation: Federation, federation_path: Path) -> Path:
    """Return the coordinator's folder."""
    return federation_path.absolute().parent / federation.home(COORDINATOR)


def run_folder(home: Path, run: str) -> Path:
    """Return the folder of a run at the coordinator.

    Raises
    ------
    Refused
        If the name could be a path; see `shared.jobs.check_run_name`.
    """
    check_run_name(run)
    return home / "runs" / run


def error_to_value(error: ConfideError) -> dict[str, Any]:
    """Return all that an error carries, as JSON."""
    value: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "party": error.party,
    }
    for name in (*_OWN, "source", "findings"):
        if hasattr(error, name):
            value[name] = getattr(error, name)
    return value


def error_from_value(value: dict[str, Any]) -> ConfideError:
    """Return the error that `error_to_value` was given."""
    kind = codes().get(value["code"], ConfideError)
    hint, party = value["hint"], value["party"]
    if issubclass(kind, ConfigError | DataError):
        error = kind(value["source"], value["findings"])
        error.hint, error.party = hint, party
        return error
    own = {name: value[name] for name in _OWN if name in value}
    return kind(value["message"], hint=hint, party=party, **own)
