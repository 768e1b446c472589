"""Holds, draws, quotes and repayments over HTTP."""

from __future__ import annotations

import pytest

from tests.service.desk_kit import good

DRAW = {"amount_minor": 100_000, "currency": "CNY", "purpose": "daily", "months": 3}
HOLD = {"amount_minor": 100_000, "currency": "CNY", "purpose": "daily", "ttl_s": 600}
BANK = {
    "id": "lake",
    "tier1_minor": 10**11,
    "loans_minor": 10**12,
    "rules": {
        "name": "lake",
        "version": "1",
        "grades": ["A", "B"],
        "products": ["revolving_consumer"],
    },
}


def test_draw_and_repayment_come_back_to_where_they_began(office):
    """I14."""
    line = office.line()
    before = office.show(line)["available_minor"]
    drawn = office.draw(line)
    assert sum(one["amount_minor"] for one in drawn["shares"]) == 100_000
    assert drawn["terms"]["price"]["within_cap"] is True
    assert [one["due_on"] for one in drawn["terms"]["schedule"]] == [
        "2026-04-02",
        "2026-05-02",
        "2026-06-02",
    ]
    assert office.show(line)["available_minor"] == before - 100_000
    paid = office.repay(line, 100_000)
    assert (paid["outstanding_minor"], paid["available_minor"]) == (0, before)
    assert paid["allocations"] == [
        {"drawdown_id": drawn["drawdown_id"], "partner_id": "own", "amount_minor": 100_000}
    ]
    path = f"/v1/lines/{line}"
    assert office.get(good(), f"{path}/repayments").json()["items"] == [paid]
    assert office.get(good(), f"{path}/drawdowns").json()["items"][0]["open_minor"] == 0


def test_quote_is_the_price_of_the_draw_and_changes_nothing(office):
    line = office.line()
    before = office.state()
    asked = {"amount_minor": 100_000, "currency": "CNY", "months": 3}
    answer = office.post(good(), f"/v1/lines/{line}/quote", asked)
    assert answer.status_code == 200
    assert office.state() == before
    price = office.draw(line)["terms"]["price"]
    assert answer.json()["apr"] == price["apr"]
    assert answer.json()["instalments_minor"] == price["instalments_minor"]


def test_hold_is_posted_once_and_the_drawdown_has_its_id(office):
    line = office.line()
    held = office.hold(line)
    path = f"/v1/holds/{held['hold_id']}"
    drawn = office.done(good(), f"{path}/post", {"months": 3})
    assert drawn["drawdown_id"] == held["hold_id"]
    assert office.done(good(), f"{path}/post", {"months": 3}) == drawn
    void = office.post(good(), f"{path}/void")
    assert (void.status_code, void.json()["check"]) == (409, "hold")
    listed = office.get(good(), f"/v1/lines/{line}/holds").json()["items"]
    assert [one["state"] for one in listed] == ["posted"]


def test_hold_that_is_voided_or_runs_out_gives_its_money_back(office):
    line = office.line()
    room = office.show(line)["available_minor"]
    voided, lapsed = office.hold(line), office.hold(line)
    assert office.show(line)["available_minor"] == room - 200_000
    path = f"/v1/holds/{voided['hold_id']}/void"
    first = office.done(good(), path, status=200)
    assert first["state"] == "voided"
    assert office.done("alice", path, status=200) == first
    office.later(seconds=601)
    assert office.show(line)["available_minor"] == room
    late = office.post(good(), f"/v1/holds/{lapsed['hold_id']}/post", {"months": 3})
    assert (late.status_code, late.json()["check"]) == (409, "hold")


def test_same_key_draws_once_and_another_body_is_refused(office):
    line = office.line()
    path = f"/v1/lines/{line}/drawdowns"
    first = office.post(good(), path, DRAW, key="once")
    again = office.post(good(), path, DRAW, key="once")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]
    other = office.post(good(), path, DRAW | {"amount_minor": 200_000}, key="once")
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")
    assert office.show(line)["outstanding_minor"] == 100_000


def test_same_payment_under_other_keys_is_applied_once_in_the_same_words(office):
    """I6."""
    line = office.line()
    office.draw(line)
    body = office.repayment(line, 30_000)
    first = office.post("ops", "/v1/repayments", body)
    office.repay(line, 10_000)
    again = office.post("ops", "/v1/repayments", body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content
    other = office.post("ops", "/v1/repayments", body | {"amount_minor": 20_000})
    assert (other.status_code, other.json()["check"]) == (409, "reference")
    assert office.show(line)["outstanding_minor"] == 60_000


def test_payment_may_say_what_each_drawdown_gets(office):
    line = office.line()
    first, second = (office.draw(line)["drawdown_id"] for _ in range(2))
    parts = [(second, 40_000), (first, 10_000)]
    office.repay(
        line, 50_000, to=[{"drawdown_id": one, "amount_minor": part} for one, part in parts]
    )
    open_now = {
        one["drawdown_id"]: one["open_minor"]
        for one in office.get(good(), f"/v1/lines/{line}/drawdowns").json()["items"]
    }
    assert open_now == {first: 90_000, second: 60_000}
    before = office.state()
    for to in (
        [{"drawdown_id": second, "amount_minor": 40_000}],
        [{"drawdown_id": second, "amount_minor": 25_000}] * 2,
    ):
        wrong = office.post("ops", "/v1/repayments", office.repayment(line, 50_000, to=to))
        assert wrong.status_code == 422
    assert office.state() == before


def test_lists_of_money_come_in_pages_without_a_gap(office):
    line = office.line()
    for _ in range(3):
        office.draw(line)
        office.repay(line, 20_000)
        office.hold(line)
    for what, name in (
        ("drawdowns", "drawdown_id"),
        ("repayments", "repayment_id"),
        ("holds", "hold_id"),
    ):
        whole = office.get(good(), f"/v1/lines/{line}/{what}").json()
        found, after = [], None
        while True:
            more = {"after": after} if after else {}
            page = office.get(good(), f"/v1/lines/{line}/{what}", count=1, **more).json()
            found += page["items"]
            after = page["next"]
            if after is None:
                break
        assert whole["next"] is None
        assert [one[name] for one in found] == [one[name] for one in whole["items"]]
        assert len(found) == (6 if what == "holds" else 3)  # a draw in one step is one, too


def test_other_peoples_money_is_not_there(office):
    line = office.line()
    office.line(good(1))
    held = office.hold(line)
    before = office.state()
    for path, body in (
        (f"/v1/lines/{line}/drawdowns", DRAW),
        (f"/v1/lines/{line}/holds", HOLD),
        (f"/v1/lines/{line}/quote", {"amount_minor": 1000, "currency": "CNY", "months": 3}),
        (f"/v1/holds/{held['hold_id']}/post", {"months": 3}),
        (f"/v1/holds/{held['hold_id']}/void", None),
    ):
        strange = office.post(good(1), path, body)
        unknown = office.post(
            good(1), path.replace(line, "no").replace(held["hold_id"], "no"), body
        )
        assert strange.status_code == unknown.status_code == 404
        assert strange.json()["detail"] == unknown.json()["detail"]
    for what in ("holds", "drawdowns", "repayments"):
        assert office.get(good(1), f"/v1/lines/{line}/{what}").status_code == 404
    assert office.state() == before


@pytest.mark.parametrize("who", ["alice", "auditor", "lake", "ops"])
def test_nobody_draws_in_a_customers_place(office, who):
    line = office.line()
    assert office.post(who, f"/v1/lines/{line}/drawdowns", DRAW).status_code == 403
    assert office.post(who, f"/v1/lines/{line}/holds", HOLD).status_code == 403


@pytest.mark.parametrize("who", [good(), "alice", "auditor", "lake"])
def test_money_comes_in_by_the_word_of_the_payment_service_only(office, who):
    line = office.line()
    office.draw(line)
    answer = office.post(who, "/v1/repayments", office.repayment(line, 1000))
    assert answer.status_code == 403
    assert office.show(line)["outstanding_minor"] == 100_000


def test_draw_from_a_version_that_is_gone_is_refused(office):
    line = office.line()
    tag = office.get(good(), f"/v1/lines/{line}").headers["etag"]
    office.draw(line)
    path = f"/v1/lines/{line}/drawdowns"
    before = office.state()
    stale = office.post(good(), path, DRAW, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["check"]) == (412, "version")
    assert office.state() == before
    tag = office.get(good(), f"/v1/lines/{line}").headers["etag"]
    assert office.post(good(), path, DRAW, headers={"If-Match": tag}).status_code == 201


def test_forbidden_purpose_is_refused_and_freezes_the_line(office):
    line = office.line()
    refused = office.post(good(), f"/v1/lines/{line}/drawdowns", DRAW | {"purpose": "investment"})
    assert (refused.status_code, refused.json()["reason"]) == (409, "B10")
    shown = office.show(line)
    assert (shown["state"], shown["available_minor"]) == ("frozen", 0)


def test_partner_that_withdraws_in_mid_draw_leaves_the_hold_pending(office):
    office.done("ops", "/v1/partners", BANK)
    line = office.line()
    held = office.hold(line)
    drawn = office.draw(line)
    assert {one["partner_id"]: one["amount_minor"] for one in drawn["shares"]} == {
        "own": 30_000,
        "lake": 70_000,
    }
    office.done("lake", "/v1/partners/lake/withdraw", status=200)
    before = office.state()
    refused = office.post(good(), f"/v1/holds/{held['hold_id']}/post", {"months": 3})
    assert (refused.status_code, refused.json()["reason"]) == (409, "C-PARTNER")
    assert office.state() == before
    listed = office.get(good(), f"/v1/lines/{line}/holds").json()["items"]
    assert {one["hold_id"]: one["state"] for one in listed}[held["hold_id"]] == "pending"
    paid = office.repay(line, 100_000)
    assert sum(one["amount_minor"] for one in paid["allocations"]) == 100_000
