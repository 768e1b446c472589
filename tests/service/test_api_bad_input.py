"""Bad input: the right status, a named problem, and nothing changed, byte for byte.

Every row of the table is asked of one scene: a customer with a line, money out and a pending hold.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.api.access import Caller, Role
from tests.service.desk_kit import HOLDERS, good, name_of, poor

MINE, OTHERS = good(), good(1)
DRAW = {"amount_minor": 10_000, "currency": "CNY", "purpose": "daily", "months": 3}
HOLD = {"amount_minor": 10_000, "currency": "CNY", "purpose": "daily", "ttl_s": 600}
QUOTE = {"amount_minor": 10_000, "currency": "CNY", "months": 3}
PAID = {
    "external_ref": "bad-1",
    "line_id": "{line}",
    "amount_minor": 10_000,
    "currency": "CNY",
    "value_date": "2026-03-02",
}
LOWER = {"purpose": "self_lower", "limit_minor": 1_000_000}
CONSENT = {"purpose": "credit_line", "holders": HOLDERS, "categories": ["repayment"]}
PROOF = {
    "customer_id": MINE,
    "kind": "income_flow",
    "value_minor": 900_000,
    "source": "declared",
    "issued": "2026-03-01",
    "file_hash": "5f" * 32,
}
CASE = {"customer_id": MINE, "about": "price", "text": "Too dear."}
DRAWDOWNS, HOLDS = "/v1/lines/{line}/drawdowns", "/v1/lines/{line}/holds"
DECISIONS, CONSENTS = "/v1/lines/{line}/decisions", f"/v1/customers/{MINE}/consents"
UNKNOWN = "01JNXK4T8Q6V3YB2M9WZ5RCE7D"

AMOUNTS = {
    "negative": -1,
    "nothing": 0,
    "huge": 10**15 + 1,
    "beyond 64 bits": 2**64,
    "float": 10_000.5,
    "whole float": 10_000.0,
    "text": "10000",
    "truth": True,
    "null": None,
    "list": [10_000],
}
WHERE = {
    "draw": (MINE, DRAWDOWNS, DRAW, "amount_minor"),
    "hold": (MINE, HOLDS, HOLD, "amount_minor"),
    "quote": (MINE, "/v1/lines/{line}/quote", QUOTE, "amount_minor"),
    "repayment": ("ops", "/v1/repayments", PAID, "amount_minor"),
    "lower limit": (MINE, DECISIONS, LOWER, "limit_minor"),
    "evidence": (MINE, "/v1/evidence", PROOF, "value_minor"),
}
MALFORMED = {
    f"{where}: {what}": (who, path, body | {field: value}, 422, "usage")
    for where, (who, path, body, field) in WHERE.items()
    for what, value in AMOUNTS.items()
    if not (what == "nothing" and where in {"lower limit", "evidence"})  # 0 is an amount there
}
FIELDS = {
    "unknown field": (MINE, DRAWDOWNS, DRAW | {"apr": "0.01"}, 422, "usage"),
    "missing field": (MINE, DRAWDOWNS, {"amount_minor": 10_000}, 422, "usage"),
    "body that is a list": (MINE, DRAWDOWNS, [DRAW], 422, "usage"),
    "months as text": (MINE, DRAWDOWNS, DRAW | {"months": "3"}, 422, "usage"),
    "currency of two letters": (MINE, DRAWDOWNS, DRAW | {"currency": "CN"}, 422, "usage"),
    "small currency": (MINE, DRAWDOWNS, DRAW | {"currency": "cny"}, 422, "usage"),
    "30 February": ("ops", "/v1/repayments", PAID | {"value_date": "2026-02-30"}, 422, "usage"),
    "29 February 2027": (
        MINE,
        CONSENTS,
        CONSENT | {"until": "2027-02-29"},
        422,
        "usage",
    ),
    "day as a number": ("ops", "/v1/repayments", PAID | {"value_date": 20260302}, 422, "usage"),
    "instant for a day": (
        "ops",
        "/v1/repayments",
        PAID | {"value_date": "2026-03-02T00:00:00Z"},
        422,
        "usage",
    ),
    "reference with a blank": (
        "ops",
        "/v1/repayments",
        PAID | {"external_ref": "a b"},
        422,
        "usage",
    ),
    "customer's name": (MINE, "/v1/lines", {"customer_id": "Li", "product": "x"}, 422, "usage"),
    "hash that is none": (MINE, "/v1/evidence", PROOF | {"file_hash": "5f"}, 422, "usage"),
    "proof that ends first": (
        MINE,
        "/v1/evidence",
        PROOF | {"expires": "2026-02-01"},
        422,
        "usage",
    ),
    "empty complaint": (MINE, "/v1/complaints", CASE | {"text": "   "}, 422, "usage"),
    "zero byte": (MINE, "/v1/complaints", CASE | {"text": "a\u0000b"}, 422, "usage"),
    "appeal without a decision": (MINE, "/v1/appeals", CASE, 422, "usage"),
    "purpose that is none": (MINE, DECISIONS, {"purpose": "open"}, 422, "usage"),
    "lower without a limit": (MINE, DECISIONS, {"purpose": "self_lower"}, 422, "usage"),
    "limit where none goes": (MINE, DECISIONS, LOWER | {"purpose": "review"}, 422, "usage"),
    "outcome that is none": (
        "alice",
        "/v1/cases/{case}/resolve",
        {"outcome": "maybe", "note": "x"},
        422,
        "usage",
    ),
}
STANDING = {
    "another currency, draw": (MINE, DRAWDOWNS, DRAW | {"currency": "USD"}, 409, "currency"),
    "another currency, hold": (MINE, HOLDS, HOLD | {"currency": "USD"}, 409, "currency"),
    "another currency, quote": (
        MINE,
        "/v1/lines/{line}/quote",
        QUOTE | {"currency": "USD"},
        409,
        "currency",
    ),
    "another currency, repayment": (
        "ops",
        "/v1/repayments",
        PAID | {"currency": "USD"},
        409,
        "currency",
    ),
    "more than is available": (
        MINE,
        DRAWDOWNS,
        DRAW | {"amount_minor": 4_000_000},
        409,
        "available",
    ),
    "most that there is": (MINE, DRAWDOWNS, DRAW | {"amount_minor": 10**15}, 409, "available"),
    "months not on offer": (MINE, DRAWDOWNS, DRAW | {"months": 5}, 409, "months"),
    "less than the least draw": (MINE, DRAWDOWNS, DRAW | {"amount_minor": 1}, 409, "amount"),
    "purpose that is none of the product's": (
        MINE,
        DRAWDOWNS,
        DRAW | {"purpose": "business"},
        409,
        "purpose",
    ),
    "repayment above the outstanding": (
        "ops",
        "/v1/repayments",
        PAID | {"amount_minor": 200_001},
        409,
        "outstanding",
    ),
    "second open line": (
        MINE,
        "/v1/lines",
        {"customer_id": MINE, "product": "revolving_consumer"},
        409,
        "id",
    ),
    "limit above the approved": (
        MINE,
        DECISIONS,
        LOWER | {"limit_minor": 5_000_000},
        409,
        "limit",
    ),
    "offer that was not made": (MINE, DECISIONS, {"purpose": "accept_offer"}, 409, "state"),
    "release of what is not frozen": ("alice", DECISIONS, {"purpose": "release"}, 409, "state"),
    "unknown holder": (MINE, CONSENTS, CONSENT | {"holders": ["casino"]}, 409, "holders"),
    "consent that is over": (MINE, CONSENTS, CONSENT | {"until": "2026-03-01"}, 409, "until"),
    "proof of tomorrow": (MINE, "/v1/evidence", PROOF | {"issued": "2026-03-03"}, 409, "issued"),
    "payment of tomorrow's value": (
        "ops",
        "/v1/repayments",
        PAID | {"value_date": "2026-03-09"},
        409,
        "value_date",
    ),
}
ABSENT = {
    "unknown line": (MINE, f"/v1/lines/{UNKNOWN}/drawdowns", DRAW, 404, "not-found"),
    "somebody else's line": (OTHERS, DRAWDOWNS, DRAW, 404, "not-found"),
    "somebody else's hold": (OTHERS, "/v1/holds/{hold}/post", {"months": 3}, 404, "not-found"),
    "unknown hold": (MINE, f"/v1/holds/{UNKNOWN}/void", None, 404, "not-found"),
    "repayment to an unknown line": (
        "ops",
        "/v1/repayments",
        PAID | {"line_id": UNKNOWN},
        404,
        "not-found",
    ),
    "repayment of an unknown drawdown": (
        "ops",
        "/v1/repayments",
        PAID | {"to": [{"drawdown_id": UNKNOWN, "amount_minor": 10_000}]},
        404,
        "not-found",
    ),
    "repayment of another line's drawdown": (
        "ops",
        "/v1/repayments",
        PAID | {"to": [{"drawdown_id": "{others}", "amount_minor": 10_000}]},
        404,
        "not-found",
    ),
    "unknown product": (MINE, "/v1/lines", {"customer_id": MINE, "product": "x"}, 404, "not-found"),
    "unknown case": (
        "alice",
        f"/v1/cases/{UNKNOWN}/resolve",
        {"outcome": "upheld", "note": "x"},
        404,
        "not-found",
    ),
    "unknown decision": (
        "alice",
        f"/v1/decisions/{UNKNOWN}/override",
        {"limit_minor": 0, "reason": "x", "note": "x"},
        404,
        "not-found",
    ),
    "unknown address": (MINE, "/v1/moon", DRAW, 404, "not-found"),
}
REFUSED = {
    "no line without consent": (
        good(2),
        "/v1/lines",
        {"customer_id": good(2), "product": "revolving_consumer"},
        403,
        "refused",
    ),
    "customer that repays itself": (MINE, "/v1/repayments", PAID, 403, "refused"),
    "officer that draws": ("alice", DRAWDOWNS, DRAW, 403, "refused"),
    "regulator that decides": ("auditor", DECISIONS, {"purpose": "review"}, 403, "refused"),
}
TABLE = {**MALFORMED, **FIELDS, **STANDING, **ABSENT, **REFUSED}


@pytest.fixture(scope="module")
def scene(whole_office):
    """A line with 200,000 out and a hold, and another customer's."""
    office = whole_office
    office.back()
    line, others = office.line(), office.line(OTHERS)
    office.draw(line, 200_000)
    named = {
        "line": line,
        "others": office.draw(others, customer=OTHERS)["drawdown_id"],
        "hold": office.hold(line)["hold_id"],
        "case": office.done(MINE, "/v1/complaints", CASE)["case_id"],
    }
    return office, named


def filled(value, named):
    """A path or body with the ids of the scene."""
    if isinstance(value, str):
        for name, found in named.items():
            value = value.replace("{" + name + "}", found)
        return value
    if isinstance(value, dict):
        return {name: filled(one, named) for name, one in value.items()}
    return [filled(one, named) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_bad_request_has_its_status_and_name_and_changes_nothing(scene, row):
    office, named = scene
    who, path, body, status, told = row
    before = office.state()
    answer = office.post(who, filled(path, named), filled(body, named))
    problem = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert told in (problem.get("check"), problem["code"])
    assert office.state() == before


@pytest.mark.parametrize("where", WHERE)
def test_the_same_request_with_a_good_amount_is_taken(office, where):
    """Control of the table: it is the amount that was refused."""
    line = office.line()
    office.draw(line, 200_000)
    who, path, body, _field = WHERE[where]
    answer = office.post(who, filled(path, {"line": line}), filled(body, {"line": line}))
    assert answer.status_code in {200, 201}, answer.text


RAW = {
    "no JSON": (b"{", 400),
    "not a number": (b'{"amount_minor": NaN}', 400),
    "a name twice": (b'{"months": 3, "months": 6}', 400),
    "not UTF-8": (b'{"purpose": "\xff"}', 400),
    "nothing": (b"", 422),
    "half a character": (
        b'{"amount_minor": 10000, "currency": "CNY", "purpose": "\\ud800", "months": 3}',
        422,
    ),
    "deeper than a stack": (b"[" * 30_000, 400),
    "longer than is read": (b'"' + b"a" * 70_000 + b'"', 413),
}


@pytest.mark.parametrize(("raw", "status"), RAW.values(), ids=RAW.keys())
def test_body_that_cannot_be_read_is_refused_before_anything_is_done(scene, raw, status):
    office, named = scene
    before = office.state()
    headers = office.headers(MINE, **{"Idempotency-Key": "raw", "Content-Type": "application/json"})
    answer = office.http.post(filled(DRAWDOWNS, named), content=raw, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert office.state() == before


def test_request_without_a_key_or_with_a_malformed_one_is_refused(scene):
    office, named = scene
    before = office.state()
    for more in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 129}):
        answer = office.http.post(
            filled(DRAWDOWNS, named), json=DRAW, headers=office.headers(MINE, **more)
        )
        assert answer.status_code in {400, 422}, answer.text
    assert office.state() == before


@pytest.mark.parametrize("kind", ["none", "basic", "garbled", "tampered", "expired", "of tomorrow"])
def test_request_without_a_token_that_counts_is_refused_by_name(scene, kind):
    office, named = scene
    door, now = office.app.state.door, office.clock.now
    caller = Caller("app", Role.CUSTOMER, MINE)
    token = door.mint(caller)
    if kind in {"expired", "of tomorrow"}:
        office.clock.now = now + timedelta(hours=-1 if kind == "expired" else 24)
        token = door.mint(caller)
        office.clock.now = now
    tampered = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    header, check = {
        "none": (None, "missing"),
        "basic": (f"Basic {token}", "missing"),
        "garbled": ("Bearer x.y", "form"),
        "tampered": (f"Bearer {tampered}", None),
        "expired": (f"Bearer {token}", "expiry"),
        "of tomorrow": (f"Bearer {token}", "clock"),
    }[kind]
    before = office.state()
    headers = {"Idempotency-Key": "who"} | ({"Authorization": header} if header else {})
    answer = office.http.post(filled(DRAWDOWNS, named), json=DRAW, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert check is None or answer.json()["check"] == check
    assert office.state() == before


def refused(office, who, path, body, status, told):
    """Ask for what must be refused, and hold the store against what it was."""
    before = office.state()
    answer = office.post(who, path, body)
    problem = answer.json()
    assert answer.status_code == status, answer.text
    assert told in (problem.get("check"), problem.get("reason"), problem["code"])
    assert office.state() == before


def test_draw_after_consent_was_withdrawn_is_refused_and_repayment_is_not(office):
    line = office.line()
    office.draw(line)
    held = office.hold(line)["hold_id"]
    consent = office.get(MINE, CONSENTS).json()["items"][0]["consent_id"]
    office.done(MINE, f"/v1/consents/{consent}/withdraw", status=200)
    refused(office, MINE, f"/v1/lines/{line}/drawdowns", DRAW, 409, "P-CONSENT")
    refused(office, MINE, f"/v1/lines/{line}/holds", HOLD, 409, "P-CONSENT")
    refused(office, MINE, f"/v1/holds/{held}/post", {"months": 3}, 409, "P-CONSENT")
    refused(office, MINE, f"/v1/lines/{line}/quote", QUOTE, 409, "P-CONSENT")
    assert office.repay(line, 50_000)["outstanding_minor"] == 50_000


def test_closed_line_takes_no_draw_and_no_decision(office):
    line = office.line()
    office.done(MINE, f"/v1/lines/{line}/decisions", {"purpose": "close"})
    refused(office, MINE, f"/v1/lines/{line}/drawdowns", DRAW, 409, "state")
    refused(office, MINE, f"/v1/lines/{line}/decisions", LOWER, 409, "state")
    refused(office, MINE, f"/v1/lines/{line}/decisions", {"purpose": "close"}, 409, "state")


def test_expired_release_lets_nobody_draw_or_open(office):
    line = office.line()
    office.consent(OTHERS)
    office.later(days=300)
    refused(office, MINE, f"/v1/lines/{line}/drawdowns", DRAW, 503, "expiry")
    asked = {"customer_id": OTHERS, "product": "revolving_consumer"}
    refused(office, OTHERS, "/v1/lines", asked, 503, "expiry")
    assert office.show(line)["effective_limit_minor"] == 4_000_000


def test_missing_holder_opens_no_line_and_cuts_none(office):
    line = office.line()
    office.consent(OTHERS)
    office.later(days=45)  # every feed is stale
    asked = {"customer_id": OTHERS, "product": "revolving_consumer"}
    refused(office, OTHERS, "/v1/lines", asked, 503, "environment")
    made = office.done(MINE, f"/v1/lines/{line}/decisions", {"purpose": "review"})
    assert made["new_limit_minor"] == made["old_limit_minor"] == 4_000_000
    assert "H-MISSING" in [one["code"] for one in made["reasons"]]


def test_clock_that_goes_back_decides_nothing(office):
    line = office.line()
    office.later(days=3)
    office.done(MINE, f"/v1/lines/{line}/decisions", LOWER)
    office.later(days=-2)
    body = LOWER | {"limit_minor": 500_000}
    refused(office, MINE, f"/v1/lines/{line}/decisions", body, 409, "clock")


def test_problem_tells_no_customer_and_no_value(scene):
    office, named = scene
    for body in (DRAW | {"amount_minor": "87654321"}, DRAW | {"purpose": "x-Li-Ming-x"}):
        answer = office.post(MINE, filled(DRAWDOWNS, named), body)
        assert answer.status_code >= 400
        for secret in (MINE, "87654321", "Li-Ming"):
            assert secret not in answer.text


def test_scene_has_customers_as_the_table_needs_them():
    assert len({MINE, OTHERS, good(2), poor(), name_of(99)}) == 5
