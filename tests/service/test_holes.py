"""Ways around a control that somebody looked for: each is closed, and the way through is open."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient

from server.api import guesses
from server.api.throttle import Rate, Rates, Throttle
from tests.service.desk_kit import good


def income(customer, source, value, **changes):
    return {
        "customer_id": customer,
        "kind": "income_flow",
        "value_minor": value,
        "source": source,
        "issued": "2026-03-01",
        "file_hash": "5f" * 32,
    } | changes


def test_own_word_is_no_proof_where_an_income_must_be_proven(office):
    customer = good()
    office.consent(customer)
    office.bureau(customer)
    body = {"customer_id": customer, "product": "credit_loan_plus"}
    office.done(customer, "/v1/evidence", income(customer, "declared", 10**14))
    declined = office.done(customer, "/v1/lines", body, status=200)
    assert declined["line_id"] is None
    assert [one["code"] for one in declined["decision"]["reasons"]] == ["P-FIT"]
    office.done("alice", "/v1/evidence", income(customer, "bank", 2_000_000))
    opened = office.done(customer, "/v1/lines", body)
    assert 0 < opened["limit_minor"] <= 8 * 2_000_000


def test_a_frozen_line_is_not_left_behind_for_a_new_one(office):
    customer, line = good(), office.line()
    office.done("alice", f"/v1/lines/{line}/decisions", {"purpose": "freeze_fraud", "note": "x"})
    closed = office.post(customer, f"/v1/lines/{line}/decisions", {"purpose": "close"})
    assert (closed.status_code, closed.json()["check"]) == (409, "state")
    body = {"customer_id": customer, "product": "micro_business"}
    assert office.post(customer, "/v1/lines", body).status_code == 403
    erased = office.delete(customer, f"/v1/customers/{customer}")
    assert (erased.status_code, erased.json()["check"]) == (409, "state")
    office.done("bob", f"/v1/lines/{line}/decisions", {"purpose": "close"})  # a person may


def test_who_is_deleted_stands_in_no_answer_that_is_kept_for_repetitions(office):
    line = office.line()
    office.draw(line)
    office.repay(line, 100_000)
    decided = office.done(good(), f"/v1/lines/{line}/decisions", {"purpose": "increase"})
    other = office.line(good(1))
    assert office.delete(good(), f"/v1/customers/{good()}").status_code == 200
    kept = office.state()["idempotency_keys"]
    for name in (good(), line, decided["decision_id"]):
        assert name.encode() not in kept
    assert other.encode() in kept  # the control: others' answers are kept


def test_the_parts_of_a_score_are_told_no_oftener_than_the_score(office, monkeypatch):
    line = office.line()
    monkeypatch.setattr(office.app.state.door, "throttle", Throttle(Rates(score=Rate(3, 1))))
    paths = (
        f"/v1/customers/{good()}/score",
        f"/v1/customers/{good()}/data",
        f"/v1/lines/{line}/why",
    )
    assert [office.get(good(), path).status_code for path in paths] == [200, 200, 200]
    assert [office.get(good(), path).status_code for path in paths] == [429, 429, 429]
    assert office.get(good(), f"/v1/lines/{line}").status_code == 200  # the control


def test_decisions_that_are_kept_for_ever_are_not_asked_for_without_end(office, monkeypatch):
    line = office.line()
    monkeypatch.setattr(office.app.state.door, "throttle", Throttle(Rates(limit=Rate(2, 1))))
    path = f"/v1/lines/{line}/decisions"
    asked = [office.post(good(), path, {"purpose": "increase"}).status_code for _ in range(3)]
    assert asked == [201, 201, 429]
    assert office.post("alice", path, {"purpose": "review"}).status_code == 201  # her own bucket


def test_guesses_at_secrets_hold_no_thread_that_others_need(office, monkeypatch):
    go = threading.Event()

    def slow(_client, _secret):
        return not go.wait(20)

    monkeypatch.setattr(guesses, "is_secret_of", slow)

    def guess(number):
        form = {"grant_type": "client_credentials", "client_id": f"nobody-{number}"}
        return http.post("/v1/token", data=form | {"client_secret": "x"}).status_code

    # More than the threads that a process has: names are free to invent.
    with TestClient(office.app) as http, ThreadPoolExecutor(60) as crowd:
        asked = [crowd.submit(guess, number) for number in range(60)]
        try:
            deadline = time.monotonic() + 10
            while sum(one.done() for one in asked) < 60 - 34 and time.monotonic() < deadline:
                time.sleep(0.01)
            answer = http.get("/readyz", timeout=10)  # it runs in a thread
        finally:
            go.set()
    assert answer.status_code == 200
    assert sorted(one.result() for one in asked) == [401] * 34 + [429] * 26


def test_staff_sees_of_a_score_what_the_customer_lets_tell(office):
    customer = good()
    path = f"/v1/customers/{customer}/score"
    whole = office.get("alice", path).json()
    assert whole["missing"] == []  # nobody was asked here yet
    consent = office.consent(customer, holders=["bank", "bureau"])
    for who in ("alice", "ops", "auditor"):
        told = office.get(who, path).json()
        assert told["missing"] == ["ecommerce", "payments"]
        assert {one["missing"] for one in told["holders"]} == {None, "no consent"}
        assert told["points"] < whole["points"]
    assert office.get(customer, path).json()["missing"] == []  # the control: it is their own
    office.done(customer, f"/v1/consents/{consent['consent_id']}/withdraw", status=200)
    for address in (path, f"/v1/customers/{customer}/limit"):
        answer = office.get("alice", address)
        assert (answer.status_code, answer.json()["code"]) == (403, "refused")
