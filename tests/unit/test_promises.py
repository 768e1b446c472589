"""People who follow what they were told get what they were promised, on the day promised."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.limits.line.line import State
from server.replay.book import Rules
from server.replay.figures import Prices
from server.replay.play import Arm, learn
from shared.world.chance import Span
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from check_promises import broken, follow, kept_to, promised


@pytest.fixture(scope="module")
def told():
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    arm = Arm(rules, learn(1), Prices(0.146))
    return promised(arm, Span(0, 0, 1500), 1, 400)


def test_whoever_follows_has_on_the_day_what_was_promised_for_it(told):
    assert len(told.plans) == 400
    assert {plan.state for plan in told.plans} >= {
        *(State.OBSERVATION, State.REDUCED, State.RESTORING, State.FROZEN)
    }
    assert sum(len(plan.steps) for plan in told.plans) > 1000
    limits = follow(told.done, kept_to(told.done))
    assert broken(told, limits, told.done.policy) == []


@pytest.mark.parametrize(
    "measure", [{"draws_30d": 8}, {"enquiries_90d": 7}, {"enquiries_30d": 5}], ids=str
)
def test_whoever_does_not_follow_does_not(told, measure):
    facts = kept_to(told.done)
    facts = replace(
        facts,
        measures=dict(facts.measures)
        | {name: facts.measures[name] * 0 + value for name, value in measure.items()},
    )
    assert len(broken(told, follow(told.done, facts), told.done.policy)) > 100
