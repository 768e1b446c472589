"""What a report is made from: a verified release, and what the coordinator wrote of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.coordinator import load_federation
from server.engines.run_files import coordinator_home, run_folder
from server.releases.book import Book, Entry
from server.releases.registry import FOLDER, Registry
from shared.config import Federation
from shared.errors import EnvironmentFault, NotFound, ReleaseRefused
from shared.release import Release

# As the engine `flower` leaves it, and as every training of a card leaves it (its checkpoint).
_RECORDS: Final = (("outcome.json", "outcome"), ("scorecard.json", "body"))


@dataclass(frozen=True, slots=True)
class Source:
    """A release, and beside it what is known of its run.

    Parameters
    ----------
    release : Release
        Verified.
    entry : Entry
        Its line in the registry.
    federation : Federation
    expired : bool
        It counted when it came in, and does not any more.
    outcome : mapping, optional
        What the coordinator wrote down of the run, which nobody signed; None where it is not here.
    """

    release: Release
    entry: Entry
    federation: Federation
    expired: bool
    outcome: Mapping[str, Any] | None


def find(path: Path, name: str, now: str) -> Source:
    """Return what a report of a run or a release is made from.

    Parameters
    ----------
    path : Path
        The federation file.
    name : str
        Of a run or a release; empty for the release that serves, or else the newest one.
    now : str
        Instant.

    Raises
    ------
    NotFound
        If there is none of that name, or the run has left no release.
    ReleaseRefused
        By the name of the check that the release fails.
    EnvironmentFault
        If what the coordinator wrote down is damaged.
    """
    agreed, _ = load_federation(path)
    registry, home = Registry(path.parent / FOLDER), coordinator_home(agreed, path)
    book = registry.book()
    entry = _wanted(book, name, home)
    expired = now >= entry.expires
    release = registry.verified(entry.name, agreed, entry.taken if expired else now)
    run = release.manifest.run
    if name not in {"", entry.name, run}:
        why = f"{entry.name} is in the registry as of run {name}, and says that it is of {run}"
        raise ReleaseRefused(why, check="form", hint="restore registry.json from a backup")
    return Source(release, entry, agreed, expired, recorded(run_folder(home, run)))


def recorded(folder: Path) -> Mapping[str, Any] | None:
    """Return what the coordinator wrote down of a run that ended, or None where it is not here.

    Parameters
    ----------
    folder : Path
        Of the run, at the coordinator.

    Raises
    ------
    EnvironmentFault
        If it is damaged.
    """
    for name, part in _RECORDS:
        try:
            outer = json.loads((folder / name).read_bytes())
            outcome = outer[part] if part == "outcome" else outer[part]["outcome"]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise EnvironmentFault(f"cannot read {folder / name}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(folder / name) from error
        if not isinstance(outcome, dict):
            raise _damaged(folder / name)
        return outcome
    return None


def _wanted(book: Book, name: str, home: Path) -> Entry:
    """Return the entry of a release, by its own name or its run's."""
    if not name:
        newest = max(book.entries.values(), key=lambda one: one.counter, default=None)
        entry = book.champion or newest
        if entry is None:
            raise NotFound("there is no release yet", hint="confide train")
        return entry
    if name in book.entries:
        return book.entries[name]
    taken = [one for one in book.log if (one.action, one.reason) == ("take", f"run {name}")]
    if taken:
        return book.entry(taken[-1].release)
    if run_folder(home, name).is_dir():
        hint = "a report is of what the parties have signed; `confide train --resume` goes on"
        raise NotFound(f"run {name} has left no release", hint=hint)
    known = ", ".join(book.entries) or "there is none yet"
    raise NotFound(f"there is no run and no release {name!r}", hint=f"releases: {known}")


def _damaged(path: Path) -> EnvironmentFault:
    return EnvironmentFault(f"{path} is damaged", hint="move it away: the report does without it")
