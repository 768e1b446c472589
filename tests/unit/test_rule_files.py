"""Rule files: which kind they are, what the law says of them, how two differ, one downturn."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from server.accounts.desk import RuleText, rule_texts, rulebook_of
from server.accounts.rule_lint import lint, read_all
from server.limits.basis.differences import differences
from server.limits.checks.compliance import findings_on, most_by_law
from server.limits.checks.rule_kinds import KINDS, recognise
from server.limits.line.restore import restoration
from server.limits.line.target import target_of
from server.limits.rules.macro import downturns, parse_overlays, with_overlays
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError
from tests import line_kit

DAY = date(2026, 11, 22)
POLICY = embedded("reference")[0]
OVERLAYS = """
[[overlays]]
scenario = "downturn"
multiplier = 0.7
since = 2026-03-01
until = 2026-05-01
approved_by = ["ada", "bob"]

[[overlays]]
scenario = "after the downturn"
multiplier = 0.9
since = 2026-05-01
until = 2026-06-01
approved_by = ["ada", "bob"]
"""


def rules_with(**texts):
    sources = rule_texts()
    sources |= {kind: RuleText.of(text, f"{kind}.toml") for kind, text in texts.items()}
    return rulebook_of(sources)


def refused(*files):
    with pytest.raises(ConfigError) as caught:
        lint([(text, f"file{at}.toml") for at, text in enumerate(files)], DAY)
    return list(caught.value.findings)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reference", "policy"),
        ("line_reference", "line"),
        ("pack_cn", "pack"),
        ("pack_cn_draft_2020", "pack"),
        ("pack_eu", "pack"),
        ("pack_us", "pack"),
        ("products", "catalogue"),
        ("evidence", "evidence"),
        ("budget", "budget"),
        ("advice", "actions"),
        ("monitoring", "monitoring"),
    ],
)
def test_a_rule_file_is_known_by_its_content_whatever_it_is_called(name, kind):
    assert recognise(embedded(name)[0], "renamed.txt") == kind


def test_a_file_of_overlays_is_known_and_a_file_of_nothing_is_not():
    assert recognise(OVERLAYS, "x") == "overlays"
    assert "overlays" in KINDS
    for text in ("", 'id = "a"\nversion = "1"\n', "[server]\nport = 1\n"):
        with pytest.raises(ConfigError, match="no kind of rule file"):
            recognise(text, "x.toml")


def test_the_embedded_rules_keep_to_the_law_of_their_pack_today_and_later():
    rules = rulebook_of(rule_texts())
    for day in (date(2026, 1, 1), DAY, date(2028, 1, 1)):
        assert findings_on(rules, day) == []


@pytest.mark.parametrize(
    ("kind", "old", "new", "found"),
    [
        ("policy", "cap_minor = 5_000_000 ", "cap_minor = 40_000_000 ", "product.cap_minor"),
        ("policy", "limit_minor = 4_000_000", "limit_minor = 40_000_000", "grades.A.limit_minor"),
        ("policy", "months = 12", "months = 96", "capacity.months"),
        (
            "catalogue",
            "cap_minor = 20_000_000",
            "cap_minor = 31_000_000",
            "credit_loan_plus.cap_minor",
        ),
        ("catalogue", "months = [3, 6, 12]", "months = [3, 6, 96]", "revolving_consumer.months"),
        (
            "catalogue",
            'grade = "E", annual_rate = 0.2400',
            'grade = "E", annual_rate = 0.2600',
            "revolving_consumer.prices.E",
        ),
        ("line", "default_from = 90", "default_from = 120", "delinquency.default_from"),
        (
            "line",
            "forbearance_months = 12",
            "forbearance_months = 6",
            "delinquency.forbearance_months",
        ),
    ],
)
def test_what_the_law_does_not_allow_is_named_by_field_and_rule(kind, old, new, found):
    name = {"policy": "reference", "line": "line_reference", "catalogue": "products"}.get(
        kind, kind
    )
    text = embedded(name)[0]
    assert old in text
    findings = findings_on(rules_with(**{kind: text.replace(old, new, 1)}), DAY)
    assert any(f"{kind}: " in one and found in one and "(" in one for one in findings), findings


def test_leverage_above_the_law_is_named_once_that_law_is_more_than_a_draft():
    budget = embedded("budget")[0].replace("bonds = 4", "bonds = 9")
    assert findings_on(rules_with(budget=budget), DAY) == []
    pack = embedded("pack_cn")[0]
    for name in ("leverage_other_debt", "leverage_standard_debt"):
        head, tail = pack.split(f'name = "{name}"')
        pack = head + f'name = "{name}"' + tail.replace('"draft"', '"in force"', 1)
    found = findings_on(rules_with(budget=budget, pack=pack), DAY)
    assert any("budget: debt_multiples: must be at most 5" in one for one in found)


def test_a_draft_pack_and_a_forbidden_purpose_are_named():
    draft = embedded("pack_cn")[0].replace('status = "in force"', 'status = "draft"', 1)
    assert any("pack: status" in one for one in findings_on(rules_with(pack=draft), DAY))
    purpose = embedded("products")[0].replace('"daily", "emergency"', '"daily", "investment"', 1)
    assert any("investment" in one for one in refused(purpose))


def test_a_pack_without_a_cap_bounds_nothing_and_a_micro_lender_has_the_lower_one():
    rules = rulebook_of(rule_texts())
    bank = most_by_law(rules.pack, DAY, "consumer", "bank")
    micro = most_by_law(rules.pack, DAY, "consumer", "micro_lender")
    assert bank is not None
    assert micro is not None
    assert micro[0] < bank[0]
    free = replace(rules.pack, consumer_cap=(), uncapped="none is known", figures=())
    assert most_by_law(free, DAY, "consumer", "bank") is None
    assert most_by_law(free, DAY, "business", "bank") is None


def test_lint_tells_the_findings_of_all_files_at_once():
    wrong = POLICY.replace("limit_minor = 2_500_000", "limit_minor = 4_500_000").replace(
        "dti = 0.5", "dti = 5"
    )
    found = refused(wrong, embedded("budget")[0].replace("usage = 0.6", "usage = 7"), "x = 1")
    assert any("file0.toml: grades.limit_minor: A (safer)" in one for one in found)
    assert any("file0.toml: capacity.dti" in one for one in found)
    assert any("file1.toml: usage" in one for one in found)
    assert any("file2.toml: no kind" in one for one in found)


def test_lint_holds_files_against_each_other():
    quantum = POLICY.replace("quantum_minor = 10_000 ", "quantum_minor = 20_000 ")
    assert any("quantum_minor" in one for one in refused(quantum))
    line = embedded("line_reference")[0].replace(
        "quantum_minor = 10_000 ", "quantum_minor = 20_000 "
    )
    assert [one.kind for one in lint([(line, "l"), (quantum, "p")], DAY)] == ["policy", "line"]


def test_a_line_policy_with_its_own_downturn_is_refused():
    own = """
[[overlay]]
scenario = "replay"
since = 2026-03-01
until = 2026-04-30
multiplier = 0.7
approved_by = ["one", "two"]
approved_on = 2026-02-20
note = "cycles 3 and 4"
"""
    found = refused(embedded("line_reference")[0] + own)
    assert any("file of overlays" in one for one in found)


def test_two_files_that_say_the_same_do_not_differ_however_they_are_written():
    other = "# a comment\n" + POLICY.replace("0.7", "0.70").replace("4_000_000", "4000000")
    assert differences((POLICY, "a"), (other, "b")) == ()


def test_a_difference_is_told_in_words_with_amounts_in_whole_units():
    other = POLICY.replace("limit_minor = 4_000_000", "limit_minor = 4_200_000")
    other = other.replace("dti = 0.5", "dti = 0.45").replace('version = "2026.1"', 'version = "2"')
    told = [one.told() for one in differences((POLICY, "a"), (other, "b"))]
    assert told == [
        "version: 2026.1 becomes 2",
        "grades A, limit: 40,000.00 becomes 42,000.00 (+5.0 %)",
        "capacity, dti: 0.5 becomes 0.45 (-10.0 %)",
    ]


def test_a_row_put_in_between_is_one_row_more_and_no_change_of_the_others():
    text = embedded("line_reference")[0]
    trigger = """
[[triggers]]
code = "B99"
effect = "hold"
reviews = 1
min_days = 0
enter = [{ metric = "draws", days = 7, at_least = 9 }]
exit = [{ metric = "draws", days = 7, at_most = 1 }]
"""
    first = text.index("[[triggers]]")
    found = differences((text, "a"), (text[:first] + trigger + text[first:], "b"))
    assert found
    assert {one.before for one in found} == {None}
    assert all(one.path.startswith("triggers[B99]") for one in found)
    gone = differences((text[:first] + trigger + text[first:], "a"), (text, "b"))
    assert all(
        one.told().endswith(f"gone, was {one.told().rsplit('gone, was ')[1]}") for one in gone
    )


def test_one_file_of_overlays_lowers_what_is_decided_and_tells_a_line_when_it_ends():
    rules = rules_with(overlays=OVERLAYS)
    assert rules.policy.macro_on(date(2026, 3, 1)).multiplier == Decimal("0.7")
    assert rules.line.overlay_on(date(2026, 3, 1)).scenario == "downturn"
    assert rules.line.overlay_on(date(2026, 4, 30)).until == date(2026, 4, 30)
    assert rules.line.overlay_on(date(2026, 5, 1)).multiplier == Decimal("0.9")
    assert rules.line.overlay_on(date(2026, 6, 1)) is None
    assert rules.policy.macro_on(date(2026, 6, 1)).multiplier == 1


def test_the_end_of_a_downturn_is_not_told_where_the_policy_itself_takes_something_after_it():
    bad = POLICY + '\n[[macro]]\nsince = 2026-04-01\nmultiplier = 0.8\nscenario = "policy"\n'
    policy = parse_policy(bad, "p")
    overlays = parse_overlays(OVERLAYS, "o")
    spans = downturns(policy, overlays)
    assert spans == ()
    assert downturns(parse_policy(POLICY, "p"), overlays)  # a control: it is told else
    assert with_overlays(policy, overlays).macro_on(date(2026, 5, 2)).multiplier == Decimal("0.8")


def test_the_multiplier_counts_once_and_the_line_names_the_scenario():
    rules = rules_with(overlays=OVERLAYS)
    day = date(2026, 3, 10)
    decision = FakeDecision(str(rules.policy.macro_on(day).multiplier))
    target = target_of(decision, rules.line, day)
    assert target.limit_minor == 700_000
    assert target.full_minor == 1_000_000
    assert target.scenario == "downturn"


def test_two_downturns_in_a_row_end_with_the_second():
    policy = rules_with(overlays=OVERLAYS).line
    life = line_kit.Life(policy=policy, on=date(2026, 2, 1))
    day = date(2026, 3, 3)
    target = line_kit.target(policy=policy, multiplier=Decimal("0.7"), scenario="downturn")
    reviewed = line_kit.review(life.line, line_kit.quiet(), target, policy, day)
    plan = restoration(reviewed.line, line_kit.quiet(), target, policy, day)
    assert plan.downturn_until == date(2026, 5, 31)
    assert plan.restored_on is not None
    assert plan.restored_on > date(2026, 5, 31)


def test_evidence_is_read_with_the_haircuts_of_the_policy_beside_it():
    found = read_all(
        [(embedded("evidence")[0], "e"), (POLICY.replace("bank = 1.0", "bank = 0.9"), "p")]
    )
    assert [one.kind for one in found] == ["policy", "evidence"]
    assert found[1].value.kinds["income_flow"].haircuts["bank"] == Decimal("0.9")


class FakeDecision:
    """As much of a decision as a target looks at."""

    def __init__(self, multiplier):
        self.multiplier = multiplier
        self.caps = {"grade": 1_000_000}
        self.reasons = ()
        self.blocked = {}
