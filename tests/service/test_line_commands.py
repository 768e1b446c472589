"""`confide line` and what `confide policy diff` says of lines: commands over a store in use."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from server.accounts import activating
from server.accounts.activating import Change, Terms
from server.commands import desks
from server.policies import embedded
from tests.service.desk_kit import good, poor


@pytest.fixture
def operator(confide, office, monkeypatch, tmp_path):
    """Commands on the office's store, at the office's time."""
    monkeypatch.setattr(desks, "utc_clock", office.clock)
    monkeypatch.chdir(tmp_path)
    where = ("--federation", office.kit.path, "--store", str(office.store.engine.url))

    def run(*words):
        status, out, err = confide(*words, *where)
        return SimpleNamespace(status=status, out=out, err=err)

    def told(*words):
        done = run(*words, "--format", "json")
        assert done.status == 0, done.out
        return json.loads(done.out)["data"]

    def refused(*words):
        done = run(*words, "--format", "json")
        return done.status, json.loads(done.out)["error"]["code"]

    return SimpleNamespace(run=run, told=told, refused=refused)


def test_a_line_is_opened_listed_and_shown(operator, office):
    office.consent(good())
    office.bureau(good())
    opened = operator.told("line", "open", good(), "--by", "ada")
    assert opened["new_limit_minor"] > 0
    line = opened["line_id"]
    [row] = operator.told("line", "list")
    assert (row["line_id"], row["state"]) == (line, "active")
    assert operator.told("line", "list", "--customer", good()) == [row]
    assert operator.told("line", "list", "--customer", good(1)) == []
    shown = operator.told("line", "show", line)
    assert shown["available_minor"] == opened["new_limit_minor"]
    assert sum(term["binds"] for term in shown["waterfall"]) >= 1
    text = operator.run("line", "show", line).out
    assert "active" in text
    assert "binds" in text


def test_a_declined_opening_says_so_and_keeps_its_decision(operator, office):
    office.consent(poor())
    office.bureau(poor())
    done = operator.told("line", "open", poor(), "--by", "ada")
    assert done["line_id"] is None
    assert done["reasons"]
    assert "no line" in operator.run("line", "list").out


def test_no_line_without_consent(operator, office):
    assert operator.refused("line", "open", good(), "--by", "ada") == (4, "refused")


def test_why_is_answered_in_both_languages(operator, office):
    line = office.line()
    english = operator.run("line", "why", line)
    assert english.status == 0
    assert "limit" in english.out
    chinese = operator.told("line", "why", line, "--language", "zh")
    assert chinese["headline"] != operator.told("line", "why", line)["headline"]
    assert operator.refused("line", "why", line, "--language", "xx")[0] == 2


def test_why_tells_the_way_back_of_a_limit_that_was_cut(operator, office, tmp_path):
    line = office.line()
    lower = embedded("products")[0].replace("limit_minor = 4_000_000", "limit_minor = 3_000_000", 1)
    with office.store.write() as db:
        terms = Terms(office.desk.today(office.clock()), office.desk.book.opening.sources)
        change = Change([(lower, "products.toml")], terms.today, "ada", "a harder year")
        asked = activating.propose(db, change, terms, office.clock())
        activating.approve(db, asked.id, "bob", "", terms, office.clock())
    office.later(days=30)
    assert operator.told("line", "review", line, "--by", "ada")["new_limit_minor"] == 3_000_000
    told = operator.told("line", "why", line)["why_not_back"]["restoration"]
    assert told["missing_minor"] == 1_000_000
    text = operator.run("line", "why", line).out
    assert all(sentence in text for sentence in told["text"])


def test_why_tells_proven_advice_with_what_it_brings(operator, office):
    line = office.line()
    office.later(days=25)
    for number in range(8):
        office.draw(line, 100_000 + number)
    office.later(days=5)
    assert operator.told("line", "review", line, "--by", "ada")["state"] == "observation"
    [advice, *_] = operator.told("line", "why", line)["advice"]
    assert advice["code"] == "ADV-FREQ"
    text = operator.run("line", "why", line).out
    assert advice["action"] in text
    assert advice["result"] in text


def test_a_freeze_is_kept_with_who_and_why_and_a_person_ends_it(operator, office):
    line = office.line()
    frozen = operator.told("line", "freeze", line, "--by", "ada", "--reason", "two places at once")
    assert frozen["state"] == "frozen"
    record = office.get("alice", f"/v1/decisions/{frozen['decision_id']}").json()
    about = json.dumps(record)
    assert "officer:ada" in about
    assert "two places at once" in about
    office.later(days=1)
    freed = operator.told("line", "release", line, "--by", "ada", "--reason", "the customer called")
    assert freed["state"] == "observation"
    assert operator.refused("line", "release", line, "--by", "ada", "--reason", "again") == (
        1,
        "conflict",
    )


def test_a_temporary_amount_ends_by_itself_and_is_bounded(operator, office):
    line = office.line()
    more = ("--by", "ada", "--reason", "the heating broke", "--until", "2026-03-10")
    done = operator.told("line", "temporary", line, "100000", *more)
    assert done["new_limit_minor"] - done["old_limit_minor"] in {0, 100_000}
    assert operator.told("line", "show", line)["temporary"]["amount_minor"] == 100_000
    assert operator.refused("line", "temporary", line, "900000000", *more)[0] in {1, 4}
    assert operator.refused("line", "temporary", line, "1", *more[:-1], "someday")[0] == 2


def test_an_early_review_raises_nothing_and_closing_ends_a_line(operator, office):
    line = office.line()
    before = operator.told("line", "show", line)
    office.later(days=3)
    done = operator.told("line", "review", line, "--by", "ada")
    assert done["new_limit_minor"] == before["effective_limit_minor"]
    closed = operator.told("line", "close", line, "--by", "ada", "--reason", "asked by post")
    assert closed["state"] == "closed"
    assert "no line" in operator.run("line", "list").out
    assert operator.refused("line", "close", line, "--by", "ada", "--reason", "again") == (
        1,
        "conflict",
    )


def test_a_line_that_owes_waits_until_it_is_repaid(operator, office):
    line = office.line()
    office.draw(line, 200_000)
    done = operator.told("line", "close", line, "--by", "ada", "--reason", "asked by post")
    assert done["state"] == "closing"
    shown = operator.run("line", "show", line).out
    assert "due " in shown
    assert "lent by own" in shown


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("show", "no-line"), 2),
        (("freeze", "no-line", "--by", "ada", "--reason", "r"), 2),
        (("freeze", "no-line", "--by", "ada", "--reason", " "), 2),
        (("freeze", "no-line", "--by", "ada", "--reason", "r", "--cause", "envy"), 2),
        (("freeze", "no-line", "--by", "a d a", "--reason", "r"), 2),
        (("open", "0" * 64, "--by", "ada", "--product", "yacht"), 2),
    ],
)
def test_a_wrong_call_ends_with_2_and_changes_nothing(operator, office, words, status):
    before = office.state()
    assert operator.run("line", *words).status == status
    assert office.state() == before


def test_a_diff_with_a_store_counts_whose_limit_would_differ(operator, office, tmp_path):
    for number in range(3):
        office.line(good(number))
    products = embedded("products")[0]
    lower = products.replace("limit_minor = 4_000_000", "limit_minor = 3_000_000", 1)
    (tmp_path / "lower.toml").write_text(lower)
    before = office.state()
    view = operator.told("policy", "diff", "reference", "lower.toml")
    assert [one["path"] for one in view["differences"]] == [
        "products[revolving_consumer].grades[A].limit_minor"
    ]
    lines = view["lines"]
    assert lines["lines"] == 3
    assert lines["failed"] == 0
    assert lines["allowed"]["higher"] == 0
    assert lines["swap"]["both"]["lines"] == 3
    fell = lines["swap"]["both"]["old_minor"] - lines["swap"]["both"]["new_minor"]
    assert lines["allowed"]["down_minor"] == fell
    assert lines["allowed"]["lower"] + lines["allowed"]["same"] == 3
    assert office.state() == before


def test_a_diff_of_equal_rules_moves_nobody_and_one_that_declines_is_a_swap(
    operator, office, tmp_path
):
    office.line(good())
    (tmp_path / "same.toml").write_text("# the same\n" + embedded("reference")[0])
    same = operator.told("policy", "diff", "reference", "same.toml")["lines"]["allowed"]
    assert (same["higher"], same["lower"], same["same"]) == (0, 0, 1)
    products = embedded("products")[0]
    rows = [row for row in products.splitlines() if "limit_minor" in row]
    none = products
    for row in rows[:5]:
        amount = row.split("limit_minor = ")[1].split(",")[0]
        none = none.replace(row, row.replace(f"limit_minor = {amount}", "limit_minor = 0"), 1)
    (tmp_path / "none.toml").write_text(none)
    swap = operator.told("policy", "diff", "reference", "none.toml")["lines"]["swap"]
    assert swap["swapped_out"]["lines"] == 1
    text = operator.run("policy", "diff", "reference", "none.toml").out
    assert "1 only by the old" in text
