"""Lines over time or over a setting: rounds, months, what a privacy budget has left, a cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from server.web.charts.axes import RIGHT, Axis, Plot, named_axis, number_axis, plot
from server.web.charts.frame import Column, empty, legend, ready, stroke, table_of, too_few
from server.web.charts.marks import SERIES, WIDTH, fit, line, marker, path, rect, text
from server.web.charts.people import check, enough
from server.web.charts.units import COUNT, FIGURE, PERCENT, Unit
from server.web.charts.value import Chart
from server.web.charts.words import Words
from shared.errors import DataError
from shared.stability import ACT_ABOVE, STABLE_BELOW, stability_band

LINES_NAMES: Final[tuple[str, ...]] = ()
STABILITY_NAMES: Final = ("month", "people", "index", "band", "stable", "watch", "act")
BURN_NAMES: Final = ("budget",)
CUTOFF_NAMES: Final = ("approval", "loss", "cutoff")
_FEW_MARKERS: Final = 14


@dataclass(frozen=True, slots=True)
class Series:
    """A named line.

    Parameters
    ----------
    name : str
    points : tuple of (float, float)
        Finite, x not falling.
    """

    name: str
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        check(
            self.name,
            {"x": [x for x, _ in self.points], "y": [y for _, y in self.points]},
            least=-float("inf"),
        )
        if any(a[0] > b[0] for a, b in pairwise(self.points)):
            raise DataError(f"series {self.name}", ["x: must not fall"])


@dataclass(frozen=True, slots=True)
class Month:
    """The stability index of a month.

    Parameters
    ----------
    name : str
        ``2026-03``.
    people : int, optional
        Of that month; under 20 the index is withheld, as it is where None: withheld before.
    index : float, optional
        >= 0; None where there is none.
    """

    name: str
    people: int | None
    index: float | None


@dataclass(frozen=True, slots=True)
class Cutoff:
    """What a cutoff would do.

    Parameters
    ----------
    score : float
    approval_rate : float
        In [0, 1].
    expected_loss : float
        >= 0, in what the chart's unit of losses is `per`.
    """

    score: float
    approval_rate: float
    expected_loss: float


def lines(
    words: Words,
    series: Sequence[Series],
    x_unit: Unit,
    y_unit: Unit,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Chart:
    """Draw several lines over one x axis.

    Parameters
    ----------
    words : Words
    series : sequence of Series
        At most six, which can be told apart.
    x_unit, y_unit : Unit
    low, high : float, optional
        Which the y axis has to reach.
    """
    return _lines(words, series, x_unit, y_unit, low, high, None)


def burn_down(words: Words, series: Sequence[Series], x_unit: Unit, y_unit: Unit) -> Chart:
    """Draw what each party's privacy budget has left, down to nothing.

    Parameters
    ----------
    words : Words
        `x`: round, `y`: budget left; names as in `BURN_NAMES`: the line of nothing left.
    series : sequence of Series
        What is left of a budget, never rising.
    x_unit, y_unit : Unit

    Raises
    ------
    DataError
        A budget grows, or is below zero.
    """
    (spent,) = words.need(BURN_NAMES)
    for one in series:
        left = [value for _, value in one.points]
        check(words.key, {f"{one.name}: left": left})
        if any(a < b for a, b in pairwise(left)):
            raise DataError(f"chart {words.key}", [f"{one.name}: what is left must not rise"])
    return _lines(words, series, x_unit, y_unit, 0.0, None, spent)


def stability_months(words: Words, months: Sequence[Month]) -> Chart:
    """Draw the stability index by month over the bands of 0.10 and 0.25.

    Parameters
    ----------
    words : Words
        `x`: month, `y`: stability index; names as in `STABILITY_NAMES`.
    months : sequence of Month
        In order. State `too_few` where no month has 20 people.
    """
    month, people, index, band, *bands = words.need(STABILITY_NAMES)
    columns: list[Column] = [(month, None), (people, COUNT), (index, FIGURE), (band, None)]
    check(words.key, {"index": [one.index for one in months]})
    if not any(one.people != 0 for one in months):
        return empty(words, columns)
    kept = [
        one if enough(one.people or 0) else replace(one, index=None, people=None) for one in months
    ]
    if all(one.people is None for one in kept):
        return too_few(words, columns)
    values = [one.index for one in kept if one.index is not None]
    y = number_axis(words.y, FIGURE, [*values, 0.3], low=0.0)
    field = plot(named_axis(words.x, [one.name for one in kept]), y)
    told_bands = dict(zip(("stable", "watch", "act"), bands, strict=True))
    body = [*_bands(field, bands), *field.axes(), *_band_lines(field)]
    body += _month_marks(field, kept)
    key, high = legend(
        words.key,
        [(bands[0], 0, "dot"), (bands[1], 4, "dot"), (bands[2], 1, "dot")],
        field.floor,
    )
    rows = [
        (
            one.name,
            one.people,
            one.index,
            "" if one.index is None else told_bands[stability_band(one.index)],
        )
        for one in kept
    ]
    return ready(words, field.floor + high, [*body, *key], table_of(words, columns, rows))


def cutoff_curve(
    words: Words, points: Sequence[Cutoff], people: int, loss: Unit, cutoff: float | None = None
) -> Chart:
    """Draw approval rate and expected loss by cutoff, one above the other.

    Parameters
    ----------
    words : Words
        `x`: cutoff, `y`: approval rate; names as in `CUTOFF_NAMES`.
    points : sequence of Cutoff
        In order of the score.
    people : int
        Whom the curve is about; `too_few` under 20.
    loss : Unit
        Of expected losses.
    cutoff : float, optional
        The one in force or tried.
    """
    approval, loss_name, cut_name = words.need(CUTOFF_NAMES)
    columns: list[Column] = [(words.x, COUNT), (approval, PERCENT), (loss_name, loss)]
    ordered = [one.score for one in points]
    check(words.key, {"score": [*ordered, cutoff]}, least=-float("inf"))
    rates, losses = ([one.approval_rate for one in points], [one.expected_loss for one in points])
    check(words.key, {"approval rate": rates, "expected loss": losses})
    if ordered != sorted(ordered) or any(rate > 1 for rate in rates):
        raise DataError(f"chart {words.key}", ["scores must rise, and rates be at most 1"])
    if not points or not people:
        return empty(words, columns)
    if not enough(people):
        return too_few(words, columns)
    x = _whole_ends(number_axis(words.x, COUNT, ordered), ordered)
    upper = plot(replace(x, marks=(), label=" "), number_axis(approval, PERCENT, [0, 1]), 44, 100)
    lower = plot(x, number_axis(loss_name, loss, losses, low=0.0), upper.bottom + 32, 100)
    left = max(upper.left, lower.left)
    upper, lower = replace(upper, left=left), replace(lower, left=left)
    body = [*upper.axes()[:-1], *lower.axes()]
    for field, series, values in ((upper, 0, rates), (lower, 1, losses)):
        body += stroke(series, field.at(list(zip(ordered, values, strict=True))))
    if cutoff is not None and x.low <= cutoff <= x.high:
        at = lower.px(cutoff)
        body += [line(at, f.top, at, f.bottom, cls="ch-ink", dash="4 3") for f in (upper, lower)]
        told = fit(f"{cut_name} {COUNT.shown(cutoff)}", 150)
        body += [line(14, 4, 14, 18, cls="ch-ink", thick=1.5, dash="4 3")]
        body += [text(22, 15, told, cls="ch-strong")]
    rows = list(zip(ordered, rates, losses, strict=True))
    return ready(words, lower.floor + 4, body, table_of(words, columns, rows))


def _lines(
    words: Words,
    series: Sequence[Series],
    x_unit: Unit,
    y_unit: Unit,
    low: float | None,
    high: float | None,
    spent: str | None,
) -> Chart:
    columns: list[Column] = [(words.x, x_unit), *((one.name, y_unit) for one in series)]
    if len(series) > SERIES:
        raise DataError(f"chart {words.key}", [f"series: must be {SERIES} or fewer"])
    drawn = [(at, one) for at, one in enumerate(series) if one.points]
    if not drawn:
        return empty(words, columns)
    places = sorted({x for one in series for x, _ in one.points})
    values = [y for one in series for _, y in one.points]
    x = _whole_ends(number_axis(words.x, x_unit, places), places)
    field = plot(x, number_axis(words.y, y_unit, values, low=low, high=high))
    body = field.axes()
    for at, one in drawn:
        points = field.at(one.points)
        body += stroke(at, points)
        body += [marker(at, *place) for place in points[1:-1] if len(points) <= _FEW_MARKERS]
    if spent is not None:
        body.append(line(field.left, field.bottom, RIGHT, field.bottom, cls="ch-ink", thick=3))
    key, tall = legend(words.key, [(one.name, at, "line") for at, one in drawn], field.floor)
    if spent is not None:
        at_key = field.floor + tall + 7
        key.append(line(10, at_key, 30, at_key, cls="ch-ink", thick=3))
        key.append(text(36, at_key + 4, fit(spent, WIDTH - 50)))
        tall += 17
    by_place = [dict(one.points) for one in series]
    rows = [(place, *(known.get(place) for known in by_place)) for place in places]
    return ready(words, field.floor + tall, [*body, *key], table_of(words, columns, rows))


def _whole_ends(axis: Axis, places: Sequence[float]) -> Axis:
    """Cut an axis to its values where these begin or end between two ticks."""
    if places[0] == places[-1]:
        return axis
    kept = tuple(mark for mark in axis.marks if places[0] <= mark[0] <= places[-1])
    return Axis(axis.label, places[0], places[-1], kept)


def _bands(field: Plot, names: Sequence[str]) -> list[str]:
    edges = (0.0, STABLE_BELOW, ACT_ABOVE, field.y.high)
    marks = []
    for at, (low, high) in enumerate(pairwise(edges)):
        if high > low and names:
            top = field.py(high)
            wash = ("ch-f1", "ch-f5", "ch-f2")[at]
            size = (field.left, top, RIGHT - field.left, field.py(low) - top)
            marks.append(rect(*size, cls=wash, fill_opacity="0.10"))
    return marks


def _band_lines(field: Plot) -> list[str]:
    return [
        line(field.left, field.py(at), RIGHT, field.py(at), cls="ch-ink", dash=dash)
        for at, dash in ((STABLE_BELOW, "2 3"), (ACT_ABOVE, "6 3"))
    ]


def _month_marks(field: Plot, months: Sequence[Month]) -> list[str]:
    """Return the line, broken where a month has no index, and a shape for each band."""
    looks = {"stable": 0, "watch": 4, "act": 1}
    marks, markers = [], []
    run: list[tuple[float, float]] = []
    for at, one in enumerate([*months, Month("", 0, None)]):
        if one.index is None:
            marks += [path(run, cls="ch-s6")] if len(run) > 1 else []
            run = []
            continue
        run.append((field.px(at), field.py(one.index)))
        markers.append(marker(looks[stability_band(one.index)], *run[-1], 4.5))
    return marks + markers
