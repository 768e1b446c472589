"""A policy file is linted when it is read: everything that is wrong, in one error."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError

TEXT, SOURCE = embedded("reference")
PACK, _ = embedded("pack_cn")


def findings(text, parse=parse_policy):
    with pytest.raises(ConfigError) as caught:
        parse(text, "policy.toml")
    assert caught.value.source == "policy.toml"
    return caught.value.findings


def changed(*pairs, text=TEXT):
    for old, new in pairs:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return text


def test_reference_policy_and_both_packs_are_in_order():
    policy = parse_policy(TEXT, SOURCE)
    assert policy.expected_loss.lgd == Decimal("0.7")  # exactly, not the nearest binary fraction
    assert policy.name == "reference/2026.1"
    for name in ("pack_cn", "pack_cn_draft_2020"):
        assert all(row.rule and row.source for row in parse_pack(*embedded(name)).consumer_cap)


def test_all_findings_come_at_once():
    text = changed(
        ("quantum_minor = 10_000", "quantum_minor = 0"),
        ("lgd = 0.7", "lgd = 1.7"),
        ("dti = 0.5", "dtl = 0.5"),
        ("effective_from = 2026-01-01", 'effective_from = "soon"'),
    )
    found = "\n".join(findings(text))
    for part in (
        "quantum_minor: must be a whole number from 1",
        "expected_loss.lgd: must be above 0 and at most 1",
        "capacity.dtl: is not a setting; did you mean 'dti'?",
        "capacity.dti: must be",
        "effective_from: must be a date",
    ):
        assert part in found


def test_a_safer_grade_never_gets_less():
    found = findings(changed(("limit_minor = 4_000_000", "limit_minor = 2_000_000")))
    assert found == (
        "grades.limit_minor: A (safer) must not get less than B. Got '2000000 and 2500000'",
    )
    assert (
        "income_multiple" in findings(changed(("income_multiple = 3.0", "income_multiple = 2")))[0]
    )


def test_money_is_whole_minor_units():
    assert "whole number" in findings(changed(("cap_minor = 5_000_000", "cap_minor = 50000.0")))[0]
    assert "whole number" in findings(changed(("cap_minor = 5_000_000", "cap_minor = true")))[0]


def test_names_of_grades_differ():
    assert "names must differ" in findings(changed(('name = "B"', 'name = "A"')))[0]


def test_scenarios_rise_by_date_and_begin_in_time():
    late = changed(("since = 2026-01-01", "since = 2026-02-01"))
    assert "the first scenario must begin by effective_from" in findings(late)[0]
    row = '\n[[macro]]\nsince = 2025-01-01\nmultiplier = 0.7\nscenario = "slump"\n'
    assert "dates must rise strictly" in findings(TEXT + row)[0]
    assert (
        "multiplier: must be above 0"
        in findings(changed(("multiplier = 1.0", "multiplier = 0")))[0]
    )


def test_missing_sections_are_named():
    found = "\n".join(findings('id = "x"\n'))
    for name in ("version", "quantum_minor", "grades", "expected_loss.lgd", "haircuts", "macro"):
        assert name in found


def test_stress_section_is_read_where_it_stands():
    policy = parse_policy(
        TEXT + "\n[stress_loss]\nmost_minor = 60_000\nlgd = 0.7\nccf = 0.5\n", "p"
    )
    assert policy.stress_loss.most_minor == 60_000
    assert parse_policy(TEXT, SOURCE).stress_loss is None


@pytest.mark.parametrize("value", ["inf", "nan", "-0.1", "0.1234567891", '"0.5"'])
def test_shares_are_finite_exact_and_in_range(value):
    assert "dti" in findings(changed(("dti = 0.5", f"dti = {value}")))[0]


def test_each_legal_number_names_its_rule_and_source():
    text = changed(('source = "chinabankingnews.com, 2020-07-17"', ""), text=PACK)
    assert findings(text, parse_pack) == ("consumer_cap[1].source: must be a text. Got None",)


def test_pack_without_rows_or_with_a_strange_status_is_refused():
    found = "\n".join(
        findings('id = "x"\nversion = "1"\nstatus = "old"\ncurrency = "CNY"', parse_pack)
    )
    assert "status: must be" in found
    assert "consumer_cap: must hold one row or more" in found


def test_broken_toml_names_the_line():
    assert "line 2" in findings('id = "x"\nversion = ?\n')[0]
