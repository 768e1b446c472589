"""The rules' pages: public to read, and changed by two persons alone."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest

from server.accounts import pausing, picturing
from server.accounts.known_rules import known_texts
from server.monitor.cutoff import effects
from server.policies import embedded
from server.store import pictures
from server.web.policy.cutoff import cells_of, tried_of
from tests.web import scenes
from tests.web.test_portfolio import read


def reference(**changes):
    """The reference policy with some texts replaced."""
    text, _ = embedded("reference")
    for old, new in {'version = "2026.1"': 'version = "2026.2"', **changes}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def generous():
    return reference(**{"limit_minor = 4_000_000": "limit_minor = 4_500_000"})


def proposed(town, text, who="the-officer", **more):
    """Have an officer propose a rule file; return the browser."""
    browser = town.browser(who)
    form = browser.get("/rules/propose").form("/rules/propose")
    asked = {"text": text, "reason": "More room for the safest.", "since": "2026-03-02",
             "do": "propose"}  # fmt: skip
    answer = browser.send(form, **(asked | more))
    assert answer.headers["location"] == "/rules?done=rules_proposed"
    return browser


def digest_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_everybody_reads_the_rules_without_a_sign_in(town, lang):
    told = town.office.get("alice", "/v1/policies").json()["in_force"]
    own = {one["kind"]: one["digest"] for one in told}
    browser = town.browser(lang=lang)
    page = browser.get("/policy")
    for kind in ("policy", "line"):
        said = town.office.get("alice", f"/v1/policies/{own[kind]}", lang=lang).json()
        for part in said["sections"]:
            assert part["title"] in page.text
            for line in part["lines"]:
                assert " ".join(line.split()) in page.text
    assert {"en": "Grade E: no line", "zh": "不予授信"}[lang] in page.text
    for one in told:
        assert f"/policy/{one['digest']}" in page.links
        browser.get(f"/policy/{one['digest']}")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_rule_text_is_given_word_for_word(town):
    text, _ = embedded("reference")
    answer = town.browser().http.get(f"/policy/{digest_of(text)}.toml")
    assert answer.status_code == 200
    assert answer.text == text


def test_what_is_only_proposed_is_not_public(town):
    text = generous()
    officer = proposed(town, text)
    stranger = town.browser()
    stranger.get(f"/policy/{digest_of(text)}", status=404)
    assert stranger.http.get(f"/policy/{digest_of(text)}.toml").status_code == 404
    assert "2026.2" in officer.get(f"/policy/{digest_of(text)}").text
    assert "2026.2" not in stranger.get("/policy").text


def test_a_second_officer_lets_a_change_count(town):
    text = generous()
    first = proposed(town, text)
    mine = first.get("/rules")
    assert "another person has to answer it" in mine.text
    assert not [one for one in mine.forms if one.action.startswith("/rules/approvals/")]
    second = town.browser("second-officer")
    page = second.get("/rules")
    [form] = [one for one in page.forms if one.action.startswith("/rules/approvals/")]
    assert "More room for the safest." in page.text
    answer = second.send(form, note="Agreed.", verdict="approve")
    assert answer.headers["location"] == "/rules?done=rules_approved"
    after = second.get("/rules")
    assert "reference/2026.2" in after.text
    assert "officer:the-officer" in after.text
    assert "officer:second-officer" in after.text
    assert "Nothing waits for an answer." in after.text
    assert "2026.2" in town.browser().get("/policy").text
    town.browser().get(f"/policy/{digest_of(text)}")


def test_the_proposer_cannot_approve_by_a_form_of_another(town):
    first = proposed(town, generous())
    second = town.browser("second-officer")
    [form] = [one for one in second.get("/rules").forms if "/approvals/" in one.action]
    own = first.get("/rules/propose").form("/rules/propose")
    before = town.office.get("alice", "/v1/policies").json()
    stolen = dict(own.filled())
    names = {name: stolen[name] for name in stolen if name not in {"text", "since", "reason"}}
    answer = first.http.post(form.action, data=names | {"note": "Yes.", "verdict": "approve"})
    assert answer.status_code == 403
    assert town.office.get("alice", "/v1/policies").json() == before


def test_a_rejected_change_never_counts(town):
    proposed(town, generous())
    second = town.browser("second-officer")
    [form] = [one for one in second.get("/rules").forms if "/approvals/" in one.action]
    second.send(form, note="Not now.", verdict="reject")
    page = second.get("/rules")
    assert "Nothing waits for an answer." in page.text
    assert "reference/2026.2" not in page.text


def test_an_answer_needs_words_and_a_verdict(town):
    proposed(town, generous())
    second = town.browser("second-officer")
    [form] = [one for one in second.get("/rules").forms if "/approvals/" in one.action]
    second.send(form, status=400, note="", verdict="approve")
    second.send(form, status=400, note="Yes.", verdict="maybe")
    assert "More room for the safest." in second.get("/rules").text


def test_proposals_about_a_line_are_not_answered_here(town):
    line = scenes.fresh(town.office, scenes.ME)
    head = town.office.get("alice", f"/v1/lines/{line}/decisions").json()["items"][0]
    body = {"limit_minor": 1_000_000, "reason": "a-code", "note": "Seen."}
    made = town.office.done(
        "alice", f"/v1/decisions/{head['decision_id']}/override", body, status=202
    )
    second = town.browser("second-officer")
    assert made["approval_id"] not in second.get("/rules").html
    proposed(town, generous())
    [form] = [one for one in second.get("/rules").forms if "/approvals/" in one.action]
    form.action = f"/rules/approvals/{made['approval_id']}"
    second.send(form, status=404, note="Yes.", verdict="approve")


def test_increases_go_on_after_a_second_persons_word(town):
    office, now = town.office, town.office.clock.now
    with office.store.write() as db:
        pausing.set_pause(db, True, "operator:ops", "Too fast.", now)
        pausing.propose_resume(db, "operator:ops", "Calm again.", now)
    officer = town.browser("the-officer")
    page = officer.get("/rules")
    assert "Increases are paused by operator:ops: Too fast." in page.text
    [form] = [one for one in page.forms if "/approvals/" in one.action]
    officer.send(form, note="Agreed.", verdict="approve")
    assert "Increases are paused" not in officer.get("/rules").text


def test_a_file_with_faults_comes_back_with_all_findings_and_its_text(town):
    browser = town.browser("the-officer")
    form = browser.get("/rules/propose").form("/rules/propose")
    text = reference(**{"dti = 0.5": "dti = 7", "quantum_minor = 10_000": "quantum_minor = -1"})
    for verb, status in (("check", 200), ("propose", 422)):
        answer = browser.send(form, status=status, text=text, reason="", do=verb)
        assert "capacity.dti" in answer.text
        assert "quantum_minor" in answer.text
        assert "dti = 7" in answer.text
        form = browser.get("/rules/propose").form("/rules/propose")
    assert "Nothing waits for an answer." in browser.get("/rules").text


def test_a_check_changes_nothing_and_tells_what_differs(town):
    browser = town.browser("the-officer")
    form = browser.get("/rules/propose").form("/rules/propose")
    before = town.office.state()
    answer = browser.send(form, status=200, text=generous(), do="check")
    assert "grades[A].limit_minor" in answer.text
    assert "45,000.00" in answer.text
    assert "is in order by itself" in answer.text
    assert town.office.state() == before


def test_a_proposal_without_a_reason_or_with_a_wrong_day_is_not_made(town):
    browser = town.browser("the-officer")
    form = browser.get("/rules/propose").form("/rules/propose")
    for changes in ({"reason": ""}, {"reason": "x", "since": "soon"},
                    {"reason": "x", "since": "2020-01-01"}):  # fmt: skip
        browser.send(form, status=422, **({"text": generous(), "do": "propose"} | changes))
    assert "Nothing waits for an answer." in browser.get("/rules").text


def test_two_versions_are_compared_field_by_field(town):
    proposed(town, generous())
    known = read(town, known_texts)
    old, new = (
        next(one.digest for one in known if (one.kind, one.standing) == ("policy", standing))
        for standing in ("in_force", "waiting")
    )
    browser = town.browser("second-officer")
    assert f"/rules/compare?before={old}&after={new}" in browser.get("/rules").links
    page = browser.get("/rules/compare", before=old, after=new)
    assert "grades[A].limit_minor" in page.text
    assert "40,000.00" in page.text
    assert "45,000.00" in page.text
    assert "+12.5 %" in page.text
    other = next(one.digest for one in known if one.kind == "line")
    browser.get("/rules/compare", before=old, after=other, status=400)
    browser.get("/rules/compare", before=old, after="f" * 64, status=404)
    assert "They say the same." in browser.get("/rules/compare", before=old, after=old).text


def test_a_cutoff_tells_what_it_would_do(busy):
    picturing.count(busy.office.desk)
    browser = busy.browser("the-officer")
    now = browser.get("/rules/cutoff")
    tried = browser.get("/rules/cutoff", product="revolving_consumer", cutoff=350)
    assert "81.25 %" in now.text  # 26 of 32
    assert "100 %" in tried.text
    higher = browser.get("/rules/cutoff", product="revolving_consumer", cutoff=775)
    assert "0 %" in higher.text
    browser.get("/rules/cutoff", cutoff="x", status=400)
    browser.get("/rules/cutoff", product="nothing", status=404)
    rows = browser.http.get("/rules/cutoff.csv?product=revolving_consumer").text.splitlines()
    assert len(rows) > 5


def test_a_cutoff_of_few_people_is_withheld(lowered):
    picturing.count(lowered.office.desk)
    page = lowered.browser("the-officer").get("/rules/cutoff")
    assert "Too few people to show." in page.text
    assert "People with a line" not in page.text


def test_a_higher_cutoff_never_lets_more_in(busy):
    picturing.count(busy.office.desk)
    told = read(busy, lambda _, db, __: pictures.latest(db, picturing.SCORES))
    row = told.value["products"]["revolving_consumer"]
    found = effects(cells_of(row), row["otherwise"], range(350, 800, 5))
    for lower, higher in pairwise(found):
        assert lower.approved >= higher.approved
        assert lower.loss_minor >= higher.loss_minor
    assert found[0].approved == found[0].people - row["otherwise"]


def test_no_release_no_cutoff():
    told = {"products": {"one": {"cutoff": None}}, "grades": []}
    assert tried_of(told, None, "", "", None, None) is None
