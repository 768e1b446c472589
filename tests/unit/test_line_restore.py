"""Why a limit is not restored: rule, progress, needs, date and steps; and it comes true."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.limits.line.acts import freeze, withdraw_consent
from server.limits.line.restore import restoration
from tests.line_kit import BASE, POLICY, TEXT, Life, busy, policy_with, quiet, target


def why(life, facts=None, on=None, **caps):
    goal = target(caps.pop("smallest", BASE), life.policy, **caps)
    return restoration(life.line, facts or quiet(), goal, life.policy, on or life.line.changed_on)


def observed():
    life = Life()
    life.months(*[busy()] * 6)
    return life


def test_a_limit_that_is_whole_has_nothing_to_restore():
    told = why(Life())
    assert (told.needs, told.steps, told.earliest, told.restored_on) == ((), (), None, None)
    assert told.progress == ""
    assert told.lost_to_behaviour_minor == told.lost_to_caps_minor == 0


def test_the_example_of_the_study_is_computed():
    life = observed()
    told = why(life)
    need = told.needs[0]
    assert (need.code, told.progress, need.needed) == ("B01", "0/2", 2)
    assert [(one.metric, one.days, str(one.threshold)) for one in need.conditions] == [
        ("draws", 30, "3"),
        ("utilisation", 30, "0.80"),
    ]
    last = life.line.changed_on
    assert need.not_before == need.earliest == last + timedelta(days=60)
    assert told.earliest == last + timedelta(days=90)
    assert [(one.on, one.limit_minor) for one in told.steps] == [
        (last + timedelta(days=60), 500_000),
        (last + timedelta(days=90), 750_000),
        (last + timedelta(days=120), 1_000_000),
    ]
    assert told.lost_to_behaviour_minor == 500_000
    plain = told.to_mapping()
    assert plain["needs"][0]["each_review"][0] == {"metric": "draws", "days": 30, "at_most": "3"}
    assert plain["steps"][-1]["state"] == "active"


def test_the_plan_comes_true_for_who_keeps_to_it():
    life = observed()
    life.review()
    promised = [(one.on, one.state, one.limit_minor) for one in why(life).steps]
    kept = []
    while life.line.is_reduced:
        before = life.brief
        life.review()
        if life.brief != before:
            kept.append((life.line.changed_on, life.line.state, life.line.effective_limit_minor))
    assert kept == promised


def test_the_cool_down_is_told_while_it_runs():
    life = Life()
    life.review(smallest=700_000)
    told = why(life)
    assert told.cut_on == life.line.changed_on
    assert told.cool_down_until == life.line.changed_on + timedelta(days=60)
    assert told.earliest == told.cool_down_until
    life.months(quiet(), quiet())
    assert why(life).cool_down_until is None


def test_what_no_review_cures_is_told_apart():
    life = Life()
    life.review(smallest=700_000)
    facts = quiet(dispute=True, budget_used=Decimal(1), consent=False)
    told = why(life, facts, missing={"bureau": "stale"})
    codes = [reason.code for reason in told.waits_for]
    assert codes == ["P-CONSENT", "H-MISSING", "P-DISPUTE", "C-PAUSE"]
    assert told.earliest is not None  # once that is settled
    life.take(withdraw_consent(life.line, life.later(1)))
    assert [reason.code for reason in why(life).waits_for] == ["P-CONSENT"]


def test_caps_that_stay_low_are_told_as_what_holds_it():
    life = Life()
    life.review(smallest=700_000)
    told = why(life, smallest=800_000)
    assert [one.limit_minor for one in told.steps] == [800_000]
    assert told.restored_on is None
    assert [reason.code for reason in told.held_by] == ["P-GRADE"]
    assert told.lost_to_caps_minor == 300_000


def test_arrears_are_told_with_the_day_of_their_cure():
    life = Life()
    life.review(quiet(days_past_due=70))
    today = life.line.changed_on
    told = why(life, quiet(days_past_due=70))
    cure = next(one for one in told.needs if one.code == "B08")
    assert cure.earliest == today + timedelta(days=60)
    assert told.steps[0].state.value == "observation"
    assert told.restored_on is not None
    late = why(life, quiet(days_past_due=95, forborne_on=today))
    assert next(one for one in late.needs if one.code == "B08").earliest.year == today.year + 1


def test_a_freeze_that_a_person_must_look_into_has_no_date():
    life = Life()
    life.take(freeze(life.line, "fraud", life.later(1)))
    told = why(life)
    assert [reason.code for reason in told.waits_for] == ["P-FRAUD"]
    assert (told.earliest, told.steps) == (None, ())


def test_a_downturn_without_an_end_in_the_policy_is_not_counted_out():
    life = Life()
    slump = {"multiplier": Decimal("0.7"), "scenario": "policy"}
    life.review(**slump)
    told = why(life, **slump)
    assert (told.steps, told.restored_on, told.downturn_until) == ((), None, None)
    assert [reason.code for reason in told.held_by] == ["P-GRADE", "M-MACRO"]


@pytest.mark.parametrize("needed", [1, 2, 4])
def test_the_exit_rule_of_the_policy_moves_the_date(needed):
    policy = policy_with(("reviews = 2\nmin", f"reviews = {needed}\nmin"), text=TEXT)
    life = Life(policy=policy)
    life.months(*[busy()] * 3)
    months = max(needed, 2)  # the dwell of 60 days
    exit_on = why(life).needs[0].earliest
    assert exit_on == life.line.changed_on + timedelta(days=30 * months)
    assert POLICY.rules["B01"].reviews == 2
