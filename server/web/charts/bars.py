"""Bars in rows: what makes up a limit, what a holder is worth, who is left in a funnel.

A row's name stands above its bar, so that long names and both languages fit a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.web.charts.axes import RIGHT, number_axis
from server.web.charts.frame import Column, empty, legend, ready, table_of, too_few
from server.web.charts.marks import WIDTH, filled, fit, line, rect, text
from server.web.charts.people import check, enough, told
from server.web.charts.rows import LEFT, ROW, Bar, bar_rows, grid, mark, px, row, ticks
from server.web.charts.units import COUNT, FIGURE, PERCENT, Unit
from server.web.charts.value import Chart
from server.web.charts.words import Words
from shared.errors import DataError

STACKED_NAMES: Final = ("part", "amount", "total")
WATERFALL_NAMES: Final = ("step", "change", "after", "binds", "total")
HOLDER_NAMES: Final = ("model", "low", "high", "alone", "together", "oracle")
WORTH_NAMES: Final = ("holder", "worth")
BAR_NAMES: Final = ("row", "value", "marked", "reference")
"""The last one only where a reference is drawn."""
FUNNEL_NAMES: Final = ("stage", "people", "share")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a waterfall.

    Parameters
    ----------
    label : str
    change : float
        What it adds (the first step: where it begins) or takes away.
    binds : bool
        It is what the result hangs on.
    """

    label: str
    change: float
    binds: bool = False


def stacked(words: Words, parts: Sequence[tuple[str, float]], unit: Unit) -> Chart:
    """Draw what a whole is made of as one bar: used, held, available.

    Parameters
    ----------
    words : Words
        `x`: amount, `y`: part; names as in `STACKED_NAMES`.
    parts : sequence of (str, float)
        Name and amount >= 0, from left to right; at most six.
    unit : Unit
    """
    part, amount, total_name = words.need(STACKED_NAMES)
    columns: list[Column] = [(part, None), (amount, unit)]
    check(words.key, {"amounts": [value for _, value in parts]})
    if len(parts) > 6:
        raise DataError(f"chart {words.key}", ["parts: must be six or fewer"])
    total = sum(value for _, value in parts)
    if not parts:
        return empty(words, columns)
    body = [text(LEFT, 18, fit(f"{total_name}: {unit.told(total)}", WIDTH - 24, 13), size=13,
                 cls="ch-strong")]  # fmt: skip
    body.append(rect(LEFT, 28, RIGHT - LEFT, 30, cls="ch-track"))
    x = LEFT
    for at, (_, value) in enumerate(parts):
        wide = (RIGHT - LEFT) * value / total if total else 0.0
        if value > 0:
            body.append(filled(words.key, at, x, 28, max(wide - 1, 0.5), 30))
        x += wide
    axis = number_axis(words.x, unit, [0, total], low=0.0, most=2)
    ends = [(LEFT, axis.marks[0][1]), (RIGHT, unit.shown(total))]
    body += ticks(ends, 58, unit.label(words.x))
    names = [(f"{name}: {unit.told(value)}", at, "bar") for at, (name, value) in enumerate(parts)]
    y = 98.0
    for name in names:
        key, high = legend(words.key, [name], y, LEFT)  # type: ignore[list-item]
        body, y = [*body, *key], y + high
    rows = [*parts, (total_name, total)]
    return ready(words, y + 2, body, table_of(words, columns, rows))


def waterfall(words: Words, steps: Sequence[Step], unit: Unit) -> Chart:
    """Draw how a figure comes about step by step, and which step it hangs on.

    Parameters
    ----------
    words : Words
        `x`: amount, `y`: step; names as in `WATERFALL_NAMES`.
    steps : sequence of Step
        The first one begins at zero; the sum of all is drawn as the last row.
    unit : Unit
    """
    step_name, change, after, binds, total_name = words.need(WATERFALL_NAMES)
    columns: list[Column] = [(step_name, None), (change, unit), (after, unit), (binds, None)]
    check(words.key, {"changes": [step.change for step in steps]}, least=-float("inf"))
    if not steps:
        return empty(words, columns)
    spans, at = [], 0.0
    for step in steps:
        spans.append((at, at + step.change))
        at += step.change
    axis = number_axis(words.x, unit, [end for span in spans for end in span], low=0.0, most=4)
    bottom = 6 + ROW * (len(steps) + 1)
    body = grid(axis, bottom)
    for place, (step, (start, end)) in enumerate(zip(steps, spans, strict=True)):
        top, first = 6 + ROW * place, place == 0
        look = 0 if first else 1 if step.change < 0 else 2
        told = unit.told(step.change) if first or step.change <= 0 else f"+{unit.told(step.change)}"
        body += row(words.key, axis, top, step.label, told, (start, end), look)
        if step.binds:
            body += mark(binds, axis, top, max(start, end))
        x = px(axis, end)
        body.append(line(x, top + 32, x, top + ROW + 18, cls="ch-axis", dash="2 2"))
    body += row(words.key, axis, bottom - ROW, total_name, unit.told(at), (0.0, at), 0, bold=True)
    rows: list[tuple[str, float, float, str]] = [
        (step.label, step.change, end, binds if step.binds else "")
        for step, (_, end) in zip(steps, spans, strict=True)
    ]
    table = table_of(words, columns, [*rows, (total_name, at, at, "")])
    return ready(words, bottom + 40, body, table)


def bars(
    words: Words,
    rows: Sequence[Bar],
    unit: Unit,
    *,
    start: float = 0.0,
    reference: float | None = None,
) -> Chart:
    """Draw figures side by side, the one that counts marked: caps of a limit, reasons in points.

    Parameters
    ----------
    words : Words
        `x`: what the figures are, `y`: what a row is; names as in `BAR_NAMES`.
    rows : sequence of Bar
    unit : Unit
    start : float
        Where bars begin: 0, or 0.5 for AUC.
    reference : float, optional
        Drawn as a line across all rows, and named in the legend.
    """
    head, value, marked, *named = words.need(BAR_NAMES if reference is not None else BAR_NAMES[:3])
    columns: list[Column] = [(head, None), (value, unit), (marked, None)]
    if not rows:
        return empty(words, columns)
    told_rows = [(one.label, one.value, marked if one.marked else "") for one in rows]
    body, bottom = bar_rows(words, rows, unit, start, reference, marked)
    if reference is not None:
        at = bottom + 46
        body.append(line(LEFT, at, LEFT + 20, at, cls="ch-ink", thick=1.5, dash="4 3"))
        told = fit(f"{named[0]}: {unit.told(reference)}", WIDTH - 50)
        body.append(text(LEFT + 26, at + 4, told))
        bottom += 18
    return ready(words, bottom + 38, body, table_of(words, columns, told_rows))


def holders(
    words: Words,
    alone: Sequence[Bar],
    together: Bar,
    oracle: Bar | None = None,
    *,
    unit: Unit = FIGURE,
    start: float = 0.5,
) -> Chart:
    """Draw each holder alone, all together, and the pooled oracle where there is one.

    Parameters
    ----------
    words : Words
        `x`: the figure (AUC), `y`: whose model; names as in `HOLDER_NAMES`.
    alone : sequence of Bar
    together, oracle : Bar
    unit : Unit
    start : float
        What no model reaches: 0.5 of AUC, 0 of KS.
    """
    model, low, high, *kinds = words.need(HOLDER_NAMES)
    columns: list[Column] = [(model, None), (words.x, unit), (low, unit), (high, unit)]
    if not alone:
        return empty(words, columns)
    last = () if oracle is None else (oracle,)
    looks = [(one, 5) for one in alone] + [(together, 0)] + [(one, 3) for one in last]
    rows = [Bar(one.label, one.value, one.low, one.high, look=look) for one, look in looks]
    body, bottom = bar_rows(words, rows, unit, start, together.value, "")
    names = [(kinds[0], 5, "bar"), (kinds[1], 0, "bar"), (kinds[2], 3, "bar")]
    key, tall = legend(words.key, names[: 2 + len(last)], bottom + 38)  # type: ignore[arg-type]
    table = table_of(words, columns, [(one.label, one.value, one.low, one.high) for one in rows])
    return ready(words, bottom + 38 + tall, [*body, *key], table)


def worth(words: Words, rows: Sequence[Bar], unit: Unit = PERCENT) -> Chart:
    """Draw what each holder's columns add, most first; names as in `WORTH_NAMES`."""
    holder, value = words.need(WORTH_NAMES)
    columns: list[Column] = [(holder, None), (value, unit)]
    if not rows:
        return empty(words, columns)
    ordered = sorted(rows, key=lambda one: (-one.value, one.label))
    body, bottom = bar_rows(words, ordered, unit, 0.0, None, "")
    table = table_of(words, columns, [(one.label, one.value) for one in ordered])
    return ready(words, bottom + 38, body, table)


def funnel(words: Words, stages: Sequence[tuple[str, int]]) -> Chart:
    """Draw how many people reach each stage.

    Parameters
    ----------
    words : Words
        `x`: people, `y`: stage; names as in `FUNNEL_NAMES`: `share` is that of the first stage.
    stages : sequence of (str, int)
        Name and people. What lies between two stages is itself a count, so a stage whose loss is
        of few people is withheld like one that few people reach.
    """
    stage, people_name, share = words.need(FUNNEL_NAMES)
    columns: list[Column] = [(stage, None), (people_name, COUNT), (share, PERCENT)]
    counts = [count for _, count in stages]
    check(words.key, {"people": counts})
    if not sum(counts):
        return empty(words, columns)
    if not enough(counts[0]):
        return too_few(words, columns)
    shown = _nested(counts)
    axis = number_axis(words.x, COUNT, [0, *(count or 0 for count in shown)], low=0.0, most=4)
    bottom = 6 + ROW * len(stages)
    body, rows = grid(axis, bottom), []
    for place, ((name, _), count) in enumerate(zip(stages, shown, strict=True)):
        part = None if count is None else count / counts[0]
        amount = words.told.withheld if count is None else COUNT.shown(count)
        said = amount if part is None else f"{amount} ({PERCENT.told(part)})"
        body += row(words.key, axis, 6 + ROW * place, name, said, (0.0, count or 0), 0)
        rows.append((name, count, part))
    return ready(words, bottom + 38, body, table_of(words, columns, rows))


def _nested(counts: Sequence[int]) -> list[int | None]:
    """Withhold stages of few people, and those that differ by few from the last one told."""
    shown: list[int | None] = [counts[0]]
    last = counts[0]
    for count in counts[1:]:
        hidden = told([count])[0] is None or told([abs(last - count)])[0] is None
        shown.append(None if hidden else count)
        last = last if hidden else count
    return shown
