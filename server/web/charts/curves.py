"""How well a score ranks: ROC, KS, gains and lift, drawn from counts and never from rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from server.web.charts.axes import RIGHT, Axis, Plot, number_axis, plot
from server.web.charts.frame import Column, empty, legend, ready, stroke, table_of, too_few
from server.web.charts.marks import fit, line, marker, path, text, width
from server.web.charts.people import check, runs
from server.web.charts.scores import ScoreBins, Step
from server.web.charts.units import COUNT, FIGURE, PERCENT, TIMES
from server.web.charts.value import Chart
from server.web.charts.words import Words

if TYPE_CHECKING:
    from shared.metrics import Interval

ROC_NAMES: Final = ("model", "random", "auc", "threshold")
KS_NAMES: Final = ("goods", "bads", "ks", "cutoff")
GAINS_NAMES: Final = ("model", "random", "best")
LIFT_NAMES: Final = ("lift", "group", "bad_rate")
DASH: Final = "\N{EN DASH}"


def roc(words: Words, bins: ScoreBins, level: float = 0.95, auc: Interval | None = None) -> Chart:
    """Draw the ROC curve with AUC and DeLong's interval.

    Parameters
    ----------
    words : Words
        `x`: share of goods declined, `y`: share of bads declined; names as in `ROC_NAMES`.
    bins : ScoreBins
        State `too_few` with fewer than 20 goods or bads.
    level : float
        Of the interval, in (0, 1).
    auc : Interval, optional
        The figure that is told where it is known more exactly than from bins.
    """
    model, random, auc_name, threshold = words.need(ROC_NAMES)
    columns: list[Column] = [(threshold, COUNT), (words.x, PERCENT), (words.y, PERCENT)]
    if (stand_in := _without(words, bins, columns)) is not None:
        return stand_in
    steps, auc = bins.steps(), auc or bins.auc(level)
    field = _shares(words)
    curve = field.at([(step.goods, step.bads) for step in steps])
    told = f"{auc_name} {FIGURE.shown(auc.value)}"
    span = f"{FIGURE.shown(auc.low)}{DASH}{FIGURE.shown(auc.high)} ({100 * auc.level:g}%)"
    key, high = legend(words.key, [(model, 0, "plain"), (random, 5, "plain")], field.floor)
    body = [
        *field.axes(),
        *stroke(5, field.at([(0, 0), (1, 1)]), thick=1.5, marked="none"),
        *_area(field, curve),
        *stroke(0, curve, marked="none"),
        text(RIGHT - 8, field.bottom - 28, told, size=13, anchor="end", cls="ch-strong"),
        text(RIGHT - 8, field.bottom - 12, span, anchor="end"),
        *key,
    ]
    rows = [(step.score, step.goods, step.bads) for step in steps]
    return ready(words, field.floor + high, body, table_of(words, columns, rows))


def ks_curve(
    words: Words, bins: ScoreBins, cutoff: float | None = None, ks: float | None = None
) -> Chart:
    """Draw the shares of goods and bads below each score, with KS and a cutoff.

    Parameters
    ----------
    words : Words
        `x`: score, `y`: share of people below it; names as in `KS_NAMES`.
    bins : ScoreBins
        State `too_few` with fewer than 20 goods or bads.
    cutoff : float, optional
        Score below which the policy declines; drawn where it lies within the edges.
    ks : float, optional
        The figure that is told where it is known more exactly than from bins.
    """
    goods, bads, ks_name, cut_name = words.need(KS_NAMES)
    columns: list[Column] = [(words.x, COUNT), (goods, PERCENT), (bads, PERCENT)]
    check(words.key, {"cutoff": [cutoff]}, least=-float("inf"))
    if (stand_in := _without(words, bins, columns)) is not None:
        return stand_in
    steps = bins.steps()
    x = _ends(number_axis(words.x, COUNT, bins.edges), bins.edges)
    field = plot(x, number_axis(words.y, PERCENT, [0, 1]), top=44)
    widest = max(steps, key=lambda step: abs(step.bads - step.goods))
    body = [
        *field.axes(),
        *stroke(0, field.at([(step.score, step.goods) for step in steps]), marked="none"),
        *stroke(1, field.at([(step.score, step.bads) for step in steps]), marked="none"),
        *_gap(field, widest),
    ]
    note, end = _note(10, f"{ks_name} {FIGURE.shown(bins.ks() if ks is None else ks)}")
    body += note
    if cutoff is not None and bins.edges[0] <= cutoff <= bins.edges[-1]:
        at = field.px(cutoff)
        body.append(line(at, field.top, at, field.bottom, cls="ch-ink", thick=1.5, dash="4 3"))
        body += _note(end, f"{cut_name} {COUNT.shown(cutoff)}", dash="4 3")[0]
    key, high = legend(words.key, [(goods, 0, "plain"), (bads, 1, "plain")], field.floor)
    rows = [(step.score, step.goods, step.bads) for step in steps]
    table = table_of(words, columns, rows)
    return ready(words, field.floor + high, [*body, *key], table)


def gains(words: Words, bins: ScoreBins) -> Chart:
    """Draw how many of the bads are among the riskiest share of people.

    Parameters
    ----------
    words : Words
        `x`: share of people, riskiest first, `y`: share of bads found; names as in `GAINS_NAMES`.
    bins : ScoreBins
        State `too_few` with fewer than 20 goods or bads.
    """
    model, random, best = words.need(GAINS_NAMES)
    columns: list[Column] = [(words.x, PERCENT), (words.y, PERCENT)]
    if (stand_in := _without(words, bins, columns)) is not None:
        return stand_in
    steps, field = bins.steps(), _shares(words)
    rate = sum(bins.bads) / sum(bins.people)
    curve = field.at([(step.people, step.bads) for step in steps])
    names = [(model, 0, "plain"), (best, 2, "plain"), (random, 5, "plain")]
    key, high = legend(words.key, names, field.floor)  # type: ignore[arg-type]
    body = [
        *field.axes(),
        *stroke(5, field.at([(0, 0), (1, 1)]), thick=1.5, marked="none"),
        *stroke(2, field.at([(0, 0), (rate, 1), (1, 1)]), thick=1.5, marked="none"),
        *stroke(0, curve, marked="none"),
        *key,
    ]
    rows = [(step.people, step.bads) for step in steps]
    return ready(words, field.floor + high, body, table_of(words, columns, rows))


def lift(words: Words, bins: ScoreBins, groups: int = 10) -> Chart:
    """Draw the bad rate of groups of about equal size against that of everybody.

    Parameters
    ----------
    words : Words
        `x`: group, riskiest first, `y`: times the bad rate of all; names as in `LIFT_NAMES`.
    bins : ScoreBins
        State `too_few` with fewer than 20 goods or bads.
    groups : int
        At most so many, each with at least 20 people; a bin is never split.
    """
    lift_name, group, rate_name = words.need(LIFT_NAMES)
    columns: list[Column] = [(group, COUNT), (lift_name, TIMES), (rate_name, PERCENT)]
    if (stand_in := _without(words, bins, columns)) is not None:
        return stand_in
    base = sum(bins.bads) / sum(bins.people)
    rates = [sum(bins.bads[a:b]) / sum(bins.people[a:b]) for a, b in runs(bins.people, groups)]
    lifts = [rate / base for rate in rates]
    names = [(float(at), str(at + 1)) for at in range(len(lifts))]
    x = Axis(words.x, -0.5, len(lifts) - 0.5, tuple(names))
    field = plot(x, number_axis(words.y, TIMES, lifts, low=0.0))
    one = field.py(1.0)
    body = [*field.axes(), line(field.left, one, RIGHT, one, cls="ch-ink", dash="4 3")]
    points = field.at([(float(at), value) for at, value in enumerate(lifts)])
    for px, py in points:
        body += [line(px, field.bottom, px, py, cls="ch-s1", thick=6), marker(0, px, py, 5)]
    rows = [(at + 1, lifts[at], rates[at]) for at in range(len(lifts))]
    return ready(words, field.floor + 4, body, table_of(words, columns, rows))


def _without(words: Words, bins: ScoreBins, columns: list[Column]) -> Chart | None:
    """Return what stands in place of a curve, if it cannot be drawn."""
    if not sum(bins.people):
        return empty(words, columns)
    return None if bins.ranks else too_few(words, columns)


def _shares(words: Words) -> Plot:
    x = number_axis(words.x, PERCENT, [0, 1])
    return plot(x, number_axis(words.y, PERCENT, [0, 1]), high=220)


def _ends(axis: Axis, edges: tuple[float, ...]) -> Axis:
    """Cut an axis to the edges of the score: a score has no values beyond."""
    kept = tuple(mark for mark in axis.marks if edges[0] <= mark[0] <= edges[-1])
    return Axis(axis.label, edges[0], edges[-1], kept)


def _area(field: Plot, curve: list[tuple[float, float]]) -> list[str]:
    closed = [*curve, (curve[-1][0], field.bottom), (curve[0][0], field.bottom)]
    return [path(closed, cls="ch-f1", thick=0, fill="", fill_opacity="0.12", stroke="none")]


def _gap(field: Plot, step: Step) -> list[str]:
    x, low, high = field.px(step.score), field.py(step.goods), field.py(step.bads)
    ends = [line(x - 4, y, x + 4, y, cls="ch-ink", thick=2) for y in (low, high)]
    return [line(x, low, x, high, cls="ch-ink", thick=2), *ends]


def _note(left: float, told: str, *, dash: str = "") -> tuple[list[str], float]:
    """Return what an upright line stands for, in the row above the plot, and where it ends."""
    told = fit(told, 150)
    sign = line(left + 4, 4, left + 4, 18, cls="ch-ink", thick=2, dash=dash)
    return [sign, text(left + 12, 15, told, cls="ch-strong")], left + 30 + width(told) * 1.06
