"""Funding partners, their books, budget and allocation over HTTP."""

from __future__ import annotations

import pytest

from tests.service.desk_kit import good

RULES = {
    "name": "lake",
    "version": "1",
    "grades": ["A", "B"],
    "products": ["revolving_consumer"],
    "most_minor": None,
    "most_default_prob": None,
}
LAKE = {"id": "lake", "tier1_minor": 10**11, "loans_minor": 10**12, "rules": RULES}
HILL = LAKE | {"id": "hill", "rules": RULES | {"name": "hill", "grades": ["C"]}}
BUDGET = {"own_funds_minor": 10**10, "own_share": "0.3"}


def test_partner_is_capped_by_the_law_and_sees_its_own_part_of_each_draw(office):
    made = office.done("ops", "/v1/partners", LAKE)
    assert (made["cap_minor"], made["used_minor"]) == (25 * 10**9, 0)  # 25 % of its tier 1
    line = office.line()
    drawn = office.draw(line, 100_001)
    book = office.get("lake", "/v1/partners/lake/book").json()
    assert (book["draws"], book["funded_minor"], book["open_minor"]) == (1, 70_000, 70_000)
    [item] = book["items"]
    assert (item["draw_id"], item["amount_minor"]) == (drawn["drawdown_id"], 70_000)
    assert good() not in str(book)
    assert office.show(line)["lender_disclosure"] == [
        {"partner_id": "lake", "open_minor": 70_000, "share": "0.699993"},
        {"partner_id": "own", "open_minor": 30_001, "share": "0.300007"},
    ]


def test_partners_own_rules_decide_and_the_difference_is_in_its_book(office):
    office.done("ops", "/v1/partners", HILL)
    line = office.line()
    drawn = office.draw(line)
    assert [one["partner_id"] for one in drawn["shares"]] == ["own"]
    book = office.get("hill", "/v1/partners/hill/book").json()
    assert book["items"] == []
    assert [one["draw_id"] for one in book["refused"]] == [drawn["drawdown_id"]]
    assert sum(book["decided"].values()) == 1


def test_book_of_another_partner_is_not_there(office):
    for one in (LAKE, HILL):
        office.done("ops", "/v1/partners", one)
    strange = office.get("hill", "/v1/partners/lake/book")
    unknown = office.get("hill", "/v1/partners/nothing/book")
    assert strange.status_code == unknown.status_code == 404
    assert strange.json()["detail"] == unknown.json()["detail"]
    assert office.post("hill", "/v1/partners/lake/withdraw").status_code == 404
    assert office.get("auditor", "/v1/partners/lake/book").status_code == 200
    assert office.get(good(), "/v1/partners/lake/book").status_code == 403


def test_book_comes_in_pages_without_a_gap(office):
    office.done("ops", "/v1/partners", LAKE)
    line = office.line()
    for _ in range(3):
        office.draw(line)
    whole = office.get("lake", "/v1/partners/lake/book").json()
    found, after = [], ""
    while after is not None:
        page = office.get("lake", "/v1/partners/lake/book", count=1, after=after).json()
        found += page["items"]
        after = page["next"]
    assert found == whole["items"]
    assert len(found) == 3


def test_partner_that_withdraws_funds_nothing_more_and_is_still_repaid(office):
    office.done("ops", "/v1/partners", LAKE)
    line = office.line()
    office.draw(line)
    gone = office.done("lake", "/v1/partners/lake/withdraw", status=200)
    assert (gone["is_open"], gone["room_minor"], gone["used_minor"]) == (False, 0, 70_000)
    later = office.draw(line)
    assert [one["partner_id"] for one in later["shares"]] == ["own"]
    office.repay(line, 200_000)
    [listed] = office.get("auditor", "/v1/partners").json()["items"]
    assert listed["used_minor"] == 0


@pytest.mark.parametrize("who", [good(), "alice", "auditor", "lake"])
def test_only_operators_take_partners_on_and_set_budgets(office, who):
    for path, body in (
        ("/v1/partners", LAKE),
        ("/v1/budgets/budget", BUDGET),
        ("/v1/lending", {"own_share": "0.5", "reason": "Agreed."}),
        ("/v1/allocations", {"budget_id": "budget"}),
    ):
        assert office.post(who, path, body).status_code == 403


def test_names_that_would_mean_something_else_are_refused(office):
    office.done("ops", "/v1/budgets/pool", BUDGET, status=200)
    for name in ("own", "budget", "pool"):
        answer = office.post("ops", "/v1/partners", LAKE | {"id": name})
        assert answer.status_code == 409
    wrong = LAKE | {"rules": RULES | {"products": ["moon_loan"]}}
    assert office.post("ops", "/v1/partners", wrong).status_code == 404


def test_own_share_is_never_below_the_laws(office):
    office.done("ops", "/v1/partners", LAKE)
    low = office.post("ops", "/v1/lending", {"own_share": "0.2", "reason": "More volume."})
    assert (low.status_code, low.json()["check"]) == (409, "share")
    made = office.done("ops", "/v1/lending", {"own_share": "0.5", "reason": "Agreed."}, status=200)
    assert made["own_share"] == "0.5"
    drawn = office.draw(office.line())
    assert {one["partner_id"]: one["amount_minor"] for one in drawn["shares"]} == {
        "own": 50_000,
        "lake": 50_000,
    }


def test_budget_is_committed_by_lines_and_allocated_to_segments(office):
    empty = office.post("ops", "/v1/allocations", {"budget_id": "budget"})
    assert (empty.status_code, empty.json()["check"]) == (409, "budget")
    made = office.done("ops", "/v1/budgets/budget", BUDGET, status=200)
    assert made["used_minor"] == 0
    office.line()
    again = office.done("ops", "/v1/budgets/budget", BUDGET, status=200)
    assert again["used_minor"] == 4_000_000
    run = office.done("ops", "/v1/allocations", {"budget_id": "budget"})
    assert run["scales"] == {"revolving_consumer/A": "1"}


def test_line_that_the_budget_does_not_reach_is_refused(office):
    office.done("ops", "/v1/budgets/budget", BUDGET | {"own_funds_minor": 100}, status=200)
    office.consent(good())
    office.bureau(good())
    before = office.state()
    asked = {"customer_id": good(), "product": "revolving_consumer"}
    answer = office.post(good(), "/v1/lines", asked)
    assert answer.status_code in {403, 409}
    assert office.state() == before
