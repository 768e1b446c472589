"""Reasons in two languages: what is told, what is not about the customer, and that texts agree."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from server.api import wording
from server.limits.basis.reasons import Reason
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import CAP_REASONS, MACRO, decide
from server.limits.caps.snapshot import Scorer, Share, merged_reasons
from server.limits.line.reasons import LINE_CODES
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.limits.words.explain import (
    LANGUAGES,
    Money,
    check_languages,
    explain,
    parse_texts,
    placeholders,
    principal,
    tell,
)
from server.policies import embedded
from shared.errors import ConfigError, UsageError
from shared.scorecard.reasons import shortfalls
from tests.service.kit import LINES, baselines, card

CNY = Money("CNY", 2)
EN, ZH = (wording.texts_in(language) for language in LANGUAGES)
CONTRACTS = sorted((Path(__file__).parents[2] / "clients/contracts").glob("*.toml"))
SERVER = Path(__file__).parents[2] / "server"
CODE = re.compile(r"[CHIMP]-[A-Z]+(?:-[A-Z]+)*|[BHR][0-9]{2}")
CHINESE = re.compile("[\u4e00-\u9fff]")


def score_reason(code, lost, holders=("bank",)):
    return Reason(f"S-{code}", "score", points_lost=lost, holders=holders)


def cap_reason(code, family="policy", amount=1_942_857):
    return Reason(code, family, amount_minor=amount)


def codes_in(text):
    """Return every reason code that stands as a whole text in Python source."""
    texts = [one.value for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Constant)]
    return {one for one in texts if isinstance(one, str) and CODE.fullmatch(one)}


def test_both_languages_say_the_same_of_every_code():
    """Every code that stands anywhere in the service has its sentence in both languages."""
    codes = set().union(*(codes_in(path.read_text()) for path in SERVER.rglob("*.py")))
    assert {code for code, _ in CAP_REASONS.values()} | LINE_CODES.keys() <= codes
    check_languages([EN, ZH], codes)


def test_the_collector_of_codes_finds_one_that_has_no_sentence():
    """Control: a code that somebody adds without a sentence is found, wherever it stands."""
    found = codes_in('def f(x):\n    return Reason("P-NEWS", "policy") if x else [{"B77": 1}]\n')
    assert found == {"P-NEWS", "B77"}
    with pytest.raises(ConfigError, match=r"reason\.B77: is missing in en, zh"):
        check_languages([EN, ZH], found)


def test_every_sentence_of_a_code_can_be_said_with_the_figures_that_come_with_it():
    """No sentence asks for a figure that no component gives."""
    given = {"metric", "value", "enter", "days", "rule", "reviews", "clean", "needed", "until"}
    given |= {"step", "scenario", "bucket", "signal", "amount", "multiplier", "holders"}
    for texts in (EN, ZH):
        for key, sentence in texts.sentences.items():
            if key.startswith("reason."):
                assert placeholders(sentence) <= given, key


def test_chinese_has_its_own_punctuation_and_no_sentence_is_left_in_english():
    latin = re.compile("[,;:()?!]")
    for key, sentence in ZH.sentences.items():
        if key.startswith("form."):
            continue
        words = re.sub(r"{[a-z_]+}", "", sentence)
        assert not (CHINESE.search(words) and latin.search(words)), key
        section = key.split(".")[0]
        if section in {"reason", "headline", "restoration", "back", "help", "path", "review"}:
            assert CHINESE.search(words), key
    assert latin.search(EN.sentences["reason.P-CONSENT"])  # the control: English has it


@pytest.mark.parametrize(
    ("number", "en", "zh"),
    [("0.9", "90 %", "90%"), ("0.1825", "18.25 %", "18.25%"), ("0.005", "0.5 %", "0.5%")],
)
def test_percentages_and_days_are_written_as_people_write_them(number, en, zh):
    assert (EN.percent(Decimal(number)), ZH.percent(Decimal(number))) == (en, zh)
    day = date(2026, 9, 28)
    assert (EN.day(day), ZH.day(day)) == ("28 September 2026", "2026年9月28日")


def test_a_date_and_a_holder_in_a_reason_are_told_as_people_know_them():
    cool = Reason("H02", "policy", params=(("until", "2026-09-28"),))
    assert "28 September 2026" in tell(cool, EN, CNY).text
    assert "2026年9月28日" in tell(cool, ZH, CNY).text
    silent = Reason("H-MISSING", "outside", holders=("bureau", "payments", "elsewhere"))
    assert "the credit bureau, the payment service and elsewhere" in tell(silent, EN, CNY).text
    assert "征信机构、支付平台和elsewhere" in tell(silent, ZH, CNY).text


def test_a_step_down_names_the_signal_that_went_on():
    for rule, en, zh in (("B01", "frequent borrowing", "频繁借款"), ("B05", "surge", "消费激增")):
        reason = Reason("B02", "behaviour", params=(("rule", rule), ("reviews", 2)))
        assert en in tell(reason, EN, CNY).text
        assert zh in tell(reason, ZH, CNY).text


def test_a_code_without_a_sentence_and_a_lost_placeholder_are_found_at_once():
    poorer = dict(ZH.sentences) | {"reason.P-LOSS": "额度受限。"}
    del poorer["reason.B01"]
    with pytest.raises(ConfigError) as caught:
        check_languages([EN, replace(ZH, sentences=poorer)], ["P-NEW"])
    assert caught.value.findings == (
        "reason.B01: is missing in zh",
        "reason.P-LOSS: placeholders differ between the languages",
        "reason.P-NEW: is missing in en, zh",
    )


def test_every_topic_of_the_contracts_that_ship_has_a_chinese_name():
    assert CONTRACTS
    for path in CONTRACTS:
        reasons = set(re.findall(r'^reason = "([A-Z_]+)"', path.read_text(), re.MULTILINE))
        assert reasons
        assert not {reason for reason in reasons if f"topic.{reason}" not in ZH.sentences}


@pytest.mark.parametrize(
    "sentence",
    ["{amount.__class__}", "{amount[0]}", "{0}", "{amount!r}", "{amount:>9}", "{", "{}"],
)
def test_a_placeholder_is_a_bare_name_and_nothing_else(sentence):
    with pytest.raises(ConfigError, match="plain name"):
        parse_texts(f"language = 'en'\n[reason]\nX = '{sentence}'", "texts")
    assert parse_texts("language = 'en'\n[reason]\nX = '{amount}'", "texts").sentences


def test_texts_are_linted_with_all_findings_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_texts("language = 'fr'\nloose = 1\n[reason]\nX = ''\nY = 3", "texts")
    assert len(caught.value.findings) == 4


def test_a_missing_value_or_sentence_is_an_error_not_a_gap():
    with pytest.raises(UsageError, match="needs amount"):
        EN.say("reason.P-LOSS")
    with pytest.raises(UsageError, match="needs amount"):
        tell(Reason("P-OWN", "policy"), EN, CNY)
    with pytest.raises(UsageError, match="no sentence"):
        EN.say("reason.P-NEW")


def test_reasons_about_capital_and_the_economy_stand_apart():
    reasons = [cap_reason("C-CAP", "outside"), Reason(MACRO, "outside"), score_reason("INCOME", 7)]
    told = explain(reasons, EN, CNY, limit_minor=500_000, before_minor=800_000, multiplier="0.7")
    assert [one.code for one in told.about_you] == ["S-INCOME"]
    assert [one.code for one in told.not_about_you] == ["C-CAP", "M-MACRO"]
    assert all(one.not_about_you for one in told.not_about_you)
    assert "70 %" in told.not_about_you[1].text
    assert told.headline == "Your limit was lowered from 8,000.00 CNY to 5,000.00 CNY"


def test_the_same_explanation_in_chinese():
    told = explain(
        [cap_reason("P-LOSS"), score_reason("UTILISATION", 12, ("bank", "bureau"))],
        ZH,
        CNY,
        limit_minor=1_940_000,
    )
    assert told.headline == "您的额度为19,400.00元"
    assert told.about_you[0].text == (
        "按您目前的评分\uff0c额度在19,428.57元以内\uff0c预期损失才在允许范围内。"
    )
    assert told.about_you[1].text == (
        "根据银行和征信机构的数据\uff0c您在\u201c额度使用率\u201d一项的得分比平均水平低12分。"
    )
    assert json.loads(json.dumps(told.to_mapping(), ensure_ascii=False))["language"] == "zh"


@pytest.mark.parametrize(
    ("before", "limit", "target", "frozen", "start"),
    [
        (None, 100, None, False, "Your limit is"),
        (None, 0, None, False, "No line can be opened"),
        (100, 200, None, False, "Your limit rose"),
        (200, 100, 300, False, "Your limit was lowered"),
        (100, 100, None, False, "Your limit stays"),
        (100, 100, 100, False, "Your limit stays"),
        (100, 100, 200, False, "Your limit of 1.00 CNY has not been restored yet"),
        (100, 100, 200, True, "No new loans"),
    ],
)
def test_headline_says_what_happened(before, limit, target, frozen, start):
    told = explain(
        [cap_reason("P-LOSS")],
        EN,
        CNY,
        limit_minor=limit,
        before_minor=before,
        target_minor=target,
        frozen=frozen,
    )
    assert told.headline.startswith(start)


def test_at_most_four_reasons_are_told_and_enquiries_beside_them():
    five = [score_reason(code, 9) for code in "ABCDE"]
    enquiries = score_reason("ENQUIRIES", 1)
    assert [one.code for one in principal(five)] == ["S-A", "S-B", "S-C", "S-D"]
    assert principal([*five, enquiries]) == (*five[:4], enquiries)
    assert principal([enquiries, *five]) == (enquiries, *five[:3])
    assert len(principal([*five, enquiries, cap_reason("B06")])) == 5


def test_what_points_are_measured_below_is_said():
    told = {
        kind: tell(score_reason("INCOME", 1), EN, CNY, baseline=kind).text
        for kind in ("mean", "maximum", "above_cutoff")
    }
    assert told["mean"] == "For income, as the bank knows it, you have 1 point less than average."
    assert told["above_cutoff"].endswith("1 point less than those who just pass.")
    assert len(set(told.values())) == 3


def test_an_unknown_topic_is_told_by_its_code():
    told = tell(score_reason("DESK_LAMPS", 2), ZH, CNY)
    assert "desk lamps" in told.text


APPLICANT = {"HIST": 40, "UTIL": 18, "ENQ": 10, "INC": 35, "TEN": 30}
CUTOFF = {"HIST": 42, "UTIL": 26, "ENQ": 22, "INC": 30, "TEN": 24}
OWNERS = {"bank": ("HIST", "UTIL"), "bureau": ("ENQ", "TEN"), "payments": ("INC",)}


def shares_of(points, baseline):
    """Return what each holder reports: its own shortfalls only."""
    return {
        holder: Share(
            sum(points[code] for code in codes),
            tuple(
                (one.code, round(one.shortfall))
                for one in shortfalls(
                    {code: points[code] for code in codes},
                    {code: baseline[code] for code in codes},
                )
            ),
        )
        for holder, codes in OWNERS.items()
    }


def test_t35_reasons_reported_holder_by_holder_are_those_of_the_whole_card():
    merged = merged_reasons(shares_of(APPLICANT, CUTOFF))
    assert [(one.code, one.points_lost) for one in merged] == [
        ("S-ENQ", 12),
        ("S-UTIL", 8),
        ("S-HIST", 2),
    ]
    mean = {"HIST": 48, "UTIL": 30, "ENQ": 25, "INC": 32, "TEN": 25}
    merged = merged_reasons(shares_of(APPLICANT, mean))
    assert [(one.code, one.points_lost) for one in merged] == [
        ("S-ENQ", 15),
        ("S-UTIL", 12),
        ("S-HIST", 8),
    ]


def test_t40_blocks_of_the_holders_add_up_to_the_score_less_the_baseline():
    gained = {
        holder: sum(APPLICANT[code] - CUTOFF[code] for code in codes)
        for holder, codes in OWNERS.items()
    }
    assert gained == {"bank": -10, "bureau": -6, "payments": 5}
    assert sum(gained.values()) == sum(APPLICANT.values()) - sum(CUTOFF.values()) == -11


def test_the_service_words_what_the_decision_says():
    """The API's English is the English of the texts, unchanged by the move."""
    policy, pack = parse_policy(*embedded("reference")), parse_pack(*embedded("pack_cn"))
    worst = {
        owner: Share(sum(min(points) for who, _, points, _ in LINES if who == owner))
        for owner in baselines()
    }
    decision = decide(
        policy, pack, Scorer(card(), baselines()).snapshot(worst, {}), Inputs(date(2026, 3, 1))
    )
    told = wording.limit_reason(decision.reasons[0], decision, policy)
    assert list(told) == [
        "code",
        "family",
        "text",
        "not_about_you",
        "amount_minor",
        "points_lost",
        "holders",
    ]
    assert wording.limit_reason(decision.reasons[0], decision, policy, "zh")["text"] != told["text"]
    assert wording.money(1_940_000, policy) == "19,400.00 CNY"
    assert wording.blocked("bureau", "stale", line=True, language="zh").startswith("在此之前")


def test_placeholders_are_read_as_the_formatter_reads_them():
    assert placeholders("{a} and {b}, {{not}}") == {"a", "b"}
