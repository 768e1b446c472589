"""The one place of the rule that figures about few people are neither drawn nor tabled.

A chart about fewer than `FLOOR` people is replaced by a sentence (state `too_few`). Where people
are counted in cells, a cell with some people but fewer than the floor is withheld, and where that
would leave a single unknown cell, which is the total less the others, the smallest other cell with
it. Curves are drawn through runs of scores with at least the floor of people each, never through
rows. The floor is one of people: the bad rate of a told cell is told, its number of bads only from
the floor upwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

from shared.errors import DataError

FLOOR: Final = 20
"""Fewest people behind a figure that a chart shows."""


def enough(people: int) -> bool:
    """Return whether so many people may be told of."""
    return people >= FLOOR


def told(counts: Sequence[int]) -> tuple[int | None, ...]:
    """Return counts of the cells of one whole, with None where a count is withheld.

    Parameters
    ----------
    counts : sequence of int
        People in each cell, >= 0. An empty cell speaks of nobody and is told.
    """
    hidden = {at for at, count in enumerate(counts) if 0 < count < FLOOR}
    others = [at for at, count in enumerate(counts) if count >= FLOOR]
    if len(hidden) == 1 and others:
        hidden.add(min(others, key=lambda at: (counts[at], at)))
    return tuple(None if at in hidden else count for at, count in enumerate(counts))


def told_known(counts: Sequence[int | None]) -> tuple[int | None, ...]:
    """Return counts as `told` does, some of which were withheld before: they stay so.

    Parameters
    ----------
    counts : sequence of int, optional
        None where withheld. Whoever withheld one saw to it that no other gives it away.
    """
    if None not in counts:
        return told([count or 0 for count in counts])
    return tuple(None if count is None or 0 < count < FLOOR else count for count in counts)


def told_part(count: int) -> int | None:
    """Return how many of a cell's people it is, or None where they are some but too few."""
    return None if 0 < count < FLOOR else count


def runs(people: Sequence[int], most: int) -> tuple[tuple[int, int], ...]:
    """Join neighbouring cells to at most `most` runs with enough people in each.

    Parameters
    ----------
    people : sequence of int
        In each cell, >= 0.
    most : int
        At least 1.

    Returns
    -------
    tuple of (int, int)
        First cell of a run and the one after its last; they follow each other without a gap. None
        where all cells together have fewer people than the floor.
    """
    total = sum(people)
    if total < FLOOR:
        return ()
    found: list[tuple[int, int]] = []
    first = held = below = closed = 0
    for at, count in enumerate(people):
        held, below = held + count, below + count
        if held >= FLOOR and below * most >= (closed + 1) * total:
            found.append((first, at + 1))
            first, held, closed = at + 1, 0, below * most // total
    if first < len(people):  # what is left over has too few people of its own
        found[-1:] = [(found[-1][0] if found else 0, len(people))]
    return tuple(found)


def check(source: str, figures: Mapping[str, Sequence[float | None]], *, least: float = 0) -> None:
    """Refuse figures that no picture can show, all findings at once.

    Parameters
    ----------
    source : str
        The chart.
    figures : mapping of str to sequence of float
        By name; None is not known and allowed.
    least : float
        No figure may lie below.

    Raises
    ------
    DataError
    """
    findings = []
    for name, values in figures.items():
        known = [value for value in values if value is not None]
        if not all(isfinite(value) for value in known):
            findings.append(f"{name}: must hold finite numbers only")
        elif any(value < least for value in known):
            findings.append(f"{name}: must not be below {least:g}")
    if findings:
        raise DataError(f"chart {source}", findings)
