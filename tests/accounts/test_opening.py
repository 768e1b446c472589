"""Opening a line: what must be there, what is declined with reasons, what is refused by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from server.accounts.customers import EvidenceRequest, add_evidence
from server.limits.line.line import State
from server.store import funds
from server.store.tables import DECISIONS
from shared.errors import Conflict, EnvironmentFault, NotFound, Refused, ReleaseRefused, UsageError
from tests.accounts.kit import GOOD, GOOD_TOO, POOR
from tests.service.kit import PARTIES, name_of


def test_a_line_opens_with_what_the_caps_allow_and_says_which_cap_bound(office):
    opened = office.open()
    line = opened.line
    assert line.state == State.ACTIVE
    assert line.may_draw
    assert line.totals.limit_minor == opened.new_minor == 4_000_000
    assert opened.reasons[0].code == "P-GRADE"
    assert opened.record.outcome.caps.binding == ("grade",)
    assert opened.decision.chain == line.id
    assert opened.decision.model_ref == office.release.manifest.name
    assert line.domain["next_review_on"] == str(office.day + timedelta(days=30))


def test_a_risky_customer_is_declined_by_a_decision_with_reasons_and_gets_no_line(office):
    declined = office.open(POOR)
    assert declined.line is None
    assert declined.new_minor == 0
    assert 1 <= len(declined.reasons) <= 5
    assert declined.decision.chain == declined.record.about["line"]
    assert office.replayed(declined.decision.chain) == 1
    again = office.open(POOR, consent=False)
    assert (again.decision.number, again.reasons) == (1, declined.reasons)


def test_who_lacks_the_proven_income_of_a_product_is_declined_as_a_misfit(office):
    declined = office.open(GOOD, "credit_loan_plus")
    assert [one.code for one in declined.reasons] == ["P-FIT"]
    proof = EvidenceRequest(GOOD, "income_flow", 3_000_000, "bank", office.day, "0" * 64)
    office.write(add_evidence, proof, office.now)
    opened = office.open(GOOD, "credit_loan_plus", consent=False)
    assert opened.line.totals.limit_minor >= 1_000_000
    assert len(opened.record.grounds.proofs) == 1
    assert office.replayed(opened.line.id) == 1


def test_without_consent_no_line_is_opened_and_nothing_is_kept(office):
    with pytest.raises(Refused, match="consent"):
        office.open(consent=False)
    with office.store.read() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(DECISIONS)).scalar() == 0


def test_a_holder_that_the_customer_does_not_let_tell_counts_as_silent(office):
    office.consent(holders=PARTIES[:2])
    with pytest.raises(Refused, match=r"payments \(no consent\)"):
        office.open(consent=False)
    assert office.open().line is not None


def test_a_missing_feed_refuses_the_opening_by_the_name_of_the_holder(office):
    office.silence("bureau")
    with pytest.raises(Refused, match=r"bureau \(no feed\)"):
        office.open()


def test_a_customer_in_no_feed_is_not_found(office):
    with pytest.raises(NotFound, match="no score feed"):
        office.open(name_of(99))


def test_stale_feeds_and_an_expired_release_refuse_by_name(office):
    office.consent()
    office.later(days=400)
    with pytest.raises(EnvironmentFault, match="out of date"):
        office.open(consent=False)
    office.later(days=400)
    with pytest.raises(ReleaseRefused) as caught:
        office.open(consent=False)
    assert caught.value.check == "expiry"


def test_a_dispute_and_a_full_budget_forbid_an_opening(office):
    office.consent()
    office.case()
    with pytest.raises(Refused, match="dispute"):
        office.open(consent=False)
    with office.store.write() as db:
        cap = 4_000_000
        funds.set_fund(db, "budget", kind="budget", cap_minor=cap, is_open=True, at=office.now)
    third = name_of(8)
    office.publish(9)
    assert office.open(GOOD_TOO).line is not None
    with pytest.raises(Refused, match="paused"):
        office.open(third)


def test_of_many_that_open_the_same_line_at_once_one_does(office):
    office.consent()

    def attempt(_):
        try:
            return office.open(consent=False).line.id
        except Conflict as error:
            return error.check

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attempt, range(4)))
    assert sorted(found)[1:] == ["id"] * 3
    assert office.get(min(found)).customer_id == GOOD


def test_a_second_line_of_a_product_is_a_conflict_and_another_product_is_not(office):
    office.open()
    with pytest.raises(Conflict, match="open line") as caught:
        office.open(consent=False)
    assert caught.value.check == "id"
    with pytest.raises(NotFound, match="no product"):
        office.open(product="gold", consent=False)
    with pytest.raises(UsageError, match="64 small hex"):
        office.open("somebody", consent=False)


def test_a_line_is_committed_from_the_budget_and_refused_where_it_does_not_reach(office):
    with office.store.write() as db:
        funds.set_fund(
            db, "budget", kind="budget", cap_minor=5_000_000, is_open=True, at=office.now
        )
    opened = office.open()
    assert opened.line.budget_id == "budget"
    with office.store.read() as db:
        assert funds.get_fund(db, "budget").used_minor == 4_000_000
