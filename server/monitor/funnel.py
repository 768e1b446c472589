"""From a cut to the whole limit: how many lines get there, how long it takes, for which reason.

A spell begins with the first cut of a line that was whole, and ends when the whole limit is back.
Days are counted to the decision that restored it; a spell that is still open counts as waiting, and
has no days yet, so that a young spell does not look like a fast one (domain M66, M67).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median


@dataclass(frozen=True, slots=True)
class Seen:
    """A line after one of its decisions.

    Parameters
    ----------
    day : date
    state : str
    limit_minor, approved_minor : int
    reasons : tuple of str
        Codes of the decision.
    """

    day: date
    state: str
    limit_minor: int
    approved_minor: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spell:
    """One time that a line was below what was agreed.

    Parameters
    ----------
    reason : str
        First reason of the cut.
    began : date
    observed : bool
        It was watched before or while it was reduced.
    first_rise, restored : date, optional
        The first step up, and when all of it was back.
    lost_minor : int
        At its deepest.
    """

    reason: str
    began: date
    observed: bool
    first_rise: date | None
    restored: date | None
    lost_minor: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """Spells of one reason, or of all.

    Parameters
    ----------
    cut, observed, rising, restored, waiting : int
        Spells, those that were watched, that rose at least once, that ended, and that did not.
    median_days_to_rise, median_days_to_restored : float, optional
        None where none of them did, or where fewer people are behind it than the floor.
    """

    cut: int
    observed: int
    rising: int
    restored: int
    waiting: int
    median_days_to_rise: float | None
    median_days_to_restored: float | None


def spells_of(history: Sequence[Seen]) -> tuple[Spell, ...]:
    """Return the spells of a line below its agreed limit.

    Parameters
    ----------
    history : sequence of Seen
        Its decisions, in order.
    """
    found: list[Spell] = []
    spell: Spell | None = None
    lowest = 0
    watched = False
    for one in history:
        missing = one.approved_minor - one.limit_minor
        watched = watched or one.state == "observation"
        if spell is None and missing > 0:
            reason = one.reasons[0] if one.reasons else ""
            spell, lowest = Spell(reason, one.day, watched, None, None, missing), one.limit_minor
        elif spell is not None:
            rose = spell.first_rise or (one.day if one.limit_minor > lowest else None)
            lowest = min(lowest, one.limit_minor)
            spell = Spell(
                spell.reason,
                spell.began,
                spell.observed or watched,
                rose,
                one.day if missing <= 0 else None,
                max(spell.lost_minor, missing),
            )
            if missing <= 0:
                found.append(spell)
                spell = None
        if one.state == "active":
            watched = False
    return (*found, spell) if spell is not None else tuple(found)


def funnel(spells: Iterable[Spell], floor: int = 0) -> Funnel:
    """Sum up spells.

    Parameters
    ----------
    spells : iterable of Spell
    floor : int
        Spells behind a median, at least; fewer, and it is withheld.
    """
    rows = list(spells)
    rises = [(row.first_rise - row.began).days for row in rows if row.first_rise is not None]
    backs = [(row.restored - row.began).days for row in rows if row.restored is not None]
    return Funnel(
        cut=len(rows),
        observed=sum(row.observed for row in rows),
        rising=len(rises),
        restored=len(backs),
        waiting=len(rows) - len(backs),
        median_days_to_rise=_median(rises, floor),
        median_days_to_restored=_median(backs, floor),
    )


def funnels(spells: Iterable[Spell], floor: int = 0) -> Mapping[str, Funnel]:
    """Sum up spells by the reason of the cut, most cuts first."""
    by_reason: dict[str, list[Spell]] = {}
    for one in spells:
        by_reason.setdefault(one.reason, []).append(one)
    counts = Counter({reason: len(rows) for reason, rows in by_reason.items()})
    ordered = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return {reason: funnel(by_reason[reason], floor) for reason in ordered}


def _median(days: list[int], floor: int) -> float | None:
    return float(median(days)) if days and len(days) >= floor else None
