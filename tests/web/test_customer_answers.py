"""What the customer's pages say of figures: truly worded, and the same that the service does."""

from __future__ import annotations

import re

import pytest

from server.web.customer.limit import advice_of, bounds_of, falls_of, path_of
from tests.service.desk_kit import HOLDERS
from tests.web import scenes
from tests.web.kit import Page
from tests.web.scenes import ME, TOM


@pytest.mark.parametrize(
    ("low", "high", "effect"),
    [(20, 40, "raises"), (28, 32, "keeps"), (20, 28, "less"), (0, 24, "opens"), (0, 40, "opens")],
)
def test_an_advice_is_worded_against_the_limit_of_today(low, high, effect):
    told = {"action": "Do it.", "otherwise_limit_minor": low, "expected_limit_minor": high,
            "by": "2026-06-30", "offered": False}  # fmt: skip
    assert advice_of(told, 32).effect == effect


@pytest.mark.parametrize(
    ("limits", "falls"), [([], None), ([32, 32], None), ([32, 28, 40], 28), ([40, 28], None)]
)
def test_a_fall_is_told_if_it_is_the_first_thing_to_come(limits, falls):
    steps = [{"on": f"2026-0{at + 1}-01", "state": "reduced", "limit_minor": one}
             for at, one in enumerate(limits)]  # fmt: skip
    found = falls_of({"steps": steps}, 32)
    assert (None if found is None else found.limit_minor) == falls
    assert falls_of(None, 32) is None


def test_bars_have_one_scale_and_the_bound_that_counts_stands_out():
    caps = [{"text": "a", "amount_minor": 10, "binds": True},
            {"text": "b", "amount_minor": 40, "binds": False}]  # fmt: skip
    assert [(one.amount_minor, one.most, one.binds) for one in bounds_of(caps)] == [
        (10, 40, True), (40, 40, False)]  # fmt: skip
    assert bounds_of([]) == path_of([]) == ()
    [only] = path_of([{"text": "Nothing.", "amount_minor": 0, "step": "available"}])
    assert (only.most, only.binds) == (1, True)


def test_an_advice_that_raises_nothing_does_not_say_that_it_does(lowered):
    """Borrowing less often keeps this limit where it is, and no more."""
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/why", lang="en").json()
    [one] = told["advice"]
    assert one["otherwise_limit_minor"] < one["expected_limit_minor"] == told["limit_minor"]
    page = lowered.browser("mei").get("/me")
    assert "It raises nothing by itself: with it the limit stays at 32,000.00 CNY" in page.text
    assert "without it it falls to 28,000.00 CNY" in page.text


def test_an_advice_that_raises_says_what_comes_anyway(lowered):
    lowered.office.bureau(ME)
    page = lowered.browser("mei").get("/me")
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/why", lang="en").json()["advice"][0]
    low, high = (f"{told[one] / 100:,.2f} CNY" for one in
                 ("otherwise_limit_minor", "expected_limit_minor"))  # fmt: skip
    assert f"Today it is 32,000.00 CNY. On that day it would be {low} without it" in page.text
    assert f"and {high} with it" in page.text


def test_who_is_late_reads_since_when_and_where_help_is(town):
    scenes.late(town.office, ME)
    page = town.browser("mei").get("/me")
    assert "Something has been overdue for 44 days" in page.text
    assert "Due since 2 April 2026" in page.text
    assert "Next payment" not in page.text
    assert any(one.endswith("#hardship") for one in page.links)


def test_who_would_lend_a_loan_is_who_lends_it_then(town):
    line = scenes.lent(town.office, ME)
    browser = town.browser("mei")
    page = browser.get("/me/cost", amount="1000", months="3")
    assert "lake 700.00 CNY · 70 %" in page.text
    assert "The lender itself 300.00 CNY · 30 %" in page.text
    before = {one["partner_id"]: one["open_minor"]
              for one in town.office.show(line)["lender_disclosure"]}  # fmt: skip
    browser.send(page.form("/me/draw"), purpose="daily", read="yes")
    after = {one["partner_id"]: one["open_minor"]
             for one in town.office.show(line)["lender_disclosure"]}  # fmt: skip
    assert {one: after[one] - before[one] for one in after} == {"lake": 70_000, "own": 30_000}


def test_a_loan_that_cannot_be_taken_now_is_priced_and_not_offered(town):
    scenes.fresh(town.office, ME)
    page = town.browser("mei").get("/me/cost", amount="45000", months="3")
    assert "so this loan cannot be taken now" in page.text
    assert "/me/draw" not in [one.action for one in page.forms]


def test_without_consent_the_cost_page_says_why_there_is_no_price(town):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    browser.send(browser.get("/me/data").forms[1], holders=[])
    page = browser.get("/me/cost", amount="1000", months="3")
    assert "No consent of yours is in force" in page.text
    assert "/me/draw" not in [one.action for one in page.forms]


def test_the_own_score_proofs_and_bureau_figures_are_shown(town):
    scenes.lent(town.office, ME)
    told = town.office.get(ME, f"/v1/customers/{ME}/score").json()
    browser = town.browser("mei")
    page = browser.get("/me/data")
    assert f"Your score {told['score']}" in page.text
    assert "Monthly income: 15,000.00 CNY (bank), counts until" in page.text
    assert "What the credit bureau told us Data of 2 March 2026" in page.text
    browser.send(page.forms[1], holders=[])
    assert "Your score" not in browser.get("/me/data").text


def test_a_silent_holder_is_said_beside_the_score(town):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    browser.send(browser.get("/me/data").forms[1], holders=HOLDERS[:2])
    assert "Some holders are silent" in browser.get("/me/data").text


@pytest.mark.parametrize("purpose", ["restore", "increase"])
def test_asking_brings_a_decision_with_reasons_and_raises_nothing(lowered, purpose):
    browser, office = lowered.browser("mei"), lowered.office
    before = office.show(lowered.line)["limit_minor"]
    answer = browser.send(browser.get("/me/rights").form("/me/ask"), purpose=purpose)
    page = browser.get(answer.headers["location"])
    assert "Your request is decided" in page.text
    assert "You borrowed 6 times within 30 days" in page.text
    assert office.show(lowered.line)["limit_minor"] == before
    listed = office.get(ME, f"/v1/lines/{lowered.line}/decisions").json()["items"]
    assert listed[-1]["purpose"] == purpose


def test_nothing_else_can_be_asked_for(town):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    form = browser.get("/me/rights").form("/me/ask")
    before = town.office.state()
    for purpose in ("override", "freeze_fraud", ""):
        browser.send(form, 400, purpose=purpose)
    assert town.office.state() == before


def test_everything_is_deleted_once_nothing_is_owed_and_never_before(town):
    office, line = town.office, scenes.fresh(town.office, ME)
    other = scenes.fresh(office, TOM)
    office.draw(line, 100_000, ME)
    browser = town.browser("mei")
    form = browser.get("/me/rights").form("/me/erase")
    assert "Tick that you are sure" in Page(browser.send(form, 409)).text
    browser.send(browser.get("/me/rights").form("/me/erase"), 409, sure="yes")
    assert office.show(line)["outstanding_minor"] == 100_000
    office.repay(line, 100_000)
    form = browser.get("/me/rights").form("/me/erase")
    answer = browser.send(form, sure="yes")
    assert "Everything that was kept of you is deleted" in browser.get(
        answer.headers["location"]).text  # fmt: skip
    assert "You have no line" in browser.get("/me").text
    assert not any(ME.encode() in rows for name, rows in office.state().items()
                   if name != "clients")  # fmt: skip
    assert office.show(other, TOM)["state"] == "active"


def test_the_later_loan_shows_the_shares_as_bars(town):
    scenes.lent(town.office, ME)
    html = town.browser("mei").get("/me/loan", amount="1000000").html
    shares = re.findall(r'aria-label="([^"]+): ([0-9.]+) %"', html)
    assert [name for name, _ in shares] == [
        "With what you owe today", "If the whole limit counts as drawn", "What its lender allows",
    ]  # fmt: skip
    assert float(shares[0][1]) < float(shares[2][1]) < float(shares[1][1])
