"""Figures as text: one way to write a number, a share or an amount, in pictures and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Unit:
    """What a figure is counted in.

    Parameters
    ----------
    text : str
        Shown with axis labels and heads, in the reader's language; empty for none.
    digits : int
        Places after the point, >= 0.
    per : float
        How much of the figure handed in makes one unit: 100 for an amount in minor units of a
        currency, 0.01 for a share shown in percent.
    """

    text: str = ""
    digits: int = 0
    per: float = 1.0

    def scaled(self, value: float) -> float:
        """Return a figure in this unit, as exact as it is shown; never -0."""
        return round(value / self.per, self.digits) + 0.0

    def shown(self, value: float) -> str:
        """Return a figure as text without the unit: ``12,300.50``."""
        return number(value / self.per, self.digits)

    def told(self, value: float) -> str:
        """Return a figure as text with the unit: ``12.5%``, ``12,300 CNY``."""
        gap = "" if not self.text or self.text == "%" else " "
        return f"{self.shown(value)}{gap}{self.text}"

    def label(self, label: str) -> str:
        """Return an axis label with the unit in brackets."""
        return labelled(label, self.text)


PERCENT: Final = Unit("%", 1, 0.01)
"""Shares, handed in from 0 to 1."""
COUNT: Final = Unit()
"""Whole figures: people, points, scores."""
TIMES: Final = Unit("\N{MULTIPLICATION SIGN}", 2)
"""How many times as large."""
FIGURE: Final = Unit("", 3)
"""Figures without a unit, such as AUC, KS and a stability index."""


def labelled(label: str, unit: str) -> str:
    """Return a label with its unit in brackets, and once where both are the same word."""
    return f"{label} ({unit})" if unit and unit.casefold() != label.casefold() else label


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands apart, a true minus sign, and no minus before a zero."""
    told = f"{value:,.{digits}f}"
    if not told.startswith("-"):
        return told
    return told[1:] if not told.strip("-0.,") else MINUS + told[1:]
