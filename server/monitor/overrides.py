"""Overrides: how often people change decisions, which way, why, and whether they were right to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Override:
    """A decision that a person changed.

    Parameters
    ----------
    reason : str
        Code that the person stated.
    officer : str
        Who.
    system_minor, given_minor : int
        The limit that was decided, and the one that was given.
    bad : bool, optional
        What came of it; None where it is not known yet.
    """

    reason: str
    officer: str
    system_minor: int
    given_minor: int
    bad: bool | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """Overrides one way.

    Parameters
    ----------
    count : int
    moved_minor : int
        Sum of the changes, without sign.
    known, bads : int
        Outcomes known, and the bads of these.
    """

    count: int
    moved_minor: int
    known: int
    bads: int

    @property
    def bad_rate(self) -> float | None:
        """Bads over known outcomes; None where none is known."""
        return self.bads / self.known if self.known else None


@dataclass(frozen=True, slots=True)
class Overrides:
    """The override log in figures.

    Parameters
    ----------
    decisions : int
    rate : float
        Overrides over decisions; 0 of none.
    raised, lowered : Direction
    unchanged : int
        Looked at and left as it was: a review, no override; not in the rate.
    by_reason, by_officer : mapping of str to int
        Most first.
    """

    decisions: int
    rate: float
    raised: Direction
    lowered: Direction
    unchanged: int
    by_reason: Mapping[str, int]
    by_officer: Mapping[str, int]


def override_summary(overrides: Iterable[Override], decisions: int) -> Overrides:
    """Sum up overrides.

    Parameters
    ----------
    overrides : iterable of Override
    decisions : int
        Over the same time.
    """
    rows = list(overrides)
    up = [row for row in rows if row.given_minor > row.system_minor]
    down = [row for row in rows if row.given_minor < row.system_minor]
    changed = up + down
    return Overrides(
        decisions,
        len(changed) / decisions if decisions else 0.0,
        _direction(up),
        _direction(down),
        len(rows) - len(changed),
        _most_first(Counter(row.reason for row in changed)),
        _most_first(Counter(row.officer for row in changed)),
    )


def _direction(rows: list[Override]) -> Direction:
    known = [row for row in rows if row.bad is not None]
    moved = sum(abs(row.given_minor - row.system_minor) for row in rows)
    return Direction(len(rows), moved, len(known), sum(row.bad is True for row in known))


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
