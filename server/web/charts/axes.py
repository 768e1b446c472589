"""Axes and the plot between them; fewer ticks where labels would touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

from server.web.charts.marks import WIDTH, fit, line, text, width
from server.web.charts.units import Unit, number

RIGHT: Final = WIDTH - 12.0
"""Right edge of every plot."""
_GAP: Final = 6.0
_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot.

    Parameters
    ----------
    label : str
        With its unit.
    low, high : float
        Ends; low < high.
    marks : tuple of (float, str)
        Places and labels of the ticks, rising, within the ends.
    """

    label: str
    low: float
    high: float
    marks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Return how far along the axis a value lies, cut to [0, 1]."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def number_axis(
    label: str,
    unit: Unit,
    values: Sequence[float],
    *,
    low: float | None = None,
    high: float | None = None,
    most: int = 5,
) -> Axis:
    """Return an axis with round ticks that holds all values.

    Parameters
    ----------
    label : str
        Without the unit.
    unit : Unit
    values : sequence of float
        Finite, in what `unit` is `per`.
    low, high : float, optional
        An end that the axis has to reach, for instance 0.
    most : int
        About how many steps.
    """
    ends = [value / unit.per for value in (*values, low, high) if value is not None] or [0.0, 1.0]
    least, top = min(ends), max(ends)
    if top - least <= 1e-9 * max(1.0, abs(top)):  # constant: a step to both sides, or above zero
        room = abs(top) * 0.5 or 1.0
        least, top = (least if low is not None else least - room), top + room
    step = nice_step((top - least) / most, unit.digits)
    first = floor(least / step + 1e-9)
    last = max(ceil(top / step - 1e-9), first + 1)  # a figure too small to be told has one too
    places = [at * step for at in range(first, last + 1)]
    digits = max(0, -floor(log10(step) + 1e-9))
    if abs(round(step, digits) - step) > 1e-9 * step:
        digits += 1
    marks = tuple((place * unit.per, number(place, digits)) for place in places)
    return Axis(unit.label(label), marks[0][0], marks[-1][0], marks)


def nice_step(rough: float, digits: int) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is no smaller.

    Parameters
    ----------
    rough : float
        Above zero.
    digits : int
        Places after the point that a step may have: whole figures get whole steps.
    """
    finest = 10.0**-digits
    rough = max(rough, finest)
    power = 10.0 ** floor(log10(rough) + 1e-9)
    steps = [nice * power for nice in _NICE if nice * power >= rough * (1 - 1e-9)]
    return next(step for step in steps if abs(step / finest - round(step / finest)) < 1e-6)


def named_axis(label: str, names: Sequence[str]) -> Axis:
    """Return an axis of places 0, 1, ... with half a place of room at both ends."""
    marks = tuple((float(at), name) for at, name in enumerate(names))
    return Axis(label, -0.5, len(names) - 0.5, marks)


@dataclass(frozen=True, slots=True)
class Plot:
    """The field between two axes.

    Parameters
    ----------
    x, y : Axis
    left, top, bottom : float
        Edges in the view box; the right one is `RIGHT`.
    """

    x: Axis
    y: Axis
    left: float
    top: float
    bottom: float

    def px(self, value: float) -> float:
        """Return where a value lies from the left; outside the axis, at its end."""
        return self.left + (RIGHT - self.left) * self.x.share(value)

    def py(self, value: float) -> float:
        """Return where a value lies from the top; outside the axis, at its end."""
        return self.bottom - (self.bottom - self.top) * self.y.share(value)

    def at(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Return where points lie."""
        return [(self.px(x), self.py(y)) for x, y in points]

    @property
    def floor(self) -> float:
        """Bottom of what belongs to the plot, with ticks and the label of the axis beneath."""
        return self.bottom + 38.0

    def axes(self) -> list[str]:
        """Return grid, ticks and labels."""
        marks = [text(self.left if self.left < 60 else 10, self.top - 9, self._fit(self.y.label))]
        for value, label in self.y.marks:
            y = self.py(value)
            marks.append(line(self.left, y, RIGHT, y, cls="ch-grid"))
            told = fit(label, self.left - 8)
            marks.append(text(self.left - 5, y + 4, told, anchor="end", cls="ch-soft"))
        marks.append(line(self.left, self.bottom, RIGHT, self.bottom, cls="ch-axis"))
        for tick, x, label in spread([(self.px(value), name) for value, name in self.x.marks]):
            marks.append(line(tick, self.bottom, tick, self.bottom + 4, cls="ch-axis"))
            marks.append(text(x, self.bottom + 16, label, anchor="middle", cls="ch-soft"))
        middle = (self.left + RIGHT) / 2
        told = fit(self.x.label, WIDTH - 20)
        half = width(told) / 2
        middle = min(max(middle, half + 4), WIDTH - half - 4)
        return [*marks, text(middle, self.bottom + 33, told, anchor="middle")]

    def _fit(self, label: str) -> str:
        return fit(label, WIDTH - max(10.0, self.left if self.left < 60 else 10) - 8)


def plot(x: Axis, y: Axis, top: float = 24, high: float = 180) -> Plot:
    """Return a plot with room for the labels of its y axis."""
    wide = max((width(label) for _, label in y.marks), default=0.0)
    left = min(110.0, max(24.0, wide + 11))
    return Plot(x, y, left, top, top + high)


def spread(labels: Sequence[tuple[float, str]]) -> list[tuple[float, float, str]]:
    """Return as many labels, evenly picked, as stand beside each other without touching.

    Parameters
    ----------
    labels : sequence of (float, str)
        Place and text, from left to right.

    Returns
    -------
    list of (float, float, str)
        Place, middle of the text (moved in where it would leave the picture), and text.
    """
    placed = []
    for place, label in labels:
        told = fit(label, 96)
        half = width(told) / 2
        placed.append((place, min(max(place, half + 2), WIDTH - half - 2), told))
    for step in range(1, len(placed) + 1):
        kept = placed[::step]
        pairs = pairwise(kept)
        if all(b[1] - a[1] >= (width(a[2]) + width(b[2])) / 2 + _GAP for a, b in pairs):
            return kept
    return placed[:1]
