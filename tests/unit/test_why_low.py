"""Why a limit is low: the reasons of what bound, and the way from the caps to the money."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from server.api.wording import texts_in
from server.limits.answers.why_low import caps_view, multiplier_of, path_view, standing
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Scorer, Share
from server.limits.line.acts import close_line, freeze, withdraw_consent
from server.limits.line.limit_acts import self_lower
from server.limits.line.line import Temporary
from server.limits.line.target import target_of
from server.limits.line.waterfall import Room, available
from server.limits.rules.line_policy import Overlay
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.limits.words.explain import LANGUAGES, Money
from server.policies import embedded
from tests.line_kit import BASE, BUSY, POLICY, START, Life, busy, opened, quiet, target
from tests.service.kit import baselines, card

CNY = Money("CNY", 2)
EN, ZH = (texts_in(language) for language in LANGUAGES)
LIMITS = parse_policy(*embedded("reference"))
PACK = parse_pack(*embedded("pack_cn"))
SCORER = Scorer(card(), baselines())
BEST = {"bank": Share(71), "bureau": Share(12), "ecommerce": Share(11), "payments": Share(25)}


def why(life, facts=None, on=None, **caps):
    goal = target(caps.pop("smallest", life.smallest), life.policy, **caps)
    return standing(life.line, facts or quiet(), goal, life.policy, on or life.line.changed_on)


def codes(found):
    return [one.code for one in found.reasons]


def test_a_new_line_is_bound_by_the_cap_that_was_smallest():
    found = why(Life())
    assert (found.component, codes(found)) == ("caps", ["P-GRADE"])


def test_where_the_caps_allow_more_the_agreed_limit_is_the_reason():
    found = why(Life(), smallest=2 * BASE)
    assert (found.component, codes(found)) == ("agreed", ["P-AGREED"])


def test_behaviour_comes_first_where_it_took_something_and_brings_its_figures():
    life = Life().months(busy(), busy())
    found = why(life, busy())
    assert found.component == "behaviour"
    assert codes(found) == ["B01", "H02"]
    assert dict(found.reasons[0].params)["value"] == BUSY["draws_30d"]
    calm = life.months(quiet())
    assert codes(why(calm))[0] == "H01"


def test_behaviour_that_took_nothing_yet_stands_behind_the_cap():
    life = Life().months(busy())
    found = why(life, busy())
    assert (found.component, codes(found)) == ("caps", ["P-GRADE", "B01"])


def test_a_cut_by_the_economy_is_told_as_such_and_then_as_the_cool_down():
    life = Life()
    life.review(multiplier=Decimal("0.7"), scenario="slump")
    during = why(life, multiplier=Decimal("0.7"), scenario="slump")
    assert codes(during) == ["P-GRADE", "M-MACRO"]
    assert during.reasons[1].family == "outside"
    after = why(life)
    assert (after.component, codes(after)) == ("cooling", ["H02"])
    later = why(life, on=life.line.changed_on + timedelta(days=60))
    assert "H02" not in codes(later)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"dispute": True}, "P-DISPUTE"),
        ({"consent": False}, "P-CONSENT"),
        ({"budget_used": Decimal("0.95")}, "C-PAUSE"),
    ],
)
def test_what_forbids_any_rise_is_told(facts, code):
    assert codes(why(Life(), quiet(**facts)))[-1] == code
    assert code not in codes(why(Life()))


def test_a_silent_holder_is_told_by_name():
    found = why(Life(), missing={"bureau": "stale"})
    assert found.reasons[-1].code == "H-MISSING"
    assert found.reasons[-1].holders == ("bureau",)


def test_frozen_closed_and_withdrawn_lines_say_so_first():
    line, _ = opened()
    goal = target()
    for made, code in (
        (freeze(line, "fraud", START), "P-FRAUD"),
        (freeze(line, "purpose", START), "B10"),
        (close_line(line, 5, START), "P-CLOSE"),
    ):
        assert standing(made.line, quiet(), goal, POLICY, START).reasons[0].code == code
    gone = withdraw_consent(line, START).line
    assert "P-CONSENT" in codes(standing(gone, quiet(), goal, POLICY, START))


def test_never_more_than_four_reasons():
    life = Life().months(busy(), busy())
    facts = busy(dispute=True, consent=False, budget_used=Decimal(1))
    found = why(life, facts, missing={"bank": "stale", "bureau": "stale"})
    assert len(found.reasons) == 4
    assert codes(found)[:2] == ["P-CONSENT", "B01"]


def test_silence_that_the_customer_chose_is_told_as_that_and_never_as_an_outage():
    silent = {"bank": "no consent", "bureau": "stale"}
    gone = why(Life(), quiet(consent=False), missing=dict.fromkeys(silent, "no consent"))
    assert (gone.component, codes(gone)) == ("consent", ["P-CONSENT"])
    found = why(Life(), missing=silent)
    assert codes(found) == ["P-GRADE", "P-HOLDERS", "H-MISSING"]
    assert [one.holders for one in found.reasons[1:]] == [("bank",), ("bureau",)]
    assert found.reasons[1].family == "policy"  # about the customer


def test_what_follows_from_a_score_with_a_gap_is_told_as_an_upper_bound():
    shares = {name: share for name, share in BEST.items() if name != "bank"}
    snapshot = SCORER.snapshot(shares, {"bank": "stale"})
    decision = decide(LIMITS, PACK, snapshot, Inputs(START, current_minor=BASE))
    line, _ = opened()
    for texts, words in ((EN, "the data of the bank"), (ZH, "缺少银行的数据")):
        for one in caps_view(decision, texts, CNY):
            from_score = one["name"] in {"grade", "income", "expected_loss", "stress_loss"}
            assert (words in one["text"]) == from_score, one
        goal = target_of(decision, POLICY, START)
        room = available(line, START, 0)
        first = path_view(line, decision, goal, room, texts, CNY, multiplier=Decimal(1))[0]
        assert first["step"] == "cap"
        assert words in first["text"]
    whole = caps_view(decided(), EN, CNY)
    assert not any("not known" in one["text"] for one in whole)


def test_nothing_can_be_drawn_without_a_standing_consent_whatever_the_line_knows():
    line, _ = opened()
    told = available(line, START, 100_000, consents=False)
    assert (told.amount_minor, told.binding) == (0, ("state",))
    assert [term.code for term in told.terms if term.binds] == ["P-CONSENT"]
    rows = path(line, decided(own_minor=BASE), told)
    assert rows[-2]["text"].startswith("Nothing can be drawn now")
    assert available(line, START, 100_000).amount_minor == BASE - 100_000


def decided(shares=BEST, **inputs):
    snapshot = SCORER.snapshot(shares, {})
    return decide(LIMITS, PACK, snapshot, Inputs(START, **inputs))


@pytest.mark.parametrize("texts", [EN, ZH])
def test_every_cap_is_named_with_its_amount_smallest_first(texts):
    decision = decided(own_minor=300_000)
    rows = caps_view(decision, texts, CNY)
    assert {row["name"] for row in rows} == set(decision.caps)
    amounts = [row["amount_minor"] for row in rows]
    assert amounts == sorted(amounts)
    assert [row["name"] for row in rows if row["binds"]] == ["own"]
    assert rows[0]["code"] == "P-OWN"
    assert "3,000.00" in rows[0]["text"]
    law = next(row for row in rows if row["name"] == "jurisdiction")
    assert law["not_about_you"]


def path(line, decision, room, policy=POLICY, day=START, texts=EN):
    goal = target_of(decision, policy, day)
    factor = multiplier_of(decision, policy, day)
    return path_view(line, decision, goal, room, texts, CNY, multiplier=factor)


def test_the_way_down_names_every_step_that_takes_something_and_ends_with_the_money():
    decision = decided(own_minor=1_000_000)
    life = Life().months(busy(), busy())
    room = available(life.line, START, 250_000, 50_000, Room(velocity_minor=100_000))
    rows = path(life.line, decision, room)
    assert [(row["step"], row["amount_minor"]) for row in rows] == [
        ("cap", 1_000_000),
        ("agreed", 1_000_000),
        ("behaviour", 900_000),
        ("outstanding", 650_000),
        ("held", 600_000),
        ("room", 100_000),
        ("available", 100_000),
    ]
    assert "within a short time" in rows[-2]["text"]


def test_downturn_and_temporary_amount_stand_in_the_way_too():
    overlay = Overlay("slump", START, START, Decimal("0.7"), ("a", "b"), START, "")
    policy = replace(POLICY, overlays=(overlay,))
    line, _ = opened()
    passing = Temporary(100_000, "emergency", START, START)
    line = replace(line, temporary=passing, advised_limit_minor=BASE + 100_000)
    decision = decided(own_minor=BASE)
    rows = path(line, decision, available(line, START, 0), policy)
    assert [(row["step"], row["amount_minor"]) for row in rows] == [
        ("cap", BASE),
        ("macro", 700_000),
        ("above", BASE),
        ("temporary", BASE + 100_000),
        ("available", BASE + 100_000),
    ]
    assert "70 %" in rows[1]["text"]


def test_a_quiet_line_has_a_short_way():
    line, _ = opened()
    rows = path(line, decided(own_minor=BASE), available(line, START, 0))
    assert [row["step"] for row in rows] == ["cap", "available"]


def test_an_own_cap_is_told_with_its_amount():
    line, _ = opened()
    done = self_lower(line, 400_000, 0, POLICY, START)
    assert done.events[-1].reasons[0].amount_minor == 400_000
