"""The log over HTTP: saved as it comes it verifies offline, and opens to its owner only."""

from __future__ import annotations

import json

import pytest

from server.accounts import proving
from server.prooflog.verify import missing_between, verify_bytes
from tests.service.desk_kit import good, poor
from tests.store.log_kit import PIN, put_key

PROOF, STH = "/v1/log/proof", "/v1/log/sth"
STEPS, EXPORT = "/v1/log/consistency", "/v1/log/export"


@pytest.fixture
def logged(office):
    """Return an office with a log key; `office.settle` is what its duties do."""
    put_key(office.desk.home)
    office.settle = lambda: proving.tick(office.desk)
    return office


def decisions_of(office, line):
    found = office.get(good(), f"/v1/lines/{line}/decisions").json()["items"]
    return [one["decision_id"] for one in found]


def status(answer):
    return answer.status_code, answer.json().get("check", "")


def test_a_customer_gets_the_proof_and_the_opening_of_the_own_decision(logged):
    line = logged.line()
    logged.settle()
    (decision,) = decisions_of(logged, line)
    answer = logged.get(good(), PROOF, decision=decision)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found = verify_bytes(answer.content, PIN)  # these very bytes
    ((_, record),) = found.records.items()
    assert (record["about"]["id"], record["about"]["customer"]) == (decision, good())
    (header,) = found.headers.values()
    assert (header.chain, header.number) == (line, 1)


def test_nobody_elses_decision_is_there_and_no_partner_sees_any(logged):
    line = logged.line()
    logged.settle()
    (decision,) = decisions_of(logged, line)
    other = logged.get(good(1), PROOF, decision=decision)
    nobodys = logged.get(good(1), PROOF, decision="no-such-decision")
    assert status(other) == status(nobodys) == (404, "")
    assert other.json()["detail"] == nobodys.json()["detail"]
    assert logged.get("lake", PROOF, decision=decision).status_code == 403
    assert logged.get("ops", PROOF, decision=decision).status_code == 403
    assert logged.http.get(PROOF, params={"decision": decision}).status_code == 401
    for who in ("alice", "auditor"):
        assert verify_bytes(logged.get(who, PROOF, decision=decision).content, PIN).records


def test_a_refused_opening_is_a_decision_of_the_customer_too(logged):
    logged.consent(poor())
    logged.bureau(poor())
    body = {"customer_id": poor(), "product": "revolving_consumer"}
    made = logged.post(poor(), "/v1/lines", body)
    logged.settle()
    found = verify_bytes(logged.get("auditor", EXPORT).content, PIN)
    (header,) = found.headers.values()
    assert made.json().get("decision_id", header.id) == header.id
    assert logged.get(poor(), PROOF, decision=header.id).status_code == 200
    assert logged.get(good(), PROOF, decision=header.id).status_code == 404


def test_before_its_leaf_is_signed_a_decision_is_pending_and_says_when_to_ask_again(logged):
    line = logged.line()
    (decision,) = decisions_of(logged, line)
    answer = logged.get(good(), PROOF, decision=decision)
    assert status(answer) == (409, "pending")
    assert answer.headers["retry-after"] == "1"
    logged.settle()
    assert logged.get(good(), PROOF, decision=decision).status_code == 200


def test_everybody_with_a_token_sees_heads_and_that_they_extend_each_other(logged):
    assert logged.get("alice", STH).status_code == 404
    line = logged.line()
    logged.settle()
    first = logged.get("alice", STH).json()["size"]
    body = {"purpose": "freeze_fraud", "note": "a drill"}
    logged.done("alice", f"/v1/lines/{line}/decisions", body)
    logged.later(seconds=2)
    logged.settle()
    for who in ("alice", "auditor", "ops", "lake", good()):
        head = logged.get(who, STH)
        assert verify_bytes(head.content, PIN).heads[0].size == first + 1
        steps = logged.get(who, STEPS, **{"from": first, "to": first + 1})
        sizes = [one.size for one in verify_bytes(steps.content, PIN).heads]
        assert sizes == [first, first + 1]
    assert logged.http.get(STH).status_code == 401
    assert logged.get("alice", STEPS, **{"from": 0, "to": 1}).status_code == 404
    assert status(logged.get("alice", STEPS, **{"from": 2, "to": 1})) == (409, "extension")
    for query in (
        {"from": -1, "to": 1},
        {"from": "x", "to": 1},
        {"to": 1},
        {"from": 1, "to": 2**53},
    ):
        assert logged.get("alice", STEPS, **query).status_code == 422


def test_a_regulator_exports_all_an_operator_sealed_leaves_and_others_nothing(logged):
    line = logged.line()
    for purpose in ("freeze_fraud", "release"):
        logged.done("alice", f"/v1/lines/{line}/decisions", {"purpose": purpose, "note": "a drill"})
    logged.settle()
    found = verify_bytes(logged.get("auditor", EXPORT).content, PIN)
    assert (found.count, len(found.records)) == (3, 3)
    assert missing_between([found]) == []
    part = verify_bytes(logged.get("auditor", EXPORT, first=1, count=1).content, PIN)
    assert (part.first, part.count) == (1, 1)
    sealed = logged.get("ops", EXPORT, sealed=True)
    assert verify_bytes(sealed.content, PIN).records == {}
    assert good() not in sealed.text
    assert logged.get("ops", EXPORT).status_code == 403
    for who in (good(), "alice", "lake"):
        assert logged.get(who, EXPORT).status_code == 403
    assert logged.get("auditor", EXPORT, first=3).status_code == 404
    assert logged.get("auditor", EXPORT, count=1001).status_code == 422


def test_reading_the_log_changes_nothing(logged):
    line = logged.line()
    logged.settle()
    (decision,) = decisions_of(logged, line)
    before = logged.state()
    for path, query in ((STH, {}), (PROOF, {"decision": decision}), (EXPORT, {}),
                        (STEPS, {"from": 1, "to": 1})):  # fmt: skip
        assert logged.get("auditor", path, **query).status_code == 200
    assert logged.state() == before


def test_answers_have_the_shape_that_openapi_tells(logged):
    import jsonschema  # noqa: PLC0415 - only here

    line = logged.line()
    logged.settle()
    (decision,) = decisions_of(logged, line)
    document = logged.app.openapi()
    asked = {STH: {}, PROOF: {"decision": decision}, EXPORT: {}, STEPS: {"from": 1, "to": 1}}
    for path, query in asked.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        shape = {**content["application/json"]["schema"], "components": document["components"]}
        body = json.loads(logged.get("auditor", path, **query).content)
        jsonschema.Draft202012Validator(shape).validate(body)
