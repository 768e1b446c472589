"""Champion and challenger on the same people: limits, grades and reasons, one beside the other.

A challenger serves nobody: it decides in shadow, from the score that stands in each record. Who
gets what is never drawn by lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import DataError


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a challenger would have decided.

    Parameters
    ----------
    people, same, higher, lower : int
        Limits as the champion's, above, below.
    champion_minor, challenger_minor : int
        Sums of limits.
    binding : mapping of (str, str) to int
        How often the champion's first binding cap met the challenger's, where they differ.
    """

    people: int
    same: int
    higher: int
    lower: int
    champion_minor: int
    challenger_minor: int
    binding: Mapping[tuple[str, str], int]


def shadow(pairs: Iterable[tuple[tuple[int, str], tuple[int, str]]]) -> Shadow:
    """Sum up both answers.

    Parameters
    ----------
    pairs : iterable of ((int, str), (int, str))
        Limit and first binding cap of the champion and of the challenger, one pair a customer.
    """
    moves: Counter[int] = Counter()
    binding: Counter[tuple[str, str]] = Counter()
    champion = challenger = 0
    for (old, why_old), (new, why_new) in pairs:
        moves[(new > old) - (new < old)] += 1
        champion += old
        challenger += new
        if why_old != why_new:
            binding[why_old, why_new] += 1
    ordered = dict(sorted(binding.items(), key=lambda one: (-one[1], one[0])))
    people = sum(moves.values())
    return Shadow(people, moves[0], moves[1], moves[-1], champion, challenger, ordered)


@dataclass(frozen=True, slots=True)
class Churn:
    """Whose reasons move between two releases.

    Parameters
    ----------
    people : int
    same, same_first, same_set : int
        With the same list, the same first reason, the same reasons in any order.
    overlap : float
        Mean share of reasons in common (Jaccard); two empty lists are alike.
    gained, lost : mapping of str to int
        People by code that came or went, most first.
    """

    people: int
    same: int
    same_first: int
    same_set: int
    overlap: float
    gained: Mapping[str, int]
    lost: Mapping[str, int]


def reason_churn(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Churn:
    """Compare the reason codes that two releases give the same people.

    Parameters
    ----------
    pairs : iterable of (sequence of str, sequence of str)
        Before and after, costliest first, one pair a customer.
    """
    people = same = same_first = same_set = 0
    overlap = 0.0
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for before, after in pairs:
        old, new = set(before), set(after)
        people += 1
        same += list(before) == list(after)
        same_first += list(before[:1]) == list(after[:1])
        same_set += old == new
        overlap += len(old & new) / len(old | new) if old | new else 1.0
        gained.update(new - old)
        lost.update(old - new)
    mean = overlap / people if people else 1.0
    return Churn(people, same, same_first, same_set, mean, _most_first(gained), _most_first(lost))


def migration(pairs: Iterable[tuple[str, str]], grades: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count how people move between grades from one release to the next.

    Parameters
    ----------
    pairs : iterable of (str, str)
        Grade before and after.
    grades : sequence of str
        Safest first.

    Raises
    ------
    DataError
        If a grade is unknown.
    """
    table = {before: dict.fromkeys(grades, 0) for before in grades}
    for before, after in pairs:
        if before not in table or after not in table:
            raise DataError("migration", [f"grades must be of {', '.join(grades)}"])
        table[before][after] += 1
    return table


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
