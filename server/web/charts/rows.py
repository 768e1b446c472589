"""Rows with a name, a figure and a bar beneath: what all charts in `bars` are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.web.charts.axes import RIGHT, Axis, number_axis, spread
from server.web.charts.marks import WIDTH, filled, fit, line, rect, tag, text, width
from server.web.charts.people import check
from server.web.charts.units import Unit
from server.web.charts.words import Words
from shared.errors import DataError

LEFT: Final = 12.0
"""Left edge of every bar's scale."""
ROW: Final = 36.0
"""Height of a row."""
BAR: Final = 14.0
"""Height of a bar."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row with a bar.

    Parameters
    ----------
    label : str
    value : float
        Finite.
    low, high : float, optional
        Ends of its interval, both or neither; low <= value <= high.
    marked : bool
        It is the one that counts: drawn in another look, and said so.
    look : int
        Number of its series from 0.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    marked: bool = False
    look: int = 0

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        check(
            self.label,
            {"value": [self.value], "interval": ends},
            least=-float("inf"),
        )
        known = [end for end in ends if end is not None]
        if len(known) == 1 or (known and not known[0] <= self.value <= known[1]):
            raise DataError(f"bar {self.label}", ["its interval must hold its value"])


def bar_rows(
    words: Words,
    rows: Sequence[Bar],
    unit: Unit,
    start: float,
    reference: float | None,
    marked: str,
) -> tuple[list[str], float]:
    """Return all rows of bars over one scale, and where they end.

    Parameters
    ----------
    words : Words
    rows : sequence of Bar
    unit : Unit
    start : float
        Where bars begin.
    reference : float, optional
        Drawn across all bars.
    marked : str
        Word at a bar that is marked.
    """
    values = [end for one in rows for end in (one.value, one.low, one.high) if end is not None]
    more = [] if reference is None else [reference]
    check(words.key, {"reference": more, "start": [start]}, least=-float("inf"))
    axis = number_axis(words.x, unit, [*values, *more, start], most=4)
    bottom = 6 + ROW * len(rows)
    body = grid(axis, bottom)
    for at, one in enumerate(rows):
        top = 6 + ROW * at
        look = 1 if one.marked else one.look
        told_value = unit.told(one.value)
        body += row(words.key, axis, top, one.label, told_value, (start, one.value), look)
        if one.low is not None and one.high is not None:
            body += _whiskers(axis, top, one.low, one.high)
        if one.marked and marked:
            body += mark(marked, axis, top, max(start, one.value))
    if reference is not None:
        x = px(axis, reference)
        for at in range(len(rows)):  # beside the bars only: names stand between them
            y = 6 + ROW * at + 16
            body.append(line(x, y, x, y + 18, cls="ch-under", thick=3.5))
            body.append(line(x, y, x, y + 18, cls="ch-ink", thick=1.5, dash="4 3"))
    zero = px(axis, start)
    for at in range(len(rows)):
        y = 6 + ROW * at + 16
        body.append(line(zero, y, zero, y + 18, cls="ch-axis"))
    return body, bottom


def px(axis: Axis, value: float) -> float:
    """Return where a value lies from the left."""
    return LEFT + (RIGHT - LEFT) * axis.share(value)


def row(
    key: str,
    axis: Axis,
    top: float,
    label: str,
    told_value: str,
    span: tuple[float, float],
    look: int,
    *,
    bold: bool = False,
) -> list[str]:
    """Return a row: name to the left, figure to the right, the bar beneath."""
    low, high = sorted(px(axis, end) for end in span)
    cls = "ch-strong ch-halo" if bold else "ch-halo"
    room = RIGHT - LEFT - width(told_value) * 1.06 - 10
    return [
        text(LEFT + 2, top + 12, fit(label, room / (1.06 if bold else 1)), cls=cls),
        text(RIGHT, top + 12, told_value, anchor="end", cls="ch-strong ch-halo"),
        filled(key, look, low, top + 18, max(high - low, 1), BAR) if span[0] != span[1] else "",
    ]


def mark(words: str, axis: Axis, top: float, end: float) -> list[str]:
    """Return the sign and word beside the bar that counts, within it where there is no room."""
    x = px(axis, end) + 5
    wide = 12 + width(words)
    if x + wide > RIGHT:
        x = RIGHT - wide - 4
    ground = rect(x - 1, top + 17, wide + 4, BAR + 2, cls="ch-bg")
    points = f"{x:.1f},{top + 25:.1f} {x + 8:.1f},{top + 21:.1f} {x + 8:.1f},{top + 29:.1f}"
    sign = tag("polygon", points=points, class_="ch-inkfill")
    return [ground, sign, text(x + 12, top + 29, words, cls="ch-strong")]


def _whiskers(axis: Axis, top: float, low: float, high: float) -> list[str]:
    left, right, middle = px(axis, low), px(axis, high), top + 18 + BAR / 2
    ends = [line(x, middle - 4, x, middle + 4, cls="ch-ink", thick=1.5) for x in (left, right)]
    ends.insert(0, line(left, middle, right, middle, cls="ch-under", thick=3.5))
    return [*ends, line(left, middle, right, middle, cls="ch-ink", thick=1.5)]


def grid(axis: Axis, bottom: float) -> list[str]:
    """Return the scale beneath the rows."""
    lines = [
        line(px(axis, value), bottom, px(axis, value), bottom + 4, cls="ch-axis")
        for value, _ in axis.marks
    ]
    places = [(px(axis, value), label) for value, label in axis.marks]
    return [
        *lines,
        line(LEFT, bottom, RIGHT, bottom, cls="ch-axis"),
        *ticks(places, bottom, axis.label),
    ]


def ticks(places: Sequence[tuple[float, str]], bottom: float, label: str) -> list[str]:
    """Return the labels of a scale and what it measures."""
    marks = [
        text(x, bottom + 15, told_at, anchor="middle", cls="ch-soft")
        for _, x, told_at in spread(places)
    ]
    middle = (LEFT + RIGHT) / 2
    return [*marks, text(middle, bottom + 31, fit(label, WIDTH - 24), anchor="middle")]
