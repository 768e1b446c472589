"""What a night is told by: counts, pages and what failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Final

from server.accounts.grounds import Rules
from server.accounts.recording import LineDecision
from server.limits.line.line import State
from server.store.lines import StoredLine
from shared.errors import ConfideError

_COUNTED: Final = (
    "seen",
    "reviewed",
    "aged",
    "closed",
    "calm",
    "done_before",
    "raised",
    "lowered",
    "offered",
    "frozen",
    "failed",
)


@dataclass(frozen=True, slots=True)
class Night:
    """What a nightly run did, those before it included that were cut off.

    Parameters
    ----------
    day : date
    counts : mapping of str to int
        `seen` lines; `reviewed`, `aged` (what is overdue, or has run out), `closed`; `calm`:
        nothing to do; `done_before`: decided that day already; limits `raised` and `lowered`,
        increases `offered`, lines `frozen`; `failed`.
    pages : int
    failures : tuple of (str, str)
        Line and code of the error, of this process alone.
    resumed : bool
        Another run of that day had begun before.
    """

    day: date
    counts: dict[str, int]
    pages: int
    failures: tuple[tuple[str, str], ...]
    resumed: bool


@dataclass(slots=True)
class Page:
    """What was decided on a page of lines."""

    decided: list[tuple[StoredLine, Rules, LineDecision]]
    counts: Counter[str]
    failures: list[tuple[str, str]]
    last: str
    full: bool

    def fail(self, line: StoredLine, error: ConfideError) -> None:
        """Note that a line was left as it is."""
        self.counts["failed"] += 1
        self.failures.append((line.id, error.code))


def counted(record: LineDecision | None) -> Counter[str]:
    """Return what a decision counts as; without one, the line was calm."""
    if record is None:
        return Counter(["calm"])
    before, after = record.before, record.outcome.after
    what = {"review": "reviewed", "age": "aged", "close": "closed"}[record.ask.purpose]
    change = after.effective_limit_minor - before.effective_limit_minor
    found = Counter([what])
    found["raised"] += change > 0
    found["lowered"] += change < 0
    found["offered"] += after.offer is not None and after.offer != before.offer
    found["frozen"] += after.state is State.FROZEN and before.state is not State.FROZEN
    return found


def whole(counts: Counter[str]) -> dict[str, int]:
    """Return every count of a night, those that are 0 as well."""
    return {name: counts[name] for name in _COUNTED}
