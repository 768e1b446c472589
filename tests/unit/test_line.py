"""The line as a value: its state machine, its events, and what is kept of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from server.limits.line.acts import close_line, freeze
from server.limits.line.events import (
    Journal,
    apply,
    event_from_mapping,
    line_from_mapping,
    line_to_mapping,
    replay,
)
from server.limits.line.line import BLANK, MOVES, Line, State, check_move
from server.limits.line.reasons import LINE_CODES, because
from shared.errors import Conflict, DataError
from tests.line_kit import START, Life, busy, opened, quiet

#: The arrows of domain 5.2, written out a second time; any line may also be closed.
ARROWS = {
    "pending": "active",
    "active": "observation reduced frozen",
    "observation": "active reduced frozen",
    "reduced": "restoring observation frozen",
    "restoring": "active observation reduced frozen",
    "frozen": "observation",
    "closing": "",
    "closed": "",
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_a_line_moves_as_the_study_says_and_no_other_way(before, after):
    legal = after.value in ARROWS[before.value].split() or after is before
    if after is State.CLOSED:
        legal = True
    if after is State.CLOSING:
        legal = before not in {State.PENDING, State.CLOSED}
    if legal:
        check_move(before, after)
        return
    with pytest.raises(Conflict, match=f"from {before} to {after}") as caught:
        check_move(before, after)
    assert caught.value.check == "state"
    assert all(one.value in caught.value.hint for one in MOVES[before])


@pytest.mark.parametrize(
    "wrong",
    [
        {"effective_limit_minor": -1},
        {"effective_limit_minor": 1_000_100},
        {"approved_limit_minor": 900_000},
        {"advised_limit_minor": 999_999},
        {"caps_limit_minor": 990_000},
        {"frozen_for": "fraud"},
        {"state": State.FROZEN},
    ],
)
def test_a_line_whose_limits_do_not_stand_in_order_cannot_be(wrong):
    line, _ = opened()
    with pytest.raises(DataError, match="line"):
        replace(line, **wrong)


def test_every_code_of_a_reason_has_a_family():
    assert because("B01", draws=8).params == (("draws", 8),)
    assert set(LINE_CODES.values()) == {"behaviour", "policy", "outside"}
    assert all(LINE_CODES[code] == "outside" for code in LINE_CODES if code[0] in "CM")


def test_events_are_applied_in_order_and_only_once():
    line, events = opened()
    assert replay(events) == line
    assert replay(events[:1]).state is State.PENDING
    with pytest.raises(Conflict, match="not the next"):
        apply(line, events[-1])
    with pytest.raises(Conflict, match="not the next"):
        replay(reversed(events))
    with pytest.raises(Conflict, match="another limit"):
        apply(line, replace(frozen_event(line), limit_from_minor=7))


def frozen_event(line):
    return freeze(line, "fraud", START + timedelta(days=1)).events[0]


def test_a_clock_that_went_back_changes_nothing():
    life = Life()
    life.review()
    with pytest.raises(Conflict, match="before that") as caught:
        life.review(on=START + timedelta(days=29))
    assert caught.value.check == "clock"


def test_a_limit_does_not_change_without_a_reason():
    line, _ = opened()
    journal = Journal(line, START)
    with pytest.raises(Conflict, match="without a reason"):
        journal.note("cut", effective_limit_minor=0)
    assert journal.line is line
    assert not journal.events


def test_an_event_that_says_one_thing_and_does_another_is_refused():
    line, _ = opened()
    event = frozen_event(line)
    with pytest.raises(Conflict, match="does another"):
        apply(line, replace(event, limit_to_minor=0, reasons=(because("B08"),)))


def long_life():
    """A line with something in every field."""
    life = Life()
    life.months(busy(), busy(), quiet(days_past_due=10, outstanding_minor=50_000))
    life.review(quiet(measures={"score": 640}), multiplier=Decimal("0.7"))
    return life


def test_a_line_and_its_events_come_back_from_json():
    life = long_life()
    line = life.line
    assert line.windows
    assert line.before_cuts
    assert line.delinquency.curing
    plain = json.loads(json.dumps(line_to_mapping(line)))
    assert line_from_mapping(plain) == line
    events = [event_from_mapping(json.loads(json.dumps(one.to_mapping()))) for one in life.events]
    assert events == life.events
    assert replay(events) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "asleep"),
        ("version", "3"),
        ("version", True),
        ("opened_on", "soon"),
        ("windows", [{"code": "B01"}]),
        ("effective_limit_minor", -5),
        ("delinquency", 3),
    ],
)
def test_a_line_that_is_not_spelt_as_lines_are_is_refused(name, value):
    plain = line_to_mapping(Life().line)
    with pytest.raises(DataError):
        line_from_mapping({**plain, name: value})


def test_missing_and_unknown_fields_of_a_line_or_event_are_named():
    plain = line_to_mapping(Life().line)
    plain["limit"] = plain.pop("state")
    with pytest.raises(DataError, match=r"limit: is missing or unknown; state"):
        line_from_mapping(plain)
    event = Life().events[0].to_mapping()
    with pytest.raises(DataError, match="kind"):
        event_from_mapping({name: value for name, value in event.items() if name != "kind"})
    with pytest.raises(DataError, match="initiator"):
        event_from_mapping({**event, "initiator": "somebody"})
    with pytest.raises(DataError, match="spelt"):
        event_from_mapping({**event, "on": "soon"})


def test_a_line_as_of_a_day_leaves_out_what_came_later():
    life = Life()
    life.months(busy(), busy())
    assert replay(life.events, until=START + timedelta(days=30)).effective_limit_minor == 1_000_000
    assert replay(life.events, until=START + timedelta(days=59)).effective_limit_minor == 1_000_000
    assert replay(life.events, until=START + timedelta(days=60)).effective_limit_minor == 900_000
    assert replay([]) == BLANK == Line()


def test_a_line_that_owes_is_closing_and_then_closed():
    life = Life()
    life.take(close_line(life.line, 100, date(2026, 1, 5)))
    assert life.line.state is State.CLOSING
    assert not life.line.may_draw
    with pytest.raises(Conflict, match="closing"):
        close_line(life.line, 1, date(2026, 1, 6))
    life.take(close_line(life.line, 0, date(2026, 1, 6)))
    assert life.line.state is State.CLOSED
    with pytest.raises(Conflict, match="closed"):
        close_line(life.line, 0, date(2026, 1, 7))
    with pytest.raises(Conflict, match="no reviews"):
        life.review(on=date(2026, 3, 1))
