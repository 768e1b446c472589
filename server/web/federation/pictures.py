"""The pictures of a run: who was at work when, what each party sent, the loss by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from server.runs.story import Phase, Story
from server.web.charts import FIGURE, Bar, Chart, Lane, Series, Span, Unit, bars, lanes, lines
from server.web.drawing import words_of
from server.web.federation.common import Tells

MOST_LANES: Final = 12
"""Parties with a lane of their own; the table of the page has all."""
_LONG_S: Final = 600.0


def lanes_of(story: Story, tells: Tells, now: float) -> Chart:
    """Draw what each party did when: at work, waiting for the others, lost."""
    return lanes(
        words_of(tells.texts, "lanes", "fed_lanes"),
        [_lane(story, party, tells, now) for party in story.parties[:MOST_LANES]],
        _unit(story, tells, now),
    )


def sent_of(story: Story, tells: Tells, _now: float) -> Chart:
    """Draw what each party sent in all phases."""
    sent = dict.fromkeys(story.parties, 0)
    for phase in story.phases:
        for part in phase.parts:
            sent[part.party] += part.bytes_sent
    most = max(sent.values(), default=0)
    unit = Unit("MB", 1, 1e6) if most >= 10**6 else Unit("kB", 1, 1e3)
    rows = [Bar(party, count) for party, count in sent.items()] if most else []
    return bars(words_of(tells.texts, "sent", "fed_sent"), rows[:MOST_LANES], unit)


def rounds_of(story: Story, tells: Tells, _now: float) -> Chart:
    """Draw the loss of each round of the neural model, as it was opened."""
    points = tuple((float(one.number), one.loss) for one in story.rounds if one.loss is not None)
    name = tells.texts.say("fed_rounds.loss")
    series = [Series(name, points)] if points else []
    return lines(words_of(tells.texts, "rounds", "fed_rounds"), series, Unit(), FIGURE)


def _lane(story: Story, party: str, tells: Tells, now: float) -> Lane:
    lost = next((one for one in story.lost if one.party == party and one.at is not None), None)
    spans: list[Span] = []
    for phase in story.phases:
        if lost is not None and lost.at is not None and phase.start >= lost.at:
            break
        end = _end(story, phase, now)
        if lost is not None and lost.at is not None and lost.at < end:
            spans.append(Span(tells.phase(phase.name), phase.start, lost.at, "lost"))
            break
        spans += _spans(tells.phase(phase.name), phase, party, end)
    return Lane(party, tuple(spans))


def _spans(name: str, phase: Phase, party: str, end: float) -> list[Span]:
    """Return a party's work in a phase, and how long it waited for the others after it."""
    part = next((one for one in phase.parts if one.party == party), None)
    if part is None:  # it is under way, or it was but waited for
        return [Span(name, phase.start, end, "waiting")]
    done = min(end, phase.start + part.seconds)
    spans = [Span(name, phase.start, done)]
    return [*spans, Span(name, done, end, "waiting")] if end - done > 0.05 else spans


def _end(story: Story, phase: Phase, now: float) -> float:
    """Return when a phase ended; one under way has lasted until now, or the run's last word."""
    if phase.seconds is not None:
        return phase.start + phase.seconds
    last = now if story.state == "running" else story.told
    return max(phase.start, last - story.began)


def _unit(story: Story, tells: Tells, now: float) -> Unit:
    length = max((_end(story, phase, now) for phase in story.phases), default=0.0)
    if length > _LONG_S:
        return Unit(tells.texts.say("fed.unit_minutes"), 1, 60.0)
    return Unit(tells.texts.say("fed.unit_seconds"), 1)


BY_NAME: Final[Mapping[str, Callable[[Story, Tells, float], Chart]]] = {
    "lanes": lanes_of,
    "sent": sent_of,
    "rounds": rounds_of,
}
