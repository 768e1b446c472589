"""Why a limit is not back, told: every sentence from the policy's figures and the plan's dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from server.api.wording import texts_in
from server.limits.answers.way_back import REVIEW_STEPS, each_review, slowest, way_back
from server.limits.line import golden
from server.limits.line.restore import restoration
from server.limits.rules.line_policy import Overlay
from server.limits.words.explain import Money
from tests.line_kit import POLICY, START, Life, busy, policy_with, quiet, target

CNY = Money("CNY", 2)
EN, ZH = texts_in("en"), texts_in("zh")


def told(life, texts=EN, facts=None, on=None, **caps):
    goal = target(caps.pop("smallest", life.smallest), life.policy, **caps)
    plan = restoration(life.line, facts or quiet(), goal, life.policy, on or life.line.changed_on)
    return way_back(plan, life.line.base_limit_minor, life.policy, texts, CNY)


def after_seven():
    """Return the golden customer FREQUENT after cycle 7, and its reviews' policy."""
    policy = golden.with_downturn(POLICY)
    trace = golden.run(golden.frequent(), policy)
    return trace.rows[6], policy


def test_the_studys_example_of_an_explanation_comes_out_of_the_golden_replay():
    """Domain 5.5: two reviews with at most 3 loans, 0/2, 2026-09-28, +2,500 and 60 days."""
    row, policy = after_seven()
    view = way_back(row.why, golden.BASE_MINOR, policy, ZH, CNY)
    assert view["rule"] == "B01"
    assert view["progress"] == "0/2"
    assert view["earliest"] == "2026-09-28"
    assert view["needs"].startswith("连续2次复评")
    assert "30天内借款不超过3次" in view["needs"]
    assert view["needs"].endswith("且无逾期")
    assert view["then"] == "此后每次复评正常最多恢复2,500.00元\uff0c且距上次下调至少60天"
    assert view["missing_minor"] == 500_000
    assert view["lost_to_behaviour_minor"] + view["lost_to_rules_minor"] == 500_000
    assert view["restored_on"] == "2026-11-27"
    assert [one["limit_minor"] for one in view["steps"]][-2:] == [750_000, 1_000_000]
    assert "2026年11月27日" in view["text"][-1]


def test_a_whole_limit_misses_nothing():
    view = told(Life())
    assert (view["missing_minor"], view["needs"], view["then"]) == (0, "", "")
    (text,) = view["text"]
    assert text.startswith("Nothing is missing: the limit of 10,000.00 CNY is")


def test_what_no_review_cures_is_named_and_the_dates_count_from_then_on():
    life = Life().months(busy(), busy(), busy())
    view = told(life, facts=quiet(dispute=True))
    assert [one["code"] for one in view["waits_for"]] == ["P-DISPUTE"]
    assert view["waits_for"][0]["text"] in view["text"]
    assert not any("waits_for" in line for line in view["text"])  # no name of a field
    assert not told(life)["waits_for"]


def test_a_downturn_that_the_policy_ends_is_said_with_its_last_day():
    until = START + timedelta(days=200)
    overlay = Overlay("slump", START, until, policy_with().cut_share, ("a", "b"), START, "")
    overlay = replace(overlay, multiplier=type(overlay.multiplier)("0.7"))
    policy = replace(POLICY, overlays=(overlay,))
    life = Life(policy=policy)
    life.review(quiet(), multiplier=overlay.multiplier, scenario="slump")
    view = told(life, multiplier=overlay.multiplier, scenario="slump")
    assert view["downturn_until"] == until.isoformat()
    assert any(EN.day(until) in line for line in view["text"])


def test_where_the_rules_allow_no_more_nothing_is_promised():
    life = Life()
    life.review(quiet(), smallest=700_000)
    life.review(quiet(), smallest=700_000)
    view = told(life, smallest=700_000)
    assert (view["earliest"], view["rises_on"], view["restored_on"]) == (None, None, None)
    assert [one["code"] for one in view["held_by"]] == ["P-GRADE"]
    assert view["text"][-1].startswith("As things are today, no coming review raises")


def test_after_late_payment_the_cure_is_named_with_its_day():
    life = Life()
    life.review(quiet(days_past_due=35))
    paid = life.line.changed_on
    facts = quiet(clear_since=paid)
    view = told(life, facts=facts, on=paid)
    assert view["rule"] == "B08"
    day = EN.day(date.fromisoformat(view["earliest"]))
    assert view["needs"] == f"whatever is due paid by today, and nothing overdue until {day}"
    # Late payment is no watch: it is not told as one.
    assert any(f"the time after the late payment ends on {day}" in one for one in view["text"])
    assert not any("watch" in one for one in view["text"])
    assert view["progress"] == ""


@pytest.mark.parametrize("texts", [EN, ZH])
def test_a_limit_that_the_next_review_will_lower_is_told_so_before_it_falls(texts):
    line = Life()
    view = told(line, texts, smallest=700_000)
    day, low = texts.day(line.line.next_review_on), texts.money(700_000, "CNY", 2)
    assert any(day in one and low in one for one in view["text"])
    assert len(told(line, texts)["text"]) == 1


def test_a_watch_on_a_whole_limit_has_its_end_told_too():
    view = told(Life().months(busy()))
    assert view["missing_minor"] == 0
    day = EN.day(date.fromisoformat(view["earliest"]))
    assert f"the watch ends on {day} at the earliest" in view["text"][1]


@pytest.mark.parametrize("texts", [EN, ZH])
def test_the_steps_of_a_review_follow_the_deployed_policy(texts):
    mine = policy_with(
        ("most_share = 0.30", "most_share = 0.20"), ("every_days = 30", "every_days = 31")
    )
    before = each_review(POLICY, START, 1_000_000, texts, CNY)
    after = each_review(mine, START, 1_000_000, texts, CNY)
    assert len(before["steps"]) == len(REVIEW_STEPS)
    assert before["then_on"] == (START + timedelta(days=30)).isoformat()
    assert after["then_on"] == (START + timedelta(days=31)).isoformat()
    pairs = zip(REVIEW_STEPS, before["steps"], after["steps"], strict=True)
    assert [name for name, old, new in pairs if old != new] == ["cut", "reasons"]


def test_the_slowest_rule_is_the_one_with_most_reviews_left():
    row, _ = after_seven()
    assert slowest(row.why).code == "B01"
    assert slowest(replace(row.why, needs=())) is None
