"""Reviews of a line: the fixed order, what lowers a limit, what brings it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from server.limits.basis.reasons import Reason
from server.limits.caps.decide import decide
from server.limits.line.limit_acts import accept_offer, decline_offer
from server.limits.line.line import State
from server.limits.line.target import Target, target_from, target_of
from shared.errors import Conflict, DataError, Refused
from tests.line_kit import BASE, GRADE, POLICY, START, TEXT, Life, busy, policy_with, quiet, target
from tests.unit.test_limits import PACK, T39, in_slump, snapshot
from tests.unit.test_limits import POLICY as LIMITS

DOWN = {"multiplier": Decimal("0.7"), "scenario": "slump"}


def test_a_quiet_line_stays_as_it_is():
    life = Life()
    done = life.review()
    assert [event.kind for event in done.events] == ["reviewed"]
    assert life.brief == ("active", BASE)
    assert done.reasons == (GRADE,)
    assert life.line.next_review_on == START + timedelta(days=60)


def test_a_cut_for_the_caps_names_the_cap_and_not_the_economy():
    life = Life()
    done = life.review(smallest=900_000)
    assert life.brief == ("reduced", 900_000)
    assert [reason.code for reason in done.reasons] == ["P-GRADE"]
    both = Life().review(smallest=900_000, **DOWN)
    assert [reason.code for reason in both.reasons] == ["P-GRADE", "M-MACRO"]


def test_a_cut_for_the_economy_alone_is_not_about_the_person():
    life = Life()
    done = life.review(**DOWN)
    assert life.brief == ("reduced", 700_000)
    assert [(one.code, one.family) for one in done.reasons] == [("M-MACRO", "outside")]
    assert dict(done.reasons[0].params) == {"scenario": "slump"}


def test_falling_caps_take_one_step_a_review():
    life = Life()
    for expected in (700_000, 490_000, 350_000, 250_000, 200_000, 200_000):
        life.review(smallest=200_000)
        assert life.line.effective_limit_minor == expected


def test_a_small_line_falls_by_a_quantum_and_never_sticks():
    life = Life(smallest=30_000)
    for expected in (20_000, 10_000, 0, 0):
        life.review(smallest=0)
        assert life.line.effective_limit_minor == expected


def test_law_and_customer_are_obeyed_at_once_whatever_a_step_is():
    life = Life()
    life.review(smallest=200_000, absolute_minor=200_000)
    assert life.line.effective_limit_minor == 200_000


def test_a_cut_below_what_is_owed_leaves_the_advised_limit_there():
    life = Life()
    life.review(quiet(outstanding_minor=900_000, held_minor=50_000), smallest=100_000)
    assert life.line.effective_limit_minor == 700_000
    assert life.line.advised_limit_minor == 950_000
    life.review(quiet(outstanding_minor=600_000), smallest=100_000)
    assert (life.line.effective_limit_minor, life.line.advised_limit_minor) == (490_000, 600_000)


def test_what_goes_on_costs_a_step_and_stops_at_the_floor():
    life = Life()
    seen = []
    for _ in range(8):
        life.review(busy())
        seen.append((life.line.effective_limit_minor, life.codes))
    limits = [limit // 1000 for limit, _ in seen]
    assert limits == [1000, 900, 800, 700, 600, 500, 500, 500]
    assert [codes for _, codes in seen] == [["B01"], *[["B02"]] * 5, ["B03"], ["B03"]]
    assert life.line.state is State.OBSERVATION


def test_a_month_between_the_thresholds_neither_costs_nor_cleans():
    life = Life()
    life.months(busy(), quiet(measures={"draws_30d": 5}))
    assert life.brief == ("observation", BASE)
    assert life.line.window("B01").clean == 0
    life.review(busy())
    assert life.brief == ("observation", BASE)  # not two running


def test_an_observation_needs_its_clean_reviews_in_a_row():
    life = Life()
    life.months(busy(), quiet(), quiet(measures={"draws_30d": 4}), quiet())
    assert life.line.state is State.OBSERVATION
    assert life.codes == ["H01"]
    life.review()
    assert life.brief == ("active", BASE)
    assert life.codes == ["R01"]


def test_a_full_balance_makes_a_review_unclean():
    life = Life()
    life.months(busy(), quiet(), quiet(measures={"peak_balance_30d": 850_000}))
    assert life.line.window("B01").clean == 0


def test_late_payment_makes_a_review_unclean():
    life = Life()
    life.months(busy(), quiet(), quiet(days_past_due=5))
    assert life.line.window("B01").clean == 0


def test_a_step_up_waits_for_the_cool_down_and_not_between_steps():
    life = Life()
    life.review(smallest=400_000)
    life.review(smallest=400_000)
    assert life.line.effective_limit_minor == 490_000
    seen = []
    for _ in range(5):
        life.review()
        seen.append(life.brief)
    assert seen == [
        ("reduced", 490_000),  # 30 days after the last cut
        ("restoring", 740_000),
        ("restoring", 990_000),
        ("active", 1_000_000),
        ("active", 1_000_000),
    ]
    assert life.line.restored_on == life.line.loosened_on


def test_a_gap_smaller_than_a_step_is_closed_in_one_review_through_restoring():
    life = Life()
    life.review(smallest=900_000)
    life.review()
    done = life.review()
    assert [event.state_to.value for event in done.events] == ["restoring", "active", "active"]
    assert life.brief == ("active", BASE)
    assert life.codes == ["R02", "R03"]


def test_no_step_up_in_the_review_of_a_cut_or_an_exit():
    life = Life()
    life.months(*[busy()] * 6)
    life.months(quiet(), quiet())
    assert life.brief == ("reduced", 500_000)
    assert life.codes == ["R01"]
    life.review(multiplier=Decimal("0.4"))
    assert life.codes == ["M-MACRO"]
    assert life.brief == ("reduced", 400_000)


def test_restoration_stops_at_what_the_caps_allow_and_goes_on_when_they_rise():
    life = Life()
    life.review(smallest=700_000)
    life.months(quiet(), quiet(), quiet(), smallest=800_000)
    assert life.brief == ("restoring", 800_000)
    life.months(quiet(), quiet(), smallest=2_000_000)
    assert life.brief == ("active", BASE)  # not above what was agreed


def test_caps_that_fall_again_reduce_a_restoring_line():
    life = Life()
    life.review(smallest=700_000)
    life.months(quiet(), quiet())
    assert life.brief == ("restoring", 950_000)
    life.review(smallest=800_000)
    assert life.brief == ("reduced", 800_000)


def test_a_trigger_on_the_way_up_observes_only_after_the_dwell():
    life = Life()
    life.review(smallest=500_000)
    life.review(smallest=500_000)
    life.months(quiet(), quiet(), smallest=1_000_000)
    assert life.brief == ("restoring", 750_000)
    life.review(busy())
    assert life.brief == ("restoring", 750_000)  # held, but no flip 30 days after
    assert life.line.window("B01") is not None
    life.review(busy())
    assert life.brief == ("observation", 650_000)
    assert life.codes == ["B01", "B02"]


def test_a_hold_within_the_dwell_is_lifted_like_an_observation():
    life = Life()
    life.review(smallest=500_000)
    life.review(smallest=500_000)
    life.months(quiet(), quiet(), smallest=1_000_000)
    life.months(busy(), quiet(), quiet())
    assert life.brief == ("restoring", 750_000)
    assert life.codes == ["R01"]
    life.review()
    assert life.brief == ("active", BASE)


def test_a_step_down_and_a_smaller_cut_in_one_review_are_the_step():
    """A cut by less than a step must not shield from it: the safer line would fare worse."""
    life = Life()
    life.review(busy())
    life.review(busy(), smallest=980_000)
    assert life.line.effective_limit_minor == 900_000
    assert life.codes == ["P-GRADE", "B02"]


def test_the_allocator_lowers_last_and_says_capital():
    life = Life()
    done = life.review(scale=Decimal("0.85"))
    assert life.brief == ("reduced", 850_000)
    assert [(one.code, one.family) for one in done.reasons] == [("C-CAP", "outside")]
    life.months(quiet(), quiet(), scale=Decimal("0.85"))
    assert life.brief == ("reduced", 850_000)


def test_cut_and_scale_together_take_no_more_than_a_step():
    life = Life()
    life.review(smallest=800_000, scale=Decimal("0.5"))
    assert life.line.effective_limit_minor == 700_000
    assert life.codes == ["P-GRADE", "C-CAP"]


def test_an_early_review_lowers_and_holds_but_counts_and_raises_nothing():
    life = Life()
    life.review(busy(), on=START + timedelta(days=10))
    assert life.brief == ("observation", BASE)
    assert life.line.window("B01").run == 0
    assert life.line.next_review_on == START + timedelta(days=30)
    for day in (12, 14, 16):
        life.review(on=START + timedelta(days=day))
    assert life.line.window("B01").clean == 0
    life.review(smallest=800_000, on=START + timedelta(days=20))
    assert life.line.effective_limit_minor == 800_000


def test_an_early_review_does_not_raise_a_line_that_is_ready_to_rise():
    life = Life()
    life.review(smallest=700_000)
    life.months(quiet(), quiet(dispute=True), quiet(dispute=True))
    life.review(on=life.later(29))
    assert life.brief == ("reduced", 700_000)
    assert life.line.offer is None
    life.review()
    assert life.brief == ("restoring", 950_000)


def test_a_cut_of_the_caps_starts_the_cool_down_of_lines_below_it_too():
    """I9: else the line that was low for its draws would come back before the one that was not."""
    often, seldom = Life(), Life()
    often.months(*[busy()] * 5, quiet())
    seldom.months(*[quiet()] * 6)
    for life in (often, seldom):
        life.review(**DOWN)
    assert (often.brief, seldom.brief) == (("reduced", 600_000), ("reduced", 700_000))
    for life in (often, seldom):
        life.review()
    assert (often.brief, seldom.brief) == (("reduced", 600_000), ("reduced", 700_000))
    for life in (often, seldom):
        life.review()
    assert (often.brief, seldom.brief) == (("restoring", 850_000), ("restoring", 950_000))


@pytest.mark.parametrize(
    ("facts", "caps", "code"),
    [
        ({"consent": False}, {}, "P-CONSENT"),
        ({"dispute": True}, {}, "P-DISPUTE"),
        ({"budget_used": Decimal("0.95")}, {}, "C-PAUSE"),
        ({}, {"missing": {"bureau": "stale"}}, "H-MISSING"),
    ],
)
def test_nothing_is_raised_while_something_forbids_it(facts, caps, code):
    def ready():
        life = Life()
        life.review(smallest=700_000)
        return life.months(quiet())

    blocked = ready()
    done = blocked.review(quiet(**facts), **caps)
    assert blocked.brief == ("reduced", 700_000)
    assert code in [reason.code for reason in done.reasons]
    free = ready()
    free.review()
    assert free.brief == ("restoring", 950_000)


def test_a_silent_holders_measures_set_nothing_off_and_clean_nothing():
    life = Life()
    life.review(replace(quiet(), measures={}))
    assert life.brief == ("active", BASE)
    assert life.line.clean_reviews == 0
    life.months(quiet(measures={"enquiries_30d": 5, "enquiries_90d": 5}))
    life.months(*[quiet()] * 6)
    assert life.brief == ("observation", BASE)  # nobody says that the enquiries are over


def test_an_increase_is_an_offer_and_at_most_half_of_the_limit():
    life = Life()
    life.review(smallest=2_000_000)
    assert life.line.offer is None  # 30 days after opening
    life.review(smallest=2_000_000)
    assert life.line.offer.limit_minor == 1_500_000
    assert life.brief == ("active", BASE)
    offered = life.line.offer.made_on
    life.take(accept_offer(life.line, target(2_000_000), POLICY, offered + timedelta(days=5)))
    assert life.brief == ("active", 1_500_000)
    assert life.events[-1].initiator == "customer"
    life.months(*[quiet()] * 5, smallest=3_000_000)
    assert life.line.offer is None  # not within 6 months
    life.months(quiet(), quiet(), smallest=3_000_000)
    assert life.line.offer.limit_minor == 2_250_000


def offered():
    life = Life()
    life.months(quiet(), quiet(), smallest=2_000_000)
    assert life.line.offer is not None
    return life


def test_an_offer_lapses_and_can_be_declined():
    life = offered()
    with pytest.raises(Conflict, match="no open offer"):
        accept_offer(life.line, target(2_000_000), POLICY, life.line.offer.until + timedelta(1))
    life.review(smallest=2_000_000)
    assert life.line.offer is not None  # its last day
    life.review(smallest=2_000_000)
    assert life.line.offer is None
    again = offered()
    again.take(decline_offer(again.line, again.later(1)))
    again.months(quiet(), smallest=2_000_000)
    assert again.line.offer is None


def test_an_offer_is_no_promise_against_caps_that_fell():
    life = offered()
    day = life.later(1)
    with pytest.raises(Refused, match="no more"):
        accept_offer(life.line, target(BASE), POLICY, day)
    with pytest.raises(Refused, match="silent"):
        accept_offer(life.line, target(2_000_000, missing={"bank": "stale"}), POLICY, day)
    life.take(accept_offer(life.line, target(1_200_000), POLICY, day))
    assert life.line.approved_limit_minor == 1_200_000


@pytest.mark.parametrize("facts", [busy(), quiet(dispute=True), quiet(days_past_due=10)])
def test_an_offer_is_withdrawn_when_something_stands_against_it(facts):
    life = offered()
    life.review(facts, smallest=2_000_000)
    assert life.line.offer is None


def test_utilisation_is_a_share_of_the_limit_before_the_cut():
    """A cut makes the same debt a larger share; it must not be the next trigger (domain 7)."""
    life = Life()
    owing = quiet(measures={"peak_balance_30d": 650_000})
    life.months(owing)
    life.review(owing, **DOWN)  # 650,000 is 93 % of what is left
    assert life.line.window("B04") is None
    assert life.line.clean_reviews == 2
    forgetful = Life()
    forgetful.months(owing)
    forgetful.review(owing, **DOWN)
    forgetful.line = replace(forgetful.line, before_cuts=())
    forgetful.review(owing, **DOWN)
    assert forgetful.line.window("B04") is not None


def spiral(remembers):
    """Reviews of a constant debt whose caps fall with utilisation, as a score's would."""
    life = Life()
    debt, limits = 600_000, []
    for month in range(12):
        line = life.line
        whole = max(
            line.effective_limit_minor, *(limit for _, limit in line.before_cuts if remembers), 1
        )
        # The shock of a downturn in month 1, and a score that takes off what utilisation adds.
        used = Decimal(debt) / whole
        caps = int(BASE * max(Decimal(0), min(Decimal(1), 1 - 2 * (used - Decimal("0.6")))))
        life.review(
            quiet(measures={"peak_balance_30d": debt}, outstanding_minor=debt),
            smallest=caps,
            multiplier=Decimal("0.7") if month == 1 else Decimal(1),
        )
        limits.append(life.line.effective_limit_minor)
    return limits


def test_a_cut_does_not_cut_again_while_behaviour_is_constant():
    kept, fed_back = spiral(remembers=True), spiral(remembers=False)
    assert kept[:5] == [BASE, 700_000, 700_000, 950_000, BASE]
    assert min(kept) == 700_000
    assert kept[-1] == BASE
    assert fed_back[-1] < 700_000  # the control: the loop is real


def test_an_idle_line_is_taken_back_only_where_the_policy_says_so():
    text = TEXT + "\n[inactivity]\nafter_days = 90\nshare = 0.10\nfloor_share = 0.80\n"
    policy = policy_with(text=text)
    life, control = Life(policy=policy), Life()
    unused = quiet(measures={"draws_30d": 0, "peak_balance_30d": 0}, last_draw_on=START)
    for one in (life, control):
        one.months(*[unused] * 6)
    assert control.brief == ("active", BASE)
    assert life.brief == ("reduced", 800_000)
    assert "I-IDLE" in [reason.code for event in life.events for reason in event.reasons]
    life.months(unused)
    assert life.brief == ("reduced", 800_000)
    used = quiet(last_draw_on=life.line.next_review_on)
    life.review(used)
    assert life.brief == ("active", BASE)


def test_a_score_that_falls_is_observed_until_it_recovers():
    life = Life()
    life.review(quiet(measures={"score": 700}))
    life.review(quiet(measures={"score": 669}))
    assert life.line.state is State.OBSERVATION
    assert life.codes == ["B07"]
    life.months(*[quiet(measures={"score": 680})] * 3)
    assert life.line.state is State.OBSERVATION
    life.months(*[quiet(measures={"score": 684})] * 2)
    assert life.brief == ("active", BASE)
    steady = Life()
    steady.months(quiet(measures={"score": 700}), quiet(measures={"score": 671}))
    assert steady.line.state is State.ACTIVE


def test_a_hold_is_told_once_when_it_begins():
    life = Life()
    full = quiet(measures={"peak_balance_30d": 900_000})
    life.review(full)
    assert life.codes == ["B04"]
    assert life.brief == ("active", BASE)
    life.review(full)
    assert life.codes == []
    life.review()
    assert life.line.windows == ()


def test_reasons_are_four_at_most():
    worst = quiet(
        measures={
            "draws_30d": 9,
            "spend_30d": 300_000,
            "spend_90d": 300_000,
            "enquiries_30d": 5,
            "enquiries_90d": 9,
            "peak_balance_30d": 999_000,
            "others": 400_000,
            "others_90d_ago": 100_000,
            "score": 600,
        }
    )
    life = Life()
    life.review(quiet(measures={"score": 700}))
    done = life.review(worst)
    codes = [reason.code for reason in done.reasons]
    assert codes == ["B01", "B05", "B06", "B07"]
    assert len(done.line.windows) == 6


def test_a_target_must_be_in_order_and_say_why():
    with pytest.raises(DataError, match="scaled <= limit <= full"):
        Target(100, 90, 80, (GRADE,))
    with pytest.raises(DataError, match="which cap binds"):
        Target(100, 100, 100, ())


def test_t39_target_rounds_the_cap_then_the_multiplier_then_the_scale():
    assert target_from(1_942_857, (GRADE,), POLICY, multiplier=Decimal("0.7")).limit_minor == (
        1_350_000
    )
    scaled = target_from(
        1_942_857, (GRADE,), POLICY, multiplier=Decimal("0.7"), scale=Decimal("0.99")
    )
    assert (scaled.full_minor, scaled.scaled_minor) == (1_940_000, 1_330_000)
    assert [one.code for one in scaled.told()] == ["P-GRADE", "M-MACRO", "C-CAP"]


def test_a_target_takes_the_stricter_of_policy_and_downturn():
    overlay = """
[[overlay]]
scenario = "slump"
since = 2026-02-01
until = 2026-02-28
multiplier = 0.8
approved_by = ["one", "two"]
approved_on = 2026-01-15
note = "a test"
"""
    policy = policy_with(text=TEXT + overlay)
    decision = decide(LIMITS, PACK, snapshot(), T39)
    before, during = (target_of(decision, policy, day) for day in (START, START.replace(month=2)))
    assert (before.limit_minor, before.scenario) == (1_940_000, "")
    assert (during.limit_minor, during.scenario) == (1_550_000, "slump")
    assert before.reasons[0] == Reason("P-LOSS", "policy", amount_minor=1_942_857)
    worse = decide(in_slump("0.7"), PACK, snapshot(), T39)
    assert target_of(worse, policy, START.replace(month=2)).limit_minor == 1_350_000
    held = decide(
        LIMITS, PACK, snapshot(missing={"bureau": "stale"}), replace(T39, current_minor=10_000)
    )
    assert target_of(held, policy, START).missing == {"bureau": "stale"}
    assert target_of(held, policy, START).limit_minor == 1_940_000
