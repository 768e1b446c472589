"""Lines over HTTP: applied for, looked at, listed."""

from __future__ import annotations

from tests.service.desk_kit import HOLDERS, good, name_of, poor

PRODUCT = {"product": "revolving_consumer"}


def test_line_is_opened_with_what_the_caps_allow_and_shown_term_by_term(office):
    office.consent(good())
    office.bureau(good())
    answer = office.post(good(), "/v1/lines", {"customer_id": good(), **PRODUCT})
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/lines/{made['line_id']}"
    assert (made["state"], made["limit_minor"]) == ("active", 4_000_000)
    assert made["decision"]["binding"] == ["grade"]
    assert made["decision"]["reasons"][0]["code"] == "P-GRADE"
    office.draw(made["line_id"], 100_000)
    office.hold(made["line_id"], 50_000)
    told = office.get(good(), f"/v1/lines/{made['line_id']}")
    shown = told.json()
    assert told.headers["etag"] == f'"{shown["version"]}"'
    assert (shown["outstanding_minor"], shown["held_minor"]) == (100_000, 50_000)
    assert shown["available_minor"] == 3_850_000
    [binding] = [one for one in shown["waterfall"] if one["binds"]]
    assert (binding["name"], binding["amount_minor"]) == ("limit", 3_850_000)
    assert shown["next_review_on"] == "2026-04-01"
    assert shown["next_due"]["due_on"] == "2026-04-02"
    assert shown["lender_disclosure"] == [
        {"partner_id": "own", "open_minor": 100_000, "share": "1.000000"}
    ]


def test_who_gets_no_line_gets_the_reasons_and_a_decision(office):
    office.consent(poor())
    office.bureau(poor())
    answer = office.post(poor(), "/v1/lines", {"customer_id": poor(), **PRODUCT})
    made = answer.json()
    assert (answer.status_code, made["line_id"], made["limit_minor"]) == (200, None, 0)
    assert made["decision"]["reasons"][0]["code"] == "P-GRADE"
    kept = office.get(poor(), f"/v1/decisions/{made['decision']['decision_id']}").json()
    assert kept["record"]["ask"]["purpose"] == "open"
    strange = office.get(good(), f"/v1/decisions/{made['decision']['decision_id']}")
    assert strange.status_code == 404


def test_second_open_line_of_a_product_is_refused_and_one_after_closing_is_not(office):
    line = office.line()
    before = office.state()
    again = office.post(good(), "/v1/lines", {"customer_id": good(), **PRODUCT})
    assert (again.status_code, again.json()["check"]) == (409, "id")
    assert office.state() == before
    office.done(good(), f"/v1/lines/{line}/decisions", {"purpose": "close"})
    other = office.done(good(), "/v1/lines", {"customer_id": good(), **PRODUCT})["line_id"]
    listed = office.get(good(), "/v1/lines").json()["items"]
    assert {one["line_id"]: one["state"] for one in listed} == {line: "closed", other: "active"}


def test_no_line_without_consent_or_with_a_silent_holder(office):
    before = office.state()
    asked = {"customer_id": good(), **PRODUCT}
    assert office.post(good(), "/v1/lines", asked).status_code == 403
    assert office.state() == before
    office.consent(good(), holders=HOLDERS[:2])
    office.bureau(good())
    before = office.state()
    silent = office.post(good(), "/v1/lines", asked)
    assert silent.status_code == 403
    assert "ecommerce" in silent.json()["detail"]
    assert office.state() == before
    office.later(seconds=1)
    office.consent(good())
    assert office.post(good(), "/v1/lines", asked).status_code == 201


def test_unknown_product_and_unknown_customer_are_not_found(office):
    office.consent(good())
    unknown = office.post(good(), "/v1/lines", {"customer_id": good(), "product": "moon_loan"})
    assert unknown.status_code == 404
    nobody = name_of(4711)
    office.consent(nobody)
    office.bureau(nobody)
    answer = office.post(nobody, "/v1/lines", {"customer_id": nobody, **PRODUCT})
    assert answer.status_code == 404
    assert nobody not in answer.text


def test_customer_sees_its_own_lines_and_officers_all_of_them(office):
    lines = {customer: office.line(customer) for customer in (good(0), good(1), good(2))}
    for customer, line in lines.items():
        listed = office.get(customer, "/v1/lines").json()["items"]
        assert [one["line_id"] for one in listed] == [line]
        for other in set(lines.values()) - {line}:
            strange, unknown = (
                office.get(customer, f"/v1/lines/{one}") for one in (other, "nothing")
            )
            assert strange.status_code == unknown.status_code == 404
            assert strange.json()["detail"] == unknown.json()["detail"]
    assert office.get(good(1), "/v1/lines", customer_id=good(2)).status_code == 404
    found, after = [], ""
    while after is not None:
        page = office.get("auditor", "/v1/lines", after=after, count=2).json()
        found += [one["line_id"] for one in page["items"]]
        after = page["next"]
    assert found == sorted(lines.values())
    one = office.get("alice", "/v1/lines", customer_id=good(1)).json()["items"]
    assert [row["line_id"] for row in one] == [lines[good(1)]]
    for who in ("ops", "lake"):
        assert office.get(who, "/v1/lines").status_code == 403
