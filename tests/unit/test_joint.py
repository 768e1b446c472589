"""Joint lending to the minor unit (domain T27, T36)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from server.limits.portfolio.joint import (
    OWN,
    Partner,
    PartnerDecision,
    capacity,
    fund,
    least_own,
    repay,
    room,
    split,
    terms_on,
)
from server.limits.rules.pack import parse_pack
from server.policies import embedded
from shared.errors import ConfigError, UsageError

DAY = date(2026, 3, 1)
TERMS = terms_on(parse_pack(*embedded("pack_cn")), DAY)
SEVENTY = {"bank": Decimal("0.7"), OWN: Decimal("0.3")}
BILLION = 100_000_000_000
BIG = Partner("bank", tier1_minor=10 * BILLION, loans_minor=100 * BILLION)


def yes(*names):
    return [PartnerDecision(name, True, "own/1", "", DAY) for name in names]


def test_t27_partner_caps_of_a_bank():
    assert room(BIG, TERMS) == 250_000_000_000  # 2.5 billion with one partner
    busy = Partner("bank", 100 * BILLION, 100 * BILLION, joint_minor=49 * BILLION)
    assert room(busy, TERMS) == BILLION  # all joint loans within 50 billion
    full = Partner("bank", 10 * BILLION, 100 * BILLION, with_us_minor=3 * BILLION)
    assert room(full, TERMS) == 0


def test_t27_own_share_of_a_loan_of_1000():
    assert least_own(100_000, TERMS.own_share) == 30_000
    funding = fund(100_000, 10**9, [BIG], yes("bank"), TERMS)
    assert dict(funding.shares_minor) == {"bank": 70_000, OWN: 30_000}


def test_t36_split_of_100_01_at_70_30():
    least = {OWN: least_own(10_001, TERMS.own_share)}
    assert split(10_001, SEVENTY, least) == {"bank": 7_000, OWN: 3_001}
    assert split(10_001, SEVENTY) == {"bank": 7_001, OWN: 3_000}  # the trap: 29.997 %
    funding = fund(10_001, 10**9, [BIG], yes("bank"), TERMS)
    assert dict(funding.shares_minor) == {"bank": 7_000, OWN: 3_001}


def test_t36_the_smallest_draw_is_all_ones_own():
    assert split(1, SEVENTY, {OWN: least_own(1, TERMS.own_share)}) == {"bank": 0, OWN: 1}
    assert dict(fund(1, 10**9, [BIG], yes("bank"), TERMS).shares_minor) == {OWN: 1}


def test_roomiest_partner_first_and_the_rest_stays_with_the_lender():
    small = Partner("small", 4_000, 10**9)  # room 1,000
    smaller = Partner("tiny", 2_000, 10**9)  # room 500
    funding = fund(10_000, 10_000, [smaller, small], yes("tiny", "small"), TERMS)
    assert dict(funding.shares_minor) == {"small": 1_000, "tiny": 500, OWN: 8_500}


def test_partner_funds_nothing_without_its_own_yes():
    no = PartnerDecision("bank", False, "own/1", "P-GRADE", DAY)
    for decisions in ([], [no]):
        funding = fund(1_000, 10**9, [BIG], decisions, TERMS)
        assert dict(funding.shares_minor) == {OWN: 1_000}
        assert funding.decisions == tuple(decisions)
        refused = fund(1_000, 999, [BIG], decisions, TERMS)
        assert not refused.shares_minor
        assert [(one.code, one.family) for one in refused.reasons] == [("C-PARTNER", "outside")]
    with pytest.raises(UsageError, match="decides once"):
        fund(1_000, 999, [BIG], [no, no], TERMS)


def test_an_agreed_own_share_above_the_laws_counts_and_one_below_does_not():
    half = fund(1_000, 10**9, [BIG], yes("bank"), TERMS, own_share=Decimal("0.5"))
    assert half.shares_minor[OWN] == 500
    low = fund(1_000, 10**9, [BIG], yes("bank"), TERMS, own_share=Decimal("0.1"))
    assert low.shares_minor[OWN] == 300


def test_agreed_amount_of_a_partner_bounds_it():
    agreed = Partner("bank", 10 * BILLION, 100 * BILLION, with_us_minor=400, agreed_minor=1_000)
    assert room(agreed, TERMS) == 600


def test_capacity_is_the_largest_draw_that_can_be_funded():
    most = capacity(30_000, [room(BIG, TERMS)], TERMS.own_share)
    assert most == 100_000
    assert fund(most, 30_000, [BIG], yes("bank"), TERMS).shares_minor
    assert not fund(most + 1, 30_000, [BIG], yes("bank"), TERMS).shares_minor
    assert capacity(0, [10**9], TERMS.own_share) == 0


def test_repayment_goes_by_what_each_is_owed_and_ends_at_zero():
    owed = {"bank": 7_000, OWN: 3_001}
    assert repay(1_000, owed, TERMS.own_share) == {"bank": 700, OWN: 300}
    assert repay(10_001, owed, TERMS.own_share) == owed
    assert repay(0, owed, TERMS.own_share) == {"bank": 0, OWN: 0}
    with pytest.raises(UsageError, match="what is outstanding"):
        repay(10_002, owed, TERMS.own_share)


def test_own_share_of_what_stays_keeps_the_laws():
    owed = {"bank": 7, OWN: 3}
    while sum(owed.values()):
        paid = repay(1, owed, TERMS.own_share)
        owed = {name: owed[name] - paid[name] for name in owed}
        assert owed[OWN] >= least_own(sum(owed.values()), TERMS.own_share)


def test_split_refuses_what_cannot_be_split():
    for bad in (
        lambda: split(-1, SEVENTY),
        lambda: split(1, {"a": -1}),
        lambda: split(1, {"a": 0}),
        lambda: split(1, SEVENTY, {OWN: 2}),
    ):
        with pytest.raises(UsageError, match="split"):
            bad()
    assert split(0, {"a": 0, "b": 0}) == {"a": 0, "b": 0}


def test_nothing_is_lent_jointly_where_the_pack_has_no_terms():
    with pytest.raises(ConfigError, match="joint_own_share"):
        terms_on(parse_pack(*embedded("pack_us")), DAY)
