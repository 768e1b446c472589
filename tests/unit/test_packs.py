"""Jurisdiction packs: dated, sourced, honest about what nobody looked up; drafts bind nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from server.limits.caps.caps import Inputs, all_caps, legal_cap
from server.limits.caps.snapshot import Rating
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError

NAMES = ("pack_cn", "pack_cn_draft_2020", "pack_eu", "pack_us")
CN, DRAFT, EU, US = (parse_pack(*embedded(name)) for name in NAMES)
POLICY = parse_policy(*embedded("reference"))
DAY = date(2026, 11, 22)


def findings(text):
    with pytest.raises(ConfigError) as caught:
        parse_pack(text, "pack.toml")
    return caught.value.findings


def changed(old, new, name="pack_cn"):
    text = embedded(name)[0]
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize("pack", [CN, DRAFT, EU, US], ids=NAMES)
def test_every_row_names_its_rule_its_source_and_its_day(pack):
    rows = [*pack.figures, *pack.duties, *pack.forbidden_purposes]
    assert all(row.origin.rule and row.origin.source and row.since.year > 1900 for row in rows)
    assert all(row.rule and row.source for row in pack.consumer_cap)


@pytest.mark.parametrize("pack", [CN, EU, US], ids=["cn", "eu", "us"])
def test_what_nobody_looked_up_is_named(pack):
    hearsay = {row.name for row in pack.figures if not row.origin.verified}
    assert hearsay
    assert hearsay <= {name.split(" ")[0] for name in pack.unverified()}


def test_what_tells_of_no_finances_is_kept_out_of_scores_in_the_union_from_its_day_on():
    topics = {"UTILISATION", "TRAVEL", "SHOPPING"}
    kept_out = EU.keeps_out(topics, date(2026, 11, 20))
    assert [(topic, duty.name) for topic, duty in kept_out] == [
        ("SHOPPING", "financial_data_only"),
        ("TRAVEL", "financial_data_only"),
    ]
    assert EU.keeps_out(topics, date(2026, 11, 19)) == ()
    assert EU.keeps_out({"UTILISATION"}, DAY) == ()
    assert CN.keeps_out(topics, DAY) == US.keeps_out(topics, DAY) == ()


@pytest.mark.parametrize(
    "topics", ['"SHOPPING"', '["SHOPPING", "SHOPPING"]', '["shopping"]', "[1]"]
)
def test_topics_that_are_no_codes_are_refused(topics):
    text = changed('topics = ["RETURNS", "SHOPPING", "TRAVEL"]', f"topics = {topics}", "pack_eu")
    assert any("must be different reason codes" in one for one in findings(text))


def test_a_forbidden_purpose_keeps_no_topic_out():
    text = changed("[[forbidden_purposes]]", '[[forbidden_purposes]]\ntopics = ["TRAVEL"]')
    assert any("topics" in one for one in findings(text))


def test_numbers_of_joint_lending_and_cost_are_those_of_the_study():
    assert CN.number("joint_own_share", DAY) == Decimal("0.3")
    assert CN.number("joint_one_partner_of_tier1", DAY) == Decimal("0.25")
    assert CN.number("joint_all_of_loans", DAY) == Decimal("0.5")
    assert CN.number("all_in_cost_cap", DAY) == Decimal("0.24")
    assert (CN.number("max_term_years", DAY), CN.number("bullet_months", DAY)) == (7, 12)
    assert CN.number("max_term_years", date(2025, 3, 20)) == 5


def test_a_number_holds_from_its_day_on():
    assert CN.figure("all_in_cost_cap", date(2025, 9, 30)) is None
    with pytest.raises(ConfigError, match=r"'all_in_cost_cap' must be in force on 2025-09-30"):
        CN.number("all_in_cost_cap", date(2025, 9, 30))
    assert CN.duty("cost_sheet", date(2026, 7, 31)) is None
    assert CN.duty("cost_sheet", date(2026, 8, 1)) is not None
    assert US.duty("no_effects_test", date(2026, 7, 20)) is None
    assert US.duty("no_effects_test", date(2026, 7, 21)) is not None
    assert EU.duty("financial_data_only", date(2026, 11, 19)) is None
    assert EU.duty("financial_data_only", date(2026, 11, 20)) is not None


def test_a_draft_binds_nobody_but_in_a_pack_of_drafts():
    assert CN.figure("business_cap", date(2024, 12, 31)) is None
    assert CN.figure("business_cap", DAY).value == 1_000_000_000
    assert CN.figure("leverage_standard_debt", DAY) is None
    assert replace(CN, status="draft").figure("leverage_standard_debt", DAY).value == 4


def test_investment_is_forbidden_in_china_and_by_no_federal_rule():
    assert CN.forbids("investment", DAY) is not None
    assert CN.forbids("daily", DAY) is None
    assert US.forbids("investment", DAY) is None


def test_packs_without_a_cap_say_why_and_decide_without_one():
    rating = Rating(70, Decimal("0.02"), 664, "B")
    for pack in (EU, US):
        assert pack.uncapped
        assert pack.cap_on(DAY) is None
        assert "jurisdiction" not in all_caps(POLICY, pack, rating, Inputs(DAY))
    assert "jurisdiction" in all_caps(POLICY, CN, rating, Inputs(DAY))


def test_legal_cap_is_the_borrowers_and_the_lenders():
    assert legal_cap(POLICY, CN, Inputs(DAY)) == 30_000_000
    micro = replace(POLICY, lender="micro_lender")
    assert legal_cap(micro, CN, Inputs(DAY)) == 20_000_000
    firm = replace(POLICY, borrower="business")
    assert legal_cap(firm, CN, Inputs(DAY)) == 1_000_000_000
    assert legal_cap(firm, US, Inputs(DAY)) is None


def test_a_pack_with_neither_cap_nor_a_word_about_it_is_refused():
    text = embedded("pack_us")[0]
    start = text.index("uncapped")
    silent = text[:start] + text[text.index("\n", start) :]
    assert "or `uncapped` must say why" in findings(silent)[0]
    both = text + '\n[[consumer_cap]]\nsince = 2026-01-01\namount_minor = 1\nrule="r"\nsource="s"\n'
    assert "uncapped" in findings(both)[0]


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('name = "all_in_cost_cap"', 'name = "cost_cap"', "must be a known figure"),
        ("value = 0.24 ", "value = 24 ", "value: must be at least 0 and at most 1"),
        ("value = 7", "value = 7.5", "must be a whole number of years"),
        ("verified = true", 'verified = "yes"', "verified: must be true or false"),
        ('status = "in force"\nverified', 'status = "old"\nverified', "must be 'in force' or"),
        ("since = 2025-10-01", 'since = "autumn"', "must be a date"),
        ('name = "cost_sheet"', 'name = "cost_sheets"', "must be a known duty"),
        ("repaid_by = 2026-03-31", "repaid_by = 2019-03-31", "must hold"),
        ("since = 2025-03-21\nvalue = 7", "since = 2020-07-12\nvalue = 7", "dates must rise"),
    ],
)
def test_lint_names_what_is_wrong(old, new, finding):
    assert any(finding in one for one in findings(changed(old, new))), findings(changed(old, new))


def test_all_findings_of_a_pack_come_at_once():
    text = changed('name = "cost_sheet"', 'name = "x"').replace("value = 7\n", "value = 7.5\n")
    assert len(findings(text)) == 2
