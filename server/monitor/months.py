"""Scores and points by month, against the first month: whether people, or the model, moved.

Counts come from the decisions that were kept, one a customer and month, so that who is reviewed
often does not count often. Cells with few people are withheld: a count of three is three people.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from server.monitor.drift import Stability, stability

SCORE_EDGES: Final = tuple(range(400, 950, 50))
"""Inner edges of the bins of a score."""
POINT_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """A customer's score in a month.

    Parameters
    ----------
    month : str
        `YYYY-MM`.
    score : int
    grade : str
    points : mapping of str to int
        By holder that was there.
    """

    month: str
    score: int
    grade: str
    points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Moved:
    """A month against the first.

    Parameters
    ----------
    month : str
    people : int, optional
        None where there are some, but fewer than the floor.
    counts : tuple of (int or None)
        By bin of the score; None where fewer people are in it than the floor, but some.
    score : Stability, optional
        None in the first month, and where either month has fewer people than the floor.
    holders : tuple of Stability
        Points of each holder, the one that moved most first.
    grades : mapping of str to (int or None)
    """

    month: str
    people: int | None
    counts: tuple[int | None, ...]
    score: Stability | None
    holders: tuple[Stability, ...]
    grades: Mapping[str, int | None]


def months(rows: Iterable[Scored], floor: int) -> tuple[Moved, ...]:
    """Compare every month with the first that has enough people.

    Parameters
    ----------
    rows : iterable of Scored
    floor : int
        People of a month for an index, and of a cell to be told.
    """
    by_month: dict[str, list[Scored]] = {}
    for row in rows:
        by_month.setdefault(row.month, []).append(row)
    first = next((name for name in sorted(by_month) if len(by_month[name]) >= floor), None)
    base = by_month[first] if first else []
    return tuple(
        _moved(name, by_month[name], base if first and name > first else [], floor)
        for name in sorted(by_month)
    )


def _moved(name: str, rows: list[Scored], base: list[Scored], floor: int) -> Moved:
    now = _counts([row.score for row in rows], SCORE_EDGES)
    enough = bool(base) and len(rows) >= floor
    then = _counts([row.score for row in base], SCORE_EDGES)
    grades: dict[str, int] = {}
    for row in rows:
        grades[row.grade] = grades.get(row.grade, 0) + 1
    names = sorted(grades)
    return Moved(
        month=name,
        people=told_cells([len(rows)], floor)[0],
        counts=tuple(told_cells(now, floor)),
        score=stability("score", then, now) if enough else None,
        holders=_holders(base, rows, floor) if enough else (),
        grades=dict(zip(names, told_cells([grades[one] for one in names], floor), strict=True)),
    )


def _holders(base: list[Scored], rows: list[Scored], floor: int) -> tuple[Stability, ...]:
    found = []
    for holder in sorted({holder for row in base for holder in row.points}):
        old = sorted(row.points[holder] for row in base if holder in row.points)
        new = [row.points[holder] for row in rows if holder in row.points]
        if min(len(old), len(new)) < max(floor, 1):
            continue
        edges = sorted({old[len(old) * part // POINT_BINS] for part in range(1, POINT_BINS)})
        found.append(stability(holder, _counts(old, edges), _counts(new, edges)))
    return tuple(sorted(found, key=lambda one: (-one.index, one.name)))


def _counts(values: Sequence[int], edges: Sequence[int]) -> list[int]:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return counts


def told_cells(counts: Sequence[int], floor: int) -> list[int | None]:
    """Return counts of which none speaks of few people, not even by taking it from the total.

    Parameters
    ----------
    counts : sequence of int
        Of all cells; their total is told elsewhere.
    floor : int
        People in a cell, at least; fewer, but some, and it is withheld. A single withheld cell
        would be the total less the others, so the smallest other one is withheld with it.
    """
    hidden = {at for at, count in enumerate(counts) if 0 < count < floor}
    if len(hidden) == 1:
        others = [at for at, count in enumerate(counts) if count and at not in hidden]
        hidden |= set(sorted(others, key=lambda at: (counts[at], at))[:1])
    return [None if at in hidden else count for at, count in enumerate(counts)]
