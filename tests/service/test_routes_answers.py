"""Answers over HTTP: who may ask, what comes back in both languages, and that nothing is kept."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from server.accounts import proving
from server.api.app import create_app
from server.api.throttle import Rate, Rates
from server.limits.answers.credit_record import verify_record
from shared.identity import Roster
from tests import postgres
from tests.service.desk_kit import HOLDERS, OFTEN, Office, empty_store, good, poor

ME, OTHER = good(0), good(1)
LOAN = {"type": "mortgage", "amount_minor": 100_000_000, "annual_rate": 0.036, "months": 360}


@pytest.fixture(scope="module")
def office():
    """A service with two customers; the first has drawn, repaid and been reviewed."""
    folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
    (folder / "limits.db").write_bytes(empty_store())
    made = Office(folder / "federation", f"sqlite:///{folder}/limits.db")
    made.mine, made.others = (made.line(who) for who in (ME, OTHER))
    made.draw(made.mine, 50_000, ME)
    decided = made.done(ME, f"/v1/lines/{made.mine}/decisions", {"purpose": "increase"})
    made.decision = decided["decision_id"]
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_customer_asks_why_in_either_language(office, lang):
    answer = office.get(ME, f"/v1/lines/{office.mine}/why", lang=lang)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["language"] == lang
    assert told["why_not_back"]["at_once"]["available_minor"] == told["available_minor"]
    assert told["why_low"]["path"][-1]["step"] == "available"
    assert ("额度" in told["headline"]) == (lang == "zh")


def test_a_decision_is_explained_to_whom_it_is_about_and_to_those_who_watch(office):
    path = f"/v1/decisions/{office.decision}/explain"
    told = office.get(ME, path).json()
    assert told["decision_id"] == office.decision
    assert told["language"] == "zh"  # without a wish, the customers' own
    for who in ("alice", "auditor"):
        assert office.get(who, path).json() == told


@pytest.mark.parametrize("kind", ["why", "explain", "data", "record"])
def test_what_is_somebody_elses_is_not_there(office, kind):
    path = {
        "why": f"/v1/lines/{office.mine}/why",
        "explain": f"/v1/decisions/{office.decision}/explain",
        "data": f"/v1/customers/{ME}/data",
        "record": f"/v1/customers/{ME}/record",
    }[kind]
    query = {"subject": "x"} if kind == "record" else {}
    assert office.get(OTHER, path, **query).status_code == 404
    assert office.http.get(path).status_code == 401
    assert office.get("lake", path).status_code == 403
    assert (
        office.post(OTHER, f"/v1/lines/{office.mine}/what-if", {"changes": {}}).status_code == 404
    )


def test_a_what_if_changes_no_row_and_needs_no_key(office):
    before = office.state()
    body = {"changes": {"draws": 2, "utilisation": 0.4}, "horizon_days": 90}
    answer = office.http.post(
        f"/v1/lines/{office.mine}/what-if", json=body, headers=office.headers(ME)
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["limit_minor"] >= told["otherwise_limit_minor"] > 0
    assert set(told["seen_from"]) == {"draws", "utilisation"}
    assert office.get(ME, f"/v1/lines/{office.mine}/why").status_code == 200
    assert office.state() == before
    assert sum(len(table) > 2 for table in before.values()) > 8


@pytest.mark.parametrize(
    ("body", "status", "check"),
    [
        ({"changes": {"age": 3}}, 422, None),
        ({"changes": {"draws": "2"}}, 422, None),
        ({"changes": {"draws": -1}}, 422, None),
        ({"changes": {"utilisation": 2.0}}, 422, None),
        ({"changes": {}, "horizon_days": 721}, 422, None),
        ({"changes": {"income_minor": 5}}, 409, "fact"),
        ({"changes": {"income_source": "friend"}}, 409, None),
    ],
)
def test_a_what_if_that_cannot_be_is_a_named_problem(office, body, status, check):
    answer = office.post(ME, f"/v1/lines/{office.mine}/what-if", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if check:
        assert answer.json()["check"] == check


def test_who_asks_what_if_too_often_is_slowed_down_and_others_are_not(office):
    rates = Rates(Rate(2, 1), OFTEN, OFTEN, OFTEN)
    slow = TestClient(create_app(office.desk, rates=rates))
    answers = [
        slow.post(
            f"/v1/lines/{office.mine}/what-if", json={"changes": {}}, headers=office.headers(ME)
        ).status_code
        for _ in range(4)
    ]
    other = f"/v1/lines/{office.others}/what-if"
    free = slow.post(other, json={"changes": {}}, headers=office.headers(OTHER))
    assert answers == [200, 200, 429, 429]
    assert free.status_code == 200


def test_linkage_needs_an_income_and_keeps_nothing(office):
    body = {"line_id": office.others, "loan": LOAN, "lang": "en"}
    assert office.post(OTHER, "/v1/linkage", body).json()["check"] == "income"
    proof = {
        "customer_id": OTHER,
        "kind": "income_flow",
        "value_minor": 1_500_000,
        "source": "bank",
        "issued": "2026-03-01",
        "file_hash": "5f" * 32,
    }
    office.done("alice", "/v1/evidence", proof)
    before = office.state()
    told = office.done(OTHER, "/v1/linkage", body, status=200)
    assert told["effect"] in {"fits", "undrawn", "over"}
    assert told["effect_text"].startswith(("A mortgage", "With what"))
    assert office.state() == before
    assert office.post(ME, "/v1/linkage", body).status_code == 404


def test_a_record_is_signed_only_with_consent_and_its_bytes_verify(office):
    path = f"/v1/customers/{ME}/record"
    assert office.get(ME, path, subject="mine").status_code == 403
    office.consent(ME, purpose="credit_record")
    key = proving.make_log_key(office.desk)
    answer = office.get(ME, path, subject="mine")
    assert answer.status_code == 200, answer.text
    roster = Roster({office.scores.federation.name: key.fingerprint})
    record = verify_record(answer.content, roster, office.desk.today(office.clock()))
    assert (record.subject, record.months) == ("mine", 1)
    assert ME not in answer.text
    assert office.get(ME, path).status_code == 422  # a subject is needed
    assert office.get("alice", path, subject="mine").status_code == 403


def test_data_are_shown_by_holder(office):
    told = office.get(ME, f"/v1/customers/{ME}/data", lang="en").json()
    assert [one["party"] for one in told["holders"]] == HOLDERS
    assert all(one["consented"] and one["told"] for one in told["holders"])
    assert [one["line_id"] for one in told["lines"]] == [office.mine]
    stranger = office.get(poor(1), f"/v1/customers/{poor(1)}/data").json()
    assert stranger["lines"] == stranger["consents"] == []


@pytest.mark.parametrize("who", [ME, "alice", "lake", "auditor", "ops"])
def test_whoever_has_a_token_reads_the_rules(office, who):
    listed = office.get(who, "/v1/policies").json()["in_force"]
    line = next(one for one in listed if one["kind"] == "line")
    page = office.get(who, f"/v1/policies/{line['digest']}", lang="zh").json()
    assert page["text"] == office.desk.rules.sources["line"].text
    assert any("每次复评的步骤" in one["title"] for one in page["sections"])
    assert page["in_force"]


def test_an_unknown_text_a_malformed_digest_and_no_token_are_named(office):
    assert office.get("alice", f"/v1/policies/{'0' * 64}").status_code == 404
    assert office.get("alice", "/v1/policies/zzz").status_code == 422
    assert office.http.get("/v1/policies").status_code == 401
