"""What a drill found: one row each, kept as lines of JSON as they end, shown as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

SKIPPED = "skipped"
_WELL = ("finished", "refused", "died")


@dataclass(frozen=True, slots=True)
class Drill:
    """One thing to be tried: what is done to whom, and when.

    Parameters
    ----------
    system : str
        What runs: `local`, `flower`, `limits-sqlite`, `limits-postgresql`, `compose`.
    fault, target, phase : str
    """

    system: str
    fault: str
    target: str
    phase: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its name among all."""
        return (self.system, self.fault, self.target, self.phase)

    def chosen(self, only: dict[str, frozenset[str]]) -> bool:
        """Return whether it is one of those that were asked for, by field."""
        return all(getattr(self, field) in values for field, values in only.items())


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a drill.

    Parameters
    ----------
    drill : Drill
    outcome : str
        `finished`; `refused CODE`, with the party and how it went on; `died` where the command
        itself was killed; `skipped`; or what must not be: `hung`, `unnamed`, `not recovered`.
    ended : float
        Seconds from the fault to the end of what was under way.
    recovered : float
        Seconds from the end of the fault until the same work was done whole.
    limit : float
        Seconds after which it would have been called hung.
    lost, doubled, left : tuple of str
        Findings; `left` is of processes and half-written files.
    note : str
    """

    drill: Drill
    outcome: str
    ended: float = 0.0
    recovered: float = 0.0
    limit: float = 0.0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether the bar holds: ended in time and by name, nothing lost, doubled or left."""
        found = self.lost or self.doubled or self.left
        well = self.outcome.startswith((*_WELL, SKIPPED)) and ", not " not in self.outcome
        return well and not found

    @property
    def skipped(self) -> bool:
        """Whether nothing was tried."""
        return self.outcome == SKIPPED

    def to_line(self) -> str:
        """Return its line of JSON."""
        value = asdict(self)
        return json.dumps({**value.pop("drill"), **value, "good": self.good})

    @classmethod
    def from_line(cls, line: str) -> Row:
        """Read its line of JSON."""
        value = json.loads(line)
        value.pop("good")
        drill = Drill(*(value.pop(name) for name in ("system", "fault", "target", "phase")))
        value |= {name: tuple(value[name]) for name in ("lost", "doubled", "left")}
        return cls(drill, **value)


class Book:
    """The rows of all starts of a drill; one is on the disk before the next begins.

    Parameters
    ----------
    path : Path or None
        Without one nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path is not None and path.exists():
            whole = path.read_text().split("\n")[:-1]  # a last line that was cut short is done anew
            self.rows = [Row.from_line(line) for line in whole]

    @property
    def done(self) -> set[tuple[str, str, str, str]]:
        """Keys of what need not be tried again; what was skipped may be possible now."""
        return {row.drill.key for row in self.rows if not row.skipped}

    def add(self, row: Row) -> None:
        """Keep a row, in the place of an earlier one of the same drill."""
        self.rows = [one for one in self.rows if one.drill.key != row.drill.key] + [row]
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text("".join(one.to_line() + "\n" for one in self.rows))
        fresh.replace(self._path)


_HEAD = (
    *("system", "target", "phase", "fault"),
    *("outcome", "ended", "recovered", "lost, doubled, left"),
)


def cells(row: Row) -> tuple[str, ...]:
    """Return what the table says of a row."""
    drill = row.drill
    seconds = ("", "") if row.skipped else (f"{row.ended:.1f}", f"{row.recovered:.1f}")
    found = [
        f"{name} {len(value)}"
        for name in ("lost", "doubled", "left")
        if (value := getattr(row, name))
    ]
    told = "" if row.skipped else ", ".join(found) or "nothing"
    return (drill.system, drill.target, drill.phase, drill.fault, row.outcome, *seconds, told)


def text(rows: Iterable[Row]) -> str:
    """Return the table for people."""
    table = [_HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(_HEAD))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )


def markdown(rows: Iterable[Row]) -> str:
    """Return the table for a page."""
    lines = [" | ".join(_HEAD), " | ".join("---" for _ in _HEAD)]
    lines += [" | ".join(cells(row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def findings(rows: Iterable[Row]) -> list[str]:
    """Return everything that must not be, one sentence each."""
    said = []
    for row in rows:
        where = "/".join(row.drill.key)
        if not row.good and not (row.lost or row.doubled or row.left):
            said.append(f"{where}: {row.outcome} {row.note}".rstrip())
        for name in ("lost", "doubled", "left"):
            said += [f"{where}: {name}: {one}" for one in getattr(row, name)]
    return said
