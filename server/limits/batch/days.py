"""Days as ordinals, for columns."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from server.limits.line.delinquency import add_months


@lru_cache(maxsize=64)
def month_earlier(as_of: int, months: int) -> int:
    """Return the last day that, so many months later, is not after a day.

    ``add_months`` never goes back as its day goes on, so ``add_months(day, months) <= as_of`` holds
    for a column of days exactly where they are not after this one.

    Parameters
    ----------
    as_of : int
        Ordinal.
    months : int
        At least 0.
    """
    end = date.fromordinal(as_of)
    day = as_of - 31 * (months + 1)
    while add_months(date.fromordinal(day + 1), months) <= end:
        day += 1
    return day
