"""Challengers to the rules: states, the process counted from a replay, and what is found in it."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.replay.book import Rules
from server.replay.card import grade_places
from server.replay.challengers import CHOICES, _segments, find
from server.replay.counted import LEAST, Counted, count, process_of
from server.replay.decision_process import policy_iteration, value_iteration
from server.replay.figures import Prices
from server.replay.play import Arm, Setting, begun, learn, moments, play
from server.replay.shares import (
    A_GRADE,
    WHOLE,
    Shares,
    State,
    alike,
    by_grade,
    places_of,
    states_of,
)
from shared.world.chance import BLOCK, spans
from shared.world.economy import ECONOMIES

SEED, PEOPLE, MONTHS = 4, 1500, 15
GRADES = ("A", "B", "C", "D", "E")
HALF = alike(Decimal("0.5"))


@pytest.fixture(scope="module")
def arm():
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    return Arm(rules, learn(SEED), Prices(0.146))


@pytest.fixture(scope="module")
def setting(arm):
    return Setting(PEOPLE, MONTHS, SEED, ECONOMIES["calm"], (arm,))


@pytest.fixture(scope="module")
def counted(setting):
    return count(setting, (WHOLE, HALF))


def keeping(arm, shares):
    return replace(arm, rules=replace(arm.rules, shares=shares))


@pytest.mark.parametrize(
    ("grade", "owed", "limit", "allowed", "late", "state"),
    [
        (0, 0, 0, 500, 0, State("A", "none", "under half", "on time")),
        (1, 49, 100, 500, 0, State("B", "1/4", "under half", "on time")),
        (2, 50, 100, 200, 0, State("C", "1/2", "half or more", "on time")),
        (3, 80, 70, 100, 2, State("D", "3/4", "half or more", "behind")),
        (4, 0, 100, 0, 1, State("E", "whole", "under half", "behind")),
        (4, 0, 100, 100, 0, State("E", "whole", "under half", "on time")),
    ],
)
def test_a_line_is_in_the_state_that_its_numbers_say(grade, owed, limit, allowed, late, state):
    columns = (np.array([one]) for one in (grade, owed, limit, allowed, late))
    (place,) = places_of(*columns)
    assert states_of(GRADES)[place] == state
    assert len(states_of(GRADES)) == len(GRADES) * A_GRADE


def test_the_whole_in_every_state_is_the_rules_themselves(arm, setting):
    each = keeping(arm, Shares((Decimal(1),) * len(states_of(GRADES))))
    both = play(replace(setting, arms=(arm, each)))
    assert both.figures[0].to_mapping() == both.figures[1].to_mapping()


def test_a_share_by_grade_touches_that_grade_alone(arm, setting):
    shares = by_grade((Decimal(1), Decimal(1), Decimal("0.5"), Decimal(1), Decimal(1)))
    (span,) = spans(PEOPLE)
    start = begun(setting, span)
    whole = next(moments(setting, span, start, arm)).before
    less = next(moments(setting, span, start, keeping(arm, shares))).before
    in_c = whole.states // A_GRADE == GRADES.index("C")
    assert (
        whole.lines.effective_limit_minor[~in_c] == less.lines.effective_limit_minor[~in_c]
    ).all()
    quantum = arm.rules.line.quantum_minor
    limits = whole.lines.effective_limit_minor[in_c]
    assert (less.lines.effective_limit_minor[in_c] == limits // 2 // quantum * quantum).all()
    assert in_c.any()


def test_other_rules_come_after_the_first_year(arm, setting):
    later = replace(arm, later=replace(arm.rules, shares=HALF))
    (span,) = spans(PEOPLE)
    seen = [one.book.rules.shares for one in moments(setting, span, begun(setting, span), later)]
    # The review that ends month 13 is the first that knows the others.
    assert seen == [WHOLE] * 12 + [HALF] * 3


def test_every_month_of_a_line_is_counted_with_what_it_brought(arm, setting, counted):
    arms = tuple(
        replace(keeping(arm, first), later=replace(arm.rules, shares=then))
        for first in (WHOLE, HALF)
        for then in (WHOLE, HALF)
    )
    figures = play(replace(setting, arms=arms)).figures
    alive = sum(one.months["lines"].sum() + one.months["defaults"].sum() for one in figures)
    (span,) = spans(PEOPLE)
    start = begun(setting, span)
    later = 0.0  # what lines cost after their default, which no state counts
    for other in arms:
        for one in moments(setting, span, start, other):
            brought = one.tally.profit_minor - one.tally_before.profit_minor
            later += brought[one.tally_before.lost].sum()
    profit = sum(
        sum(sign * one.months[name].sum() for name, sign in _PROFIT)
        + arm.prices.opening_minor * one.lines
        for one in figures
    )
    assert counted.gains.sum() == pytest.approx(profit - later)
    assert counted.moves.sum() == alive
    defaults = sum(one.months["defaults"].sum() for one in figures)
    assert counted.moves[:, :, -1].sum() == defaults > 0
    assert counted.opened.sum() == figures[0].lines


_PROFIT = (("earned_minor", 1.0), ("cost_minor", -1.0), ("loss_minor", -1.0))


def test_it_is_counted_alike_by_two_processes(setting):
    more = replace(setting, people=BLOCK + 200, months=2)
    one, two = (count(more, (WHOLE, HALF), processes=number) for number in (1, 2))
    np.testing.assert_allclose(one.moves, two.moves)
    np.testing.assert_allclose(one.gains, two.gains)


def test_the_process_is_one_and_offers_no_choice_where_too_few_were_seen(counted):
    chances, rewards = process_of(counted)
    np.testing.assert_allclose(chances.sum(axis=2), 1.0)
    assert (chances[:, -1, -1] == 1.0).all()
    assert (rewards[-1] == 0.0).all()
    seldom = np.flatnonzero(counted.months.min(axis=1) < LEAST)
    assert 0 < seldom.size < counted.months.shape[0]
    np.testing.assert_array_equal(chances[0, seldom], chances[1, seldom])
    np.testing.assert_array_equal(rewards[seldom, 0], rewards[seldom, 1])
    ways = [way(chances, rewards, 0.99) for way in (policy_iteration, value_iteration)]
    np.testing.assert_allclose(ways[0].value, ways[1].value, rtol=1e-6)
    assert (ways[0].policy[seldom] == 0).all()


def test_what_brings_more_is_chosen():
    """A state in which the second share brings more, and one in which it leads to the default."""
    some = Counted.nothing(2, 2)
    some.moves[:, 0, 0] = some.moves[0, 1, 1] = 2 * LEAST
    some.moves[1, 1, 2] = 2 * LEAST
    some.gains[:] = [[LEAST, 4 * LEAST], [2 * LEAST, 4 * LEAST]]
    assert policy_iteration(*process_of(some), 0.9).policy.tolist() == [1, 0, 0]


def test_the_programme_knows_grades_as_they_are(arm, counted):
    segments = _segments(counted, arm)
    assert [one.name for one in segments] == ["A", "B", "C", "D"]  # nobody opens a line in E
    for place, one in enumerate(segments):
        micro = np.array([round(1e6 * one.default_prob)])
        assert grade_places(micro, GRADES).tolist() == [place]  # a mean of chances of the grade
        assert 0.1 < one.utilisation < 0.9
    assert sum(one.customers for one in segments) == counted.opened.sum()


def test_challengers_are_found_and_a_budget_arrives_whole(setting):
    found = find(setting, Decimal("0.5"))
    assert len(found.choices) == len(states_of(GRADES))
    assert {one.share for one in found.choices} <= set(CHOICES)
    assert all(one.share == 1 for one in found.choices if not one.free)
    shares = list(found.by_grade.values())
    assert list(found.by_grade) == list(GRADES)
    assert shares == sorted(shares, reverse=True)
    (arm,) = setting.arms
    # Those who ask are others than those whom it was made for: near the half, not the half itself.
    both = play(replace(setting, arms=(arm, keeping(arm, found.allocated)), months=1)).figures
    whole, given = (one.months["limit_minor"][0] for one in both)
    assert 0.4 < given / whole < 0.55


def test_the_command_tells_states_programme_and_figures(confide):
    words = ("replay", "challengers", "--people", 800, "--months", 2)
    status, out, err = confide(*words)
    assert status == 0, err
    assert "share of what the caps allow that is best in a state" in out
    assert "0.5 allocated" in out
    assert "Nobody here is real" in out
    status, out, _ = confide(*words, "--format", "json", "--budget", "0.4")
    assert status == 0
    data = json.loads(out)["data"]
    assert list(data["arms"]) == ["these rules", "best by state", "0.4 for all", "0.4 allocated"]
    assert len(data["states"]) == len(states_of(GRADES))
    assert data["states"][0]["grade"] == "A"
    assert data["arms"]["0.4 for all"]["limit_minor"] < data["arms"]["these rules"]["limit_minor"]
