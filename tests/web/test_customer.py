"""The customer's pages: what they answer, what they change, and what they never show."""

from __future__ import annotations

import re

import pytest

from server.accounts import proving
from server.limits.answers.credit_record import verify_record
from server.prooflog.verify import verify_bytes
from server.web.customer.common import major_of, minor_of
from server.web.customer.limit import moments_of
from shared.errors import UsageError
from shared.identity import Roster
from tests.service.desk_kit import HOLDERS, poor
from tests.web import scenes
from tests.web.kit import Page
from tests.web.scenes import ME, TOM

LOOKS = ("/me", "/me/what-if", "/me/cost", "/me/data", "/me/decisions", "/me/rights", "/me/loan",
         "/me/apply")  # fmt: skip


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_of_a_lowered_limit_answers_the_three_questions(lowered, lang):
    why = lowered.office.get(ME, f"/v1/lines/{lowered.line}/why", lang=lang).json()
    page = lowered.browser("mei", lang=lang).get("/me")
    assert why["headline"] in page.text
    for one in (*why["reasons"][:4], *why["not_about_you"]):
        assert one["text"] in page.text
    way = why["why_not_back"]["restoration"]
    assert way["missing_minor"] > 0
    assert way["needs"] in page.text
    for sentence in way["text"]:
        assert sentence in page.text
    days = [told["datetime"] for tag, told in page.tags if tag == "time"]
    assert {way["cut_on"], way["next_review_on"], why["as_of"]} <= set(days)
    assert days == sorted(days)
    for one in why["advice"]:
        assert one["action"] in page.text
    for one in why["does_not_help"]:
        assert one in page.text


def test_what_is_not_about_the_person_stands_apart(lowered):
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/why", lang="en").json()
    html = lowered.browser("mei").get("/me").html
    [box] = re.findall(r'<section class="card outside".*?</section>', html, re.DOTALL)
    [low] = re.findall(r'<section class="card" aria-labelledby="low".*?</section>', html, re.DOTALL)
    assert told["not_about_you"]
    for one in told["not_about_you"]:
        assert one["text"] in box
        assert one["text"] not in low
    assert low.count("<li>") <= 4 + 2 + len(told["why_low"]["path"])


@pytest.mark.parametrize("scene", ["whole", "lowered"])
def test_no_page_tells_a_probability_of_default(town, lowered, scene):
    if scene == "whole":
        line = scenes.fresh(town.office, ME)
    else:
        town, line = lowered, lowered.line
    why = town.office.get(ME, f"/v1/lines/{line}/why", lang="en").json()
    number = None if why["score"] is None else why["score"]["default_prob"]
    browser = town.browser("mei")
    for path in (*LOOKS, "/me/what-if?try=1&draws=1", "/me/data.json"):
        answer = browser.http.get(path)
        assert answer.status_code == 200, path
        assert "default_prob" not in answer.text
        assert "probability" not in answer.text.lower()
        if number is not None:
            assert str(number) not in answer.text
            assert f"{100 * number:.2f} %" not in answer.text


@pytest.mark.parametrize("path", LOOKS)
def test_a_look_changes_no_row_in_either_language(town, path):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    before = town.office.state()
    for lang in ("en", "zh"):
        page = browser.get(path, lang=lang)
        assert page.headers["cache-control"] == "no-store"
    assert town.office.state() == before


@pytest.mark.parametrize("path", LOOKS)
def test_somebody_without_a_line_is_told_what_can_be_done(town, path):
    page = town.browser("tom").get(path)
    assert page.status == 200


def test_a_what_if_is_the_apis_answer_and_changes_nothing(town):
    line = scenes.fresh(town.office, ME)
    office, browser = town.office, town.browser("mei")
    form = browser.get("/me/what-if").form("/me/what-if")
    before = office.state()
    page = browser.get("/me/what-if", **dict(form.filled(draws="8")))
    assert office.state() == before
    body = {"changes": {"draws": 8}, "horizon_days": 360}
    told = office.post(ME, f"/v1/lines/{line}/what-if", body).json()
    last = told["path"][-1]["limit_minor"]
    assert f"{last / 100:,.2f} CNY" in page.text
    assert "0 → 8" in page.text
    csv = browser.http.get("/me/what-if.csv", params=dict(form.filled(draws="8")))
    assert csv.headers["content-type"].startswith("text/csv")
    assert len(csv.text.splitlines()) > len(told["path"])


def test_a_what_if_that_is_none_is_told_on_a_page(town):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    page = browser.get("/me/what-if?draws=many&income_proven_minor=-3", 400)
    assert "draws: a whole number" in page.text
    assert "income_proven_minor: an amount" in page.text
    assert browser.http.get("/me/what-if.csv").status_code == 404


def test_what_a_loan_costs_is_what_the_api_says(town):
    line = scenes.fresh(town.office, ME)
    body = {"amount_minor": 100_000, "currency": "CNY", "months": 6}
    told = town.office.post(ME, f"/v1/lines/{line}/quote", body).json()
    page = town.browser("mei").get(
        "/me/cost", amount="1,000", months="6", income="900", outgo="800"
    )
    assert f"{told['total_minor'] / 100:,.2f} CNY" in page.text
    assert re.search(r"instalment is [0-9.]+ CNY: [0-9.]+ CNY would be missing", page.text)
    assert "We advise against this loan" in page.text


def test_a_loan_is_taken_once_however_often_the_form_is_sent(town):
    line = scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    form = browser.get("/me/cost", amount="1000", months="3").form("/me/draw")
    for _ in range(2):
        answer = browser.send(form, purpose="daily", read="yes")
        assert answer.headers["location"] == f"/me?line={line}&done=drawn"
    assert town.office.show(line)["outstanding_minor"] == 100_000
    assert "The loan is yours" in browser.get(answer.headers["location"]).text


def test_a_sheet_that_the_law_wants_read_must_be_ticked(town, monkeypatch):
    line = scenes.fresh(town.office, ME)
    monkeypatch.setattr(
        type(town.office.desk.rules.pack), "duty", lambda *_: object(), raising=True
    )
    browser = town.browser("mei")
    page = browser.get("/me/cost", amount="1000", months="3")
    assert "I have read the cost sheet" in page.text
    refused = Page(browser.send(page.form("/me/draw"), 409, purpose="daily"))
    assert "Tick that you have read" in refused.text
    assert town.office.show(line)["outstanding_minor"] == 0
    browser.send(page.form("/me/draw"), purpose="daily", read="yes")
    assert town.office.show(line)["outstanding_minor"] == 100_000


def test_consents_are_switched_holder_by_holder(town):
    line = scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    form = browser.get("/me/data").forms[1]
    assert [value for name, value in form.fields if name == "holders"] == HOLDERS
    browser.send(form, holders=["bank", "payments"])
    told = town.office.get(ME, f"/v1/customers/{ME}/data", lang="en").json()
    assert [one["party"] for one in told["holders"] if one["consented"]] == ["bank", "payments"]
    assert town.office.show(line)["state"] == "active"
    page = browser.get("/me/data")
    form = page.forms[1]
    answer = browser.send(form, holders=[])
    assert answer.headers["location"] == "/me/data?done=consent_withdrawn"
    refused = town.office.post(
        ME,
        f"/v1/lines/{line}/drawdowns",
        {"amount_minor": 10_000, "currency": "CNY", "purpose": "daily", "months": 3},
    )
    assert refused.json()["reason"] == "P-CONSENT"


def test_a_decision_is_explained_and_its_proof_checked_here_and_elsewhere(lowered):
    scenes.sealed(lowered.office)
    browser = lowered.browser("mei")
    listed = browser.get("/me/decisions")
    links = [one for one in listed.links if re.fullmatch(r"/me/decisions/\w+", one)]
    assert len(links) == 4
    page = browser.get(links[0], check="1")
    assert "In order: entry 4 of 4" in page.text
    assert "made again from its record, bit for bit" in page.text
    raw = browser.http.get(f"{links[0]}/proof.json")
    assert "attachment" in raw.headers["content-disposition"]
    pin = proving.log_key(lowered.office.desk.home).fingerprint
    proved = verify_bytes(raw.content, pin)
    assert proved.headers[proved.first].id == links[0].rpartition("/")[2]


def test_a_proof_that_fails_is_told_as_that(town, monkeypatch):
    scenes.fresh(town.office, ME)
    scenes.sealed(town.office)
    browser = town.browser("mei")
    [link] = [one for one in browser.get("/me/decisions").links if "/me/decisions/" in one]
    path = town.office.desk.home / "log.key"
    other = town.office.kit.people["bank"]
    monkeypatch.setattr("server.web.customer.history.proving.log_key", lambda _: other)
    page = browser.get(link, check="1")
    assert "The proof failed at the check" in page.text
    assert path.exists()


def test_a_proof_that_is_not_ready_is_told_kindly(town):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    [link] = [one for one in browser.get("/me/decisions").links if "/me/decisions/" in one]
    assert "ready some seconds after" in browser.get(f"{link}?check=1").text


@pytest.mark.parametrize("kind", ["dispute", "appeal", "complaint", "hardship"])
def test_every_right_is_a_form_that_opens_a_case(town, kind):
    scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    [form] = [one for one in browser.get("/me/rights").forms if ("kind", kind) in one.fields]
    if kind == "appeal":
        [chosen] = re.findall(r'<option value="(01\w+)"', browser.get("/me/rights").html)
        form.fields.append(("decision", chosen))
    words = "<script>alert(1)</script> & so on"
    answer = browser.send(form, text=words)
    page = browser.get(answer.headers["location"])
    assert words in page.text
    assert "<script>alert" not in page.html
    [case] = town.office.get(ME, "/v1/cases").json()["items"]
    assert (case["kind"], case["text"], case["state"]) == (kind, words, "open")


def test_the_own_limit_is_lowered_and_the_line_closed(town):
    line = scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    page = browser.get("/me/rights")
    browser.send(page.form("/me/lower"), limit="12,000")
    assert town.office.show(line)["limit_minor"] == 1_200_000
    form = browser.get("/me/rights").form("/me/close")
    assert "Tick that you are sure" in Page(browser.send(form, 409)).text
    browser.send(form, sure="yes")
    assert town.office.show(line)["state"] == "closed"


def test_an_application_comes_after_the_warning(town):
    town.office.consent(TOM)
    browser = town.browser("tom")
    page = browser.get("/me/apply")
    assert "no other lender sees it" in page.text
    form = page.form("/me/apply")
    browser.send(form, 409, product="revolving_consumer")
    assert town.office.get(TOM, "/v1/lines").json()["items"] == []
    answer = browser.send(form, product="revolving_consumer", read="yes")
    assert "done=opened" in answer.headers["location"]


def test_who_is_declined_reads_why(town):
    town.admit("low", "customer", poor(0))
    town.office.consent(poor(0))
    browser = town.browser("low")
    form = browser.get("/me/apply").form("/me/apply")
    answer = browser.send(form, product="revolving_consumer", read="yes")
    page = browser.get(answer.headers["location"])
    assert "No line can be opened at the moment" in page.text


def test_the_record_is_signed_after_its_own_consent(town):
    scenes.fresh(town.office, ME)
    issuer = proving.make_log_key(town.office.desk)
    browser = town.browser("mei")
    assert browser.http.get("/me/record.json?subject=mine").status_code == 403
    forms = browser.get("/me/data").forms
    form = next(one for one in forms if ("purpose", "credit_record") in one.fields)
    browser.send(form)
    raw = browser.http.get("/me/record.json?subject=mine")
    assert raw.status_code == 200
    office = town.office
    roster = Roster({office.scores.federation.name: issuer.fingerprint})
    record = verify_record(raw.content, roster, office.desk.today(office.clock()))
    assert (record.subject, record.months) == ("mine", 1)
    assert ME not in raw.text


def test_everything_that_is_held_can_be_taken_along(town):
    line = scenes.fresh(town.office, ME)
    told = town.browser("mei").http.get("/me/data.json").json()
    assert [one["line_id"] for one in told["lines"]] == [line]
    assert [one["purpose"] for one in told["decisions"]] == ["open"]


def test_a_later_loan_is_reckoned_and_nothing_kept(town):
    line = scenes.fresh(town.office, ME)
    browser = town.browser("mei")
    page = browser.get("/me/loan", amount="1000000")
    assert "Nothing is known of your income yet" in page.text
    proof = {"customer_id": ME, "kind": "income_flow", "value_minor": 1_500_000,
             "source": "bank", "issued": "2026-03-01", "file_hash": "5f" * 32}  # fmt: skip
    town.office.done("alice", "/v1/evidence", proof)
    before = town.office.state()
    page = browser.get("/me/loan", amount="1000000", rate="3.6", months="360")
    asked = {"line_id": line, "lang": "en", "loan": {"type": "mortgage", "amount_minor": 10**8,
             "annual_rate": 0.036, "months": 360}}  # fmt: skip
    assert town.office.state() == before
    told = town.office.post(ME, "/v1/linkage", asked).json()
    assert told["effect_text"] in page.text
    assert "rate: a number" in browser.get("/me/loan?amount=5&rate=x", 400).text


def test_what_is_somebody_elses_is_not_there(town):
    line = scenes.fresh(town.office, ME)
    decision = town.office.get(ME, f"/v1/lines/{line}/decisions").json()["items"][0]["decision_id"]
    scenes.fresh(town.office, TOM)
    browser = town.browser("tom")
    for path in ("/me", "/me/what-if", "/me/cost", "/me/decisions", "/me/rights", "/me/loan"):
        assert "There is nothing here" in browser.get(f"{path}?line={line}", 404).text
    browser.get(f"/me/decisions/{decision}", 404)
    assert browser.http.get(f"/me/decisions/{decision}/proof.json").status_code == 404
    before = town.office.state()
    page = browser.get("/me/rights")
    browser.send(page.form("/me/lower"), 404, line=line, limit="1")
    browser.send(page.form("/me/close"), 404, line=line, sure="yes")
    appeal = next(one for one in page.forms if ("kind", "appeal") in one.fields)
    browser.send(appeal, 404, decision=decision, text="mine?")
    assert town.office.state() == before


@pytest.mark.parametrize(
    ("text", "minor"), [("1200", 120_000), ("1,200.5", 120_050), (" 0 ", 0), ("1 200.05", 120_005)]
)
def test_amounts_are_read_as_people_write_them(text, minor):
    assert minor_of(text, 2, "amount") == minor
    assert minor_of(major_of(minor, 2), 2, "amount") == minor


@pytest.mark.parametrize("text", ["", "x", "-1", "1.005", "1e999", "nan", "9" * 30, "Infinity"])
def test_what_is_no_amount_is_refused_by_the_fields_name(text):
    with pytest.raises(UsageError, match="amount: an amount"):
        minor_of(text, 2, "amount")


def test_a_whole_limit_has_no_timeline():
    assert moments_of(None, "2026-03-02") == ()
