"""The policy of a line's life is linted when it is read: everything that is wrong, at once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from server.limits.rules.line_lint import check_with_limits, parse_line_policy
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError
from tests.line_kit import POLICY, TEXT, policy_with

OVERLAY = """
[[overlay]]
scenario = "slump"
since = 2026-03-01
until = 2026-04-30
multiplier = 0.7
approved_by = ["one", "two"]
approved_on = 2026-02-20
note = "output fell"
"""


def findings(*pairs, text=TEXT):
    with pytest.raises(ConfigError) as caught:
        policy_with(*pairs, text=text)
    assert caught.value.source == "line.toml"
    return caught.value.findings


def test_the_reference_is_in_order_and_fits_the_limit_policy():
    assert POLICY.name == "line/2026.1"
    assert POLICY.cut_share == Decimal("0.3")
    assert set(POLICY.rules) == {"B01", "B04", "B05", "B06", "B07", "B09", "B10"}
    check_with_limits(POLICY, parse_policy(*embedded("reference")))
    other = policy_with(("quantum_minor = 10_000", "quantum_minor = 100"))
    with pytest.raises(ConfigError, match="must be 10000, as in policy reference"):
        check_with_limits(other, parse_policy(*embedded("reference")))


def test_all_findings_come_at_once():
    found = "\n".join(
        findings(
            ("every_days = 30", "every_days = 0"),
            ("share = 0.10", "share = 1.10"),
            ('effect = "observe"', 'effect = "watch"'),
            ('metric = "draws"', 'metric = "dreams"'),
            ("most_days", "most_dais"),
        )
    )
    for part in (
        "review.every_days: must be a whole number from 1",
        "step_down.share: must be above 0",
        "triggers[1].effect: must be 'observe'",
        "triggers[1].enter[1].metric: must be of draws, utilisation",
        "temporary.most_dais: is not a setting; did you mean 'most_days'?",
        "temporary.most_days: must be",
    ):
        assert part in found


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("at_most = 3 ", "at_most = 6 ", "must lie below enter"),
        ("at_most = 0.80 ", "at_most = 0.90 ", "must lie below enter"),
        ("dwell_days = 60", "dwell_days = 61", "at most step_down.reviews x review.every_days"),
        ("cool_down_days = 60", "cool_down_days = 59", "at least observation.dwell_days"),
        ("\ncure_days = 60", "\ncure_days = 59", "delinquency.cure_days: must be at least"),
        ("min_days = 60", "min_days = 30", "triggers.B01.min_days: must be at least"),
        ("memory_days = 90", "memory_days = 59", "at least restoration.cool_down_days"),
        ("default_cure_days = 90", "default_cure_days = 30", "must be at least cure_days"),
        ("freeze_from = 60", "freeze_from = 95", "must rise"),
        ("[1, 30, 60, 90, 120]", "[1, 60, 30]", "rising whole numbers"),
        ('always = ["B01", "B04"]', 'always = ["B02"]', "must name B01"),
        ('always = ["B01", "B04"]', 'always = ["B07"]', "a recovery needs an open window"),
        ('code = "B05"', 'code = "B01"', "must differ"),
        ('zone = "Asia/Shanghai"', 'zone = "east of here"', "a place such as"),
        ("steps_down = true", 'steps_down = "yes"', "true or false"),
        ("at_least = 6 }]", "at_least = 6, at_most = 9 }]", "give at_least or at_most"),
        ("over_days = 90, at_least", "over_days = 30, at_least", "over_days: must be"),
    ],
)
def test_a_policy_that_would_break_an_invariant_is_refused(old, new, finding):
    assert any(finding in one for one in findings((old, new)))


def test_missing_sections_are_named():
    found = "\n".join(findings(text='id = "x"\n'))
    for name in ("version", "review.every_days", "cut.most_share", "triggers", "delinquency.zone"):
        assert name in found


def test_a_downturn_is_dated_and_approved_by_two():
    policy = policy_with(text=TEXT + OVERLAY)
    assert policy.overlay_on(date(2026, 2, 28)) is None
    assert policy.overlay_on(date(2026, 3, 1)).multiplier == Decimal("0.7")
    assert policy.overlay_on(date(2026, 4, 30)).approved_by == ("one", "two")
    assert policy.overlay_on(date(2026, 5, 1)) is None
    for old, new, finding in (
        ('["one", "two"]', '["one", "one"]', "must name two people"),
        ("approved_on = 2026-02-20", "approved_on = 2026-03-02", "must not be after since"),
        ("until = 2026-04-30", "until = 2026-02-01", "must not be before since"),
        ("multiplier = 0.7", "multiplier = 1.7", "at most 1"),
    ):
        wrong = TEXT + OVERLAY.replace(old, new)
        assert any(finding in one for one in findings(text=wrong))
    assert any("not overlap" in one for one in findings(text=TEXT + OVERLAY + OVERLAY))


def test_amounts_are_rounded_down_to_a_quantum_and_a_step_is_never_nothing():
    assert POLICY.floored(Decimal("19999.9")) == 10_000
    assert POLICY.step(1_000_000, POLICY.down_share) == 100_000
    assert POLICY.step(10_000, POLICY.down_share) == 10_000
    assert POLICY.lowest_after_cut(1_010_000) == 710_000  # never more than 30 %
    assert POLICY.lowest_after_cut(10_000) == 0
    assert POLICY.floor(1_010_000) == 500_000


def test_broken_toml_names_the_line():
    with pytest.raises(ConfigError, match="line 1"):
        parse_line_policy("id = ?", "p")
