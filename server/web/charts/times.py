"""What happens when: the way back of a limit, and the phases of a run at each party."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, TypeAlias, get_args

from server.web.charts.axes import RIGHT, Plot, named_axis, number_axis
from server.web.charts.frame import Column, Look, empty, legend, ready, table_of
from server.web.charts.marks import WIDTH, filled, fit, line, marker, rect, text, width, wrap
from server.web.charts.people import check
from server.web.charts.units import Unit
from server.web.charts.value import Cell, Chart
from server.web.charts.words import Words
from shared.errors import DataError

Happened: TypeAlias = Literal["done", "waiting", "lost"]
TIMELINE_NAMES: Final = (
    "cut", "today", "earliest", "review", "rule", "progress", "event", "date", "unknown",
)  # fmt: skip
LANES_NAMES: Final = ("party", "phase", "start", "end", "state", "done", "waiting", "lost")
_LOOKS: Final[dict[Happened, int]] = {"done": 0, "waiting": 5, "lost": 1}
_LEFT: Final = 14.0


@dataclass(frozen=True, slots=True)
class WayBack:
    """Why a limit is not restored yet, and when it can be.

    Parameters
    ----------
    cut, today : date
    earliest, review : date, optional
        The first day on which the limit can rise, and that of the next review; None where there is
        none.
    rule : str
        In the reader's words.
    done, needed : int
        Of what the rule counts (payments, months): 0 <= done <= needed, needed at least 1.
    """

    cut: date
    today: date
    earliest: date | None
    review: date | None
    rule: str
    done: int
    needed: int

    def __post_init__(self) -> None:
        if not 0 <= self.done <= self.needed or self.needed < 1:
            raise DataError("way back", ["done: must be from 0 to needed, which is 1 or more"])


@dataclass(frozen=True, slots=True)
class Span:
    """A phase at a party.

    Parameters
    ----------
    phase : str
    start, end : float
        Seconds since the run began, 0 <= start <= end.
    state : {'done', 'waiting', 'lost'}
        At work, waiting for others, or the party was lost.
    """

    phase: str
    start: float
    end: float
    state: Happened = "done"

    def __post_init__(self) -> None:
        check(self.phase, {"start": [self.start], "end": [self.end]})
        if self.end < self.start or self.state not in get_args(Happened):
            raise DataError(f"phase {self.phase}", ["must end after it starts, in a known state"])


@dataclass(frozen=True, slots=True)
class Lane:
    """What a party did in a run.

    Parameters
    ----------
    party : str
    spans : tuple of Span
    """

    party: str
    spans: tuple[Span, ...]


def timeline(
    words: Words, way: WayBack | None, show: Callable[[date], str] = date.isoformat
) -> Chart:
    """Draw when a limit was cut, how far its way back is, and when it can rise.

    Parameters
    ----------
    words : Words
        `x`: date, `y`: what happens; names as in `TIMELINE_NAMES`.
    way : WayBack, optional
        State `empty` without one: nothing was cut.
    show : callable
        Writes a date in the reader's way.
    """
    cut, today, earliest, review, rule, progress, event, day, unknown = words.need(TIMELINE_NAMES)
    columns: list[Column] = [(event, None), (day, None)]
    if way is None:
        return empty(words, columns)
    days = [(cut, way.cut, 1), (today, way.today, 0), (earliest, way.earliest, 2),
            (review, way.review, 3)]  # fmt: skip
    known = sorted(((name, at, look) for name, at, look in days if at), key=lambda one: one[1])
    body = [*_line_of_days([(at, look) for _, at, look in known], way.today)]
    y = 58.0
    for name, at, look in [*known, *((n, None, k) for n, a, k in days if a is None)]:
        told_day = unknown if at is None else show(at)
        body.append(marker(look, _LEFT + 6, y - 4, 5))
        body.append(text(RIGHT, y, told_day, anchor="end", cls="ch-strong"))
        room = RIGHT - _LEFT - 18 - width(told_day) * 1.06 - 8
        body.append(text(_LEFT + 18, y, fit(name, room)))
        y += 20
    told_progress = f"{way.done}/{way.needed}"
    body += [text(_LEFT, y + 8, fit(progress, WIDTH - 90)),
             text(RIGHT, y + 8, told_progress, anchor="end", cls="ch-strong")]  # fmt: skip
    body += _progress(words.key, way, y + 16)
    y += 50
    for one in wrap(f"{rule}: {way.rule}", RIGHT - _LEFT):
        body.append(text(_LEFT, y, one))
        y += 15
    body.append(text(RIGHT, 16, fit(f"{words.x} →", 120), anchor="end", cls="ch-soft"))
    body.append(text(_LEFT, 16, fit(words.y, 190), cls="ch-soft"))
    rows: list[tuple[Cell, ...]] = [
        (name, unknown if at is None else show(at)) for name, at, _ in days
    ]
    table = table_of(words, columns, [*rows, (progress, told_progress), (rule, way.rule)])
    return ready(words, y, body, table)


def lanes(words: Words, parties: Sequence[Lane], unit: Unit) -> Chart:
    """Draw the phases of a run at each party over time.

    Parameters
    ----------
    words : Words
        `x`: time since the start, `y`: party; names as in `LANES_NAMES`.
    parties : sequence of Lane
    unit : Unit
        Of times, which are handed in as seconds.
    """
    party, phase, start, end, state, *told_states = words.need(LANES_NAMES)
    columns: list[Column] = [(party, None), (phase, None), (start, unit), (end, unit),
                             (state, None)]  # fmt: skip
    spans = [span for lane in parties for span in lane.spans]
    if not spans:
        return empty(words, columns)
    ends = [span.end for span in spans]
    bottom = 24 + 38.0 * len(parties)
    x = number_axis(words.x, unit, [0.0, *ends], low=0.0, most=5)
    field = Plot(x, named_axis("", []), 12.0, 24.0, bottom)
    body = [text(12, 13, fit(words.y, WIDTH - 24), cls="ch-soft"), *_scale(field)]
    for at, lane in enumerate(parties):
        top = 24 + 38.0 * at
        body.append(text(12, top + 12, fit(lane.party, WIDTH - 24), cls="ch-strong"))
        body.append(rect(12, top + 16, RIGHT - 12, 16, cls="ch-track", fill_opacity="0.4"))
        free = 0.0  # phases may overlap where clocks differ: their names must not
        for span in sorted(lane.spans, key=lambda one: one.start):
            body += _span(words.key, field, span, top + 16, named=span.start >= free)
            free = max(free, span.end)
    seen: list[tuple[str, int, Look]] = [
        (name, _LOOKS[kind], "bar")
        for kind, name in zip(get_args(Happened), told_states, strict=True)
        if any(span.state == kind for span in spans)
    ]
    key, high = legend(words.key, seen, field.floor, 12)
    told_state = dict(zip(get_args(Happened), told_states, strict=True))
    rows = [
        (lane.party, span.phase, span.start, span.end, told_state[span.state])
        for lane in parties
        for span in lane.spans
    ]
    return ready(words, field.floor + high, [*body, *key], table_of(words, columns, rows))


def _line_of_days(days: Sequence[tuple[date, int]], today: date) -> list[str]:
    """Return the line with a marker a day; close ones are moved apart so that none hides."""
    left, right = _LEFT + 6, RIGHT - 6
    first, last = days[0][0], days[-1][0]
    length = max((last - first).days, 1)
    places: list[float] = []
    for day, _ in days:
        x = left + (right - left) * (day - first).days / length
        places.append(max(x, places[-1] + 14) if places else x)
    for at in range(len(places) - 1, -1, -1):  # and back, where the last ones left the line
        most = right - 14 * (len(places) - 1 - at)
        places[at] = min(places[at], most)
    here = places[[day for day, _ in days].index(today)]
    track = [line(left, 32, right, 32, cls="ch-grid", thick=4)]
    track.append(line(left, 32, here, 32, cls="ch-s1", thick=4))
    return [*track, *(marker(look, x, 32, 6) for x, (_, look) in zip(places, days, strict=True))]


def _progress(key: str, way: WayBack, y: float) -> list[str]:
    """Return a box for each thing the rule counts, or one bar where they are many."""
    wide = RIGHT - _LEFT
    if way.needed > 24:
        done = filled(key, 0, _LEFT, y, wide * way.done / way.needed, 14)
        return [rect(_LEFT, y, wide, 14, cls="ch-track"), done]
    each = wide / way.needed
    marks = []
    for at in range(way.needed):
        x = _LEFT + each * at
        if at < way.done:
            marks.append(filled(key, 0, x + 1, y, each - 2, 14))
        else:
            marks.append(rect(x + 1, y + 0.5, each - 2, 13, cls="ch-axis", fill="none"))
    return marks


def _scale(field: Plot) -> list[str]:
    marks = field.axes()
    return marks[1:]  # the name of the other axis stands above the lanes already


def _span(key: str, field: Plot, span: Span, top: float, *, named: bool) -> list[str]:
    left, right = field.px(span.start), field.px(span.end)
    wide = max(right - left - 1, 1.0)
    marks = [filled(key, _LOOKS[span.state], left, top, wide, 16)]
    if named and span.state == "done" and width(span.phase) + 8 <= wide:
        marks.append(text(left + 4, top + 12, span.phase, cls="ch-on"))
    return marks
