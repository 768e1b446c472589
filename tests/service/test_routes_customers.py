"""Consents, proofs, bureau reports and erasure over HTTP."""

from __future__ import annotations

import pytest

from tests.service.desk_kit import HOLDERS, good, poor

CONSENT = {"purpose": "credit_line", "holders": HOLDERS, "categories": ["repayment"]}
EVIDENCE = {
    "customer_id": good(),
    "kind": "income_flow",
    "value_minor": 900_000,
    "source": "declared",
    "issued": "2026-03-01",
    "file_hash": "5f" * 32,
}


def test_consent_comes_back_with_its_receipt_and_stands_in_the_list(office):
    made = office.consent(good(), until="2027-03-01")
    assert (made["purpose"], made["until"], made["withdrawn_at"]) == (
        "credit_line",
        "2027-03-01",
        None,
    )
    assert len(made["receipt_hash"]) == 64
    listed = office.get(good(), f"/v1/customers/{good()}/consents").json()
    assert listed == {"items": [made], "next": None}


def test_consents_come_in_pages_without_a_gap(office):
    made = [office.consent(good())["consent_id"] for _ in range(5)]
    found, after = [], ""
    while after is not None:
        path = f"/v1/customers/{good()}/consents"
        page = office.get(good(), path, after=after, count=2).json()
        found += [one["consent_id"] for one in page["items"]]
        after = page["next"]
    assert found == sorted(made)


def test_withdrawal_stops_draws_cuts_nothing_and_is_taken_once(office):
    line = office.line()
    before = office.show(line)
    consent = office.get(good(), f"/v1/customers/{good()}/consents").json()["items"][0]
    path = f"/v1/consents/{consent['consent_id']}/withdraw"
    assert office.done(good(), path, status=200)["withdrawn_at"] is not None
    after = office.show(line)
    assert (after["may_draw"], after["available_minor"]) == (False, 0)
    assert after["effective_limit_minor"] == before["effective_limit_minor"] > 0
    again = office.post(good(), path)
    assert (again.status_code, again.json()["check"]) == (409, "state")
    office.consent(good())
    assert office.show(line)["available_minor"] == before["available_minor"]


def test_consent_of_somebody_else_is_not_there(office):
    consent = office.consent(good())["consent_id"]
    before = office.state()
    strange = office.post(good(1), f"/v1/consents/{consent}/withdraw")
    unknown = office.post(good(1), "/v1/consents/01JNXK4T8Q6V3YB2M9WZ5RCE7D/withdraw")
    assert strange.status_code == unknown.status_code == 404
    assert strange.json()["detail"] == unknown.json()["detail"]
    for answer in (
        office.post(good(1), f"/v1/customers/{good()}/consents", CONSENT),
        office.get(good(1), f"/v1/customers/{good()}/consents"),
        office.get(good(1), f"/v1/customers/{good()}/evidence"),
        office.delete(good(1), f"/v1/customers/{good()}"),
    ):
        assert answer.status_code == 404
    assert office.state() == before


def test_consent_names_parties_of_the_federation(office):
    answer = office.post(
        good(), f"/v1/customers/{good()}/consents", CONSENT | {"holders": ["bank", "casino"]}
    )
    assert (answer.status_code, answer.json()["check"]) == (409, "holders")
    assert "bank, bureau, ecommerce, payments" in answer.json()["detail"]


@pytest.mark.parametrize("who", ["alice", "ops", "auditor", "lake"])
def test_nobody_agrees_in_a_customers_place(office, who):
    answer = office.post(who, f"/v1/customers/{good()}/consents", CONSENT)
    assert (answer.status_code, answer.json()["code"]) == (403, "refused")


def test_customer_vouches_for_its_own_word_only(office):
    made = office.done(good(), "/v1/evidence", EVIDENCE)
    assert (made["source"], made["value_minor"]) == ("declared", 900_000)
    before = office.state()
    for change in ({"source": "bank"}, {"whole": True}):
        answer = office.post(good(), "/v1/evidence", EVIDENCE | change)
        assert (answer.status_code, answer.json()["code"]) == (403, "refused")
    assert office.post(good(1), "/v1/evidence", EVIDENCE).status_code == 404
    assert office.state() == before
    office.later(seconds=1)
    assert office.done("alice", "/v1/evidence", EVIDENCE | {"source": "bank"})["source"] == "bank"
    listed = office.get(good(), f"/v1/customers/{good()}/evidence").json()["items"]
    assert [one["source"] for one in listed] == ["declared", "bank"]


def test_bureaus_word_comes_from_operators(office):
    told = {"as_of": "2026-03-01", "obligations_minor": 220_000, "enquiries": ["2026-02-11"]}
    made = office.done("ops", f"/v1/customers/{good()}/bureau", told)
    assert made["as_of"] == "2026-03-01"
    for who in (good(), "alice", "auditor"):
        assert office.post(who, f"/v1/customers/{good()}/bureau", told).status_code == 403


def test_erasure_waits_for_the_money_and_leaves_a_log_that_verifies(office):
    line = office.line()
    office.draw(line)
    before = office.state()
    refused = office.delete(good(), f"/v1/customers/{good()}")
    assert (refused.status_code, refused.json()["check"]) == (409, "state")
    assert office.state() == before
    office.repay(line, 100_000)
    decision = office.get("alice", f"/v1/lines/{line}/decisions").json()["items"][0]
    done = office.delete(good(), f"/v1/customers/{good()}")
    assert done.status_code == 200
    assert done.json()["lines"] == 1
    assert good() not in office.get("alice", "/v1/lines").text
    assert good().encode() not in b"".join(office.state().values())
    left = office.get("alice", f"/v1/decisions/{decision['decision_id']}").json()
    assert left == {"decision": decision, "record": None}
    assert office.get(good(), f"/v1/lines/{line}").status_code == 404


def test_erasing_a_customer_of_whom_nothing_is_kept_is_not_found(office):
    assert office.delete("ops", f"/v1/customers/{poor(2)}").status_code == 404
