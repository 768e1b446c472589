"""Evidence only helps; a bureau forgets what the law lets be forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from server.limits.caps.bureau import BureauView, Overdue, hidden_from, shown
from server.limits.caps.caps import Income, Inputs, all_caps, legal_cap
from server.limits.caps.evidence import Evidence, assess, counts, ends, parse_evidence_rules
from server.limits.caps.snapshot import Rating
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError, UsageError

DAY = date(2026, 3, 1)
POLICY = parse_policy(*embedded("reference"))
CN = parse_pack(*embedded("pack_cn"))
DRAFT = parse_pack(*embedded("pack_cn_draft_2020"))
TEXT, SOURCE = embedded("evidence")
RULES = parse_evidence_rules(TEXT, SOURCE, POLICY.haircuts)
B = Rating(70, Decimal("0.013"), 695, "B")
REPAIR = CN.credit_repair


def proof(number, kind="income_flow", source="bank", *, name="one", **rest):
    issued = rest.pop("issued", DAY)
    return Evidence(name, kind, number, source, issued, issued + timedelta(days=400), **rest)


def caps(*proofs, bureau=None, day=DAY, rating=B, policy=POLICY):
    inputs = assess(proofs, bureau, RULES, day).into(Inputs(day))
    return all_caps(policy, CN, rating, inputs)


# --- the rule of decision 18


def test_a_proof_below_what_is_presumed_takes_nothing_away():
    assert caps(proof(100_000)) == caps()
    assert caps()["income"] == 2_000_000


def test_a_proof_above_it_raises_what_bound():
    more = caps(proof(1_000_000))
    assert more["income"] == 2_500_000
    assert min(more.values()) > min(caps().values())


def test_before_the_rule_a_true_income_would_have_cost_its_owner_5000():
    """The trap of decision 12: caps on income applied only to those who proved one."""
    without_looking = replace(
        POLICY, grades={k: replace(v, presumed_minor=None) for k, v in POLICY.grades.items()}
    )
    assert "income" not in caps(proof(800_000), policy=without_looking)
    assert min(caps(policy=without_looking).values()) == 2_500_000
    assert min(caps(proof(800_000)).values()) == min(caps().values()) == 2_000_000


def test_only_a_statement_of_the_whole_income_can_count_against_somebody():
    assert caps(proof(300_000, whole=True))["income"] == 750_000
    both = caps(proof(300_000, whole=True), proof(1_000_000, name="two"))
    assert both["income"] == 2_500_000


def test_debts_are_counted_against_what_is_presumed_too():
    owing = caps(bureau=BureauView(DAY, obligations_minor=220_000))
    assert owing["capacity"] == 1_998_452
    assert owing["capacity"] < caps()["capacity"]


def test_law_that_counts_income_presumes_none():
    assert legal_cap(POLICY, DRAFT, Inputs(DAY)) == 0
    owing = Inputs(DAY, income=Income(0, "", 100_000))
    assert legal_cap(POLICY, DRAFT, owing) == 0


def test_t29_the_draft_cap_is_a_third_of_a_proven_year():
    for monthly, cap in ((1_000_000, 4_000_000), (10_000_000, 30_000_000)):
        inputs = Inputs(DAY, income=Income(monthly, "bank"))
        assert legal_cap(POLICY, DRAFT, inputs) == cap


# --- what counts


def test_best_income_counts_after_its_haircut():
    means = assess(
        [proof(900_000, source="platform"), proof(600_000, name="two")], None, RULES, DAY
    )
    assert (means.income.monthly_minor, means.income.source) == (600_000, "bank")
    assert means.used == ("two",)


def test_assets_add_a_share_within_a_bound():
    with_fund = caps(proof(2_000_000, "asset", "fund"))
    assert with_fund["income"] == 2_000_000 + 280_000  # .2 x .7 x 20,000
    assert caps(proof(10**9, "asset", "deposit"))["income"] == 3_000_000


def test_two_proofs_of_one_asset_count_once():
    one = proof(1_000_000, "asset", "deposit", subject="account")
    twice = [one, replace(one, id="two")]
    assert caps(*twice) == caps(one)
    other = replace(one, id="two", subject="other account")
    assert caps(one, other)["income"] == 2_000_000 + 400_000


def test_proof_that_a_debt_is_repaid_completes_the_bureau():
    bureau = BureauView(DAY, obligations_minor=300_000, other_limits_minor=19_500_000)
    before = caps(bureau=bureau)
    after = caps(
        proof(120_000, "repaid_debt", "lender"),
        proof(2_000_000, "closed_line", "lender", name="two"),
        bureau=bureau,
    )
    assert before["other_lenders"] == 500_000
    assert after["other_lenders"] == 2_500_000
    assert after["capacity"] > before["capacity"]


def test_other_lenders_bind_only_where_a_bureau_told_of_them():
    assert "other_lenders" not in caps()
    assert caps(bureau=BureauView(DAY, other_limits_minor=10**9))["other_lenders"] == 0


def test_proof_counts_from_its_day_until_it_runs_out():
    one = proof(1_000_000)
    assert ends(one, RULES) == DAY + timedelta(days=180)
    assert [counts(one, RULES, DAY + timedelta(days=n)) for n in (-1, 0, 179, 180)] == [
        False,
        True,
        True,
        False,
    ]
    gone = assess([one], None, RULES, DAY + timedelta(days=180))
    assert (gone.income, gone.expired, gone.used) == (None, ("one",), ())
    assert assess([one], None, RULES, DAY).next_expiry == DAY + timedelta(days=180)


def test_document_that_ends_sooner_counts_no_longer():
    short = replace(proof(1), expires=DAY + timedelta(days=10))
    assert ends(short, RULES) == DAY + timedelta(days=10)


def test_old_or_missing_view_of_a_bureau_is_marked():
    assert assess([], None, RULES, DAY).stale_bureau
    assert not assess([], BureauView(DAY - timedelta(days=30)), RULES, DAY).stale_bureau
    assert assess([], BureauView(DAY - timedelta(days=31)), RULES, DAY).stale_bureau


def test_what_is_no_evidence_is_refused():
    with pytest.raises(UsageError, match="kind must be one of income_flow"):
        proof(1, "rumour")
    with pytest.raises(UsageError, match="0 or more"):
        proof(-1)
    with pytest.raises(UsageError, match="source must be one of deposit, fund, securities"):
        assess([proof(1, "asset", "gold")], None, RULES, DAY)


def test_rules_are_linted_all_at_once():
    text = TEXT.replace("share = 0.2", "share = 2").replace("days = 180", "days = 0")
    with pytest.raises(ConfigError) as caught:
        parse_evidence_rules(text + "\n[gold]\n", "evidence.toml", POLICY.haircuts)
    assert len(caught.value.findings) == 3


# --- the other named caps


def test_self_set_capital_and_partner_caps_stand_by_their_names():
    inputs = Inputs(DAY, own_minor=3, capital_minor=2, partner_minor=1)
    found = all_caps(POLICY, CN, B, inputs)
    assert [found[name] for name in ("own", "capital", "partner")] == [3, 2, 1]
    with pytest.raises(UsageError, match="0 or more"):
        Inputs(DAY, partner_minor=-1)


# --- the bureau


@pytest.mark.parametrize(
    ("amount", "arose", "repaid", "hidden"),
    [
        (999_999, date(2024, 5, 1), date(2025, 11, 30), date(2026, 1, 1)),
        (1_000_000, date(2024, 5, 1), date(2025, 11, 30), date(2026, 1, 1)),
        (999_999, date(2024, 5, 1), date(2025, 12, 15), date(2026, 1, 31)),
        (999_999, date(2024, 5, 1), date(2026, 1, 31), date(2026, 2, 28)),
        (999_999, date(2024, 5, 1), date(2026, 3, 31), date(2026, 4, 30)),
        (999_999, date(2024, 5, 1), date(2026, 4, 1), None),
        (999_999, date(2024, 5, 1), None, None),
        (1_000_001, date(2024, 5, 1), date(2025, 11, 30), None),
        (999_999, date(2026, 1, 1), date(2026, 1, 2), None),
        (999_999, date(2019, 12, 31), date(2020, 1, 2), None),
    ],
)
def test_t28_one_off_credit_repair(amount, arose, repaid, hidden):
    assert hidden_from(Overdue(amount, arose, repaid), REPAIR) == hidden


def test_bureau_view_forgets_on_the_day():
    kept = Overdue(1_000_001, date(2024, 5, 1), date(2025, 11, 30))
    gone = Overdue(999_999, date(2024, 5, 1), date(2025, 12, 15))
    view = BureauView(DAY, overdue=(kept, gone))
    assert shown(view, REPAIR, date(2026, 1, 30)).overdue == (kept, gone)
    assert shown(view, REPAIR, date(2026, 1, 31)).overdue == (kept,)
    assert shown(view, None, DAY).overdue == (kept, gone)


def test_overdue_payment_is_not_repaid_before_it_arose():
    with pytest.raises(UsageError, match="repaid after"):
        Overdue(1, DAY, DAY - timedelta(days=1))
