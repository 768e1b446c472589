"""Decisions, the queue and its answers: what officers and regulators see, and who may change it."""

from __future__ import annotations

import json
import re

import pytest

from server.accounts import proving
from server.api.routes.decisions import MAY
from server.api.tokens import Role
from server.prooflog.verify import verify_bytes
from server.web.decisions.line import ACTS, TEMPORARY
from tests.service.desk_kit import poor
from tests.web import scenes
from tests.web.kit import Page
from tests.web.scenes import ME, TOM

PAGES = ("/decisions", "/queue", "/queue/answered")


def newest(office, line, who=ME):
    return office.get(who, f"/v1/lines/{line}/decisions").json()["items"][-1]["decision_id"]


@pytest.fixture
def ada(town):
    """A second officer."""
    town.admit("ada", Role.OFFICER)
    return town.browser("ada")


@pytest.fixture
def officer(town):
    return town.browser("the-officer")


def proposed(town, officer, line, **changes):
    """Propose another limit on the newest decision of a line; return the proposal's page."""
    decision = newest(town.office, line)
    form = officer.get(f"/decisions/{decision}").form(f"/decisions/{decision}/override")
    asked = {"limit": "30,000", "reason": "too-high", "note": "Seen in the branch."} | changes
    return officer.send(form, **asked).headers["location"]


@pytest.mark.parametrize("name", ["the-officer", "the-regulator"])
def test_every_decision_is_listed_newest_first_with_its_limits(lowered, name):
    page = lowered.browser(name).get("/decisions")
    listed = [one for one in page.links if re.fullmatch(r"/decisions/[0-9A-Z]{26}", one)]
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/decisions").json()["items"]
    assert listed == [f"/decisions/{one['decision_id']}" for one in told[::-1]]
    assert page.headers["cache-control"] == "no-store"
    only = lowered.browser(name).get("/decisions", purpose="open")
    assert [one for one in only.links if one in listed] == [listed[-1]]
    early = lowered.browser(name).get("/decisions", until="2026-03-02")
    assert [one for one in early.links if one in listed] == [listed[-1]]
    assert "There is no such decision" in lowered.browser(name).get("/decisions?purpose=close").text


def test_what_a_filter_cannot_read_is_told_by_its_name(town, officer):
    assert "until: a day such as" in officer.get("/decisions?until=soon", 400).text
    assert "purpose must be one of" in officer.get("/decisions?purpose=none", 400).text
    assert officer.get("/decisions?behind=none", 404).status == 404


@pytest.mark.parametrize("name", ["mei", "the-operator", "the-partner"])
def test_other_roles_see_none_of_it(town, name):
    browser = town.browser(name)
    for path in (*PAGES, "/decisions/find?q=1", "/decisions/x", "/queue/cases/x"):
        assert "This page is not for you" in browser.get(path, 403).text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_pages_of_an_empty_service_say_so_and_change_nothing(town, lang):
    before, browser = town.office.state(), town.browser("the-officer", lang=lang)
    for path in PAGES:
        page = browser.get(path)
        assert any(tag == "p" and "empty" in told.get("class", "") for tag, told in page.tags)
    assert town.office.state() == before


def test_a_decision_a_line_and_a_person_are_found_by_their_ids(lowered):
    browser = lowered.browser("the-officer")
    decision = newest(lowered.office, lowered.line)
    for sought, place in (
        (decision, f"/decisions/{decision}"),
        (lowered.line, f"/decisions/line/{lowered.line}"),
        (ME, f"/decisions/of/{ME}"),
    ):
        answer = browser.http.get("/decisions/find", params={"q": f" {sought} "})
        assert (answer.status_code, answer.headers["location"]) == (303, place)
        assert browser.get(place).status == 200
    for sought in ("", "no such thing", TOM, "a/b", "../me"):
        browser.get("/decisions/find", 404, q=sought)
    browser.get(f"/decisions/of/{TOM}", 404)


def test_a_decision_is_told_as_the_api_tells_it_and_made_again(lowered):
    office, decision = lowered.office, newest(lowered.office, lowered.line)
    scenes.sealed(office)
    told = office.get("alice", f"/v1/decisions/{decision}/explain", lang="en").json()
    page = lowered.browser("the-officer").get(f"/decisions/{decision}")
    for one in (*told["reasons"], *told["not_about_you"]):
        assert one["text"] in page.text
    assert told["headline"] in page.text
    assert page.html.count("binds") >= 1
    full = office.get("alice", f"/v1/decisions/{decision}").json()
    for name in ("policy_ref", "model_ref", "pack_ref", "commitment", "hash", "prev_hash"):
        assert full["decision"][name] in page.text
    checked = lowered.browser("the-regulator").get(f"/decisions/{decision}", check="1")
    assert "In order: leaf 4 of 4" in checked.text
    assert "Decided again from the record: the same, bit for bit." in checked.text
    raw = lowered.browser("the-regulator").http.get(f"/decisions/{decision}/proof.json")
    pin = proving.log_key(office.desk.home).fingerprint
    assert verify_bytes(raw.content, pin).headers[3].id == decision
    record = lowered.browser("the-officer").http.get(f"/decisions/{decision}/record.json").json()
    assert record == full["record"]


def test_what_bounded_the_limit_is_a_chart_with_its_figures(lowered):
    office, decision = lowered.office, newest(lowered.office, lowered.line)
    told = office.get("alice", f"/v1/decisions/{decision}/explain", lang="en").json()
    browser = lowered.browser("the-officer")
    rows = browser.http.get(f"/decisions/{decision}/caps.csv").text.splitlines()
    assert [round(float(row.split(",")[1]) * 100) for row in rows[1:]] == [
        one["amount_minor"] for one in told["caps"]
    ]
    points = browser.http.get(f"/decisions/{decision}/points.csv").text.splitlines()
    full = office.get("alice", f"/v1/decisions/{decision}").json()["record"]
    snapshot = full["grounds"]["snapshot"]
    assert sorted(int(row.split(",")[1]) for row in points[1:]) == sorted(
        count for name, count in snapshot["points"].items() if name not in snapshot["missing"]
    )
    assert browser.http.get(f"/decisions/{decision}/other.csv").status_code == 404
    path = browser.http.get(f"/decisions/line/{lowered.line}/limit.csv").text.splitlines()
    assert float(path[-1].split(",")[-1]) * 100 == told["change"]["limit_to_minor"]


def test_a_proof_that_fails_stops_the_reader(lowered, monkeypatch):
    scenes.sealed(lowered.office)
    other = lowered.office.kit.people["bank"]
    monkeypatch.setattr("server.accounts.rechecking.proving.log_key", lambda _: other)
    decision = newest(lowered.office, lowered.line)
    page = lowered.browser("the-officer").get(f"/decisions/{decision}", check="1")
    assert "The proof failed at the check key" in page.text
    assert "bit for bit" not in page.text


def test_a_decision_under_rules_from_the_store_is_made_again_too(lowered, monkeypatch):
    """What was activated lies in the store alone; nothing that comes along knows it."""
    scenes.sealed(lowered.office)
    monkeypatch.setattr("server.accounts.rechecking.embedded_texts", dict)
    decision = newest(lowered.office, lowered.line)
    page = lowered.browser("the-officer").get(f"/decisions/{decision}", check="1")
    assert "bit for bit" in page.text


def test_a_decision_whose_record_was_deleted_still_stands_in_the_log(town):
    line = scenes.fresh(town.office, ME)
    decision = newest(town.office, line)
    scenes.sealed(town.office)
    town.office.done(ME, f"/v1/lines/{line}/decisions", {"purpose": "close"})
    erased = town.office.delete(ME, f"/v1/customers/{ME}")
    assert erased.status_code == 200, erased.text
    browser = town.browser("the-officer")
    page = browser.get(f"/decisions/{decision}", check="1")
    assert "The record was deleted" in page.text
    assert "In order: leaf 1 of 1" in page.text
    assert "cannot be decided again" in page.text
    assert "The record was deleted" in browser.get("/decisions").text
    assert browser.http.get(f"/decisions/{decision}/record.json").status_code == 404
    assert ME not in browser.get("/decisions").html


def test_a_declined_opening_has_a_page_and_no_override(town, officer):
    town.office.consent(poor(0))
    body = {"customer_id": poor(0), "product": "revolving_consumer"}
    answer = town.office.post(poor(0), "/v1/lines", body)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    page = officer.get(f"/decisions/{made['decision']['decision_id']}")
    assert "No line can be opened" in page.text
    assert [one.action for one in page.forms] == ["/sign-out"]
    assert "no line" in officer.get("/decisions").text


def test_officers_are_offered_nothing_that_the_api_would_refuse():
    assert {*ACTS, TEMPORARY} <= MAY[Role.OFFICER]


def test_an_officer_freezes_and_releases_with_a_reason(town, officer):
    line = scenes.fresh(town.office, ME)
    path = f"/decisions/line/{line}"
    for purpose, state in (("freeze_fraud", "frozen"), ("release", "observation")):
        form = officer.get(path).forms[1]
        answer = officer.send(form, purpose=purpose, note="Called back.")
        assert "done=decided" in answer.headers["location"]
        assert "Called back." in officer.get(answer.headers["location"]).text
        assert town.office.show(line)["state"] == state
    stale = officer.get(path).forms[1]
    officer.send(stale, purpose="freeze_fraud", note="Again.")
    other = officer.get(path).forms[1]
    other.fields = [(name, "1" if name == "version" else value) for name, value in other.fields]
    refused = Page(officer.send(other, 409, purpose="release", note="Too late."))
    assert "The line has changed in the meantime" in refused.text
    assert town.office.show(line)["state"] == "frozen"


def test_a_temporary_amount_is_granted_in_its_bounds(town, officer):
    line = scenes.fresh(town.office, ME)
    form = officer.get(f"/decisions/line/{line}").forms[2]
    officer.send(form, 409, limit="9,000,000", note="Hospital.")
    officer.send(officer.get(f"/decisions/line/{line}").forms[2], limit="1,000", note="Hospital.")
    told = town.office.get("alice", f"/v1/lines/{line}").json()
    assert told["effective_limit_minor"] == 4_000_000
    assert told["available_minor"] == 4_100_000


def test_what_is_not_offered_is_not_done(town, officer):
    line = scenes.fresh(town.office, ME)
    form = officer.get(f"/decisions/line/{line}").forms[1]
    before = town.office.state()
    for purpose in ("increase", "override", "self_lower", "nonsense"):
        officer.send(form, 400, purpose=purpose, note="Why not.", limit="1")
    after = town.office.state()
    assert {name for name in before if before[name] != after[name]} <= {"idempotency_keys"}


def test_an_override_takes_two_officers_and_is_done_once(town, officer, ada):
    line = scenes.fresh(town.office, ME)
    place = proposed(town, officer, line)
    page = officer.get(place)
    assert "You have proposed this yourself" in page.text
    assert [one.action for one in page.forms] == ["/sign-out"]
    asked = ada.get(place.partition("?")[0])
    assert "30,000.00 CNY" in asked.text
    assert "Seen in the branch." in asked.text
    assert town.office.show(line)["effective_limit_minor"] == 4_000_000
    form = asked.form(asked.forms[1].action)
    for _ in range(2):
        done = ada.send(form, note="Agreed.").headers["location"]
        assert "The limit is set" in ada.get(done).text or "limit is set" in ada.get(done).text
    assert town.office.show(line)["effective_limit_minor"] == 3_000_000
    assert len(town.office.get(ME, f"/v1/lines/{line}/decisions").json()["items"]) == 2
    assert "Another limit" in ada.get("/queue/answered").text
    assert "Nothing waits for a second person" in ada.get("/queue").text


def test_the_proposer_cannot_approve_by_a_form_of_its_own(town, officer, ada):
    line = scenes.fresh(town.office, ME)
    place = proposed(town, officer, line).partition("?")[0]
    theirs = ada.get(place).forms[1]
    mine = officer.get("/queue").forms[0]
    mine.action = theirs.action
    before = town.office.show(line)
    assert officer.send(mine, 403, note="Mine.").status_code == 403
    assert town.office.show(line) == before


def test_a_rejected_proposal_changes_nothing(town, officer, ada):
    line = scenes.fresh(town.office, ME)
    place = proposed(town, officer, line).partition("?")[0]
    ada.send(ada.get(place).form(f"{place}/reject"), note="Not enough.")
    assert town.office.show(line)["effective_limit_minor"] == 4_000_000
    page = ada.get(place)
    assert "rejected" in page.text
    assert "Not enough." in page.text
    assert "Another limit" in ada.get("/queue/answered?state=rejected").text


def test_a_line_that_was_decided_on_since_is_not_overridden(town, officer, ada):
    line = scenes.fresh(town.office, ME)
    old = newest(town.office, line)
    place = proposed(town, officer, line).partition("?")[0]
    town.office.done(
        ME, f"/v1/lines/{line}/decisions", {"purpose": "self_lower", "limit_minor": 1_000_000}
    )
    late = Page(ada.send(ada.get(place).form(f"{place}/approve"), 409, note="Agreed."))
    assert "changed in the meantime" in late.text
    assert "decided on again since" in officer.get(f"/decisions/{old}").text
    assert all("override" not in one.action for one in officer.get(f"/decisions/{old}").forms)
    assert town.office.show(line)["effective_limit_minor"] == 1_000_000


def test_an_override_without_an_amount_is_told_by_its_field(town, officer):
    line = scenes.fresh(town.office, ME)
    decision = newest(town.office, line)
    form = officer.get(f"/decisions/{decision}").form(f"/decisions/{decision}/override")
    for limit in ("-1", "x", "1.005", ""):
        answer = Page(officer.send(form, 400, limit=limit, note="Why."))
        assert "limit: an amount" in answer.text or "limit is missing" in answer.text
    assert town.office.get("bob", "/v1/approvals").json()["items"] == []


def test_a_proposal_of_the_operator_waits_in_the_queue(town, officer):
    town.office.done(
        "ops", "/v1/switches/increases", {"paused": True, "reason": "Check."}, status=200
    )
    town.office.done(
        "ops", "/v1/switches/increases", {"paused": False, "reason": "Done."}, status=202
    )
    [link] = [one for one in officer.get("/queue").links if one.startswith("/queue/proposals/")]
    page = officer.get(link)
    assert "Let increases go on" in page.text
    answer = officer.send(page.form(f"{link}/approve"), note="Agreed.")
    assert answer.headers["location"] == f"{link}?done=approved"
    assert not town.office.get("alice", "/v1/switches/increases").json()["paused"]


def case_of(town, kind="appeal"):
    line = scenes.fresh(town.office, ME)
    body = {"customer_id": ME, "text": "<b>My income</b> has doubled."}
    if kind == "appeal":
        body |= {"about": "P-INCOME", "decision_id": newest(town.office, line)}
    elif kind != "hardship":
        body |= {"about": "S-UTILISATION"}
    path = {"hardship": "/v1/hardship"}.get(kind, f"/v1/{kind}s")
    return town.office.done(ME, path, body)["case_id"]


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("appeal", "upheld"),
        ("dispute", "partly"),
        ("complaint", "rejected"),
        ("hardship", "granted"),
    ],
)
def test_a_case_is_answered_by_a_person_with_a_reason(town, officer, kind, outcome):
    case = case_of(town, kind)
    listed = officer.get("/queue", kind=kind)
    assert f"/queue/cases/{case}" in listed.links
    page = officer.get(f"/queue/cases/{case}")
    assert "<b>My income</b> has doubled." in page.text
    assert "<b>My" not in page.html
    form = page.form(f"/queue/cases/{case}/resolve")
    officer.send(form, 400, outcome=outcome)
    answer = officer.send(form, outcome=outcome, note="We have looked.")
    told = officer.get(answer.headers["location"])
    assert "We have looked." in told.text
    assert [one.action for one in told.forms] == ["/sign-out"]
    kept = town.office.get(ME, f"/v1/cases/{case}").json()
    assert (kept["state"], kept["outcome"], kept["resolved_by"]) == (
        "resolved", outcome, "officer:the-officer",
    )  # fmt: skip
    assert f"/queue/cases/{case}" in officer.get("/queue/answered").links
    assert "No case waits" in officer.get("/queue").text


def test_an_outcome_of_another_kind_is_refused(town, officer):
    case = case_of(town, "hardship")
    form = officer.get(f"/queue/cases/{case}").form(f"/queue/cases/{case}/resolve")
    officer.send(form, 409, outcome="upheld", note="Wrong word.")
    assert town.office.get(ME, f"/v1/cases/{case}").json()["state"] == "open"


def test_an_appeal_shows_the_decision_that_it_is_about(town, officer):
    case = case_of(town)
    page = officer.get(f"/queue/cases/{case}")
    told = town.office.get(ME, f"/v1/cases/{case}").json()["decision_id"]
    assert f"/decisions/{told}" in page.links
    words = town.office.get("alice", f"/v1/decisions/{told}/explain", lang="en").json()
    assert words["headline"] in page.text


def test_a_late_case_is_marked(town, officer):
    case = case_of(town, "complaint")
    assert " late" not in officer.get("/queue").text.replace("late case", "")
    town.office.later(days=90)
    officer = town.browser("the-officer")
    assert "1 late" in officer.get("/queue").text
    assert "late" in officer.get(f"/queue/cases/{case}").text


def test_a_regulator_reads_and_answers_nothing(town, officer):
    case = case_of(town)
    line = newest_line(town)
    place = proposed(town, officer, line).partition("?")[0]
    browser = town.browser("the-regulator")
    decision = newest(town.office, line)
    for path in ("/queue", f"/queue/cases/{case}", place, f"/decisions/{decision}",
                 f"/decisions/line/{line}"):  # fmt: skip
        page = browser.get(path)
        assert [one.action for one in page.forms if one.method == "post"] == ["/sign-out"]
    form = browser.get("/queue").forms[0]
    before = town.office.state()
    for action in (
        f"/queue/cases/{case}/resolve",
        f"{place}/approve",
        f"{place}/reject",
        f"/decisions/{decision}/override",
        f"/decisions/line/{line}/decide",
    ):
        form.action = action
        browser.send(form, 403, note="Mine.", outcome="upheld", purpose="close", limit="1")
    assert town.office.state() == before


def newest_line(town):
    [line] = town.office.get(ME, "/v1/lines").json()["items"]
    return line["line_id"]


def test_the_record_that_is_downloaded_is_what_the_log_commits_to(lowered):
    decision = newest(lowered.office, lowered.line)
    told = lowered.browser("the-regulator").http.get(f"/decisions/{decision}/record.json")
    assert json.loads(told.content)["about"]["id"] == decision
    assert "attachment" in told.headers["content-disposition"]


def further(page):
    """The link to the next page, where there is one."""
    places = [one for one in page.links if "behind=" in one or "?after=" in one]
    return [one for one in places if "lang=" not in one]


def test_a_list_goes_on_behind_its_last_decision_whatever_the_filter(lowered, monkeypatch):
    """Three decisions are looked at for a page: what a filter leaves out costs no more."""
    monkeypatch.setattr("server.accounts.recent.WINDOW", 3)
    browser = lowered.browser("the-officer")
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/decisions").json()["items"]
    ids = [f"/decisions/{one['decision_id']}" for one in told]
    first = browser.get("/decisions")
    assert [one for one in first.links if one in ids] == ids[:0:-1]
    [older] = further(first)
    assert [one for one in browser.get(older).links if one in ids] == ids[:1]
    assert further(browser.get(older)) == []
    rare = browser.get("/decisions", purpose="open")
    assert "There is no such decision in this stretch of time" in rare.text
    [older] = further(rare)
    assert [one for one in browser.get(older).links if one in ids] == ids[:1]


def test_a_page_holds_so_many_and_the_next_begins_behind_them(lowered, monkeypatch):
    monkeypatch.setattr("server.web.decisions.listing.PAGE", 3)
    monkeypatch.setattr("server.web.decisions.line.PAGE", 3)
    browser = lowered.browser("the-officer")
    told = lowered.office.get(ME, f"/v1/lines/{lowered.line}/decisions").json()["items"]
    ids = [f"/decisions/{one['decision_id']}" for one in told]
    for place, order in (("/decisions", ids[::-1]), (f"/decisions/line/{lowered.line}", ids)):
        first = browser.get(place)
        assert [one for one in first.links if one in ids] == order[:3]
        [link] = further(first)
        assert [one for one in browser.get(link).links if one in ids] == order[3:]
