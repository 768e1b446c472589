"""The six readings of decision 21, each pinned by its figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from server.limits.line.line import State
from server.limits.line.triggers import Facts
from server.limits.line.waterfall import available
from tests.line_kit import BASE, POLICY, START, TEXT, Life, busy, policy_with, quiet

DOWN = {"multiplier": Decimal("0.7"), "scenario": "slump"}


def watched():
    """Return a line that has been seen busy once: the next busy review costs a step."""
    return Life().months(busy())


def test_1_a_cut_by_a_quantum_does_not_save_from_a_step():
    safer, riskier = watched(), watched()
    safer.review(busy())
    riskier.review(busy(), smallest=BASE - POLICY.quantum_minor)
    assert safer.line.effective_limit_minor == 900_000
    assert riskier.line.effective_limit_minor == 900_000  # skipped, it would be 990,000


def test_1_cut_and_step_are_not_added_up():
    life = watched()
    life.review(busy(), **DOWN)
    assert life.line.effective_limit_minor == 700_000  # added up, it would be 600,000


def test_2_a_fall_of_the_caps_makes_a_lower_line_wait_as_long():
    often = Life().months(*[busy()] * 5, quiet())
    often.review(**DOWN)
    fell = often.line.caps_cut_on
    assert (often.line.effective_limit_minor, often.line.caps_limit_minor) == (600_000, 700_000)
    assert often.line.cut_on < fell  # its own limit did not fall
    often.review()
    assert often.brief == ("reduced", 600_000)
    assert often.line.changed_on - fell == timedelta(days=30)
    often.review()
    assert often.brief == ("restoring", 850_000)


def test_3_a_line_at_a_sunk_target_is_reduced_and_comes_back_without_an_offer():
    life = Life().months(busy(), quiet(), **DOWN)
    life.review(**DOWN)
    assert life.codes == ["R01"]
    assert life.brief == ("reduced", 700_000)  # by the day's target it would be active
    life.months(quiet(), quiet())
    assert life.brief == ("active", BASE)
    assert life.line.offer is None
    assert life.line.increased_on is None


def test_4_within_the_dwell_a_trigger_holds_and_only_a_cut_moves():
    life = Life()
    life.review(smallest=500_000)
    life.review(smallest=500_000)
    life.months(quiet(), quiet())
    assert life.brief == ("restoring", 750_000)
    held, cut = Life(), Life()
    held.line = cut.line = life.line
    held.review(busy())
    assert held.brief == ("restoring", 750_000)
    assert [one.code for one in held.line.windows] == ["B01"]
    cut.review(smallest=600_000)
    assert cut.brief == ("reduced", 600_000)


def test_4_an_observation_lasts_the_dwell_after_it_was_last_set_off():
    life = Life().months(busy(), quiet())
    assert life.line.windows[0].clean == 1
    early = replace(life.line, windows=(replace(life.line.windows[0], clean=2),))
    seen = early.windows[0].seen_on
    life.line = replace(early, next_review_on=seen + timedelta(days=59))
    life.review()
    assert life.line.state is State.OBSERVATION
    life.line = replace(early, next_review_on=seen + timedelta(days=60))
    life.review()
    assert life.line.state is State.ACTIVE


def test_5_the_advised_limit_follows_the_debt_down_and_never_below():
    life = Life()
    advised = []
    for owed in (900_000, 800_000, 500_000, 200_000):
        life.review(quiet(outstanding_minor=owed, held_minor=1_000), smallest=300_000)
        advised.append((life.line.effective_limit_minor, life.line.advised_limit_minor))
    assert advised == [
        (700_000, 901_000),
        (490_000, 801_000),
        (350_000, 501_000),
        (300_000, 300_000),
    ]
    assert available(life.line, life.line.changed_on, 901_000).amount_minor == 0


def never_drawn(on):
    return Facts(measures={"draws_30d": 0, "peak_balance_30d": 0}, last_draw_on=on)


def test_6_an_idle_line_stays_and_with_the_switch_it_falls_for_a_reason_of_its_own():
    text = TEXT.replace("# [inactivity]", "[inactivity]")
    for name in ("after_days = 365", "share = 0.10", "floor_share = 0.50"):
        text = text.replace(f"# {name}", name)
    reclaiming = policy_with(text=text)
    limits = {}
    for policy in (POLICY, reclaiming):
        idle, used = Life(policy=policy), Life(policy=policy)
        for _ in range(14):
            idle.review(never_drawn(START))
            used.review(quiet(last_draw_on=used.line.next_review_on))
        limits[policy is reclaiming] = (
            idle.line.effective_limit_minor,
            used.line.effective_limit_minor,
            idle.codes,
        )
    assert limits[False] == (BASE, BASE, [])
    # With it, who draws more has more: I9 does not hold, which is why it is off.
    assert limits[True] == (800_000, BASE, ["I-IDLE"])
