"""What must be true of a federation's folder afterwards: nothing lost, nothing doubled.

A memory is taken before the work is done again, and held against what is there afterwards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clients.lines import read_lines
from clients.store import Store
from server.coordinator import load_federation
from server.releases.registry import FOLDER, Registry
from shared.edge.clock import utc_now
from shared.errors import ConfideError

#: What makes a line of a journal the same as another: what may leave a party once and never again.
ONCE = {
    "seed": ("seed",),  # masked values under one seed, sent twice, are a two-time pad
    "reveal": ("job", "input"),  # a seed is revealed once in a sum
    "scores": ("of", "points"),
    "release": ("counter",),
    "round": ("run", "round"),
    "verdict": ("run", "round", "models"),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """What members had on their disks at one moment.

    Parameters
    ----------
    lines : dict
        Ledger and journal of each party, by name, as the lines' own bytes.
    releases : dict of str to str
        Digests in the registry by name.
    """

    lines: dict[str, list[str]]
    releases: dict[str, str]


def homes(path: Path) -> dict[str, Path]:
    """Return each party's folder."""
    agreed, _ = load_federation(path)
    return {party: path.parent / agreed.home(party) for party in agreed.holders}


def remember(path: Path) -> Memory:
    """Return what is there now.

    Parameters
    ----------
    path : Path
        The federation file.
    """
    lines = {
        f"{name} of {party}": [
            json.dumps(line, sort_keys=True) for line in read_lines(home / f"{name}.jsonl")
        ]
        for party, home in homes(path).items()
        for name in ("ledger", "journal")
    }
    entries = Registry(path.parent / FOLDER).book().entries.values()
    return Memory(lines, {entry.name: entry.digest for entry in entries})


def lost(before: Memory, after: Memory) -> Iterator[str]:
    """Yield what was there before and is not any more, or is another."""
    for name, lines in before.lines.items():
        if after.lines[name][: len(lines)] != lines:
            yield f"the {name} is not continued from what it was"
    for name, digest in before.releases.items():
        if after.releases.get(name) != digest:
            yield f"{name} is not in the registry as it was"


def broken(path: Path) -> Iterator[str]:
    """Yield what does not hold in itself: chains, releases, what a release's signers noted."""
    agreed, _ = load_federation(path)
    for party, home in homes(path).items():
        try:
            Store(home).ledger()
        except ConfideError as error:
            yield f"{party}: {error}"
    registry = Registry(path.parent / FOLDER)
    for entry in registry.book().entries.values():
        try:
            release = registry.verified(entry.name, agreed, utc_now())
        except ConfideError as error:
            yield f"{entry.name}: {error}"
            continue
        for party in release.signatures:
            noted = Store(homes(path)[party]).journal.releases
            if noted.get(entry.counter) != entry.digest:
                yield f"{entry.name}: the journal of {party}, who signed it, knows another"


def doubled(path: Path) -> Iterator[str]:
    """Yield what left a party, or was taken, twice."""
    for party, home in homes(path).items():
        lines = read_lines(home / "journal.jsonl")
        for name, count in _twice(_journal_key(line) for line in lines):
            yield f"{party}: {name[0]} is in its journal {count} times"
        reveals = {(one["input"], tuple(one["cohort"])) for one in lines if one["kind"] == "reveal"}
        for name, count in _twice((given,) for given, _ in reveals):
            yield f"{party}: input {name[0][:12]} was revealed in {count} cohorts"
        entries = (line.entry for line in Store(home).ledger())
        keys = ((one.run, one.phase, one.what, one.recipient, one.binding) for one in entries)
        for name, count in _twice(keys):
            yield f"{party}: {name[2]} of phase {name[1]} is in its ledger {count} times"
    book = Registry(path.parent / FOLDER).book()
    for name, count in _twice((entry.digest,) for entry in book.entries.values()):
        yield f"release {name[0][:12]} was taken {count} times"


def _journal_key(line: dict[str, Any]) -> tuple[Any, ...]:
    fields = ONCE.get(line["kind"])
    return (line["kind"], *(line[name] for name in fields)) if fields else ()


def _twice(keys: Any) -> list[tuple[tuple[Any, ...], int]]:
    return [(key, count) for key, count in Counter(keys).items() if key and count > 1]


def half_written(folder: Path) -> Iterator[str]:
    """Yield files that are not whole: temporary ones, JSON and arrays that do not read."""
    for top in sorted(folder.iterdir()):  # links to members' own volumes among them
        if top.suffix == ".disk":
            continue  # what a small disk stands over
        files = [one for one in top.resolve().rglob("*") if one.is_file()] or [top]
        for path in files:
            name = f"{top.name}/{path.name}"
            if path.suffix in {".part", ".tmp"}:
                yield f"{name} was left"
            elif not _is_whole(path):
                yield f"{name} is not whole"


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".npy":
            np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return True
