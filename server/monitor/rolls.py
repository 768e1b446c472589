"""Roll rates: how much of what was in one bucket a month ago stands in the next one now.

These are the flow rates of a book by month ends: what is owed in a bucket now, over what was owed
in the one before it a month ago. Buckets are a month wide, so that what is in one can only have
come through the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Stock:
    """What stood in each bucket on a day.

    Parameters
    ----------
    day : date
    lines, owed_minor : mapping of str to int
        By bucket; one that is not there is empty.
    """

    day: date
    lines: Mapping[str, int]
    owed_minor: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Roll:
    """Rates from one month end to the next.

    Parameters
    ----------
    since, until : date
        The two days that are compared.
    rates : mapping of (str, str) to float, optional
        By bucket before and bucket after; None where too few lines were in the one before, or
        nothing was owed there.
    """

    since: date
    until: date
    rates: Mapping[tuple[str, str], float | None]


def roll_rates(stocks: Sequence[Stock], buckets: Sequence[str], floor: int) -> tuple[Roll, ...]:
    """Return the rates of every two months that follow each other, oldest first.

    Parameters
    ----------
    stocks : sequence of Stock
        By day; of a month the last one counts, also while the month is not over.
    buckets : sequence of str
        In order, what is not overdue first.
    floor : int
        Lines in the bucket before, at least.
    """
    ends: dict[int, Stock] = {}
    for one in sorted(stocks, key=lambda one: one.day):
        ends[one.day.year * 12 + one.day.month] = one
    return tuple(
        _roll(ends[month], ends[after], buckets, floor)
        for month, after in pairwise(sorted(ends))
        if after == month + 1
    )


def _roll(before: Stock, after: Stock, buckets: Sequence[str], floor: int) -> Roll:
    rates: dict[tuple[str, str], float | None] = {}
    for old, new in pairwise(buckets):
        owed = before.owed_minor.get(old, 0)
        enough = before.lines.get(old, 0) >= floor and owed > 0
        rates[old, new] = after.owed_minor.get(new, 0) / owed if enough else None
    return Roll(before.day, after.day, rates)
