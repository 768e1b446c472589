"""A record holds all that a decision was made from, and gives the same again, bit for bit."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
import rfc8785

from server.accounts import recording
from server.accounts.customers import (
    BureauReport,
    EvidenceRequest,
    add_evidence,
    report_bureau,
    resolve_case,
    withdraw_consent,
)
from server.accounts.desk import RuleText
from server.accounts.keeping import read_decision
from server.limits.caps.decide import CAP_REASONS
from server.limits.line.reasons import LINE_CODES
from server.monitor.fairness import PROTECTED
from server.store import checks, decisions
from server.store.ids import utc
from shared.errors import LogBroken
from tests.accounts.kit import GOOD, Office
from tests.accounts.test_reviewing import approved, cut


def whole_life(office):
    """Live through a decision of every purpose; return the line."""
    first = office.consent()
    proof = EvidenceRequest(GOOD, "income_flow", 2_000_000, "bank", office.day, "b" * 64)
    office.write(add_evidence, proof, office.now)
    told = BureauReport(GOOD, office.day, 10_000, 20_000, 30_000, (office.day,))
    office.write(report_bureau, told, office.now)
    line = office.open(consent=False).line.id
    office.draw(line, 500_000)
    office.decide(line, "increase", by="customer:app")
    office.decide(line, "temporary", limit_minor=100_000)
    cut(office, line, days_ago=10)
    office.decide(line, "restore", by="customer:app")
    office.review(line)
    given = approved(office, line, 2_500_000)
    office.decide(line, "override", limit_minor=2_500_000, note="seen", approval_id=given)
    office.decide(line, "freeze_purpose")
    office.decide(line, "release")
    office.write(withdraw_consent, first.id, office.now)
    office.consent()
    office.decide(line, "self_lower", by="customer:app", limit_minor=1_000_000)
    office.review(line)
    office.repay(line, 500_000)
    help_me = office.case("hardship", text="I lost my work").id
    office.write(resolve_case, help_me, "granted", "officer:a", "half for a year", office.now)
    office.decide(line, "close", by="customer:app")
    return line


def test_every_decision_of_a_line_is_made_again_from_its_record_and_nothing_else(office):
    line = whole_life(office)
    purposes = [record.ask.purpose for _, record in office.records(line)]
    assert set(purposes) == {
        "open",
        "increase",
        "temporary",
        "restore",
        "review",
        "override",
        "freeze_purpose",
        "release",
        "consent_withdrawn",
        "consent_given",
        "self_lower",
        "forborne",
        "close",
    }
    assert office.replayed(line) == len(purposes)
    with office.store.read() as db:
        chain = decisions.chain_of(db, line)
        assert decisions.chain_findings(chain) == []
        for one in chain:
            record, salt = decisions.record_of(db, one.id)
            assert decisions.commitment(salt, record) == one.commitment
            assert recording.read_record(record).to_bytes() == record
            assert rfc8785.dumps(json.loads(record)) == record


def test_i19_no_key_of_a_record_names_a_protected_attribute(office):
    """Also where keys are data: measures, caps, what a decision is about."""

    def keys(value):
        if isinstance(value, dict):
            yield from value
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            for one in inner:
                yield from keys(one)

    seen = set()
    for _, record in office.records(whole_life(office)):
        seen |= set(keys(json.loads(record.to_bytes())))
    assert {"measures", "grade", "outstanding_minor"} <= seen
    assert not {key for key in seen if not PROTECTED.isdisjoint(key.lower().split("_"))}


def test_i18_the_line_is_the_sum_of_its_events_at_every_instant(office):
    """Invariant I18, over the events in the records and over the store's own."""
    line = office.line()
    instants = []
    for purpose, more in (
        ("temporary", {"limit_minor": 100_000}),
        ("freeze_fraud", {}),
        ("release", {}),
        ("self_lower", {"limit_minor": 2_000_000}),
    ):
        office.later(days=1)
        decided = office.decide(line, purpose, **more)
        instants.append((office.now, decided.record.outcome.after))
        told, stored = office.rebuilt(line)
        assert told == stored
    with office.store.read() as db:
        for at, after in instants:
            state = checks.state_at(db, line, at)
            assert recording.line_from_mapping(state.domain) == after
            assert state.limit_minor == after.effective_limit_minor + after.temporary_on(
                office.desk.today(at)
            )


def test_i16_every_change_of_a_limit_has_one_to_four_reasons_of_a_component_that_bound(office):
    """Invariant I16; a fifth stands only beside four where one is about enquiries."""
    line = whole_life(office)
    known = {*LINE_CODES, *(code for code, _ in CAP_REASONS.values()), "M-MACRO"}
    moved = 0
    for _, record in office.records(line):
        outcome = record.outcome
        before, after = record.before.effective_limit_minor, outcome.after.effective_limit_minor
        if before == after:
            continue
        moved += 1
        codes = [one.code for one in outcome.reasons]
        assert 1 <= len(codes) <= 5
        assert len(codes) <= 4 or any("ENQUIR" in code for code in codes)
        assert all(code in known or code.startswith("S-") for code in codes)
        caps = [code for code in codes if code in {code for code, _ in CAP_REASONS.values()}]
        bound = {CAP_REASONS[name][0] for name in (outcome.caps.binding if outcome.caps else ())}
        assert set(caps) - {"P-OWN"} <= bound
    assert moved >= 3


def test_a_record_that_was_touched_gives_another_decision_and_says_which_part(office):
    line = office.line()
    office.review(line)
    [(_, opened), (_, record)] = office.records(line)
    texts = office.texts(record.rules.values())
    plain = record.to_mapping()
    for path, value in (
        (("outcome", "reasons"), []),
        (("grounds", "inputs", "drawn_minor"), 3_999_999_999),
        (("ask", "day"), "2027-01-01"),
        (("before", "clean_reviews"), 5),
    ):
        touched = json.loads(json.dumps(plain))
        at = touched
        for key in path[:-1]:
            at = at[key]
        assert at[path[-1]] != value
        at[path[-1]] = value
        with pytest.raises(LogBroken) as caught:
            recording.replay(touched, texts)
        assert caught.value.check == "replay"
    assert recording.replay(plain, texts) == record.outcome  # the control
    assert recording.replay(opened, texts) == opened.outcome


def test_other_rules_than_those_of_the_decision_are_no_rules(office):
    line = office.line()
    [(_, record)] = office.records(line)
    texts = office.texts(record.rules.values())
    for kind, check in (("policy", "policy"), ("line", "policy"), ("pack", "pack")):
        fewer = {digest: text for digest, text in texts.items() if digest != record.rules[kind]}
        with pytest.raises(LogBroken) as caught:
            recording.replay(record, fewer)
        assert caught.value.check == check


def test_a_record_that_is_none_is_refused_by_form(office):
    line = office.line()
    [(_, record)] = office.records(line)
    plain = record.to_mapping()
    for wrong in (
        b"{",
        {},
        {**plain, "kind": "confide/decision/1"},
        {**plain, "more": 1},
        {**plain, "outcome": {}},
        {**plain, "grounds": {**plain["grounds"], "scale": 1}},
    ):
        with pytest.raises(LogBroken) as caught:
            recording.read_record(wrong)
        assert caught.value.check == "form"


def test_an_old_decision_is_made_again_when_the_rules_have_long_been_others(scene, store):
    office = Office(scene, store)
    line = office.line()
    lower = office.rules.sources["catalogue"].text.replace(
        'name = "A", limit_minor = 4_000_000', 'name = "A", limit_minor = 3_000_000'
    )
    changed = {"catalogue": RuleText.of(lower, "products.toml")}
    later = Office(scene, store, **changed)
    later.now = utc(office.now) + timedelta(days=30)
    assert later.decide(line, "review").new_minor == 3_000_000
    [(first, _), (second, _)] = later.records(line)
    assert first.policy_ref == second.policy_ref
    assert later.replayed(line) == 2


def test_a_decision_is_read_back_as_it_was_told(office):
    told = office.open()
    with office.store.read() as db:
        read = read_decision(office.desk, db, told.decision.id)
    assert read == told
    assert (read.old_minor, read.new_minor, read.earliest) == (0, 4_000_000, None)
    assert read.record.about["by"] == "customer:app"
    assert read.record.ask.day == date(2026, 3, 2)
