"""Whom two policies treat otherwise, and the lines of a scorecard with the people behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.web.charts.axes import RIGHT, Axis
from server.web.charts.frame import Column, empty, ready, table_of, too_few
from server.web.charts.marks import WIDTH, filled, fit, line, rect, text, width, wrap
from server.web.charts.people import check, told, told_known
from server.web.charts.units import COUNT, MINUS, PERCENT, Unit
from server.web.charts.value import Cell, Chart
from server.web.charts.words import Words
from shared.errors import DataError

SWAP_NAMES: Final = (
    "old_yes", "old_no", "new_yes", "new_no", "both", "swapped_in", "swapped_out", "neither",
    "cell", "people", "bad_rate", "volume",
)  # fmt: skip
PROFIT_NAMES: Final = ("profit",)
"""Further names where what people bring is known."""
BIN_NAMES: Final = ("bin", "people", "bad_rate", "points")


@dataclass(frozen=True, slots=True)
class Swap:
    """People whom two policies treat alike.

    Parameters
    ----------
    people : int, optional
        None where it was withheld before it came here.
    bad_rate : float, optional
        In [0, 1]; None where no outcome is known.
    volume : float
        Sum of the limits, in what the chart's unit is `per`.
    profit : float, optional
        What they bring, in the same; None where nobody knows.
    """

    people: int | None
    bad_rate: float | None
    volume: float
    profit: float | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """A line of a scorecard.

    Parameters
    ----------
    label : str
        What is in the bin, or only its number where it belongs to another party.
    people : int
    points : int
    bad_rate : float, optional
        In [0, 1]; None where the viewer's party may not see it.
    """

    label: str
    people: int
    points: int
    bad_rate: float | None = None


def swap_set(words: Words, cells: Sequence[Swap], volume: Unit) -> Chart:
    """Draw whom an old and a new policy approve, as four cells.

    Parameters
    ----------
    words : Words
        `x`: new policy, `y`: old policy; names as in `SWAP_NAMES`, and in `PROFIT_NAMES` where a
        cell has a profit.
    cells : sequence of Swap
        Four: approved by both, only by the new, only by the old, by none.
    volume : Unit
        Of the sums of limits, and of profits.
    """
    old_yes, old_no, new_yes, new_no, *names = words.need(SWAP_NAMES)
    sides, (cell, people, rate, sum_name) = names[:4], names[4:]
    heads: list[Column] = [(cell, None), (people, COUNT), (rate, PERCENT), (sum_name, volume)]
    profits = any(one.profit is not None for one in cells)
    profit_name = words.need(PROFIT_NAMES) if profits else ()
    heads += [(name, volume) for name in profit_name]
    if cells and len(cells) != 4:
        raise DataError(f"chart {words.key}", ["cells: must be four"])
    check(words.key, {"people": [one.people for one in cells],
                      "bad rate": [one.bad_rate for one in cells],
                      "volume": [one.volume for one in cells]})  # fmt: skip
    check(words.key, {"profit": [one.profit for one in cells]}, least=-float("inf"))
    if all(one.people == 0 for one in cells):
        return empty(words, heads)
    shown = told_known([one.people for one in cells])
    if not any(shown):
        return too_few(words, heads)
    wide, high = (RIGHT - 10) / 2, 90.0
    body, told_names = [], (people, rate, sum_name, *profit_name)
    for place, name in enumerate((new_yes, new_no)):
        head = fit(f"{words.x}: {name}", (wide - 6) / 1.06)
        body.append(text(10 + wide * place + 4, 16, head, cls="ch-strong"))
    for row, name in enumerate((old_yes, old_no)):
        top = 26 + (high + 24) * row
        body.append(text(14, top + 12, fit(f"{words.y}: {name}", WIDTH - 24), cls="ch-strong"))
        for place in (0, 1):
            which = ((0, 2), (1, 3))[row][place]
            lines = _swap_lines(words, cells[which], shown[which], told_names, volume)
            corner = (10 + wide * place, top + 18, wide - 4, high)
            body += _swap_cell(corner, which, sides[which], lines)
    rows: list[tuple[Cell, ...]] = []
    for name, one, count in zip(sides, cells, shown, strict=True):
        known: tuple[Cell, ...] = (one.bad_rate, one.volume, one.profit)[: len(heads) - 2]
        rows.append((name, count, *(known if count is not None else (None,) * len(known))))
    return ready(words, 26 + 2 * (high + 24), body, table_of(words, heads, rows))


def bin_bars(words: Words, bins: Sequence[Bin]) -> Chart:
    """Draw a scorecard's lines of one feature: people, bad rate where it is known, and points.

    Parameters
    ----------
    words : Words
        `x`: points, `y`: bin; names as in `BIN_NAMES`, which head the table and the panels.
    bins : sequence of Bin
        In the order of the card. A bin of few people keeps its points, which are the card's and
        not the people's.
    """
    bin_name, people, rate, points = words.need(BIN_NAMES)
    heads: list[Column] = [(bin_name, None), (people, COUNT), (rate, PERCENT), (points, COUNT)]
    check(words.key, {"people": [one.people for one in bins],
                      "bad rate": [one.bad_rate for one in bins]})  # fmt: skip
    if not sum(one.people for one in bins):
        return empty(words, heads)
    shown = told([one.people for one in bins])
    if not any(shown):
        return too_few(words, heads)
    rates = [
        None if count is None else one.bad_rate for one, count in zip(bins, shown, strict=True)
    ]
    panels: list[tuple[str, Unit, Sequence[float | None]]] = [(people, COUNT, shown)]
    if any(value is not None for value in rates):
        panels.append((rate, PERCENT, rates))
    panels.append((points, COUNT, [one.points for one in bins]))
    wide = (RIGHT - 10 + 12) / len(panels)
    body = [text(10, 16, fit(words.y, WIDTH - 20))]
    for at, one in enumerate(bins):
        body.append(text(10, 36 + 40 * at, fit(one.label, WIDTH - 24), cls="ch-strong"))
    bottom = 26 + 40.0 * len(bins)
    for at, (name, unit, values) in enumerate(panels):
        look = at if len(panels) == 3 else 2 * at
        left, right = 10 + wide * at, 10 + wide * (at + 1) - 12
        body += _panel(words, (left, right, bottom), name, unit, values, look)
    rows = [
        (one.label, count, value, one.points)
        for one, count, value in zip(bins, shown, rates, strict=True)
    ]
    return ready(words, bottom + 24, body, table_of(words, heads, rows))


def _panel(
    words: Words,
    box: tuple[float, float, float],
    name: str,
    unit: Unit,
    values: Sequence[float | None],
    look: int,
) -> list[str]:
    """Return one column of bars, each with its figure to the right of the panel's zero."""
    left, right, bottom = box
    known = [value for value in values if value is not None]
    labels = [words.told.withheld if value is None else unit.shown(value) for value in values]
    room = max(width(label) for label in labels) + 6
    low, high = min(0.0, *known, 0.0), max(0.0, *known, 0.0)
    axis = Axis(name, low, high if high > low else low + 1, ())
    span = max(right - left - room, 10.0)
    zero = left + span * axis.share(0.0)
    marks = [text(left, bottom + 14, fit(unit.label(name), right - left), cls="ch-soft")]
    for at, (value, label) in enumerate(zip(values, labels, strict=True)):
        y = 42 + 40.0 * at
        if value is not None:
            ends = sorted((zero, left + span * axis.share(value)))
            marks.append(filled(words.key, look, ends[0], y, max(ends[1] - ends[0], 1), 12))
        marks.append(text(right, y + 10, label, anchor="end"))
    return [*marks, line(zero, 38, zero, bottom, cls="ch-axis")]


def _swap_lines(
    words: Words,
    one: Swap,
    count: int | None,
    names: tuple[str, ...],
    volume: Unit,
) -> list[str]:
    hidden = words.told.withheld
    rate = hidden if count is None or one.bad_rate is None else PERCENT.told(one.bad_rate)
    amounts = [one.volume if count is not None else None, one.profit if count is not None else None]
    return [
        f"{names[0]}: {hidden if count is None else COUNT.shown(count)}",
        f"{names[1]}: {rate}",
        *(
            f"{name}: {hidden if amount is None else volume.told(amount)}"
            for name, amount in zip(names[2:], amounts, strict=False)
        ),
    ]


def _swap_cell(
    corner: tuple[float, float, float, float], which: int, name: str, lines: Sequence[str]
) -> list[str]:
    """Return a cell; who comes in and who goes out differ by wash and by sign."""
    x, y, wide, high = corner
    wash = {1: "ch-f3", 2: "ch-f2"}.get(which, "ch-track")
    sign = {1: "+ ", 2: f"{MINUS} "}.get(which, "")
    marks = [
        rect(x, y, wide, high, cls=wash, fill_opacity="0.18"),
        rect(x, y, wide, high, cls="ch-axis", fill="none"),
        text(x + 8, y + 17, fit(sign + name, (wide - 14) / 1.06), cls="ch-strong"),
    ]
    broken = [part for told_line in lines for part in wrap(told_line, wide - 14, most=2)]
    marks += [text(x + 8, y + 34 + 14 * at, part) for at, part in enumerate(broken[:4])]
    return marks
