"""How true the probabilities are, and how scores and limits are spread."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from server.web.charts.axes import Axis, Plot, number_axis, plot
from server.web.charts.frame import Column, empty, legend, ready, table_of, too_few
from server.web.charts.marks import filled, line, marker, path, text
from server.web.charts.people import check, enough, told, told_part
from server.web.charts.scores import ScoreBins
from server.web.charts.units import COUNT, PERCENT, Unit
from server.web.charts.value import Chart
from server.web.charts.words import Words
from shared.errors import DataError
from shared.trueness import CalibrationBin

CALIBRATION_NAMES: Final = ("decile", "people", "expected", "observed", "bads", "foretold")
DISTRIBUTION_NAMES: Final = ("goods", "bads", "withheld", "from", "to")
CHANGES_NAMES: Final = ("people", "from", "to", "withheld")


def calibration(
    words: Words,
    bins: Sequence[CalibrationBin],
    intervals: Sequence[tuple[float, float]] = (),
) -> Chart:
    """Draw foretold and observed default rates of groups of like default_prob.

    Parameters
    ----------
    words : Words
        `x`: decile of default_prob, `y`: default rate; names as in `CALIBRATION_NAMES`: `foretold`
        is the head of the expected number of defaults.
    bins : sequence of CalibrationBin
        From the lowest default_prob to the highest (`shared.metrics.calibration_table`).
    intervals : sequence of (float, float), optional
        Of each observed rate, in [0, 1]; none, or one a bin.
    """
    decile, people, expected, observed, bads, foretold = words.need(CALIBRATION_NAMES)
    columns: list[Column] = [
        (decile, COUNT), (people, COUNT), (expected, PERCENT), (observed, PERCENT),
        (foretold, COUNT), (bads, COUNT),
    ]  # fmt: skip
    if intervals and len(intervals) != len(bins):
        raise DataError(f"chart {words.key}", ["intervals: must be none, or one a bin"])
    ends = [end for pair in intervals for end in pair]
    rates = [rate for one in bins for rate in (one.mean_prob, one.bad_rate)]
    check(words.key, {"rates": rates, "intervals": ends})
    if not sum(one.count for one in bins):
        return empty(words, columns)
    shown = told([one.count for one in bins])
    if all(count is None for count in shown):
        return too_few(words, columns)
    names = tuple((float(at), str(at + 1)) for at in range(len(bins)))
    visible = [one for one, count in zip(bins, shown, strict=True) if count]
    reach = [rate for one in visible for rate in (one.mean_prob, one.bad_rate)]
    y = number_axis(words.y, PERCENT, [*reach, *ends], low=0.0)
    field = plot(Axis(words.x, -0.5, len(bins) - 0.5, names), y)
    body, rows = field.axes(), []
    for at, (one, count) in enumerate(zip(bins, shown, strict=True)):
        told_of = count is not None
        if told_of:
            body += _fit_marks(field, at, one, intervals[at] if intervals else None)
        rows.append((
            at + 1,
            count,
            one.mean_prob if told_of else None,
            one.bad_rate if told_of else None,
            told_part(round(one.count * one.mean_prob)) if told_of else None,
            told_part(one.bads) if told_of else None,
        ))  # fmt: skip
    key, high = legend(words.key, [(expected, 3, "dot"), (observed, 0, "dot")], field.floor)
    return ready(words, field.floor + high, [*body, *key], table_of(words, columns, rows))


def score_distribution(words: Words, bins: ScoreBins, per: float = 0.0) -> Chart:
    """Draw how the scores of goods and of bads are spread, each as shares of its own class.

    Parameters
    ----------
    words : Words
        `x`: score, `y`: share of the class in a bin; names as in `DISTRIBUTION_NAMES`.
    bins : ScoreBins
        A class with fewer than 20 people is left out; `too_few` where both are.
    per : float
        Above 0, shares are told for so wide a bin: for bins of unlike width, whose area then counts
        as in a histogram.
    """
    goods, bads, withheld, first, last = words.need(DISTRIBUTION_NAMES)
    columns: list[Column] = [(first, COUNT), (last, COUNT), (goods, PERCENT), (bads, PERCENT)]
    if not sum(bins.people):
        return empty(words, columns)
    shares = [_class_shares(side) for side in (bins.goods, bins.bads)]
    if per > 0:
        shares = [_density(side, bins.edges, per) for side in shares]
    if not any(shares):
        return too_few(words, columns)
    visible = [share for side in shares for share in side if share is not None]
    x = number_axis(words.x, COUNT, bins.edges)
    kept = tuple(mark for mark in x.marks if bins.edges[0] <= mark[0] <= bins.edges[-1])
    x = Axis(x.label, bins.edges[0], bins.edges[-1], kept)
    field = plot(x, number_axis(words.y, PERCENT, visible, low=0.0))
    body, names = field.axes(), []
    for series, (side, name) in enumerate(zip(shares, (goods, bads), strict=True)):
        if side:
            body += _stairs(field, words.key, series, bins.edges, side)
            names.append((name, series, "bar"))
    key, high = legend(words.key, names, field.floor)  # type: ignore[arg-type]
    if any(share is None for side in shares for share in side):
        high += 16
        key += [*_cross(20, field.floor + high - 10), text(36, field.floor + high - 6, withheld)]
    empty_side: list[float | None] = [None] * len(bins.goods)
    rows = list(
        zip(bins.edges, bins.edges[1:], shares[0] or empty_side, shares[1] or empty_side,
            strict=False)
    )  # fmt: skip
    return ready(words, field.floor + high, [*body, *key], table_of(words, columns, rows))


def limit_changes(words: Words, edges: Sequence[float], people: Sequence[int], unit: Unit) -> Chart:
    """Draw how many people's limits change by how much.

    Parameters
    ----------
    words : Words
        `x`: change of the limit, `y`: people; names as in `CHANGES_NAMES`.
    edges : sequence of float, length bins + 1
        Of the changes, rising, in what `unit` is `per` (minor units of a currency).
    people : sequence of int, length bins
    unit : Unit
        Of the changes.
    """
    count_name, first, last, withheld = words.need(CHANGES_NAMES)
    columns: list[Column] = [(first, unit), (last, unit), (count_name, COUNT)]
    check(words.key, {"edges": edges}, least=-float("inf"))
    check(words.key, {"people": people})
    if people and (len(edges) != len(people) + 1 or any(a >= b for a, b in pairwise(edges))):
        raise DataError(f"chart {words.key}", ["edges: must rise, and be one more than people"])
    if not sum(people):
        return empty(words, columns)
    shown = told(people)
    if not enough(sum(people)) or not any(shown):
        return too_few(words, columns)
    x = number_axis(words.x, unit, edges, most=4)
    field = plot(x, number_axis(words.y, COUNT, [count or 0 for count in shown], low=0.0), top=40)
    body = field.axes()
    for low, high, count in zip(edges, edges[1:], shown, strict=False):
        left, right = field.px(low), field.px(high)
        if count is None:
            body += _cross((left + right) / 2, field.bottom - 6)
        elif count:
            series = 0 if low >= 0 else 1
            top = field.py(count)
            body.append(
                filled(words.key, series, left + 1, top, right - left - 2, field.bottom - top)
            )
    zero = field.px(0.0)
    if x.low <= 0 <= x.high:
        body.append(line(zero, field.top, zero, field.bottom, cls="ch-ink", dash="4 3"))
    end = field.floor
    if None in shown:
        body += [*_cross(20, end + 8), text(36, end + 12, withheld)]
        end += 18
    rows = list(zip(edges, edges[1:], shown, strict=False))
    return ready(words, end + 4, body, table_of(words, columns, rows))


def _fit_marks(
    field: Plot, at: int, one: CalibrationBin, interval: tuple[float, float] | None
) -> list[str]:
    middle, seen = field.px(at), field.py(one.bad_rate)
    x = middle + 4
    marks = []
    if interval is not None:
        low, high = (field.py(end) for end in interval)
        marks.append(line(x, low, x, high, cls="ch-s1", thick=2))
        marks += [line(x - 3, y, x + 3, y, cls="ch-s1", thick=2) for y in (low, high)]
    foretold = marker(3, middle - 4, field.py(one.mean_prob), 4.5)
    return [*marks, foretold, marker(0, x, seen, 3.5)]


def _class_shares(counts: Sequence[int]) -> list[float | None]:
    """Return the share of a class in each bin, None where withheld; nothing for a small class."""
    total = sum(counts)
    shown = told(counts)
    if not enough(total) or not any(shown):
        return []
    return [None if count is None else count / total for count in shown]


def _density(shares: list[float | None], edges: Sequence[float], per: float) -> list[float | None]:
    return [
        None if share is None else share * per / (high - low)
        for share, (low, high) in zip(shares, pairwise(edges), strict=False)
    ]


def _stairs(
    field: Plot, key: str, series: int, edges: Sequence[float], shares: Sequence[float | None]
) -> list[str]:
    marks = []
    run: list[tuple[float, float]] = []
    for low, high, share in [*zip(edges, edges[1:], shares, strict=False), (0.0, 0.0, None)]:
        if share is not None:
            run += [(field.px(low), field.py(share)), (field.px(high), field.py(share))]
            continue
        if run:
            marks += _steps(field, key, series, run)
            run = []
        if high > low:
            middle = (field.px(low) + field.px(high)) / 2
            marks += _cross(middle, field.bottom - 6 - 10 * series)
    return marks


def _steps(field: Plot, key: str, series: int, run: list[tuple[float, float]]) -> list[str]:
    look = {"fill_opacity": "0.45"} if series == 0 else {"fill": f"url(#{key}-p{series + 1})"}
    closed = [(run[0][0], field.bottom), *run, (run[-1][0], field.bottom)]
    cls = "ch-f1" if series == 0 else ""
    area = path(closed, cls=cls, thick=0, stroke="none", **({"fill": ""} | look))
    dash = "" if series == 0 else "6 3"
    return [area, path(closed, cls=f"ch-s{series + 1}", thick=1.5, stroke_dasharray=dash)]


def _cross(x: float, y: float) -> list[str]:
    """Return the sign of a withheld figure."""
    ends = [(x - 3, y - 3, x + 3, y + 3), (x - 3, y + 3, x + 3, y - 3)]
    return [line(*one, cls="ch-axis", thick=1.5) for one in ends]
