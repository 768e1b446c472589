"""Champion and challenger: who gets which by a stable hash, what shadows say, how reasons move.

In shadow a challenger decides everything and serves nobody; live, it serves its share. A customer's
arm depends on nothing but customer and salt, so it can be checked by anybody who knows both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final, Literal, TypeVar

from shared.errors import DataError, UsageError

SLOTS: Final = 10_000
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A challenger beside the champion.

    Parameters
    ----------
    name : str
    salt : str
        Not empty: another salt is another split.
    share : int
        Slots of 10,000 that the challenger has.
    mode : {'shadow', 'live'}

    Raises
    ------
    UsageError
        With all findings.
    """

    name: str
    salt: str
    share: int
    mode: Literal["shadow", "live"] = "shadow"

    def __post_init__(self) -> None:
        findings = []
        if not self.salt:
            findings.append("salt: must not be empty")
        if not 0 <= self.share <= SLOTS:
            findings.append(f"share: must be from 0 to {SLOTS} slots")
        if self.mode not in {"shadow", "live"}:
            findings.append("mode: must be 'shadow' or 'live'")
        if findings:
            raise UsageError(f"experiment {self.name}: " + "; ".join(findings))

    def arm(self, customer: str) -> str:
        """Return the arm that a customer belongs to, in shadow too."""
        return CHALLENGER if slot(customer, self.salt) < self.share else CHAMPION

    def serves(self, customer: str) -> str:
        """Return whose answer the customer gets: in shadow always the champion's."""
        return self.arm(customer) if self.mode == "live" else CHAMPION

    def answer(
        self, customer: str, champion: _Answer, challenger: _Answer
    ) -> tuple[_Answer, _Answer]:
        """Return the answer that counts, and the other one, which is only noted."""
        if self.serves(customer) == CHALLENGER:
            return challenger, champion
        return champion, challenger


def slot(customer: str, salt: str) -> int:
    """Return the slot of a customer, in [0, 10,000).

    SHA-256 of the salt's length, the salt and the customer; its first 8 bytes, big endian, modulo
    10,000. The length keeps ("ab", "c") and ("a", "bc") apart.
    """
    key = salt.encode()
    digest = hashlib.sha256(len(key).to_bytes(4, "big") + key + customer.encode()).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS


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
class Difference:
    """Challenger's rate less the champion's, with its interval.

    Parameters
    ----------
    champion, challenger, value, low, high : float
    people : tuple of (int, int)
        Champion's and challenger's.
    """

    champion: float
    challenger: float
    value: float
    low: float
    high: float
    people: tuple[int, int]


def difference(
    champion: tuple[int, int], challenger: tuple[int, int], level: float = 0.95
) -> Difference:
    """Compare two rates by Newcombe's hybrid score interval (1998, method 10).

    Parameters
    ----------
    champion, challenger : (int, int)
        Events and people.
    level : float
        In (0, 1).

    Raises
    ------
    DataError
        If an arm is empty or has more events than people.
    """
    for events, people in (champion, challenger):
        if not 0 <= events <= people or people < 1:
            raise DataError("arms", ["each must have people, and from 0 to that many events"])
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    (old, old_low, old_high), (new, new_low, new_high) = (
        _wilson(events, people, z) for events, people in (champion, challenger)
    )
    value = new - old
    low = value - sqrt((new - new_low) ** 2 + (old_high - old) ** 2)
    high = value + sqrt((new_high - new) ** 2 + (old - old_low) ** 2)
    return Difference(old, new, value, low, high, (champion[1], challenger[1]))


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


def _wilson(events: int, people: int, z: float) -> tuple[float, float, float]:
    """Return a rate and its score interval (Wilson 1927)."""
    rate = events / people
    centre = (rate + z * z / (2 * people)) / (1 + z * z / people)
    reach = z / (1 + z * z / people)
    reach *= sqrt(rate * (1 - rate) / people + z * z / (4 * people * people))
    return rate, centre - reach, centre + reach


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
