"""What falls to everybody at once: the economy's course, and the time of year."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin
from typing import Final

#: Spending by month of the year, January first; the mean is 1. Festivals and sales lift it.
SEASON: Final = (1.12, 0.92, 0.95, 0.96, 0.98, 1.03, 0.96, 0.95, 0.98, 1.00, 1.12, 1.03)
_CYCLE_MONTHS: Final = 48


@dataclass(frozen=True, slots=True)
class Economy:
    """The course of an economy.

    Parameters
    ----------
    swing : float
        Of its cycle of four years, in units of distress.
    downturn_from : int
        Month in which a downturn begins; 0 for none.
    downturn_months : int
        How long it takes to reach its depth, and again to be over.
    depth : float
        What it adds to everybody's distress then.
    """

    swing: float = 0.1
    downturn_from: int = 0
    downturn_months: int = 4
    depth: float = 0.6

    def distress(self, month: int) -> float:
        """Return what a month adds to everybody's distress; the first month is 1."""
        cycle = self.swing * sin(2 * pi * month / _CYCLE_MONTHS)
        if not self.downturn_from or month < self.downturn_from:
            return cycle
        way = (month - self.downturn_from + 1) / self.downturn_months
        return cycle + self.depth * max(0.0, min(way, 2.0 - way))


#: The course of each name that a user may choose.
ECONOMIES: Final = {
    "cycle": Economy(),
    "calm": Economy(swing=0.0),
    "downturn": Economy(downturn_from=9),
}


def season(month: int) -> float:
    """Return the factor of spending in a month; month 1 is a January."""
    return SEASON[(month - 1) % 12]
