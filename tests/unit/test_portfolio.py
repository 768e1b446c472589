"""Budget and allocation against the domain study's linear programme (T24 to T26)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.portfolio.budget import (
    Book,
    Budget,
    budget,
    increases_paused,
    parse_budget_rules,
    stress,
    supply,
)
from server.limits.portfolio.portfolio import Order, allocate
from server.limits.portfolio.scaling import scale_down, scaled, scales
from server.limits.portfolio.segments import Segment
from server.limits.rules.macro import parse_overlays, with_overlays
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError, UsageError

TEXT, SOURCE = embedded("budget")
RULES = parse_budget_rules(TEXT, SOURCE)
POLICY = parse_policy(*embedded("reference"))
BILLION = 100_000_000_000


def segment(name, customers, cap, floor, default_prob, utilisation, revenue):
    return Segment(
        name=name,
        ladder="revolving_consumer",
        customers=customers,
        floor_minor=floor * 100,
        cap_minor=cap * 100,
        default_prob=default_prob,
        lgd=0.7,
        utilisation=utilisation,
        ccf=0.4,
        revenue=revenue,
        funding=0.03,
    )


SEGMENTS = (
    segment("A", 1000, 20_000, 1_000, 0.01, 0.35, 0.12),
    segment("B", 2000, 10_000, 1_000, 0.03, 0.50, 0.16),
    segment("C", 1000, 5_000, 500, 0.08, 0.70, 0.20),
)
T24 = Budget(commitments_minor=2_500_000_000, expected_loss_minor=30_000_000)


def test_t24_rates_of_the_segments():
    assert [one.exposure_rate for one in SEGMENTS] == pytest.approx([0.61, 0.70, 0.82])
    assert [one.loss_rate for one in SEGMENTS] == pytest.approx([0.00427, 0.0147, 0.04592])
    assert [one.margin for one in SEGMENTS] == pytest.approx([0.02723, 0.0503, 0.07308])


def test_t24_left_alone_the_programme_gives_the_riskier_more():
    found = allocate(SEGMENTS, T24, Order.NONE)
    assert [round(found.limits[name] / 100, 2) for name in "ABC"] == [7968.36, 8265.82, 500.00]
    assert found.objective_minor / 100 == pytest.approx(1_085_059.92, abs=0.005)
    assert found.shadow_prices["commitments"] == pytest.approx(0.017785, abs=5e-7)
    assert found.shadow_prices["expected_loss"] == pytest.approx(2.211889, abs=5e-7)
    assert found.limits_minor["A"] < found.limits_minor["B"]  # the trap


def test_t25_with_the_order_of_risk_it_does_not():
    found = allocate(SEGMENTS, T24)
    assert [round(found.limits[name] / 100, 2) for name in "ABC"] == [8146.80, 8146.80, 559.61]
    assert found.objective_minor / 100 == pytest.approx(1_082_301.37, abs=0.005)
    assert set(found.binding) == {"commitments", "expected_loss"}
    cost = 1 - found.objective_minor / allocate(SEGMENTS, T24, Order.NONE).objective_minor
    assert cost == pytest.approx(0.0025, abs=5e-5)


def test_t26_leverage_of_joint_lending():
    found = supply(BILLION, Decimal("0.3"), RULES)
    assert found.from_debt_minor == 5 * BILLION * 10 // 3 == 1_666_666_666_666
    assert found.with_equity_minor == 20 * BILLION
    assert supply(BILLION, Decimal(1), RULES).from_debt_minor == 5 * BILLION


def test_shadow_price_is_what_one_more_unit_brings():
    found = allocate(SEGMENTS, T24)
    more = allocate(SEGMENTS, replace(T24, commitments_minor=T24.commitments_minor + 1_000_000))
    gained = (more.objective_minor - found.objective_minor) / 1_000_000
    assert gained == pytest.approx(found.shadow_prices["commitments"], rel=1e-4)


def test_whole_limits_keep_the_budget_and_caps_stay_whole():
    found = allocate(SEGMENTS, T24)
    assert sum(one.customers * found.limits_minor[one.name] for one in SEGMENTS) <= 2_500_000_000
    rich = allocate(SEGMENTS, Budget(10**12))
    assert [rich.limits_minor[name] for name in "ABC"] == [2_000_000, 1_000_000, 500_000]
    assert rich.binding == ()


def test_a_limit_that_nearly_is_a_whole_number_does_not_break_the_budget():
    crowd = replace(SEGMENTS[0], customers=10_000_000, floor_minor=0)
    assert allocate((crowd,), Budget(10_000_000_000)).limits_minor == {"A": 1_000}
    assert allocate((crowd,), Budget(9_999_999_999)).limits_minor == {"A": 999}


def test_inclusion_floor_keeps_room_for_small_firms():
    firms = replace(SEGMENTS[2], name="M", ladder="micro_business", micro=True, revenue=0.05)
    everyone = (*SEGMENTS, firms)
    total = Budget(2_000_000_000)
    without = allocate(everyone, total)
    with_floor = allocate(everyone, replace(total, inclusion_share=Decimal("0.1")))
    assert without.limits_minor["M"] == 50_000  # its floor: it earns least
    given = sum(one.customers * with_floor.limits[one.name] for one in everyone)
    assert 1000 * with_floor.limits["M"] == pytest.approx(0.1 * given, rel=1e-9)
    assert with_floor.shadow_prices["inclusion"] > 0
    assert with_floor.objective_minor < without.objective_minor


def test_partner_capital_and_concentration_bind():
    shared = tuple(replace(one, partner_shares={"bank": 0.7}) for one in SEGMENTS)
    partner = allocate(shared, replace(T24, partners_minor={"bank": 700_000_000}))
    assert sum(one.customers * partner.limits_minor[one.name] for one in SEGMENTS) <= 1_000_000_000
    assert "partner bank" in partner.binding
    capital = allocate(SEGMENTS, replace(T24, capital_minor=50_000_000))
    assert "capital" in capital.binding
    spread = allocate(SEGMENTS, replace(T24, concentration_share=Decimal("0.4")))
    assert max(one.customers * spread.limits[one.name] for one in SEGMENTS) == pytest.approx(1e9)
    assert "concentration B" in spread.binding


def test_segments_of_equal_risk_both_stay_below_the_safer():
    twin = replace(SEGMENTS[1], name="B2", revenue=0.5)
    found = allocate((SEGMENTS[0], SEGMENTS[1], twin), Budget(1_000_000_000)).limits_minor
    assert max(found["B"], found["B2"]) <= found["A"]


def arrived(segments, found):
    """Return what customers are given once their limits are scaled."""
    asked = {one.name: one.customers * one.cap_minor for one in segments}
    by = scales(segments, found, asked)
    return sum(float(by[name]) * amount for name, amount in asked.items())


def test_in_the_order_of_limits_a_part_of_the_budget_reaches_nobody():
    half = Budget(2_250_000_000)
    limits, shares = (allocate(SEGMENTS, half, order) for order in (Order.LIMITS, Order.SHARES))
    assert arrived(SEGMENTS, limits) < 0.9 * half.commitments_minor
    assert arrived(SEGMENTS, shares) == pytest.approx(half.commitments_minor, rel=1e-4)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 5_000),  # customers
            st.integers(0, 40_000),  # cap
            st.integers(0, 2_000),  # floor
            st.floats(0.001, 0.3),
            st.floats(0.01, 0.99),
            st.floats(0.01, 0.4),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[3],
    ),
    st.integers(0, 10**13),
    st.integers(0, 10**11),
)
def test_shares_never_rise_with_risk_and_all_that_is_given_arrives(rows, commitments, loss):
    segments = tuple(
        segment(f"s{i}", customers, cap, min(floor, cap), *rest)
        for i, (customers, cap, floor, *rest) in enumerate(rows)
    )
    bounds = Budget(commitments, expected_loss_minor=loss)
    found = allocate(segments, bounds, Order.SHARES)
    ordered = sorted((one for one in segments if one.cap_minor), key=lambda one: one.default_prob)
    shares = [found.limits_minor[one.name] / one.cap_minor for one in ordered]
    coarse = max((1 / one.cap_minor for one in ordered), default=0.0)
    assert all(riskier <= safer + 2 * coarse for safer, riskier in pairwise(shares))
    planned = sum(one.customers * found.limits_minor[one.name] for one in segments)
    assert planned <= commitments
    lost = sum(one.loss_rate * one.customers * found.limits_minor[one.name] for one in segments)
    assert lost <= loss * (1 + 1e-8) + 1e-6
    asked = sum(one.customers * one.cap_minor for one in segments)
    # Whole minor units are all that scaling may lose.
    assert planned - arrived(segments, found) <= asked * (2 * coarse + 1e-8) + 1e-6


def test_floors_that_the_budget_cannot_pay_are_named():
    with pytest.raises(UsageError, match="the floors alone commit 350000000 of 100"):
        allocate(SEGMENTS, Budget(100))
    with pytest.raises(UsageError, match="names that differ"):
        allocate((SEGMENTS[0], SEGMENTS[0]), T24)


# --- single customers


def test_limits_are_scaled_down_never_up_and_the_rest_is_a_reserve():
    people = {f"a{i}": ("A", 1_500_000) for i in range(3)} | {"c": ("C", 500_000)}
    few = tuple(replace(one, customers={"A": 3, "B": 0, "C": 1}[one.name]) for one in SEGMENTS)
    found = allocate(few, Budget(4_000_000))
    after = scale_down(few, found, people, 10_000)
    assert all(limit <= people[name][1] for name, limit in after.limits_minor.items())
    assert all(limit % 10_000 == 0 for limit in after.limits_minor.values())
    assert sum(after.limits_minor.values()) + after.reserve_minor <= 4_000_000
    assert after.reserve_minor >= 0
    assert set(after.cut) == {n for n, limit in after.limits_minor.items() if limit < people[n][1]}
    assert after.cut


def test_riskier_segment_never_keeps_a_larger_part():
    found = allocate(SEGMENTS, T24)
    asked = {"A": 2_000_000_000, "B": 1_700_000_000, "C": 10_000_000}
    by = scales(SEGMENTS, found, asked)
    assert by["A"] == Decimal("0.407339500")
    assert by["B"] == by["C"] == by["A"]  # alone they would keep .958 and all
    roomy = scales(SEGMENTS, found, {"A": 1, "B": 1, "C": 1})
    assert set(roomy.values()) == {Decimal(1)}


def test_scaling_goes_down_to_the_quantum():
    assert scaled(1_000_000, Decimal("0.999999999"), 10_000) == 990_000
    assert scaled(1_000_000, Decimal(1), 10_000) == 1_000_000
    assert scaled(1_005_000, Decimal(1), 10_000) == 1_000_000


# --- the budget


def test_budget_counts_commitments_by_their_use_and_keeps_a_reserve():
    found = budget(BILLION, Decimal("0.3"), RULES)
    lent = supply(BILLION, Decimal("0.3"), RULES).binding_minor
    assert found.commitments_minor + found.reserve_minor == lent * 10 // 6
    assert found.reserve_minor == -(-(lent * 10 // 6) // 20)
    assert found.expected_loss_minor == BILLION * 3 // 10


def test_supply_is_bound_by_funding_or_by_capital():
    assert supply(BILLION, Decimal(1), RULES).binding_minor == 6 * BILLION
    thin = replace(RULES, capital_ratio=Decimal("0.5"))
    capital = supply(BILLION, Decimal(1), thin)
    assert capital.binding_minor == capital.by_capital_minor == BILLION * 8 // 3
    with pytest.raises(UsageError, match="own share"):
        supply(1, Decimal(0), RULES)


@pytest.mark.parametrize(("committed", "paused"), [(949, False), (950, True), (2_000, True)])
def test_increases_pause_at_95_percent(committed, paused):
    assert increases_paused(committed, 1_000, RULES.pause_share) is paused


def test_bad_years_cost_more_and_may_be_too_much():
    books = (
        Book("A", 10**9, Decimal("0.01"), Decimal("0.7"), Decimal("0.35"), Decimal("0.4")),
        Book("C", 10**9, Decimal("0.08"), Decimal("0.7"), Decimal("0.70"), Decimal("0.4")),
    )
    downturn, severe = stress(books, 2 * 10**8, Decimal(1), RULES)
    # A: .45 + .4 x .55 = .67 owed, 2 % default, 75 % lost; C: .8 + .4 x .2 = .88, 16 %, 75 %.
    assert dict(downturn.losses_minor) == {"A": 10_050_000, "C": 105_600_000}
    assert downturn.needed_minor == 122_062_500
    assert not downturn.holds  # 200 million less 115.65 leaves less than is needed
    assert severe.loss_minor > downturn.loss_minor
    assert stress(books, 10**9, Decimal(1), RULES)[0].holds
    assert stress(books, 2 * 10**8, Decimal("0.3"), RULES)[0].holds


def test_budget_rules_are_linted_all_at_once():
    text = TEXT.replace("usage = 0.6", "usage = 0").replace("reserve_share", "reserve")
    with pytest.raises(ConfigError) as caught:
        parse_budget_rules(text, "budget.toml")
    assert len(caught.value.findings) == 3


# --- the economy

OVERLAY = """
[[overlays]]
scenario = "slump"
multiplier = 0.7
since = 2026-03-01
until = 2026-05-01
approved_by = ["risk lead", "finance lead"]
"""


def test_overlay_lowers_for_a_time_and_ends_by_itself():
    policy = with_overlays(POLICY, parse_overlays(OVERLAY, "macro.toml"))
    by_day = {
        day: policy.macro_on(day).multiplier
        for day in (date(2026, 2, 28), date(2026, 3, 1), date(2026, 4, 30), date(2026, 5, 1))
    }
    assert [str(value) for value in by_day.values()] == ["1.0", "0.7", "0.7", "1.0"]
    assert policy.macro_on(date(2026, 3, 1)).scenario == "slump"


def test_overlay_never_raises_and_the_lowest_counts():
    both = OVERLAY + OVERLAY.replace("0.7", "0.9").replace("2026-03-01", "2026-02-01")
    policy = with_overlays(POLICY, parse_overlays(both, "macro.toml"))
    days = (date(2026, 2, 1), date(2026, 3, 15))
    assert [str(policy.macro_on(day).multiplier) for day in days] == ["0.9", "0.7"]
    slump = replace(POLICY, macro=(replace(POLICY.macro[0], multiplier=Decimal("0.5")),))
    assert {row.multiplier for row in with_overlays(slump, parse_overlays(both, "m")).macro} == {
        Decimal("0.5")
    }


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('["risk lead", "finance lead"]', '["risk lead", "risk lead "]', "two different people"),
        ('["risk lead", "finance lead"]', '"risk lead"', "two different people"),
        ("until = 2026-05-01", "until = 2026-03-01", "since must be before until"),
        ("multiplier = 0.7", "multiplier = 1.7", "at most 1"),
    ],
)
def test_overlay_needs_two_people_and_an_end(old, new, finding):
    with pytest.raises(ConfigError, match=finding):
        parse_overlays(OVERLAY.replace(old, new), "macro.toml")


def test_a_budget_far_below_one_line_is_kept_to_the_minor_unit():
    """The solver is right to digits of the largest cap: of 72 fen it is off by more than 72."""
    odd = {"floor_minor": 0, "default_prob": 0.01, "lgd": 0.5, "funding": 0.03}
    many = Segment(
        name="many",
        ladder="x",
        customers=150,
        cap_minor=570_000,
        utilisation=0.5,
        ccf=0.75,
        revenue=0.5,
        micro=False,
        **odd,
    )
    few = replace(many, name="few", customers=1, cap_minor=10_000, ccf=0.5)
    micro = replace(
        few, name="micro", ladder="y", utilisation=0.125, ccf=0.09375, revenue=0.75, micro=True
    )
    tiny = Budget(commitments_minor=72, expected_loss_minor=None, capital_minor=1)
    limits = allocate((many, few, micro), tiny).limits_minor
    assert 150 * limits["many"] + limits["few"] + limits["micro"] <= 72
    assert min(limits.values()) >= 0
