"""A regulator's pages: heads, samples that it draws itself, rules over time, files to verify."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from server.accounts import activating, consents, proving
from server.accounts.replaying import again
from server.prooflog.sample import sample
from server.prooflog.verify import missing_between, verify_bytes
from shared.errors import UsageError
from tests.web import scenes
from tests.web.test_decisions import newest

PAGES = ("/audit", "/audit/sample", "/audit/rules", "/audit/voices")


@pytest.fixture
def auditor(lowered):
    scenes.sealed(lowered.office)
    return lowered.browser("the-regulator")


def root_of(town):
    """The root of the newest head."""
    with town.office.store.read() as db:
        return proving.newest(db).head.root


def pin_of(town):
    return proving.log_key(town.office.desk.home).fingerprint


def test_a_range_is_taken_along_and_verified_elsewhere(lowered, auditor):
    page = auditor.get("/audit")
    form = page.form("/audit/range.json")
    raw = auditor.http.get("/audit/range.json", params=dict(form.filled()))
    proved = verify_bytes(raw.content, pin_of(lowered))
    assert (proved.first, proved.count, len(proved.records)) == (0, 4, 4)
    assert missing_between([proved]) == []
    closed = auditor.http.get("/audit/range.json?first=2&count=2&sealed=yes").content
    assert verify_bytes(closed, pin_of(lowered)).records == {}
    assert auditor.http.get("/audit/range.json?first=9").status_code == 404
    assert auditor.http.get("/audit/range.json?first=0").status_code == 422


def test_a_sample_is_drawn_by_the_regulators_word_and_made_again(lowered, auditor):
    page = auditor.get("/audit/sample", word="any word", count="3", check="1")
    assert "All 3 proofs are in order; 3 were decided again" in page.text
    leaves = sample(root_of(lowered), 4, "any word", 3)
    told = lowered.office.get("alice", f"/v1/lines/{lowered.line}/decisions").json()["items"]
    wanted = [f"/decisions/{told[leaf]['decision_id']}" for leaf in leaves]
    assert [one for one in page.links if one in set(wanted)] == wanted
    plain = auditor.get("/audit/sample", word="any word", count="3")
    assert "were decided again" not in plain.text


def test_a_sample_is_packed_with_all_that_its_verification_needs(lowered, auditor):
    answer = auditor.http.get("/audit/sample.zip?word=w&count=4")
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    proofs = [one for one in packed.namelist() if one.startswith("proofs/")]
    assert len(proofs) == 4
    texts = {}
    for one in packed.namelist():
        if one.startswith("rules/"):
            raw = packed.read(one)
            texts[hashlib.sha256(raw).hexdigest()] = raw.decode()
            assert one == f"rules/{hashlib.sha256(raw).hexdigest()}.toml"
    for one in proofs:
        proved = verify_bytes(packed.read(one), pin_of(lowered))
        assert all(again(record, texts) for record in proved.records.values())
    assert answer.content == auditor.http.get("/audit/sample.zip?word=w&count=4").content
    assert root_of(lowered) in packed.read("README.txt").decode()


def test_a_proof_that_fails_is_counted_and_named(lowered, auditor, monkeypatch):
    other = lowered.office.kit.people["bank"]
    monkeypatch.setattr("server.accounts.rechecking.proving.log_key", lambda _: other)
    page = auditor.get("/audit/sample", word="w", count="2", check="1")
    assert "2 proofs failed" in page.text


def test_without_a_head_there_is_nothing_to_draw_and_the_page_says_so(town):
    browser = town.browser("the-regulator")
    assert "nothing can be drawn" in browser.get("/audit/sample", word="w").text
    assert "No head was signed yet" in browser.get("/audit").text
    assert browser.http.get("/audit/sample.zip?word=w").status_code == 404


def test_every_version_of_the_rules_is_readable_word_for_word(lowered, auditor):
    told = lowered.office.get("auditor", "/v1/policies").json()["in_force"]
    page = auditor.get("/audit/rules")
    for one in told:
        assert f"/audit/rules/{one['digest']}" in page.links
        raw = auditor.http.get(f"/audit/rules/{one['digest']}/text.toml").content
        assert hashlib.sha256(raw).hexdigest() == one["digest"]
    policy = next(one for one in told if one["kind"] == "policy")
    for lang in ("en", "zh"):
        published = lowered.office.get(
            "auditor", f"/v1/policies/{policy['digest']}", lang=lang
        ).json()
        text = auditor.get(f"/audit/rules/{policy['digest']}", lang=lang).text
        for section in published["sections"]:
            assert section["title"] in text
            assert all(" ".join(line.split()) in text for line in section["lines"])
    auditor.get(f"/audit/rules/{'0' * 64}", 404)


def objected(town):
    """A complaint that was upheld after four days, and an appeal that waits."""
    office = town.office
    decision = newest(office, town.line)
    filed = {"customer_id": scenes.ME, "text": "The reason is wrong.", "about": "B02"}
    case = office.done(scenes.ME, "/v1/complaints", filed | {"decision_id": decision})
    office.done(scenes.ME, "/v1/appeals", filed | {"decision_id": decision})
    office.later(days=4)
    answer = {"outcome": "upheld", "note": "It was."}
    office.done("alice", f"/v1/cases/{case['case_id']}/resolve", answer, 200)


def test_complaints_are_those_of_the_interface_and_consents_those_in_force(lowered, monkeypatch):
    monkeypatch.setattr("server.web.slow.PATIENCE_S", 30.0)
    objected(lowered)
    office = lowered.office
    told = office.get("auditor", "/v1/monitoring/complaints").json()
    assert (told["total"], told["open"], told["upheld"], told["median_days"]) == (2, 1, 1, 4.0)
    page = lowered.browser("the-regulator").get("/audit/voices")
    assert "Complaints and appeals 2" in page.text
    assert "Not answered yet 1" in page.text
    assert "Upheld, or in part 1" in page.text
    reason = next(one for one in told["by_code"] if one["code"] == "B02")
    row = f"B02 {reason['decisions']} 2 1 {reason['per_thousand']:.1f}"
    assert row in page.text
    assert "People with a consent 1 Of 1 people with an open line." in page.text


def test_a_consent_that_was_withdrawn_covers_no_line(lowered, monkeypatch):
    monkeypatch.setattr("server.web.slow.PATIENCE_S", 30.0)
    office = lowered.office
    mine = lowered.browser("mei")
    mine.send(mine.get("/me/data").forms[1], holders=[])
    with office.store.read() as db:
        found = consents.coverage(db, office.desk.today(office.clock()))
    assert (found.customers, found.covered, found.withdrawn) == (1, 0, 1)
    page = lowered.browser("the-regulator").get("/audit/voices", lang="zh")
    assert "已撤回同意 1" in page.text


def test_an_activation_is_told_with_both_who_let_it(town):
    office = town.office
    source = office.desk.rules.sources["monitoring"]
    text = source.text + "\n# Looked at again.\n"
    terms = activating.Terms(
        office.desk.today(office.clock()), office.desk.book.opening.sources, None
    )
    files = ((text, "monitoring.toml"),)
    change = activating.Change(files, None, "officer:ada", "Yearly look.")
    with office.store.write() as db:
        asked = activating.propose(db, change, terms, office.clock())
    browser = town.browser("the-officer")
    link = f"/queue/proposals/{asked.id}"
    page = browser.get(link)
    assert hashlib.sha256(text.encode()).hexdigest() in page.text
    browser.send(page.form(f"{link}/approve"), note="Agreed.")
    told = town.browser("the-regulator").get("/audit/rules")
    assert "Yearly look." in told.text
    assert "ada" in told.text
    assert "the-officer" in told.text


@pytest.mark.parametrize("name", ["mei", "the-officer", "the-operator", "the-partner"])
def test_the_audit_is_the_regulators_alone(town, name):
    browser = town.browser(name)
    for path in (
        *PAGES,
        "/audit/range.json",
        "/audit/sample.zip?word=w",
        f"/audit/rules/{'0' * 64}",
    ):
        assert browser.http.get(path).status_code == 403, path


def test_an_audit_changes_no_row(lowered, auditor):
    before = lowered.office.state()
    decision = newest(lowered.office, lowered.line)
    for lang in ("en", "zh"):
        for path in (*PAGES, "/audit?check=1", "/audit/sample?word=w&check=1",
                     f"/decisions/{decision}?check=1"):  # fmt: skip
            assert auditor.get(path, lang=lang).status == 200
    assert lowered.office.state() == before


def test_a_word_draws_each_leaf_once_and_the_same_again():
    drawn = sample("ab" * 32, 1000, "word", 50)
    assert drawn == sample("ab" * 32, 1000, "word", 50)
    assert len(set(drawn)) == 50
    assert drawn == tuple(sorted(drawn))
    assert drawn != sample("ab" * 32, 1000, "words", 50)
    assert drawn != sample("cd" * 32, 1000, "word", 50)
    assert sample("ab" * 32, 3, "word", 50) == (0, 1, 2)


def test_a_sample_that_cannot_be_drawn_says_all_that_is_wrong():
    with pytest.raises(UsageError) as told:
        sample("", 0, "", 51)
    assert all(word in str(told.value) for word in ("size", "count", "word"))
