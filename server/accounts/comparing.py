"""Two rulebooks on the lines of the store: whose limit would differ, and by how much.

Nothing is written. Each line is looked at twice, by the old rules and by the new: what the caps
allow, and what a review of today would make of the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from server.accounts.deciding import work_out
from server.accounts.desk import Desk, Rulebook
from server.accounts.grounds import Ask
from server.accounts.standing import look_at
from server.limits.line.line import State
from server.monitor.swap import SIDES, Case, SwapTable, swap_table
from server.store.lines import StoredLine, page_of_lines
from shared.errors import ConfideError

_PAGE = 200
_UNREVIEWED = frozenset({State.PENDING, State.CLOSING, State.CLOSED})


@dataclass(frozen=True, slots=True)
class Moves:
    """How limits move from old rules to new.

    Parameters
    ----------
    higher, lower, same : int
        Lines.
    up_minor, down_minor : int
        Sums of what is more, and of what is less.
    most_up_minor, most_down_minor : int
        Of one line.
    """

    higher: int = 0
    lower: int = 0
    same: int = 0
    up_minor: int = 0
    down_minor: int = 0
    most_up_minor: int = 0
    most_down_minor: int = 0

    def and_one(self, before: int, after: int) -> Moves:
        """Count one line more."""
        up, down = max(0, after - before), max(0, before - after)
        return Moves(
            self.higher + (up > 0),
            self.lower + (down > 0),
            self.same + (up == down),
            self.up_minor + up,
            self.down_minor + down,
            max(self.most_up_minor, up),
            max(self.most_down_minor, down),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two rulebooks on the lines of the store.

    Parameters
    ----------
    caps : SwapTable
        What the caps allow; 0 is a decline.
    allowed : Moves
        The same, line by line.
    reviewed : Moves
        Limits after a review of today, of lines that have reviews.
    failed : int
        Lines that one of the two cannot decide on, such as a product that is gone.
    """

    caps: SwapTable
    allowed: Moves
    reviewed: Moves
    failed: int

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        cells = {side: getattr(self.caps, side) for side in SIDES}
        return {
            "lines": self.caps.people,
            "failed": self.failed,
            "swap": {
                side: {
                    "lines": cell.people,
                    "old_minor": cell.old_minor,
                    "new_minor": cell.new_minor,
                }
                for side, cell in cells.items()
            },
            "allowed": _plain(self.allowed),
            "after_review": _plain(self.reviewed),
        }


@dataclass(slots=True)
class _Count:
    cases: list[Case] = field(default_factory=list)
    allowed: Moves = Moves()
    reviewed: Moves = Moves()
    failed: int = 0


def compare(desk: Desk, db: Connection, old: Rulebook, new: Rulebook, now: datetime) -> Comparison:
    """Hold two rulebooks against each other on every open line.

    Parameters
    ----------
    desk : Desk
    db : Connection
        Only read.
    old, new : Rulebook
    now : datetime
    """
    count, present = _Count(), desk.book.current
    try:
        for stored in _lines(db):
            _one(desk, db, stored, (old, new), now, count)
    finally:
        desk.book.turn_to(present)
    return Comparison(swap_table(count.cases), count.allowed, count.reviewed, count.failed)


def _one(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    books: tuple[Rulebook, Rulebook],
    now: datetime,
    count: _Count,
) -> None:
    targets, limits = [], []
    try:
        for book in books:
            desk.book.turn_to(book)
            seen = look_at(desk, db, stored, now)
            targets.append(seen.target.lowest_minor)
            if seen.line.state not in _UNREVIEWED:
                ask = Ask("review", seen.day, stored.product)
                after = work_out(seen.rules, ask, seen.grounds(), seen.line).after
                limits.append(after.effective_limit_minor)
    except ConfideError:
        count.failed += 1
        return
    count.cases.append(Case(targets[0], targets[1]))
    count.allowed = count.allowed.and_one(targets[0], targets[1])
    if limits:
        count.reviewed = count.reviewed.and_one(limits[0], limits[1])


def _lines(db: Connection) -> Iterator[StoredLine]:
    after = ""
    while page := page_of_lines(db, after=after, count=_PAGE):
        yield from page
        after = page[-1].id


def _plain(moves: Moves) -> dict[str, int]:
    return {name: getattr(moves, name) for name in Moves.__slots__}
