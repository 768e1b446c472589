"""Erasure against what happens at the same moment, and against what it might leave behind."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.accounts.customers import consents_of, erase_customer
from server.store import approvals, people
from server.store.approvals import APPROVALS, Proposal
from server.store.draws import Share, Terms, draw
from server.store.holds import HoldRequest
from server.store.lines import lines_of
from shared.errors import Conflict, Refused
from tests.accounts.kit import GOOD, GOOD_TOO

BY = "operator:ops"


def test_a_draw_at_the_same_moment_is_still_owed_by_somebody(office):
    line, found = office.line(), []

    def erase():
        try:
            found.append(office.write(erase_customer, GOOD, BY, office.now))
        except Conflict as error:
            found.append(error.check)

    other = threading.Thread(target=erase)
    with office.store.write() as db:
        asked = HoldRequest("at-once", line, 1_000, "CNY", "daily")
        draw(db, asked, Terms([Share("own", 1_000)], "p", "m"), office.now)
        other.start()
        other.join(1.0)  # it waits for the line, or for its turn
    other.join(30)
    assert found == ["state"]
    assert office.get(line).customer_id == GOOD
    assert office.get(line).closed_at is None


@pytest.mark.parametrize("cause", ["freeze_fraud", "freeze_purpose"])
def test_a_freeze_for_a_person_to_look_into_cannot_be_walked_around(office, cause):
    line = office.line()
    office.decide(line, cause)
    with pytest.raises(Conflict, match="person"):
        office.decide(line, "close", "customer:app")
    with pytest.raises(Refused, match="person"):
        office.open(product="micro_business", consent=False)
    with pytest.raises(Conflict, match="person"):
        office.write(erase_customer, GOOD, BY, office.now)
    assert office.open(GOOD_TOO).line is not None  # the control: nobody else is held by it
    office.decide(line, "release")
    office.decide(line, "close", "customer:app")
    assert office.get(line).closed_at is not None


def test_nothing_that_is_left_tells_whose_it_was_to_who_tries_every_pseudonym(office):
    office.line()
    with office.store.read() as db:
        [consent] = consents_of(db, GOOD)
    erased = office.write(erase_customer, GOOD, BY, office.now)
    with office.store.read() as db:
        [left] = people.rows_of(db, people.CONSENTS, [erased.handle])[erased.handle]
    # Whoever has the feeds has all pseudonyms; holders and categories are few.
    guess = replace(consent, receipt_hash="", withdrawn_at=None)
    assert hashlib.sha256(guess.receipt()).hexdigest() == consent.receipt_hash  # the control
    assert left["receipt_hash"] == ""


def test_words_about_a_customer_go_from_proposals_and_who_agreed_stays(office):
    line, other = office.line(), office.line(GOOD_TOO)
    for number, subject in enumerate((line, other)):
        asked = Proposal(f"p-{number}", "override", subject, {}, "officer:a", "lost her job")
        with office.store.write() as db:
            approvals.propose(db, asked, office.now + timedelta(days=7), office.now)
            approvals.decide(
                db, asked.id, "officer:b", office.now, approve=True, answer="she showed the letter"
            )
    office.write(erase_customer, GOOD, BY, office.now)
    with office.store.read() as db:
        columns = (
            APPROVALS.c.subject,
            APPROVALS.c.reason,
            APPROVALS.c.answer,
            APPROVALS.c.approver,
        )
        found = {row.subject: row[1:] for row in db.execute(sa.select(*columns))}
        assert lines_of(db, GOOD) == []
    assert found[line] == ("", "", "officer:b")
    assert found[other] == ("lost her job", "she showed the letter", "officer:b")
