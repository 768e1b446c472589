"""Cells in rows and columns: drift by feature and month, and migration of grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from server.web.charts.axes import RIGHT, spread
from server.web.charts.frame import Column, empty, legend, ready, table_of, too_few
from server.web.charts.marks import WIDTH, fit, line, marker, rect, text, width, wrap
from server.web.charts.people import check, enough, told_known
from server.web.charts.units import COUNT, FIGURE
from server.web.charts.value import Chart
from server.web.charts.words import Words
from shared.errors import DataError
from shared.stability import stability_band

HEAT_NAMES: Final = ("stable", "watch", "act")
MIGRATION_NAMES: Final = ("share",)
_BAND_LOOKS: Final = {"stable": 0, "watch": 4, "act": 1}
_BAND_WASH: Final = {"stable": "0.15", "watch": "0.35", "act": "0.55"}


def heat_strip(
    words: Words,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
) -> Chart:
    """Draw the stability index of each feature in each month, by band.

    Parameters
    ----------
    words : Words
        `x`: month, `y`: feature; names as in `HEAT_NAMES`.
    rows, columns : sequence of str
        Names of features and months.
    values : sequence of sequences, shape (rows, columns)
        Stability indices >= 0; None where withheld (too few people) or there is none.
    """
    bands = words.need(HEAT_NAMES)
    heads: list[Column] = [(words.y, None), *((name, FIGURE) for name in columns)]
    _shape(words, rows, columns, values)
    check(words.key, {"values": [value for row in values for value in row]})
    if not rows or not columns:
        return empty(words, heads)
    left = min(116.0, max(40.0, max(width(name) for name in rows) + 14))
    wide, top = (RIGHT - left) / len(columns), 28.0
    body = [text(10, 16, fit(words.y, WIDTH - 20))]
    for at, (name, line_of) in enumerate(zip(rows, values, strict=True)):
        y = top + 24 * at
        body.append(text(10, y + 15, fit(name, left - 14)))
        for place, value in enumerate(line_of):
            body += _heat(left + wide * place, y, wide, value)
    bottom = top + 24 * len(rows)
    body += _column_names(words, columns, left, wide, bottom)
    names = [(name, _BAND_LOOKS[band], "dot") for name, band in zip(bands, HEAT_NAMES, strict=True)]
    key, high = legend(words.key, names, bottom + 38)  # type: ignore[arg-type]
    table = table_of(words, heads, [(name, *row) for name, row in zip(rows, values, strict=True)])
    return ready(words, bottom + 38 + high, [*body, *key], table)


def migration(words: Words, grades: Sequence[str], people: Sequence[Sequence[int | None]]) -> Chart:
    """Draw how people move between grades from one release to the next.

    Parameters
    ----------
    words : Words
        `x`: grade after, `y`: grade before; names as in `MIGRATION_NAMES`: what a cell's shade is.
    grades : sequence of str
        Safest first; at most twelve.
    people : sequence of sequences of int, shape (grades, grades)
        People by grade before (row) and after (column); None where a cell was withheld before.
    """
    (share,) = words.need(MIGRATION_NAMES)
    heads: list[Column] = [(words.y, None), *((name, COUNT) for name in grades)]
    _shape(words, grades, grades, people)
    counts = [count for row in people for count in row]
    check(words.key, {"people": counts})
    if not any(count != 0 for count in counts):
        return empty(words, heads)
    shown = [told_known(row) for row in people]
    found = [count for count in counts if count is not None]
    few = len(found) == len(counts) and not enough(sum(found))
    if few or not any(count for row in shown for count in row):
        return too_few(words, heads)
    left = min(70.0, max(24.0, max(width(name) for name in grades) + 14))
    wide, high, top = (RIGHT - left) / len(grades), 28.0, 28.0
    body = [text(10, 16, fit(words.y, WIDTH - 20))]
    for at, (name, row) in enumerate(zip(grades, shown, strict=True)):
        y = top + high * at
        body.append(text(10, y + 18, fit(name, left - 12)))
        known = sum(count for count in row if count is not None)
        for place, count in enumerate(row):
            part = None if count is None or not known else count / known
            label = words.told.withheld if count is None else COUNT.shown(count) if count else "·"
            body += _moved(left + wide * place, y, wide, high, label, part, stays=at == place)
    bottom = top + high * len(grades)
    body += _column_names(words, grades, left, wide, bottom)
    note = [text(10, bottom + 52, one) for one in wrap(share, WIDTH - 20, most=1)]
    table = table_of(words, heads, [(name, *row) for name, row in zip(grades, shown, strict=True)])
    return ready(words, bottom + 60, [*body, *note], table)


def _shape(
    words: Words,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
) -> None:
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise DataError(f"chart {words.key}", ["values: must have a row a name, a cell a column"])


def _heat(x: float, y: float, wide: float, value: float | None) -> list[str]:
    """Return a cell of the strip: a wash and a sign that both tell the band."""
    frame = rect(x + 1, y + 1, wide - 2, 22, cls="ch-grid", fill="none")
    if value is None:
        return [frame, line(x + wide / 2 - 3, y + 12, x + wide / 2 + 3, y + 12, cls="ch-axis")]
    band = stability_band(value)
    look = _BAND_LOOKS[band]
    cls = f"ch-f{look + 1}"
    wash = rect(x + 1, y + 1, wide - 2, 22, cls=cls, fill_opacity=_BAND_WASH[band])
    return [wash, frame, marker(look, x + wide / 2, y + 12, min(4.0, wide / 4))]


def _moved(
    x: float, y: float, wide: float, high: float, label: str, part: float | None, *, stays: bool
) -> list[str]:
    marks = [rect(x + 1, y + 1, wide - 2, high - 2, cls="ch-grid", fill="none")]
    if part:
        shade = f"{0.08 + 0.42 * part:.2f}"
        marks.append(rect(x + 1, y + 1, wide - 2, high - 2, cls="ch-f1", fill_opacity=shade))
    if stays:
        marks.append(rect(x + 2, y + 2, wide - 4, high - 4, cls="ch-ink", fill="none"))
    size = min(11.0, max(6.0, 11.0 * (wide - 4) / max(width(label), 1)))
    told_label = fit(label, wide - 2, size)
    return [*marks, text(x + wide / 2, y + high / 2 + 4, told_label, size=size, anchor="middle")]


def _column_names(
    words: Words, columns: Sequence[str], left: float, wide: float, bottom: float
) -> list[str]:
    places = [(left + wide * (at + 0.5), name) for at, name in enumerate(columns)]
    marks = [
        text(x, bottom + 15, name, anchor="middle", cls="ch-soft") for _, x, name in spread(places)
    ]
    return [*marks, text(WIDTH / 2, bottom + 33, fit(words.x, WIDTH - 20), anchor="middle")]
