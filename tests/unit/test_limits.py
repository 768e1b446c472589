"""The limit's arithmetic against figures worked out elsewhere (domain study, section 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from server.limits.caps.caps import (
    Income,
    Inputs,
    all_caps,
    capacity_cap,
    counted_income,
    legal_cap,
    loss_cap,
    rounded,
    stressed_default_prob,
)
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Rating, Scorer, Share, Snapshot, merged_reasons
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy import Capacity, LossCap, Macro
from server.limits.rules.policy_lint import check_together, parse_policy
from server.policies import embedded
from shared.errors import ConfigError, DataError, UsageError
from shared.scorecard.scale import PRODUCT_SCALE
from tests.service.kit import baselines, card

DAY = date(2026, 3, 1)
POLICY = parse_policy(*embedded("reference"))
PACK = parse_pack(*embedded("pack_cn"))
GOOD_B = Rating(70, Decimal("0.02"), 664, "B")
T39 = Inputs(DAY, drawn_minor=200_000, income=Income(800_000, "bank", 220_000))


def snapshot(rating=GOOD_B, missing=None, at_best=None, reasons=()):
    return Snapshot(rating, at_best or rating, {"bank": rating.points}, missing or {}, reasons)


def in_slump(multiplier="0.7"):
    return replace(POLICY, macro=(Macro(date(2026, 1, 1), Decimal(multiplier), "slump"),))


def test_expected_loss_cap_of_t16():
    cap = LossCap(15_000, Decimal("0.7"), Decimal("0.5"))
    assert loss_cap(cap, Decimal("0.02"), 200_000) == 1_942_857
    assert rounded(1_942_857, Decimal(1), 10_000) == 1_940_000


def test_expected_loss_cap_is_nothing_where_the_drawn_part_alone_costs_more():
    cap = LossCap(15_000, Decimal("0.7"), Decimal("0.5"))
    assert loss_cap(cap, Decimal("0.5"), 1_000_000) == 0


def test_capacity_cap_of_t17():
    # The study prints 19,984.53, the nearest; a cap is the amount below it.
    monthly = 0.146 / 12
    exact = (0.5 * 800_000 - 220_000) * (1 - (1 + monthly) ** -12) / monthly
    assert round(exact) == 1_998_453
    capacity = Capacity(Decimal("0.5"), Decimal("0.146"), 12)
    assert capacity_cap(capacity, 800_000, 220_000) == 1_998_452


def test_capacity_without_interest_is_the_sum_of_the_instalments():
    assert capacity_cap(Capacity(Decimal("0.5"), Decimal(0), 10), 1000, 100) == 4000
    assert capacity_cap(Capacity(Decimal("0.5"), Decimal(0), 10), 1000, 500) == 0


@pytest.mark.parametrize(
    ("default_prob", "charge"),
    [("0.01", 0.0214345101785415), ("0.1", 0.104400546577197), ("0.999", 0.00064614706087279)],
)
def test_stressed_loss_less_the_expected_is_basels_charge_of_t11(default_prob, charge):
    probability = Decimal(default_prob)
    stressed = float(stressed_default_prob(probability)) * 0.7
    # The stressed rate is kept to six decimals, rounded up.
    assert 0 <= stressed - float(probability) * 0.7 - charge <= 0.7e-6


def test_a_cap_on_the_stressed_loss_never_rises_with_risk():
    policy = replace(POLICY, stress_loss=LossCap(60_000, Decimal("0.7"), Decimal("0.5")))
    caps = [
        all_caps(policy, PACK, replace(GOOD_B, default_prob=Decimal(ppm).scaleb(-6)), Inputs(DAY))
        for ppm in range(1, 1_000_000, 7919)
    ]
    stress = [cap["stress_loss"] for cap in caps]
    assert stress == sorted(stress, reverse=True)
    assert stress[0] > stress[-1]


@pytest.mark.parametrize(("income", "cap"), [(1_000_000, 4_000_000), (10_000_000, 30_000_000)])
def test_draft_cap_of_t29_is_a_third_of_the_annual_income(income, cap):
    pack = parse_pack(*embedded("pack_cn_draft_2020"))
    inputs = Inputs(DAY, income=Income(income, "bank"))
    assert legal_cap(POLICY, pack, inputs) == cap
    # Where the law counts income, nobody's word is no income: a proof can only raise the cap.
    assert legal_cap(POLICY, pack, Inputs(DAY)) == 0


@pytest.mark.parametrize(
    ("default_prob", "score"),
    [
        ("0.615385", 350),
        ("0.090909", 550),
        ("0.047619", 600),
        ("0.024390", 650),
        ("0.012346", 700),
        ("0.000390", 950),
    ],
)
def test_scale_of_t34(default_prob, score):
    assert round(float(PRODUCT_SCALE.score_of(float(default_prob)))) == score


def test_t39_cap_stack():
    caps = all_caps(POLICY, PACK, GOOD_B, T39)
    assert caps == {
        "grade": 2_500_000,
        "expected_loss": 1_942_857,
        "income": 2_000_000,
        "capacity": 1_998_452,
        "product": 5_000_000,
        "jurisdiction": 30_000_000,
    }
    before = Inputs(date(2025, 3, 20))
    assert legal_cap(POLICY, PACK, before) == 20_000_000
    decision = decide(POLICY, PACK, snapshot(), T39)
    assert (decision.limit_minor, decision.binding) == (1_940_000, ("expected_loss",))
    assert [reason.code for reason in decision.reasons] == ["P-LOSS"]


def test_t39_multiplier_comes_after_the_cap_is_rounded_to_the_minor_unit():
    decision = decide(in_slump(), PACK, snapshot(), T39)
    assert decision.limit_minor == 1_350_000  # 13,600 if the order were another
    assert [reason.code for reason in decision.reasons] == ["P-LOSS", "M-MACRO"]
    assert decision.reasons[1].family == "outside"


def test_haircut_counts_by_who_vouches_for_the_income():
    assert counted_income(POLICY, Income(800_001, "platform")) == 480_000
    with pytest.raises(UsageError, match="bank, platform, declared"):
        counted_income(POLICY, Income(1, "friend"))


def test_reasons_of_several_holders_of_t35_are_merged_costliest_first():
    shares = {
        "bank": Share(58, (("UTIL", 12), ("HIST", 8))),
        "bureau": Share(40, (("ENQ", 15),)),
    }
    merged = [(reason.code, reason.points_lost) for reason in merged_reasons(shares)]
    assert merged == [("S-ENQ", 15), ("S-UTIL", 12), ("S-HIST", 8)]


def test_a_code_that_two_holders_share_is_one_reason():
    shares = {"a": Share(0, (("X", 3), ("Y", 4))), "b": Share(0, (("X", 2),))}
    first, second = merged_reasons(shares)
    assert (first.code, first.points_lost, first.holders) == ("S-X", 5, ("a", "b"))
    assert (second.code, second.holders) == ("S-Y", ("a",))


def test_shortfalls_of_t40_sum_with_the_gains_to_the_score_less_its_baseline():
    # Baseline 144, customer 133: what is lost, less what is gained, is the difference.
    shares = {
        "bank": Share(58, (("UTIL", 8), ("HIST", 2))),
        "bureau": Share(10, (("ENQ", 12),)),
        "payments": Share(65),
    }
    lost = sum(reason.points_lost for reason in merged_reasons(shares))
    assert sum(share.points for share in shares.values()) == 144 - lost + 5 + 6


def test_scorer_agrees_with_the_card_at_every_sum_of_points():
    whole = card()
    scorer = Scorer(whole, baselines())
    at = np.arange(-10, 120)
    stored = whole.calibration.default_prob(at)
    for points, probability in zip(at.tolist(), stored.tolist(), strict=True):
        rating = scorer.rating(points)
        assert float(rating.default_prob) == probability
        assert rating.score == round(float(whole.scale.score_of(probability)))
        assert rating.grade == whole.scale.grade_of(rating.score)
    assert {scorer.rating(points).grade for points in at.tolist()} == set("ABCDE")
    for beyond in (-11, 120):
        with pytest.raises(DataError, match="cannot give"):
            scorer.rating(beyond)


def test_missing_holder_takes_its_baseline_and_gives_no_reason():
    shares = {
        "bank": Share(41, (("REPAYMENT", 20),)),
        "ecommerce": Share(11),
        "payments": Share(0, (("REGULARITY", 12),)),
    }
    found = Scorer(card(), baselines()).snapshot(shares, {"bureau": "stale"})
    assert found.points["bureau"] == 4
    assert found.rating.points == 56
    assert found.at_best.points == 64
    assert {holder for one in found.reasons for holder in one.holders} == {"bank", "payments"}


def test_snapshot_refuses_points_that_the_card_cannot_give():
    scorer = Scorer(card(), baselines())
    shares = {party: Share(0) for party in baselines()}
    with pytest.raises(DataError, match="bank: points must lie from 0 to 71"):
        scorer.snapshot({**shares, "bank": Share(72)}, {})
    with pytest.raises(DataError, match="bureau: must either"):
        scorer.snapshot({"bank": Share(0), "ecommerce": Share(0), "payments": Share(0)}, {})
    with pytest.raises(DataError, match="bureau: must either"):
        scorer.snapshot(shares, {"bureau": "stale"})


def test_scorer_refuses_a_card_that_cannot_score():
    with pytest.raises(DataError, match=r"baseline_points of bank.*calibration: is missing"):
        Scorer(replace(card(), calibration=None), {**baselines(), "bank": 99})


def test_score_reasons_stand_only_where_the_score_bound():
    reasons = merged_reasons({"bank": Share(0, (("UTILISATION", 9),))})
    proven = Inputs(DAY, income=Income(2_000_000, "bank"))
    bound = decide(POLICY, PACK, snapshot(reasons=reasons), proven)
    assert [one.code for one in bound.reasons] == ["P-LOSS", "S-UTILISATION"]
    best = Rating(119, Decimal("0.000390"), 950, "A")
    rich = replace(POLICY, grades={"A": replace(POLICY.grades["A"], limit_minor=10**8)})
    free = decide(rich, PACK, snapshot(best, reasons=reasons), proven)
    assert [one.code for one in free.reasons] == ["P-PRODUCT"]
    assert free.reasons[0].family == "outside"


def test_customers_own_cap_binds():
    decision = decide(POLICY, PACK, snapshot(), Inputs(DAY, own_minor=123_456))
    assert (decision.limit_minor, decision.binding) == (120_000, ("own",))


def test_missing_holder_with_no_line_makes_the_figure_provisional():
    decision = decide(POLICY, PACK, snapshot(missing={"bureau": "stale"}), Inputs(DAY))
    assert decision.provisional
    assert decision.blocked == {"bureau": "stale"}
    assert decision.limit_minor > 0


def test_missing_holder_keeps_the_limit_of_today():
    low = Rating(10, Decimal("0.3"), 445, "E")
    gone = snapshot(low, missing={"bureau": "no feed"}, at_best=GOOD_B)
    decision = decide(POLICY, PACK, gone, Inputs(DAY, current_minor=900_000))
    assert (decision.limit_minor, decision.binding) == (900_000, ("holder",))
    assert decision.reasons[0].holders == ("bureau",)
    # Control: were the holder there with such a score, the line would be cut.
    assert decide(POLICY, PACK, snapshot(low), Inputs(DAY, current_minor=900_000)).limit_minor == 0


def test_missing_holder_saves_nobody_whose_limit_would_fall_whatever_it_said():
    low = Rating(10, Decimal("0.3"), 445, "E")
    poor = Rating(20, Decimal("0.08"), 560, "D")
    gone = snapshot(low, missing={"bureau": "stale"}, at_best=poor)
    decision = decide(POLICY, PACK, gone, Inputs(DAY, current_minor=900_000))
    assert (decision.limit_minor, decision.binding) == (500_000, ("grade",))


def test_policy_does_not_decide_before_it_is_in_force():
    with pytest.raises(ConfigError, match="in force from 2026-01-01"):
        decide(POLICY, PACK, snapshot(), Inputs(date(2025, 12, 31)))
    with pytest.raises(ConfigError, match="none is in force on 2020-07-11"):
        PACK.cap_on(date(2020, 7, 11))


def test_grade_without_a_row_is_refused_not_guessed():
    with pytest.raises(UsageError, match="no row for grade 'F'"):
        decide(POLICY, PACK, snapshot(replace(GOOD_B, grade="F")), Inputs(DAY))


def test_negative_amounts_are_refused():
    with pytest.raises(UsageError, match="0 or more"):
        Inputs(DAY, drawn_minor=-1)
    with pytest.raises(UsageError, match="0 or more"):
        Inputs(DAY, income=Income(1, "bank", -1))


def test_policy_pack_and_card_must_fit_each_other():
    check_together(POLICY, PACK, "ABCDE")
    euro = replace(PACK, id="eu", currency="EUR")
    with pytest.raises(ConfigError) as caught:
        check_together(POLICY, euro, "ABCDEF")
    assert len(caught.value.findings) == 3
