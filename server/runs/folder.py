"""The coordinator's folder as who watches it reads it: runs, and the processes that stay.

Three kinds of files are opened, by name: those of a run that tell how it goes, its checkpoint, and
what the supervisor wrote of its processes. No key, no certificate, no log. What was read is kept as
long as its files are as they were.
"""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from server.federation.state import FOLDER, Running
from server.runs.link import is_held
from server.runs.story import Failure, Story, Written, story_of
from shared.edge.stored_arrays import read_arrays
from shared.errors import EnvironmentFault, NotFound, Refused
from shared.jobs import check_run_name

MOST_BYTES: Final = 32 << 20
"""Largest file that is read."""
_KEPT: Final = 256
_FILES: Final = ("progress.jsonl", "outcome.json", "scorecard.json", "neural.npz")
_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Some runs, newest first.

    Parameters
    ----------
    runs : tuple of Story
    more : str
        Name to go on before; empty at the end.
    """

    runs: tuple[Story, ...]
    more: str


class RunsFolder:
    """What the coordinator wrote down.

    Parameters
    ----------
    home : Path
        The coordinator's folder, or one with its `runs` alone.
    patience : float
        See `server.runs.story.story_of`.
    """

    def __init__(self, home: Path, patience: float = 180.0) -> None:
        self.home, self.patience = home, patience
        self._lock = threading.Lock()
        self._read: OrderedDict[str, tuple[_Stamp, Written | str]] = OrderedDict()

    def listed(self, now: float, before: str = "", most: int = 20) -> Listed:
        """Return runs whose name comes before another's: names begin with their instant.

        Parameters
        ----------
        now : float
            Seconds since 1970.
        before : str
            Empty for the newest.
        most : int

        Raises
        ------
        EnvironmentFault
            If the folder cannot be read.
        """
        names = [name for name in self._names() if not before or name < before]
        page = names[:most]
        runs = tuple(self._story(name, now) for name in page)
        return Listed(runs, page[-1] if len(names) > most else "")

    def story(self, run: str, now: float) -> Story:
        """Return one run.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        if not self._is_run(run):
            raise NotFound("there is no run of that name")
        return self._story(run, now)

    def version(self, run: str) -> str:
        """Return something that changes whenever a run's files do; cheap to ask for."""
        if not self._is_run(run):
            raise NotFound("there is no run of that name")
        stamp = _stamp(self.home / "runs" / run)
        return "-".join(f"{size:x}.{at & 0xFFFFFFFFFF:x}" for size, at in stamp)

    def services(self) -> tuple[Running, ...] | None:
        """Return the processes that stay; None where no supervisor lives, or none is known of."""
        if not is_held(self.home / FOLDER / "lock"):
            return None
        try:
            value = json.loads((self.home / FOLDER / "state.json").read_bytes())
            return tuple(Running(**one) for one in value["services"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it is just starting, or just ending

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.home / "runs") as found:
                names = [one.name for one in found if one.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []  # nothing was trained yet
        except OSError as error:
            raise EnvironmentFault(
                f"cannot read {self.home / 'runs'}: {error.strerror}", hint="see its permissions"
            ) from error
        return sorted(filter(_is_name, names), reverse=True)

    def _is_run(self, run: str) -> bool:
        return _is_name(run) and (self.home / "runs" / run).is_dir()

    def _story(self, run: str, now: float) -> Story:
        stamp, written = self._written(run)
        touched = max((at for _, at in stamp), default=0) / 1e9
        if isinstance(written, Written):
            try:
                return story_of(run, replace(written, touched=touched), now, self.patience)
            except (KeyError, TypeError, ValueError, AttributeError):
                written = "a file of it is malformed"
        broken = Failure("damaged", written, "", "")
        return Story(run, "scorecard", "failed", touched, touched, failure=broken)

    def _written(self, run: str) -> tuple[_Stamp, Written | str]:
        folder = self.home / "runs" / run
        stamp = _stamp(folder)
        with self._lock:
            known = self._read.get(run)
            if known is not None and known[0] == stamp:
                self._read.move_to_end(run)
                return known
        found = stamp, _read_run(folder)
        with self._lock:
            self._read[run] = found
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return found


def _read_run(folder: Path) -> Written | str:
    """Return what lies on disk of a run, or why it cannot be told."""
    try:
        progress, outcome, card, neural = (_bytes(folder / name) for name in _FILES)
        kept = json.loads(card)["body"] if card else None
        return Written(
            events=tuple(_slim(json.loads(line)) for line in progress.splitlines(keepends=True)
                         if line.endswith(b"\n")),
            checkpoint=_slim(kept),
            outcome=_slim(json.loads(outcome)) if outcome else None,
            rounds=_rounds(neural) if neural else (),
            touched=0.0,
        )  # fmt: skip
    except (OSError, Refused, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return f"the files of {folder.name} cannot be read"


def _slim(value: Any) -> Any:
    """Return what was read without releases: they are in the registry, and large."""
    if isinstance(value, Mapping):
        return {
            name: _slim(one)
            for name, one in value.items()
            if name != "release" or not isinstance(one, Mapping) or "manifest" not in one
        }
    return value


def _rounds(raw: bytes) -> tuple[Mapping[str, Any], ...]:
    head = read_arrays(io.BytesIO(raw), ("head",))["head"]  # no weights here
    return tuple(json.loads(head.tobytes())["history"])


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Refused(f"{path.name} is larger than any that a run writes")
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _stamp(folder: Path) -> _Stamp:
    found = []
    for name in _FILES:
        try:
            told = (folder / name).stat()
            found.append((told.st_size, told.st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def _is_name(run: str) -> bool:
    try:
        check_run_name(run)
    except Refused:
        return False
    return True
