"""Approvals and the pause of increases over HTTP."""

from __future__ import annotations

import pytest

from server.accounts import activating
from server.accounts.activating import Change, Terms
from server.policies import embedded
from tests.service.desk_kit import good

ANSWER = {"note": "Agreed."}
PAUSE = {"paused": True, "reason": "The budget is nearly used up."}
RESUME = {"paused": False, "reason": "Fresh capital came in."}
SWITCH = "/v1/switches/increases"


def paused(office):
    return office.get("auditor", SWITCH).json()["paused"]


def test_one_person_pauses_increases_and_two_let_them_go_on(office):
    line = office.line()
    assert not paused(office)
    made = office.done("ops", SWITCH, PAUSE, status=200)
    assert (made["paused"], made["by"]) == (True, "operator:ops")
    asked = office.done(good(), f"/v1/lines/{line}/decisions", {"purpose": "increase"})
    assert "C-PAUSE" in [one["code"] for one in asked["reasons"]]
    proposed = office.done("ops", SWITCH, RESUME, status=202)
    assert paused(office)
    approve = f"/v1/approvals/{proposed['approval_id']}/approve"
    assert office.post("ops", approve, ANSWER).status_code == 403
    assert paused(office)
    office.done("ops-two", approve, ANSWER, status=200)
    assert not paused(office)
    again = office.post("ops-two", approve, ANSWER)
    assert (again.status_code, again.json()["check"]) == (409, "approval")


def test_rejected_proposal_does_nothing_and_stays_so(office):
    office.done("ops", SWITCH, PAUSE, status=200)
    proposed = office.done("ops", SWITCH, RESUME, status=202)
    reject = f"/v1/approvals/{proposed['approval_id']}/reject"
    done = office.done("alice", reject, {"note": "Not yet."}, status=200)
    assert (done["approval"]["state"], done["decision"]) == ("rejected", None)
    assert office.get("auditor", "/v1/approvals", state="rejected").json()["items"] == [
        done["approval"]
    ]
    late = office.post("alice", f"/v1/approvals/{proposed['approval_id']}/approve", ANSWER)
    assert (late.status_code, late.json()["check"]) == (409, "approval")
    assert paused(office)


def test_proposal_that_waits_too_long_is_over(office):
    office.done("ops", SWITCH, PAUSE, status=200)
    proposed = office.done("ops", SWITCH, RESUME, status=202)
    office.later(days=8)
    late = office.post("alice", f"/v1/approvals/{proposed['approval_id']}/approve", ANSWER)
    assert (late.status_code, late.json()["check"]) == (409, "approval")
    assert paused(office)


@pytest.mark.parametrize("who", [good(), "alice", "auditor", "lake"])
def test_only_operators_throw_the_switch(office, who):
    assert office.post(who, SWITCH, PAUSE).status_code == 403
    assert not paused(office)


def test_unknown_proposal_is_not_found(office):
    assert office.post("alice", "/v1/approvals/nothing/approve", ANSWER).status_code == 404
    assert office.post("alice", "/v1/approvals/nothing/reject", ANSWER).status_code == 404


def proposed_rules(office, *texts):
    """Return the id of a policy that another person proposed by a command, far from any card."""
    with office.store.write() as db:
        now = office.clock()
        terms = Terms(office.desk.today(now), office.desk.book.opening.sources)
        files = [(text, f"file{at}.toml") for at, text in enumerate(texts)]
        change = Change(files, terms.today, "ada", "better")
        return activating.propose(db, change, terms, now).id


def test_a_policy_that_does_not_know_the_grades_of_the_card_is_not_approved(office):
    mine = embedded("reference")[0].replace("lgd = 0.7", "lgd = 0.71")
    unknown = [embedded(name)[0].replace('"E"', '"F"') for name in ("reference", "products")]
    other = proposed_rules(office, *unknown)
    answer = office.post("alice", f"/v1/approvals/{other}/approve", ANSWER)
    assert answer.status_code == 400
    assert "scorecard" in str(answer.json()["findings"])
    assert office.get("auditor", "/v1/approvals").json()["items"][0]["approval_id"] == other
    good_one = proposed_rules(office, mine)
    office.done("alice", f"/v1/approvals/{good_one}/approve", ANSWER, status=200)
