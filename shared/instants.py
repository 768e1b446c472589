"""Dates and instants as texts that can be compared and reckoned with; no clock.

`shared` is told what time it is: an instant is a text such as ``2026-03-01T12:00:00Z``, always UTC
to the second, a date is ``2026-03-01``. Both sort as they follow each other.
"""

from __future__ import annotations

import re

import numpy as np

DAY = 86_400
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def seconds_of(instant: str) -> int:
    """Return the seconds since 1970 of an instant.

    Raises
    ------
    ValueError
        If it is not spelt ``YYYY-MM-DDThh:mm:ssZ``, or there is no such instant.
    """
    if not isinstance(instant, str) or not _INSTANT.fullmatch(instant):
        raise ValueError("an instant must be spelt YYYY-MM-DDThh:mm:ssZ")
    return int(np.datetime64(instant[:-1], "s").astype(np.int64))


def instant_of(seconds: int) -> str:
    """Return the instant that many seconds after 1970 began."""
    return f"{np.datetime64(seconds, 's')}Z"


def days_of(date: str) -> int:
    """Return the days since 1970 of a date.

    Raises
    ------
    ValueError
        If it is not spelt ``YYYY-MM-DD``, or there is no such day.
    """
    if not isinstance(date, str) or not _DATE.fullmatch(date):
        raise ValueError("a date must be spelt YYYY-MM-DD")
    return int(np.datetime64(date, "D").astype(np.int64))


def date_of(instant: str) -> str:
    """Return the day, in UTC, of an instant."""
    seconds_of(instant)
    return instant[:10]


def start_of(date: str) -> str:
    """Return the instant at which a day begins."""
    return instant_of(days_of(date) * DAY)


def later(instant: str, *, days: int = 0, seconds: int = 0) -> str:
    """Return the instant so much later."""
    return instant_of(seconds_of(instant) + days * DAY + seconds)
