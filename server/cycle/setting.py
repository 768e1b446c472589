"""What is lived, and on which days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

#: The day on which the first lines are opened.
START: Final = date(2026, 1, 1)
#: Days of a month of the world.
DAYS: Final = 30
#: Months after which it is known what became of somebody.
OUTCOME_MONTHS: Final = 12
#: Months of the world before the first line: a year to know what became of people, and half a year
#: of records before that.
HISTORY: Final = 18


@dataclass(frozen=True, slots=True)
class Setting:
    """Which world is lived, and for how long.

    Parameters
    ----------
    people : int
        In the world.
    applicants : int
        Of them, those who ask for a line.
    months : int
        With lines.
    seed : int
    economy : str
        A name in `shared.world.economy.ECONOMIES`.
    refresh : int
        Months from one training to the next.
    night_days : int
        Days from one nightly run to the next.
    """

    people: int = 6000
    applicants: int = 600
    months: int = 12
    seed: int = 1
    economy: str = "cycle"
    refresh: int = 3
    night_days: int = 5


def instant(month: int, day: int, hour: float = 4.0) -> datetime:
    """Return an instant of a month: its days are 1 to `DAYS`, day 0 is the end of the one before.

    Parameters
    ----------
    month : int
        1 is the first with lines.
    day : int
    hour : float
        Of UTC; 4 is noon in the service's place.
    """
    past = timedelta(days=DAYS * (month - 1) + day, hours=hour)
    return datetime(START.year, START.month, START.day, tzinfo=UTC) + past


class Clock:
    """The one clock of a cycle: it stands until it is set, and never goes back."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def read(self) -> datetime:
        """Return the present instant, aware UTC."""
        return self._now

    def set(self, now: datetime) -> datetime:
        """Go to an instant; return it, or the present one if it is past."""
        self._now = max(self._now, now)
        return self._now
