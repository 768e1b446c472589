"""Watching: every figure from what the store kept, few people never told of, nothing written."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from server.accounts import answering, customers, publishing, watching
from server.accounts.attributes import FILE, Attributes, load_attributes, parse_attributes
from server.accounts.grounds import Ask, Grounds
from server.accounts.kept import EARLIEST, LONGEST, Span, kept
from server.limits.checks.policy_page import line_page
from server.limits.line import golden
from server.monitor.fairness import protected_fields
from server.store import approvals
from server.store.approvals import Proposal
from server.store.engine import open_store
from server.store.ids import new_id
from shared.errors import DataError, NotFound, Refused, UsageError
from tests import postgres
from tests.accounts.kit import BAD, GOOD, START, Office, Scene
from tests.accounts.year import Year, golden_texts

DAY = START.date()


@pytest.fixture(scope="module")
def world(empty_file):
    """STABLE for half a year, a case, an override, a declined opening, and nothing erased."""
    folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
    shutil.copy(empty_file, folder / "limits.db")
    store = open_store(f"sqlite:///{folder}/limits.db")
    office = Office(Scene(folder / "federation"), store, **golden_texts(DAY))
    year = Year(office, golden.stable())
    office.open(BAD)
    year.live(6)
    about = year.decisions[2].decision.id
    case = office.case("complaint", decision=about, text="why is it lower")
    office.later(days=4)
    office.write(customers.resolve_case, case.id, "rejected", "alice", "explained", office.now)
    office.case("appeal", decision=about)
    override(office, year.line, 800_000)
    yield year
    store.close()
    shutil.rmtree(folder, ignore_errors=True)


def override(office, line, limit):
    payload = {"line_id": line, "limit_minor": limit}
    with office.store.write() as db:
        asked = Proposal(new_id(office.now), "override", line, payload, "alice", "hardship")
        made = approvals.propose(db, asked, office.now + timedelta(days=1), office.now)
        approvals.decide(db, made.id, "bob", approve=True, answer="agreed", at=office.now)
    office.decide(line, "override", limit_minor=limit, note="hardship", approval_id=made.id)


def watch(year, figures, **more):
    office = year.office
    span = Span.of(None, None, office.day)
    of_span = figures in {watching.drift, watching.restorations, watching.inclusion}
    return year.ask(figures, span, *(() if of_span else (office.now,)), **more)


def low_floor(year, floor=1):
    """Let the floor be another for a while."""
    rules = year.office.desk.rules
    return replace(rules, monitoring=replace(rules.monitoring, floor=floor))


@pytest.fixture
def told_of_few(world):
    """The floor is one person, until the test is over."""
    book = world.office.desk.book
    before = book.current
    book.turn_to(low_floor(world))
    yield world
    book.turn_to(before)


def test_restorations_come_from_the_decisions_of_the_line(told_of_few):
    found = watch(told_of_few, watching.restorations)
    cut = found["by_reason"]["M-MACRO"]
    # Cut on day 90, a step on day 150, whole on day 180; then the override is another cut.
    assert (cut["cut"], cut["restored"]) == (1, 1)
    assert (cut["median_days_to_rise"], cut["median_days_to_restored"]) == (60, 90)
    assert found["all"]["cut"] == 2
    assert found["all"]["waiting"] == 1
    assert found["utilisation_shock"]["cuts"] == 2
    assert found["memory_days"] == 90


def test_with_the_usual_floor_medians_of_one_person_are_withheld(world):
    found = watch(world, watching.restorations)
    assert found["floor"] == 50
    assert found["all"]["cut"] == 2
    assert found["all"]["median_days_to_restored"] is None


def test_drift_counts_one_decision_a_customer_and_month(told_of_few):
    found = watch(told_of_few, watching.drift)
    assert found["models"] == {"scorecard-0001": 8}
    months = [one["month"] for one in found["months"]]
    assert months == sorted(months)
    assert found["months"][0]["people"] == 2  # one opened, one declined
    assert found["months"][-1]["people"] == 1
    assert sum(filter(None, found["months"][0]["score_counts"])) == 2
    assert all("terms" not in one for row in found["months"] for one in row["holders"])


def test_with_the_usual_floor_no_cell_of_few_people_is_told(world):
    found = watch(world, watching.drift)
    for row in found["months"]:
        assert row["people"] is None
        assert not any(row["score_counts"])
        assert row["score"] is None
        assert not any(row["grades"].values())


def test_the_same_rules_swap_nobody_and_others_do(told_of_few):
    same = watch(told_of_few, watching.swap)
    assert (same["lines"], same["higher"], same["lower"]) == (2, 0, 0)
    book = told_of_few.office.desk.book
    before = book.current
    tight = {
        name: replace(policy, product_cap_minor=300_000) for name, policy in before.products.items()
    }
    book.turn_to(replace(before, products=tight))
    try:
        lower = watch(told_of_few, watching.swap)
    finally:
        book.turn_to(before)
    assert (lower["higher"], lower["lower"]) == (0, 1)
    assert lower["cells"]["both"]["new_minor"] == 300_000


def test_complaints_stand_at_the_reasons_of_the_decisions_they_are_about(world):
    found = watch(world, watching.complaints)
    assert (found["total"], found["open"], found["upheld"]) == (2, 1, 0)
    assert found["median_days"] == 4
    worst = found["by_code"][0]
    assert worst["code"] == "M-MACRO"
    assert worst["complaints"] == 2
    assert found["kinds"] == {"appeal": 1, "complaint": 1}


def test_an_answer_that_is_late_is_counted(world):
    office = world.office
    before = office.now
    office.later(days=16)
    assert watch(world, watching.complaints)["late"] == 1
    assert watch(world, watching.operations)["cases_open"]["late"] == 1
    office.now = before
    assert watch(world, watching.complaints)["late"] == 0


def test_overrides_are_told_with_their_direction_reason_and_rate(world):
    found = watch(world, watching.overrides)
    assert found["lowered"]["count"] == 1
    assert found["lowered"]["moved_minor"] == 200_000
    assert found["by_reason"] == {"hardship": 1}
    assert found["by_officer"] == {"officer:desk": 1}
    assert found["rate"] == 1 / found["decisions"]


def test_a_note_in_words_is_no_reason_code():
    assert watching._reason_of("income-proven") == "income-proven"
    assert watching._reason_of("her mother is ill, tel. 555") == "other"


def test_operations_count_what_there_is(world):
    found = watch(world, watching.operations)
    assert found["lines"]["open"] == 1
    assert found["lines"]["limits_minor"] == 800_000
    assert found["decisions"]["review"] == 6
    assert found["decisions"]["open"] == 2
    assert found["draws"] == {"count": 6, "amount_minor": 1_800_000}
    assert found["repayments"]["amount_minor"] == 1_800_000
    assert found["holds"] == {"posted": 6}
    assert (found["records_deleted"], found["reviews_overdue"]) == (0, 0)
    later = world.office.now
    world.office.later(days=40)
    assert watch(world, watching.operations)["reviews_overdue"] == 1
    world.office.now = later


def test_groups_come_from_a_file_of_their_own_and_few_people_are_withheld(world):
    groups = Attributes("one", {GOOD: "one", BAD: "two"})
    found = watch(world, watching.inclusion, attributes=groups)
    (two,) = found["groups"]
    assert (two["group"], found["reference"]) == ("two", "one")
    assert two["impact_ratio"] == {"value": None, "people": None, "flagged": False}
    assert "advice_ratio" not in two


def test_an_excluded_group_is_flagged_where_enough_people_are_there(told_of_few):
    groups = Attributes("one", {GOOD: "one", BAD: "two"})
    (two,) = watch(told_of_few, watching.inclusion, attributes=groups)["groups"]
    assert two["impact_ratio"] == {"value": 0.0, "people": 1, "flagged": True}


def test_openings_are_told_by_product(told_of_few):
    (row,) = watch(told_of_few, watching.inclusion)["openings"]
    assert (row["product"], row["thin_file"]) == ("revolving_consumer", False)
    assert (row["asked"], row["opened"], row["rate"]) == (2, 1, 0.5)
    assert row["mean_limit_minor"] == 1_000_000
    assert watch(told_of_few, watching.inclusion)["groups"] is None


def test_the_audit_file_is_private_linted_and_read_by_nobody_else(tmp_path):
    assert load_attributes(tmp_path) is None
    path = tmp_path / FILE
    path.write_text(f"reference,a\n{GOOD},a\n{BAD},b\n")
    path.chmod(0o644)
    with pytest.raises(Refused):
        load_attributes(tmp_path)
    path.chmod(0o600)
    assert load_attributes(tmp_path).group_of(BAD) == "b"
    with pytest.raises(DataError) as caught:
        parse_attributes(f"{GOOD},a\nbad line\n{GOOD},two words\n", "groups")
    assert len(caught.value.findings) == 3
    assert GOOD not in str(caught.value)


def test_no_module_but_watching_knows_the_audit_file():
    """I19: what decides has no way to groups; the two modules that may are the control."""
    root = Path(watching.__file__).parents[1]
    knowing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "accounts.attributes" in path.read_text() or "audit-groups" in path.read_text()
    }
    assert knowing == {"accounts/attributes.py", "accounts/outcomes.py"}


def test_no_input_of_a_decision_has_a_protected_name():
    assert protected_fields(Grounds) == protected_fields(Ask) == ()


def test_a_deleted_record_is_left_out_and_its_decision_still_counts(office):
    line = office.line()
    office.review(line)
    span = Span.of(None, None, office.day)
    with office.store.read() as db:
        before = watching.operations(office.desk, db, span, office.now)
        assert len(list(kept(db, span))) == 2
    office.write(customers.erase_customer, GOOD, "operator:desk", office.now)
    with office.store.read() as db:
        after = watching.operations(office.desk, db, span, office.now)
        assert not list(kept(db, span, "review"))
        assert watching.drift(office.desk, db, span)["months"] == []
    assert before["records_deleted"] == 0
    assert after["records_deleted"] == sum(after["decisions"].values())
    assert after["decisions"]["review"] == 1


def test_decisions_are_read_page_by_page_in_order(office, monkeypatch):
    line = office.line()
    for _ in range(4):
        office.review(line)
    span = Span.of(None, None, office.day)
    with office.store.read() as db:
        whole = [one.id for one in kept(db, span)]
        monkeypatch.setattr("server.accounts.kept._PAGE", 2)
        assert [one.id for one in kept(db, span)] == whole
        assert [one.purpose for one in kept(db, span, "open")] == ["open"]
        first = next(kept(db, span)).on
        assert not list(kept(db, Span(first - timedelta(9), first - timedelta(1))))
    assert len(whole) == 5


def test_a_span_is_cut_to_what_is_looked_at():
    assert Span.of(None, None, DAY).until == DAY
    assert Span.of(date.min, date.max, DAY) == Span(DAY - LONGEST, DAY)
    assert Span.of(date.max, date.min, DAY) == Span(EARLIEST, EARLIEST)
    with pytest.raises(UsageError):
        Span(DAY, DAY - timedelta(1))


# --- the published rules --------------------------------------------------------------------------


def test_every_rule_text_in_force_is_listed_and_can_be_read_word_for_word(world):
    office = world.office
    found = world.ask(publishing.in_force, office.now)
    assert {one["kind"] for one in found["in_force"]} == set(office.desk.rules.sources)
    for one in found["in_force"]:
        for language in ("en", "zh"):
            page = world.ask(publishing.published, one["digest"], language)
            assert page["text"] == office.desk.rules.sources[one["kind"]].text
            assert page["in_force"]
            assert bool(page["sections"]) == one["has_page"]
    pages = {one["kind"] for one in found["in_force"] if one["has_page"]}
    assert pages == {"policy", "line", "catalogue", "pack"}
    with pytest.raises(NotFound):
        world.ask(publishing.published, "0" * 64, "en")


def test_the_page_says_the_figures_of_its_own_text(world):
    rules, texts = world.office.desk.rules, world.office.desk.rules.texts["en"]
    money = answering.money_of(rules.policy)
    now = " ".join(line for one in line_page(rules.line, texts, money) for line in one.lines)
    other = replace(rules.line, cool_down_days=77)
    then = " ".join(line for one in line_page(other, texts, money) for line in one.lines)
    assert "60 days after the last cut" in now
    assert "77 days after the last cut" in then
    assert "B01: loans in 30 days: 6 or more." in now
    assert "70 %" in now  # the downturn of the replay


def test_the_page_of_the_law_says_what_was_looked_up_and_what_was_not(world):
    digest = world.office.desk.rules.sources["pack"].digest
    page = world.ask(publishing.published, digest, "zh")
    assert "尚未核对原文" in page["page"]
    assert "300,000.00元" in page["page"]
