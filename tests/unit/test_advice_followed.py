"""Simulated people who do what they are advised to have what it was said to bring, by that day."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.limits.answers.actions import parse_actions
from server.limits.batch.rows import target_of_row
from server.limits.caps.decide import decide
from server.limits.line.target import target_of
from server.policies import embedded
from server.replay.book import Rules
from server.replay.figures import Prices
from server.replay.play import Arm, Setting, learn, moments
from shared.world.chance import Span
from shared.world.economy import ECONOMIES
from shared.world.life import warm
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from check_advice import LIVED, checked, customers, days_of, lived

SPAN = Span(0, 0, 500)


@pytest.fixture(scope="module")
def arm():
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    return Arm(rules, learn(1), Prices(0.146))


@pytest.fixture(scope="module")
def advised(arm):
    """Everybody with an advice, the advice, and what following it and going on bring."""
    actions = parse_actions(*embedded("advice"))
    return [
        (customer, *one)
        for customer in customers(arm, SPAN, 1, 150)
        for one in checked(customer, actions)
    ]


def test_whoever_does_it_has_what_was_said_on_the_day(advised):
    assert len(advised) > 50
    assert {code for _, advice, *_ in advised for code in advice.codes} >= {"ADV-UTIL", "ADV-PAY"}
    assert [
        one.expected_minor for _, one, follows, _ in advised if follows < one.expected_minor
    ] == []


def test_whoever_goes_on_as_before_mostly_does_not(advised):
    less = sum(goes_on < advice.expected_minor for _, advice, _, goes_on in advised)
    assert less > 0.9 * len(advised)


def test_whoever_does_it_by_half_mostly_does_not(advised):
    """Owing twice what was advised, or half of what is owed more: the check can fail."""
    short, tried = 0, 0
    for customer, advice, *_ in advised:
        if advice.codes != ("ADV-UTIL",):
            continue
        days = days_of(customer, advice.changes)
        owes = customer.facts.outstanding_minor
        half = replace(days, owed_minor=(days.owed_minor + owes) // 2)
        tried += 1
        short += lived(customer, half, advice.by) < advice.expected_minor
    assert tried > 20
    assert short > 0.5 * tried


def test_the_caps_that_are_asked_are_those_of_the_replay(arm):
    setting = Setting(SPAN.stop, LIVED, 1, ECONOMIES["calm"], (arm,))
    *_, last = moments(setting, SPAN, warm(SPAN, 1), arm)
    done, day = last.book.reviewed, last.book.reviewed.as_of
    for row, customer in zip(range(100), customers(arm, SPAN, 1, 100), strict=False):
        caps = customer.reviews.caps
        before = int(last.before.lines.effective_limit_minor[row])
        inputs = replace(caps.inputs, current_minor=before)
        own = target_of(decide(caps.policy, caps.pack, caps.snapshot, inputs), arm.rules.line, day)
        assert own.limit_minor == target_of_row(done.targets, row).limit_minor
