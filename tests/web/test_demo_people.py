"""The people of the demo: lives that the rules allow, secrets of one folder, pages that open."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from server.accounts import recording
from server.accounts.rules import rule_texts
from server.api.access import Role
from server.commands.logins import check_demo
from server.demo_people import founding, logins
from server.demo_people.people import BUSINESS, CAPITAL, OFTEN, REPAID, SILENT, STEADY
from server.limits.line import golden
from server.limits.rules.line_lint import parse_line_policy
from server.store import access, approvals, checks, decisions, lines, people
from shared.errors import ConfigError, Conflict, EnvironmentFault, Refused
from tests.service.desk_kit import Office, empty_store, good
from tests.stores import server  # noqa: F401 - a fixture
from tests.web.kit import Browser


def office_in(folder, customers=30):
    path = folder / "demo.db"
    path.write_bytes(empty_store())
    return Office(folder / "federation", f"sqlite:///{path}", customers=customers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    office = office_in(folder)
    office.file = folder / logins.FILE
    office.people = founding.found(office.desk, office.file)
    office.first = office.file.read_bytes()
    office.keep(folder / "demo.db")
    yield office
    office.close()


@pytest.fixture
def demo(whole):
    whole.back()
    whole.file.write_bytes(whole.first)
    whole.file.chmod(0o600)
    return whole


def chain(demo, name):
    """The line of somebody, and its decisions with their records."""
    [subject] = [one.person.subject for one in demo.people if one.person.name == name]
    with demo.store.read() as db:
        [line] = lines.lines_of(db, subject)
        kept = decisions.chain_of(db, line.id, count=100)
        records = [recording.read_record(decisions.record_of(db, one.id)[0]) for one in kept]
    return line, records


def codes(record):
    return [one.code for one in record.outcome.reasons]


@pytest.mark.parametrize(("name", "story"), [(STEADY, golden.stable()), (OFTEN, golden.frequent())])
def test_the_two_of_the_golden_replay_have_lived_ten_of_its_twelve_cycles(demo, name, story):
    policy = parse_line_policy(rule_texts()["line"].text, "line")
    wanted = golden.run(story, golden.with_downturn(policy)).rows[:10]
    line, records = chain(demo, name)
    after = [one.outcome.after for one in records if one.ask.purpose == "review"]
    assert [(one.effective_limit_minor, one.state) for one in after] == [
        (one.limit_minor, one.state) for one in wanted
    ]
    assert line.totals.limit_minor == {STEADY: 1_000_000, OFTEN: 500_000}[name]


def test_one_is_held_back_by_the_lenders_capital_and_by_nothing_else(demo):
    line, records = chain(demo, CAPITAL)
    reviews = [one for one in records if one.ask.purpose == "review"]
    limits = [one.outcome.after.effective_limit_minor for one in reviews]
    cuts = [one for one, (old, new) in zip(reviews[1:], pairwise(limits), strict=True) if new < old]
    assert cuts
    assert {code for one in cuts for code in codes(one)} == {"C-CAP"}
    secret = next(one.secret for one in demo.people if one.person.name == CAPITAL)
    browser = Browser(demo)
    browser.sign_in(CAPITAL, secret)
    told = demo.get(line.customer_id, f"/v1/lines/{line.id}/why", lang="en").json()
    # What the rules allow is told, too; how the line was used is no reason.
    assert {one["family"] for one in told["reasons"]} <= {"policy", "score"}
    [capital] = [one for one in told["not_about_you"] if one["code"] != "P-PRODUCT"]
    assert capital["code"] == "C-CAP"
    assert capital["text"] in browser.get("/me").text


def test_the_lenders_capital_takes_from_nobody_else(demo):
    for name in (STEADY, OFTEN, BUSINESS, SILENT):
        assert all("C-CAP" not in codes(one) for one in chain(demo, name)[1])


def test_where_a_holder_may_tell_nothing_the_limit_stays_and_the_holder_is_named(demo):
    _, records = chain(demo, SILENT)
    assert len({one.outcome.after.effective_limit_minor for one in records}) == 1
    assert "H-MISSING" in codes(records[-1])
    assert "H-MISSING" not in codes(records[0])


def test_a_micro_business_has_a_line_for_business_with_a_loan_of_a_bank_beside(demo):
    line, _ = chain(demo, BUSINESS)
    assert line.product == "micro_business"
    assert line.totals.outstanding_minor > 0
    with demo.store.read() as db:
        told = people.rows_of(db, people.EVIDENCE, [line.customer_id])[line.customer_id]
    assert [one["kind"] for one in told] == ["income_flow"]
    book = demo.get("lake", "/v1/partners/lake/book").json()
    assert book["draws"] > 0


def test_every_decision_is_made_again_and_the_store_is_in_order(demo):
    with demo.store.read() as db:
        assert checks.findings(db) == []
        every = [one.id for one in lines.page_of_lines(db, count=100)]
        assert len(every) == 5
        for name in every:
            for one in decisions.chain_of(db, name, count=100):
                record = recording.read_record(decisions.record_of(db, one.id)[0])
                texts = people.texts_at(db, record.rules.values())
                assert recording.replay(record.to_bytes(), texts) == record.outcome


@pytest.mark.slow
def test_they_are_the_same_on_postgresql(demo, server, tmp_path):  # noqa: F811
    office = Office(tmp_path, server.new_database(server.template), customers=30)
    office.file = tmp_path / logins.FILE
    office.people = founding.found(office.desk, office.file)
    for name in (STEADY, OFTEN, BUSINESS, SILENT, CAPITAL):
        here, there = (chain(one, name)[1] for one in (demo, office))
        assert [one.outcome.after.effective_limit_minor for one in here] == [
            one.outcome.after.effective_limit_minor for one in there
        ]
    with office.store.read() as db:
        assert checks.findings(db) == []
    office.close()


def test_something_waits_for_each_kind_of_officers_work(demo):
    cases = demo.get("alice", "/v1/cases").json()["items"]
    assert [one["kind"] for one in cases] == ["appeal"]
    [asked] = demo.get("alice", "/v1/approvals").json()["items"]
    assert (asked["kind"], asked["proposer"]) == ("rules", "officer:officer-two")
    with demo.store.write() as db:
        approvals.decide(
            db, asked["approval_id"], "officer:officer", demo.clock.now, approve=True, answer="yes"
        )


def test_everybody_can_sign_in_and_the_file_is_for_its_owner_alone(demo):
    assert demo.file.stat().st_mode & 0o777 == 0o600
    rows = json.loads(demo.file.read_text())["logins"]
    assert {one["role"] for one in rows} == {str(role) for role in Role}
    assert len({one["secret"] for one in rows}) == len(rows) == 10
    state = b"".join(demo.state().values())
    for one in rows:
        answer = Browser(demo).sign_in(one["name"], one["secret"])
        place = answer.headers["location"]
        assert place.startswith("/")
        assert one["secret"].encode() not in state


def test_a_customer_of_the_demo_sees_the_own_limit(demo):
    browser = Browser(demo)
    [secret] = [one.secret for one in demo.people if one.person.name == OFTEN]
    browser.sign_in(OFTEN, secret)
    assert "5,000.00" in browser.get("/me").text


def test_a_second_time_nothing_changes(demo):
    before = demo.state()
    again = founding.found(demo.desk, demo.file)
    assert [one.told() for one in again] == [one.told() for one in demo.people]
    assert demo.state() == before
    assert demo.file.read_bytes() == demo.first


def test_who_loses_the_file_gets_new_secrets_and_the_old_ones_are_void(demo):
    demo.file.unlink()
    again = founding.found(demo.desk, demo.file)
    old = {one.person.name: one.secret for one in demo.people}
    assert [one.person for one in again] == [one.person for one in demo.people]
    assert all(one.secret != old[one.person.name] for one in again)
    form = Browser(demo).get("/sign-in").form("/sign-in")
    Browser(demo).send(form, status=401, client=STEADY, secret=old[STEADY])
    Browser(demo).send(form, client=STEADY, secret=again[0].secret)


def test_a_file_that_others_can_read_or_that_is_none_is_refused(demo):
    demo.file.chmod(0o644)
    with pytest.raises(Refused):
        founding.found(demo.desk, demo.file)
    demo.file.chmod(0o600)
    demo.file.write_text("{}")
    with pytest.raises(ConfigError, match="delete it"):
        founding.found(demo.desk, demo.file)


def test_the_customer_of_the_demos_own_story_is_let_in_once(demo):
    taken = {one.person.subject for one in demo.people}
    mine, other = [one for one in map(good, range(10)) if one not in taken][:2]
    demo.line(mine)
    made = founding.add_repaid(demo.desk, demo.file, mine)
    assert [one.person.name for one in made].count(REPAID) == 1
    again = founding.add_repaid(demo.desk, demo.file, other)
    assert [one.told() for one in again] == [one.told() for one in made]
    [own] = [one for one in again if one.person.name == REPAID]
    assert own.person.subject == mine
    browser = Browser(demo)
    browser.sign_in(REPAID, own.secret)
    assert "of a limit of" in browser.get("/me").text


def test_too_few_customers_are_told_and_nothing_is_kept(tmp_path):
    office = office_in(tmp_path, customers=9)
    before = office.state()
    with pytest.raises(EnvironmentFault, match="too few customers"):
        founding.found(office.desk, tmp_path / logins.FILE)
    after = office.state()
    before.pop("rule_texts"), after.pop("rule_texts")
    assert after == before
    assert not (tmp_path / logins.FILE).exists()
    office.close()


def test_people_are_invented_in_a_demo_alone(demo):
    with pytest.raises(Refused, match="called 'demo' alone"):
        check_demo(demo.kit.path)


def test_a_name_that_is_somebody_elses_is_not_taken_over(tmp_path):
    office = office_in(tmp_path)
    with office.store.write() as db:
        access.add_client(db, "officer", "officer", office.clock.now)
    with pytest.raises(Conflict):
        founding.found(office.desk, tmp_path / logins.FILE)
    with office.store.read() as db:
        assert lines.page_of_lines(db) == []
    office.close()
