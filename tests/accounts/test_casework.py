"""Calls for help: asking takes nothing, and a concession raises nothing for a year (M68)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.accounts.answering import explain, why
from server.accounts.casework import get_case, resolve_case
from server.limits.line.delinquency import add_months
from shared.errors import Conflict, Refused, UsageError
from tests.accounts.kit import GOOD, POOR


@pytest.fixture
def settle(office):
    """Answer a call for help of a customer."""

    def answered(outcome, customer=GOOD):
        asked = office.case("hardship", customer=customer, text="I lost my work")
        return office.write(
            resolve_case, asked.id, outcome, "officer:a", "half the instalments", office.now
        )

    return answered


def codes(reasons):
    return [one.code for one in reasons]


def test_asking_and_a_no_change_nothing_on_the_line(office, settle):
    line = office.line()
    before = office.domain(line)
    case = settle("declined")
    assert (case.state, case.outcome, case.resolved_by) == ("resolved", "declined", "officer:a")
    settle("withdrawn")
    office.case("hardship", text="again")
    assert office.domain(line) == before
    assert len(office.records(line)) == 1


def test_a_concession_is_told_and_leaves_limit_and_draws_as_they_are(office, settle):
    line = office.line()
    before = office.get(line)
    case = settle("granted")
    with office.store.read() as db:
        assert get_case(db, case.id) == case
    after = office.get(line)
    assert (after.may_draw, after.available_minor) == (True, before.available_minor)
    assert office.domain(line).delinquency.forborne_on == office.day
    decision, record = office.records(line)[-1]
    assert (decision.purpose, codes(record.outcome.reasons)) == ("forborne", ["P-EASED"])
    until = add_months(office.day, office.rules.line.arrears.forbearance_months)
    for language, date_told in (("en", "2 March 2027"), ("zh", "2027年3月2日")):
        with office.store.read() as db:
            told = explain(office.desk, db, decision.id, language)
            asked = why(office.desk, db, line, language, office.now)
        assert date_told in str(told["reasons"])
        assert "P-EASED" in str(asked)
    assert until.isoformat() == "2027-03-02"
    assert office.rebuilt(line)[0] == office.rebuilt(line)[1]
    assert office.replayed(line) == 2


def test_for_a_year_nothing_is_offered_or_raised_and_then_it_is_again(office, settle):
    line = office.line()
    office.decide(line, "self_lower", by="customer:app", limit_minor=1_000_000)
    settle("granted")
    made_on = office.day
    year = add_months(made_on, 12)
    with pytest.raises(Refused, match="concession"):
        office.decide(line, "temporary", limit_minor=100_000)
    with pytest.raises(Refused, match="concession"):
        office.open(product="credit_loan_plus")
    while office.day + timedelta(days=30) < year:
        office.later(days=30)
        office.publish()
        done = office.decide(line, "review")
        assert done.record.grounds.facts.forborne_on == made_on
        assert done.line.domain["delinquency"]["curing"]
        assert done.line.domain["offer"] is None
        assert "P-EASED" in codes(done.reasons)
    office.later(days=30)
    office.publish()
    done = office.decide(line, "review")
    assert done.record.grounds.facts.forborne_on is None
    assert not done.line.domain["delinquency"]["curing"]
    assert "P-EASED" not in codes(done.reasons)
    office.later(days=30)
    office.publish()
    assert not office.decide(line, "review").line.domain["delinquency"]["curing"]


def test_of_others_and_of_objections_nothing_counts_as_a_concession(office, settle):
    line = office.line()
    office.consent(POOR)
    settle("granted", customer=POOR)
    office.write(resolve_case, office.case().id, "upheld", "officer:a", "yes", office.now)
    assert office.review(line).record.grounds.facts.forborne_on is None


def test_each_kind_of_case_has_its_own_outcomes(office, settle):
    for outcome in ("upheld", "partly", "rejected"):
        with pytest.raises(Conflict, match="hardship ends with granted"):
            settle(outcome)
    dispute = office.case()
    for outcome in ("granted", "declined"):
        with pytest.raises(Conflict) as caught:
            office.write(resolve_case, dispute.id, outcome, "officer:a", "x", office.now)
        assert caught.value.check == "outcome"
    with pytest.raises(UsageError, match="granted"):
        office.write(resolve_case, dispute.id, "perhaps", "officer:a", "x", office.now)
