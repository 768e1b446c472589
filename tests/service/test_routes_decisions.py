"""Decisions on lines over HTTP: asked for, read, overridden by two people."""

from __future__ import annotations

import pytest

from tests.service.desk_kit import good

OVERRIDE = {"limit_minor": 3_000_000, "reason": "too-high", "note": "Seen in the branch."}
ANSWER = {"note": "Agreed."}


@pytest.fixture
def line(office):
    return office.line()


def decide(office, line, purpose, who=None, **more):
    return office.post(who or good(), f"/v1/lines/{line}/decisions", {"purpose": purpose, **more})


def newest(office, line):
    return office.get("alice", f"/v1/lines/{line}/decisions").json()["items"][-1]["decision_id"]


def test_customer_lowers_its_limit_at_once_and_the_decision_says_so(office, line):
    answer = decide(office, line, "self_lower", limit_minor=1_000_000)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/decisions/{made['decision_id']}"
    assert (made["old_limit_minor"], made["new_limit_minor"]) == (4_000_000, 1_000_000)
    assert [one["code"] for one in made["reasons"]] == ["P-OWN"]
    shown = office.get(good(), f"/v1/lines/{line}")
    assert shown.json()["effective_limit_minor"] == 1_000_000
    assert answer.headers["etag"] == shown.headers["etag"]
    whole = office.get(good(), f"/v1/decisions/{made['decision_id']}").json()
    assert whole["record"]["ask"]["limit_minor"] == 1_000_000
    assert whole["decision"]["number"] == 2
    again = decide(office, line, "self_lower", limit_minor=2_000_000)
    assert (again.status_code, again.json()["check"]) == (409, "limit")


def test_decision_from_a_version_that_is_gone_is_refused(office, line):
    path, body = f"/v1/lines/{line}/decisions", {"purpose": "self_lower", "limit_minor": 1_000_000}
    tag = office.get(good(), f"/v1/lines/{line}").headers["etag"]
    office.draw(line)
    before = office.state()
    stale = office.post(good(), path, body, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["check"]) == (412, "version")
    assert office.state() == before
    tag = office.get(good(), f"/v1/lines/{line}").headers["etag"]
    assert office.post(good(), path, body, headers={"If-Match": tag}).status_code == 201


def test_who_asks_for_more_gets_the_reasons_and_no_more(office, line):
    """I20."""
    made = decide(office, line, "increase").json()
    assert made["new_limit_minor"] == made["old_limit_minor"]
    assert "P-GRADE" in [one["code"] for one in made["reasons"]]


@pytest.mark.parametrize(
    ("who", "purpose", "more"),
    [
        (good(), "freeze_fraud", {}),
        (good(), "release", {}),
        (good(), "temporary", {"limit_minor": 10_000}),
        ("alice", "self_lower", {"limit_minor": 10_000}),
        ("alice", "accept_offer", {}),
        ("alice", "decline_offer", {}),
        ("auditor", "review", {}),
        ("ops", "close", {}),
        ("lake", "review", {}),
    ],
)
def test_role_asks_only_for_what_is_its_own(office, line, who, purpose, more):
    before = office.state()
    assert decide(office, line, purpose, who, **more).status_code == 403
    assert office.state() == before


def test_officer_freezes_and_releases_and_nothing_is_drawn_between(office, line):
    frozen = decide(office, line, "freeze_fraud", "alice", note="Card reported as stolen.").json()
    assert (frozen["state"], frozen["reasons"][0]["code"]) == ("frozen", "P-FRAUD")
    body = {"amount_minor": 100_000, "currency": "CNY", "purpose": "daily", "months": 3}
    drawn = office.post(good(), f"/v1/lines/{line}/drawdowns", body)
    assert (drawn.status_code, drawn.json()["reason"]) == (409, "P-FRAUD")
    assert decide(office, line, "release", "bob").json()["state"] == "observation"
    office.draw(line)


def test_temporary_amount_falls_away_by_itself(office, line):
    room = office.show(line)["available_minor"]
    granted = decide(office, line, "temporary", "alice", limit_minor=100_000, until="2026-03-10")
    assert granted.status_code == 201, granted.text
    shown = office.show(line)
    assert shown["temporary"]["until"] == "2026-03-10"
    assert shown["available_minor"] == room + 100_000
    office.later(days=9)
    assert office.show(line)["available_minor"] == room


def test_decisions_of_a_line_are_a_chain_in_pages(office, line):
    for limit in (3_000_000, 2_000_000, 1_000_000):
        decide(office, line, "self_lower", limit_minor=limit)
    path = f"/v1/lines/{line}/decisions"
    first = office.get(good(), path, count=2).json()
    rest = office.get(good(), path, count=2, after=first["next"]).json()
    chain = first["items"] + rest["items"]
    assert [one["number"] for one in chain] == [1, 2, 3, 4]
    assert [one["prev_hash"] for one in chain[1:]] == [one["hash"] for one in chain[:-1]]
    assert rest["next"] is None


def test_others_decisions_are_not_there(office, line):
    decision = newest(office, line)
    strange = office.get(good(1), f"/v1/decisions/{decision}")
    unknown = office.get(good(1), "/v1/decisions/nothing")
    assert strange.status_code == unknown.status_code == 404
    assert strange.json()["detail"] == unknown.json()["detail"]
    assert office.get(good(1), f"/v1/lines/{line}/decisions").status_code == 404
    assert decide(office, line, "close", good(1)).status_code == 404


def test_override_needs_two_people_and_is_done_once(office, line):
    path = f"/v1/decisions/{newest(office, line)}/override"
    proposed = office.done("alice", path, OVERRIDE, status=202)
    assert office.show(line)["effective_limit_minor"] == 4_000_000
    assert office.get("bob", "/v1/approvals").json()["items"] == [proposed]
    approve = f"/v1/approvals/{proposed['approval_id']}/approve"
    before = office.state()
    own = office.post("alice", approve, ANSWER)
    assert (own.status_code, own.json()["code"]) == (403, "four-eyes")
    assert office.post("ops", approve, ANSWER).status_code == 403
    assert office.post(good(), approve, ANSWER).status_code == 403
    assert office.state() == before
    done = office.done("bob", approve, ANSWER, status=200)
    assert done["approval"]["state"] == "used"
    assert done["decision"]["new_limit_minor"] == 3_000_000
    assert office.show(line)["effective_limit_minor"] == 3_000_000
    again = office.post("bob", approve, ANSWER)
    assert (again.status_code, again.json()["check"]) == (409, "approval")
    record = office.get("auditor", f"/v1/decisions/{done['decision']['decision_id']}").json()
    assert record["record"]["about"]["approval"] == proposed["approval_id"]


def test_override_of_what_was_decided_anew_is_refused(office, line):
    path = f"/v1/decisions/{newest(office, line)}/override"
    proposed = office.done("alice", path, OVERRIDE, status=202)
    decide(office, line, "self_lower", limit_minor=1_000_000)
    before = office.state()
    late = office.post("bob", f"/v1/approvals/{proposed['approval_id']}/approve", ANSWER)
    assert (late.status_code, late.json()["check"]) == (409, "version")
    old = office.post("alice", path, OVERRIDE)
    assert (old.status_code, old.json()["check"]) == (409, "version")
    assert office.state() == before


def test_nobody_raises_a_limit_over_an_open_dispute(office, line):
    """I13: not even two officers."""
    decide(office, line, "self_lower", limit_minor=1_000_000)
    path = f"/v1/decisions/{newest(office, line)}/override"
    proposed = office.done("alice", path, OVERRIDE, status=202)
    body = {"customer_id": good(), "about": "S-UTILISATION", "text": "Not mine."}
    office.done(good(), "/v1/disputes", body)
    before = office.state()
    answer = office.post("bob", f"/v1/approvals/{proposed['approval_id']}/approve", ANSWER)
    assert (answer.status_code, answer.json()["code"]) == (403, "refused")
    assert office.state() == before
