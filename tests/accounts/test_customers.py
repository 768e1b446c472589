"""Consents, evidence, bureau views and cases; and what is left of a customer who is deleted."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import pytest

from server.accounts import customers, recording
from server.accounts.customers import (
    BureauReport,
    CaseRequest,
    ConsentRequest,
    EvidenceRequest,
    add_evidence,
    cases,
    consent_stands,
    consents_of,
    dossiers,
    erase_customer,
    evidence_of,
    open_case,
    report_bureau,
    resolve_case,
    withdraw_consent,
)
from server.limits.caps.bureau import Overdue
from server.store import decisions, lines
from server.store.tables import METADATA
from shared.errors import Conflict, NotFound, UsageError
from tests.accounts.kit import GOOD, POOR
from tests.service.kit import PARTIES


def read(office, function, *values, **named):
    with office.store.read() as db:
        return function(db, *values, **named)


def proof(office, **more):
    values = {
        "customer_id": GOOD,
        "kind": "income_flow",
        "value_minor": 2_000_000,
        "source": "bank",
        "issued": office.day,
        "file_hash": "a" * 64,
    }
    return EvidenceRequest(**{**values, **more})


def test_a_consent_comes_with_a_receipt_that_anybody_can_hash_again(office):
    given = office.consent(until=office.day + timedelta(days=9))
    assert given.receipt_hash == hashlib.sha256(given.receipt()).hexdigest()
    assert read(office, consents_of, GOOD) == [given]
    assert read(office, consent_stands, GOOD, office.day + timedelta(days=9))
    assert not read(office, consent_stands, GOOD, office.day + timedelta(days=10))
    assert not read(office, consent_stands, POOR, office.day)


def test_a_consent_that_names_nothing_known_is_refused_with_the_field(office):
    for more, match in (
        ({"holders": ("nobody",)}, "holders"),
        ({"holders": ()}, "holders"),
        ({"until": office.day - timedelta(days=1)}, "until"),
        ({"purpose": "marketing"}, "purpose"),
    ):
        with pytest.raises((Conflict, UsageError), match=match):
            office.consent(**more)
    asked = ConsentRequest("nobody", "credit_line", PARTIES, ("scores",))
    with pytest.raises(UsageError, match="64 small hex"):
        office.write(customers.give_consent, asked, office.now)


def test_withdrawing_stops_draws_keeps_the_limit_and_leaves_repayment_open(office):
    given = office.consent()
    line = office.open(consent=False).line.id
    office.draw(line, 100_000)
    gone = office.write(withdraw_consent, given.id, office.now)
    assert gone.withdrawn_at == office.now
    stored = office.get(line)
    assert (stored.may_draw, stored.totals.limit_minor) == (False, 4_000_000)
    assert office.repay(line, 100_000).outstanding_minor == 0
    assert office.review(line).new_minor == 4_000_000
    with pytest.raises(Conflict, match="withdrawn before"):
        office.write(withdraw_consent, given.id, office.now)
    office.consent()
    assert office.get(line).may_draw
    assert office.replayed(line) == 4


def test_another_consent_that_stands_keeps_the_line_open(office):
    first = office.consent()
    line = office.line()
    office.write(withdraw_consent, first.id, office.now)
    assert office.get(line).may_draw
    record = office.consent(purpose="credit_record")
    office.write(withdraw_consent, record.id, office.now)
    assert office.get(line).may_draw


def test_a_proof_counts_until_it_ends_and_one_that_the_rules_do_not_take_is_refused(office):
    kept = office.write(add_evidence, proof(office), office.now)
    assert kept.proof.expires == office.day + timedelta(days=180)
    assert read(office, evidence_of, GOOD) == [kept]
    for more, check in (
        ({"source": "friend"}, "source"),
        ({"issued": office.day + timedelta(days=1)}, "issued"),
        ({"expires": office.day}, "expires"),
    ):
        with pytest.raises(Conflict) as caught:
            office.write(add_evidence, proof(office, **more), office.now)
        assert caught.value.check == check
    for more in ({"kind": "rumour"}, {"file_hash": "x"}, {"value_minor": -1}):
        with pytest.raises(UsageError):
            office.write(add_evidence, proof(office, **more), office.now)


def test_a_report_of_the_bureau_is_read_back_exactly_and_the_newest_counts(office):
    old = BureauReport(GOOD, office.day - timedelta(days=20), other_limits_minor=1)
    new = BureauReport(
        GOOD,
        office.day,
        obligations_minor=10,
        other_limits_minor=20,
        other_balances_minor=30,
        enquiries=(date(2026, 2, 1),),
        overdue=(Overdue(999_999, date(2024, 5, 1), date(2025, 11, 30)),),
    )
    office.write(report_bureau, new, office.now)
    office.write(report_bureau, old, office.now)
    told = read(office, dossiers, [GOOD])[GOOD]
    assert told.report(office.day).report == new
    assert told.report(office.day - timedelta(days=1)).report == old
    shown = told.report(office.day).view(office.rules.pack, office.day)
    assert shown.overdue == ()  # repaired by the rule of the central bank
    tomorrow = BureauReport(GOOD, office.day + timedelta(days=1))
    with pytest.raises(Conflict) as caught:
        office.write(report_bureau, tomorrow, office.now)
    assert caught.value.check == "as_of"


def test_a_case_is_opened_answered_once_and_found(office):
    opened = office.open()
    dispute = office.case()
    office.later(seconds=1)
    appeal = office.case("appeal", decision=opened.decision.id)
    office.case("complaint", customer=POOR)
    assert dispute.due_on == office.day + timedelta(days=15)
    assert [one.kind for one in read(office, cases, None, GOOD)] == ["dispute", "appeal"]
    done = office.write(
        resolve_case, dispute.id, "upheld", "officer:a", "you are right", office.now
    )
    assert (done.state, done.outcome, done.resolved_by) == ("resolved", "upheld", "officer:a")
    with pytest.raises(Conflict, match="answered before"):
        office.write(resolve_case, dispute.id, "upheld", "officer:a", "again", office.now)
    assert read(office, cases, None, GOOD, open_only=True) == [appeal]
    assert len(read(office, cases)) == 3
    assert read(office, cases, "complaint", count=1)[0].customer_id == POOR


def test_a_case_that_says_nothing_or_names_no_decision_is_refused(office):
    for kind, decision, text in (
        ("appeal", None, "x"),
        ("dispute", None, "  "),
        ("dispute", None, "x" * 4001),
        ("wish", None, "x"),
    ):
        with pytest.raises(UsageError):
            office.case(kind, decision=decision, text=text)
    asked = CaseRequest("dispute", GOOD, "nothing", "ENQUIRIES", "x")
    with pytest.raises(NotFound):
        office.write(open_case, asked, office.now)
    found = office.case()
    for outcome, note in (("perhaps", "x"), ("upheld", " ")):
        with pytest.raises(UsageError):
            office.write(resolve_case, found.id, outcome, "officer:a", note, office.now)


def test_deleting_a_customer_leaves_the_chain_and_nothing_that_it_commits_to(office):
    line = office.line()
    office.write(add_evidence, proof(office), office.now)
    office.case(text="my words")
    office.review(line)
    declined = office.open(POOR)
    erased = office.write(erase_customer, GOOD, "officer:a", office.now)
    assert (erased.lines, erased.records, erased.evidence, erased.cases) == (1, 3, 1, 1)
    with office.store.read() as db:
        chain = decisions.chain_of(db, line)
        assert [one.purpose for one in chain] == ["open", "review", "close"]
        assert decisions.chain_findings(chain) == []
        for one in chain:
            with pytest.raises(NotFound, match="deleted"):
                decisions.record_of(db, one.id)
        assert lines.lines_of(db, GOOD) == []
        assert lines.get_line(db, line).customer_id == erased.handle
        assert dossiers(db, [GOOD])[GOOD] == customers.Dossier()
        assert [one.text for one in cases(db, customer_id=erased.handle)] == [""]
        assert len(consents_of(db, POOR)) == 1  # the control: others keep theirs
        told = decisions.record_of(db, declined.decision.id)[0]
        assert recording.read_record(told).about["customer"] == POOR
    with pytest.raises(NotFound):
        office.write(erase_customer, GOOD, "officer:a", office.now)


def test_of_who_was_declined_nothing_is_left_that_names_them(office):
    declined = office.open(POOR)
    erased = office.write(erase_customer, POOR, "officer:a", office.now)
    assert (erased.lines, erased.records) == (0, 1)
    with office.store.read() as db:
        with pytest.raises(NotFound, match="deleted"):
            decisions.record_of(db, declined.decision.id)
        for table in METADATA.sorted_tables:
            for row in db.execute(table.select()):
                assert POOR not in str(tuple(row)), table.name


def test_nobody_is_deleted_while_money_is_owed(office):
    line = office.line()
    office.draw(line, 1_000)
    with pytest.raises(Conflict, match="repay first"):
        office.write(erase_customer, GOOD, "officer:a", office.now)
    assert office.get(line).closed_at is None
