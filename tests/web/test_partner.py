"""A partner bank's pages: its own book and nothing else, its verdicts, the log's heads, leaving."""

from __future__ import annotations

import csv
import io

import pytest

from server.accounts import proving
from server.prooflog.verify import verify_bytes, verify_together
from tests.service.test_routes_partners import HILL, LAKE
from tests.web import scenes
from tests.web.kit import Page
from tests.web.scenes import ME, TOM

PAGES = ("/partner", "/partner/refusals", "/partner/log")


@pytest.fixture
def bank(town):
    """The partner `lake`, and another one that refuses grade A."""
    for one in (LAKE, HILL):
        town.office.done("ops", "/v1/partners", one)
    town.admit("hill-bank", "partner", "hill")
    return town.browser("the-partner")


def test_the_book_is_the_apis_and_tells_of_nobody(town, bank):
    line = scenes.fresh(town.office, ME)
    drawn = town.office.draw(line, 100_001, ME)
    told = town.office.get("lake", "/v1/partners/lake/book").json()
    page = bank.get("/partner")
    assert (told["draws"], told["funded_minor"]) == (1, 70_000)
    assert "700.00 CNY" in page.text
    assert f"…{drawn['drawdown_id'][-8:]}" in page.text
    assert "250,000,000.00 CNY" in page.text  # the law's bound on one lender, before the draw
    for hidden in (ME, line, "hill", "300.01"):
        assert hidden not in page.html
    assert page.headers["cache-control"] == "no-store"


def test_a_file_of_the_book_has_every_draw_to_the_minor_unit(town, bank):
    line = scenes.fresh(town.office, ME)
    for amount in (100_001, 50_000):
        town.office.draw(line, amount, ME)
    raw = bank.http.get("/partner/book.csv")
    rows = list(csv.reader(io.StringIO(raw.text)))
    told = town.office.get("lake", "/v1/partners/lake/book").json()["items"]
    told = told[::-1]
    assert [row[0] for row in rows[1:]] == [one["draw_id"] for one in told]
    assert [float(row[7]) * 100 for row in rows[1:]] == [one["amount_minor"] for one in told]
    rest = bank.http.get("/partner/book.csv", params={"before": told[0]["draw_id"]}).text
    assert len(rest.splitlines()) == 2
    assert "funded" in bank.http.get("/partner/decided.csv").text


def test_what_the_own_rules_refused_and_was_made_all_the_same_is_listed(town, bank):
    drawn = town.office.draw(scenes.fresh(town.office, ME), 100_000, ME)
    hill = town.browser("hill-bank")
    page = hill.get("/partner/refusals")
    assert f"…{drawn['drawdown_id'][-8:]}" in page.text
    assert "Grade not in your rules" in page.text
    assert "You have funded no draw yet" in hill.get("/partner").text
    assert "You have refused nothing" in bank.get("/partner/refusals").text
    assert drawn["drawdown_id"][-8:] not in bank.get("/partner/refusals").html


def test_each_bank_has_a_book_of_its_own(town, bank):
    town.office.draw(scenes.fresh(town.office, ME), 100_000, ME)
    assert "700.00 CNY" in bank.get("/partner").text
    assert "700.00 CNY" not in town.browser("hill-bank").get("/partner").text


def test_lists_go_on_page_by_page(town, bank, monkeypatch):
    monkeypatch.setattr("server.web.partner.book.PAGE", 1)
    monkeypatch.setattr("server.web.partner.refusals.PAGE", 1)
    line = scenes.fresh(town.office, ME)
    draws = sorted(town.office.draw(line, 50_000, ME)["drawdown_id"] for _ in range(2))
    for browser, path in ((bank, "/partner"), (town.browser("hill-bank"), "/partner/refusals")):
        first = browser.get(path)
        [link] = [
            one for one in first.links if one.startswith(f"{path}?before=") and "lang=" not in one
        ]
        second = browser.get(link)
        assert [one[-8:] in first.text for one in draws] == [False, True]
        assert [one[-8:] in second.text for one in draws] == [True, False]
        assert path in second.links


def test_a_bank_that_withdraws_ticks_that_it_is_sure(town, bank):
    town.office.draw(scenes.fresh(town.office, ME), 100_000, ME)
    form = bank.get("/partner").form("/partner/withdraw")
    assert "Tick that you are sure" in Page(bank.send(form, 409)).text
    bank.send(form, sure="yes")
    page = bank.get("/partner")
    assert "nothing more is funded" in page.text
    assert all(one.action != "/partner/withdraw" for one in page.forms)
    listed = town.office.get("auditor", "/v1/partners").json()["items"]
    assert {one["partner_id"]: one["is_open"] for one in listed} == {"hill": True, "lake": False}


def test_a_bank_keeps_a_head_and_has_it_proved_later(town, bank):
    assert "No head was signed yet" in bank.get("/partner/log").text
    assert bank.http.get("/partner/log/head.json").status_code == 404
    scenes.fresh(town.office, ME)
    scenes.sealed(town.office)
    old = bank.http.get("/partner/log/head.json").content
    town.office.later(minutes=5)
    scenes.fresh(town.office, TOM)
    scenes.sealed(town.office)
    page = bank.get("/partner/log", check="1")
    assert "In order: 2 heads of one log" in page.text
    pin = proving.log_key(town.office.desk.home).fingerprint
    assert pin in page.text
    [link] = [one for one in page.links if "consistency.json" in one]
    proofs = [old, bank.http.get(link).content, bank.http.get("/partner/log/head.json").content]
    asked = bank.http.get("/partner/log/consistency.json", params={"old": 1})
    assert asked.content == proofs[1]
    assert verify_together([verify_bytes(one, pin) for one in proofs])
    assert bank.http.get("/partner/log/consistency.json?old=77").status_code in {404, 409}
    assert len(bank.http.get("/partner/log/growth.csv").text.splitlines()) == 3


def test_a_history_that_was_changed_is_told(town, bank, monkeypatch):
    scenes.fresh(town.office, ME)
    scenes.sealed(town.office)
    other = town.office.kit.people["bank"]
    monkeypatch.setattr("server.accounts.rechecking.proving.log_key", lambda _: other)
    assert "The history failed at the check key" in bank.get("/partner/log", check="1").text


def test_a_bank_that_was_not_taken_on_yet_is_told_so(town):
    browser = town.browser("the-partner")
    assert "not taken on as a partner" in browser.get("/partner").text


@pytest.mark.parametrize("name", ["mei", "the-officer", "the-operator", "the-regulator"])
def test_a_book_is_its_banks_alone(town, name):
    browser = town.browser(name)
    for path in (*PAGES, "/partner/book.csv", "/partner/log/head.json"):
        assert browser.http.get(path).status_code == 403, path


def test_a_look_at_a_book_changes_no_row(town, bank):
    before = town.office.state()
    for lang in ("en", "zh"):
        for path in PAGES:
            bank.get(path, lang=lang)
    assert town.office.state() == before
