"""The privacy ledger: one line for everything that left a party in clear or was opened.

Append-only; each line carries the hash of the line before it, so a line that is changed, dropped or
moved breaks the chain. The module is pure: `clients/store.py` keeps the lines on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from shared.errors import BadPeer

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One opening.

    Parameters
    ----------
    time : str
        ISO 8601, UTC.
    run, phase : str
        Where it happened.
    what : str
        What was opened: `set size`, `overlap`, `moments`, `partial points`, ...
    unit : str
        Whose information one number is: `customers in all`, `customer`, ...
    recipient : str
        Who sees it.
    rows : int
        Customers behind it.
    values : int
        Numbers opened.
    binding : str
        Digest of what exactly was opened (an alignment, a job and its input), hex.
    epsilon : float or None
        Differential privacy spent, None where no noise was added.
    """

    time: str
    run: str
    phase: str
    what: str
    unit: str
    recipient: str
    rows: int
    values: int
    binding: str
    epsilon: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An entry in its place: its number, the hash of the line before, and its own hash."""

    sequence: int
    previous: str
    entry: Entry
    digest: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def _digest(sequence: int, previous: str, entry: Entry) -> str:
    value: Any = {"sequence": sequence, "previous": previous, "entry": asdict(entry)}
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def append(last: Line | None, entry: Entry) -> Line:
    """Return the line that follows `last`."""
    sequence = 0 if last is None else last.sequence + 1
    previous = GENESIS if last is None else last.digest
    return Line(sequence, previous, entry, _digest(sequence, previous, entry))


def line_from_mapping(value: Any) -> Line:
    """Read the JSON form of a line.

    Raises
    ------
    BadPeer
        If it is malformed.
    """
    try:
        entry = Entry(**value["entry"])
        return Line(int(value["sequence"]), str(value["previous"]), entry, str(value["digest"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("a ledger line is malformed") from error


def verify(lines: Iterable[Line]) -> Line | None:
    """Check a chain from its first line; return the last.

    Raises
    ------
    BadPeer
        If a line is changed, dropped or moved; names its number.
    """
    last: Line | None = None
    for line in lines:
        if line != append(last, line.entry):
            raise BadPeer(f"the ledger breaks at line {line.sequence}")
        last = line
    return last


def openings(lines: Iterable[Line], *, what: str, binding: str) -> int:
    """Return how often one thing was opened already."""
    return sum(line.entry.what == what and line.entry.binding == binding for line in lines)
