"""Disputes, appeals and complaints over HTTP."""

from __future__ import annotations

import pytest

from tests.service.desk_kit import good

CASE = {"customer_id": good(), "about": "S-UTILISATION", "text": "That balance is not mine."}
ANSWER = {"outcome": "upheld", "note": "The holder has corrected its record."}


def decision_of(office, line):
    return office.get("alice", f"/v1/lines/{line}/decisions").json()["items"][0]["decision_id"]


@pytest.mark.parametrize(
    ("path", "kind"), [("/v1/disputes", "dispute"), ("/v1/complaints", "complaint")]
)
def test_case_is_opened_listed_and_answered_once(office, path, kind):
    made = office.done(good(), path, CASE)
    assert (made["kind"], made["state"], made["outcome"]) == (kind, "open", None)
    assert office.get(good(), f"/v1/cases/{made['case_id']}").json() == made
    assert office.get("alice", "/v1/cases", kind=kind).json()["items"] == [made]
    resolve = f"/v1/cases/{made['case_id']}/resolve"
    done = office.done("alice", resolve, ANSWER, status=200)
    assert (done["state"], done["outcome"], done["resolved_by"]) == (
        "resolved",
        "upheld",
        "officer:alice",
    )
    again = office.post("bob", resolve, ANSWER | {"outcome": "rejected"})
    assert (again.status_code, again.json()["check"]) == (409, "state")
    assert office.get("alice", "/v1/cases", open_only=True).json()["items"] == []
    assert office.get("auditor", "/v1/cases").json()["items"] == [done]


def test_appeal_names_a_decision_of_the_customers_own(office):
    line = office.line()
    decision = decision_of(office, line)
    made = office.done(good(), "/v1/appeals", CASE | {"decision_id": decision})
    assert made["decision_id"] == decision
    before = office.state()
    assert office.post(good(), "/v1/appeals", CASE).status_code == 422
    other = CASE | {"customer_id": good(1), "decision_id": decision}
    strange = office.post(good(1), "/v1/appeals", other)
    unknown = office.post(good(1), "/v1/appeals", other | {"decision_id": "nothing"})
    officer = office.post("alice", "/v1/appeals", other)
    assert strange.status_code == unknown.status_code == officer.status_code == 404
    assert strange.json()["detail"] == unknown.json()["detail"]
    assert office.state() == before


def test_cases_of_others_are_not_there(office):
    made = office.done(good(), "/v1/disputes", CASE)
    assert office.post(good(1), "/v1/disputes", CASE).status_code == 404
    assert office.get(good(1), "/v1/cases").json()["items"] == []
    assert office.get(good(1), f"/v1/cases/{made['case_id']}").status_code == 404
    for who in (good(), "auditor", "ops", "lake"):
        answer = office.post(who, f"/v1/cases/{made['case_id']}/resolve", ANSWER)
        assert answer.status_code == 403


def test_open_dispute_holds_increases_and_cuts_nothing(office):
    line = office.line()
    office.done(good(), "/v1/disputes", CASE)
    limit = office.show(line)["effective_limit_minor"]
    made = office.done(good(), f"/v1/lines/{line}/decisions", {"purpose": "increase"})
    assert "P-DISPUTE" in [one["code"] for one in made["reasons"]]
    assert made["new_limit_minor"] == limit > 0


def test_customer_asks_for_help_and_an_officer_grants_it(office):
    line = office.line()
    before = office.show(line)["effective_limit_minor"]
    asked = {"customer_id": good(), "text": "I have lost my work."}
    assert office.post(good(1), "/v1/hardship", asked).status_code == 404
    made = office.done(good(), "/v1/hardship", asked)
    assert (made["kind"], made["state"]) == ("hardship", "open")
    assert office.get("alice", "/v1/cases", kind="hardship").json()["items"] == [made]
    resolve = f"/v1/cases/{made['case_id']}/resolve"
    wrong = office.post("alice", resolve, ANSWER)
    assert (wrong.status_code, wrong.json()["check"]) == (409, "outcome")
    grant = {"outcome": "granted", "note": "Half the instalments until August."}
    assert office.done("alice", resolve, grant, status=200)["outcome"] == "granted"
    last = office.get(good(), f"/v1/lines/{line}/decisions").json()["items"][-1]
    assert last["purpose"] == "forborne"
    assert office.show(line)["effective_limit_minor"] == before
    told = office.get(good(), f"/v1/decisions/{last['decision_id']}/explain", lang="en").json()
    assert [one["code"] for one in told["reasons"]] == ["P-EASED"]
    assert "easier" in told["reasons"][0]["text"]
