"""From marks to a chart: the frame all of them share, and what stands where there is no picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from server.web.charts.marks import (
    DASHES,
    SERIES,
    WIDTH,
    filled,
    line,
    marker,
    path,
    patterns,
    rect,
    tag,
    text,
    width,
    wrap,
)
from server.web.charts.units import Unit
from server.web.charts.value import Cell, Chart, Table
from server.web.charts.words import Words

Column: TypeAlias = tuple[str, Unit | None]
"""Head and unit of a table's column; no unit for text."""
Look: TypeAlias = Literal["line", "plain", "bar", "dot"]
"""How a series is drawn: a line with markers, one without, a bar, or markers alone."""
NONE_HEIGHT: Final = 150.0
"""Of what stands in place of a picture."""
_MIDDLE: Final = WIDTH / 2


def table_of(words: Words, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> Table:
    """Return a table, its figures in their units and as exact as they are shown."""
    units = [unit or Unit() for _, unit in columns]
    return Table(
        head=tuple(head for head, _ in columns),
        rows=tuple(
            tuple(
                cell if cell is None or isinstance(cell, str) else unit.scaled(cell)
                for cell, unit in zip(row, units, strict=True)
            )
            for row in rows
        ),
        units=tuple(unit.text for unit in units),
        digits=tuple(unit.digits for unit in units),
        withheld=words.told.withheld,
    )


def ready(words: Words, height: float, body: Sequence[str], table: Table) -> Chart:
    """Return a chart from its marks, the view box being 360 by `height`."""
    marks = "".join(body)
    return Chart(
        key=words.key,
        title=words.title,
        description=words.description,
        height=height,
        body=patterns(marks) + marks,
        table=table,
        state="ready",
    )


def empty(words: Words, columns: Sequence[Column] = ()) -> Chart:
    """Return what stands where there is nothing yet."""
    bars = [
        rect(_MIDDLE - 26 + 20 * at, 62 - high, 12, high, cls="ch-track")
        for at, high in enumerate((14, 26, 20))
    ]
    ground = line(_MIDDLE - 34, 62, _MIDDLE + 34, 62, cls="ch-axis")
    return _instead(words, "empty", words.told.empty, [*bars, ground], columns)


def loading(words: Words, columns: Sequence[Column] = ()) -> Chart:
    """Return what stands where a picture is being made."""
    dots = [
        tag("circle", cx=str(_MIDDLE + 18 * (at - 1)), cy="48", r="5", class_=f"ch-f{look}")
        for at, look in enumerate((1, 6, 6))
    ]
    return _instead(words, "loading", words.told.loading, dots, columns)


def too_few(words: Words, columns: Sequence[Column] = ()) -> Chart:
    """Return what stands where fewer people are behind a picture than may be told of."""
    heads = [
        tag("circle", cx=str(_MIDDLE + 24 * at), cy="36", r="6", class_="ch-track")
        + tag(
            "path",
            d=f"M{_MIDDLE + 24 * at - 9} 62 L{_MIDDLE + 24 * at - 6} 47 "
            f"L{_MIDDLE + 24 * at + 6} 47 L{_MIDDLE + 24 * at + 9} 62 Z",
            class_="ch-track",
        )
        for at in (-1, 0, 1)
    ]
    return _instead(words, "too_few", words.told.too_few, heads, columns)


def failed(words: Words, columns: Sequence[Column] = ()) -> Chart:
    """Return what stands where a picture could not be made."""
    sign = tag(
        "polygon",
        points=f"{_MIDDLE},26 {_MIDDLE + 22},64 {_MIDDLE - 22},64",
        fill="none",
        class_="ch-s2",
        stroke_width="2.5",
        stroke_linejoin="round",
    )
    bang = line(_MIDDLE, 39, _MIDDLE, 51, cls="ch-s2", thick=2.5)
    dot = tag("circle", cx=str(_MIDDLE), cy="57", r="1.8", class_="ch-f2")
    return _instead(words, "error", words.told.error, [sign, bang, dot], columns)


def _instead(
    words: Words,
    state: Literal["empty", "loading", "too_few", "error"],
    told: str,
    picture: Sequence[str],
    columns: Sequence[Column],
) -> Chart:
    border = rect(
        1, 1, WIDTH - 2, NONE_HEIGHT - 2, cls="ch-grid", fill="none", stroke_dasharray="4 4", rx="6"
    )
    lines = wrap(told, WIDTH - 48, 12, 4)
    said = [
        text(_MIDDLE, 88 + 16 * at, one, size=12, anchor="middle") for at, one in enumerate(lines)
    ]
    return Chart(
        key=words.key,
        title=words.title,
        description=f"{words.description} {told}",
        height=NONE_HEIGHT,
        body="".join([border, *picture, *said]),
        table=table_of(words, columns, ()),
        state=state,
    )


def legend(
    key: str, names: Sequence[tuple[str, int, Look]], top: float, left: float = 10
) -> tuple[list[str], float]:
    """Return the marks of a legend and the height it takes.

    Parameters
    ----------
    key : str
        Of the chart.
    names : sequence of (str, int, Look)
        Name, number of the series from 0, and how it is drawn.
    top, left : float
    """
    marks: list[str] = []
    x, y = left, top + 11.0
    for name, series, look in names:
        told = wrap(name, WIDTH - left - 34, most=1)[0] if name else ""
        wide = 26 + width(told) + 12
        if x > left and x + wide - 12 > WIDTH - 4:
            x, y = left, y + 16
        marks += [*_swatch(key, series, look, x, y - 4), text(x + 26, y, told)]
        x += wide
    return marks, (y - top + 6) if names else 0.0


def _swatch(key: str, series: int, look: Look, x: float, y: float) -> list[str]:
    if look == "bar":
        return [filled(key, series, x, y - 5, 20, 10)]
    if look == "dot":
        return [marker(series, x + 10, y)]
    return stroke(series, [(x, y), (x + 20, y)], marked="middle" if look == "line" else "none")


def stroke(
    series: int,
    points: Sequence[tuple[float, float]],
    *,
    marked: Literal["none", "ends", "middle"] = "ends",
    thick: float = 2,
) -> list[str]:
    """Return the line of a series (0 is the first) in its dash, with its marker where wanted."""
    at = series % SERIES
    drawn = path(points, cls=f"ch-s{at + 1}", thick=thick, stroke_dasharray=DASHES[at])
    if marked == "none":
        return [drawn]
    if marked == "ends":
        return [
            drawn,
            *(marker(series, *place) for place in dict.fromkeys((points[0], points[-1]))),
        ]
    middle = ((points[0][0] + points[-1][0]) / 2, (points[0][1] + points[-1][1]) / 2)
    return [drawn, marker(series, *middle)]
