"""The privacy ledger: one line for everything that left a party in clear or was opened.

Append-only; each line carries the hash of the line before it, so a line that is changed, dropped or
moved breaks the chain. The module is pure: `clients/store.py` keeps the lines on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import rfc8785

from shared.errors import BadPeer, UsageError

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise on what was opened: all that its epsilon follows from.

    Parameters
    ----------
    mechanism : str
        `gaussian`, the only one.
    multiplier : float
        Standard deviation over L2 sensitivity, of the noise that colluders cannot subtract.
    squared_sensitivity : int
        In units of the sum.
    rate : float
        Probability by which a customer took part in a step.
    steps : int
        Steps that this line stands for.
    delta : float
    colluders, parties : int
        How many of how many may pool what they know without epsilon getting worse.
    """

    mechanism: str
    multiplier: float
    squared_sensitivity: int
    rate: float
    steps: int
    delta: float
    colluders: int
    parties: int


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
        Differential privacy spent on this line alone, None where no noise was added.
    noise : Noise or None
        What epsilon follows from; there if and only if epsilon is.

    Raises
    ------
    UsageError
        If only one of epsilon and noise is given: a number that nobody can check, or noise that
        nobody counted.
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
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if (self.epsilon is None) != (self.noise is None):
            raise UsageError(f"ledger, {self.what}: epsilon and noise belong together")

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form; a line without noise is as it was before there was any."""
        value = asdict(self)
        if self.noise is None:
            del value["noise"]
        return value


@dataclass(frozen=True, slots=True)
class Line:
    """An entry in its place: its number, the hash of the line before, and its own hash."""

    sequence: int
    previous: str
    entry: Entry
    digest: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        value = asdict(self)
        value["entry"] = self.entry.to_mapping()
        return value


def _digest(sequence: int, previous: str, entry: Entry) -> str:
    value: Any = {"sequence": sequence, "previous": previous, "entry": entry.to_mapping()}
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
        entry = _entry(value["entry"])
        return Line(int(value["sequence"]), str(value["previous"]), entry, str(value["digest"]))
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise BadPeer("a ledger line is malformed") from error


def _entry(value: Any) -> Entry:
    noise = value.get("noise")
    return Entry(**{**value, "noise": None if noise is None else Noise(**noise)})


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


def has_line(lines: Iterable[Line], entry: Entry) -> bool:
    """Return whether the very same opening is written down already, whenever that was.

    A phase that broke off and is played again opens the same to the same recipient, who learns
    nothing new: it stays one line. Noise is never the same twice, so an opening under noise counts
    each time.
    """
    if entry.noise is not None:
        return False
    return any(replace(line.entry, time=entry.time) == entry for line in lines)
