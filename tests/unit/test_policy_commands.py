"""`confide policy`: lint and diff, and how rules come into force by two people, from a day on."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from server.accounts import activating
from server.accounts.activating import Change, Terms
from server.accounts.desk import rule_texts, rulebook_of
from server.accounts.policies import rulebook_on, sources_in_force, text_of
from server.commands import rule_store
from server.policies import embedded
from server.store.engine import open_store
from server.store.people import texts_at
from shared.errors import ConfigError, Conflict, FourEyes, NotFound, UsageError

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
TODAY = NOW.date()
POLICY = embedded("reference")[0]
LATER = POLICY.replace("effective_from = 2026-01-01", "effective_from = 2026-12-01").replace(
    "limit_minor = 1_200_000", "limit_minor = 1_300_000"
)
OVERLAY = """
[[overlays]]
scenario = "downturn"
multiplier = 0.7
since = {since}
until = 2027-06-01
approved_by = ["ada", "bob"]
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A file of SQLite with an empty schema, to be copied."""
    file = tmp_path_factory.mktemp("rules") / "limits.db"
    open_store(f"sqlite:///{file}", create=True).close()
    return file


@pytest.fixture
def place(tmp_path, monkeypatch, empty):
    """A folder with a store, in which commands run, on a day of its own."""
    (tmp_path / "limits").mkdir()
    shutil.copy(empty, tmp_path / "limits" / "limits.db")
    monkeypatch.chdir(tmp_path)

    class At(datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW.astimezone(tz)

    monkeypatch.setattr(rule_store, "datetime", At)
    return tmp_path


@pytest.fixture
def store(place):
    opened = open_store(f"sqlite:///{place}/limits/limits.db")
    yield opened
    opened.close()


class Rules:
    """A store's rules, with short ways to propose and approve."""

    def __init__(self, store, today=TODAY):
        self.store, self.opening = store, rule_texts()
        self.now = NOW
        self.today = today

    @property
    def terms(self):
        return Terms(self.today, self.opening)

    def propose(self, *texts, by="ada", since=None, reason="better"):
        files = [(text, f"file{at}.toml") for at, text in enumerate(texts)]
        with self.store.write() as db:
            change = Change(files, since, by, reason)
            return activating.propose(db, change, self.terms, self.now).id

    def approve(self, proposal, by="bob"):
        with self.store.write() as db:
            return activating.approve(db, proposal, by, "", self.terms, self.now)

    def activate(self, *texts, since=None):
        self.now += timedelta(seconds=1)
        return self.approve(self.propose(*texts, since=since))

    def on(self, day):
        with self.store.read() as db:
            return rulebook_on(db, day, rulebook_of(self.opening))


@pytest.fixture
def rules(store):
    return Rules(store)


def day(text):
    return datetime.fromisoformat(text).date()


def data(out):
    return json.loads(out)["data"]


def write(place, name, text):
    (place / name).write_text(text)
    return name


def test_lint_passes_what_comes_with_confide(confide, place):
    names = ("reference", "line_reference", "products", "evidence", "budget", "pack_us")
    files = [write(place, f"{name}.txt", embedded(name)[0]) for name in names]
    status, out, _ = confide("policy", "lint", *files, "--format", "json")
    assert status == 0
    assert {one["kind"] for one in data(out)} == {
        "policy",
        "line",
        "catalogue",
        "evidence",
        "budget",
        "pack",
    }


def test_lint_tells_every_finding_of_every_file_and_ends_with_2(confide, place):
    wrong = POLICY.replace("limit_minor = 2_500_000", "limit_minor = 9_000_000")
    write(place, "p.toml", wrong.replace("dti = 0.5", "dti = 5"))
    write(place, "x.toml", "port = 1")
    status, out, _ = confide("policy", "lint", "p.toml", "x.toml", "--format", "json")
    assert status == 2
    found = json.loads(out)["error"]["findings"]
    assert any("p.toml: grades.limit_minor" in one for one in found)
    assert any("p.toml: capacity.dti" in one for one in found)
    assert any("x.toml: no kind of rule file" in one for one in found)


def test_lint_refuses_what_the_law_does_not_allow_by_field(confide, place):
    write(place, "p.toml", POLICY.replace("cap_minor = 5_000_000 ", "cap_minor = 50_000_000 "))
    status, _, err = confide("policy", "lint", "p.toml")
    assert status == 2
    assert "product.cap_minor: must be at most 30000000" in err


def test_a_file_that_is_not_there_ends_with_3_and_a_day_that_is_none_with_2(confide, place):
    assert confide("policy", "lint", "no.toml")[0] == 3
    write(place, "p.toml", POLICY)
    assert confide("policy", "lint", "p.toml", "--on", "tomorrow")[0] == 2


def test_diff_says_it_in_words_and_in_fields(confide, place):
    write(place, "p.toml", LATER)
    _, out, _ = confide("policy", "diff", "reference", "p.toml")
    assert "grades C, limit: 12,000.00 becomes 13,000.00 (+8.3 %)" in out
    status, out, _ = confide("policy", "diff", "reference", "p.toml", "--format", "json")
    assert status == 0
    assert [one["path"] for one in data(out)["differences"]] == [
        "effective_from",
        "grades[C].limit_minor",
    ]


def test_diff_of_two_kinds_is_refused_and_of_equal_files_says_so(confide, place):
    write(place, "p.toml", POLICY)
    write(place, "b.toml", embedded("budget")[0])
    assert confide("policy", "diff", "p.toml", "b.toml")[0] == 2
    assert "they say the same" in confide("policy", "diff", "reference", "p.toml")[1]


def test_from_a_proposal_to_a_rule_in_force_by_commands(confide, place):
    write(place, "p.toml", LATER)
    asked = confide(
        *("policy", "activate", "p.toml", "--by", "ada", "--reason", "more for C"),
        *("--format", "json"),
    )
    assert asked[0] == 0
    proposal = data(asked[1])["id"]
    assert confide("policy", "approve", proposal, "--by", "ada")[0] == 4
    _, out, _ = confide("policy", "show", "--format", "json")
    assert [one["id"] for one in data(out)["waiting"]] == [proposal]
    assert confide("policy", "approve", proposal, "--by", "bob")[0] == 0
    assert confide("policy", "approve", proposal, "--by", "bob")[0] == 1
    _, out, _ = confide("policy", "show", "--format", "json")
    view = data(out)
    assert view["waiting"] == []
    assert [one["since"] for one in view["to_come"]] == ["2026-12-01"]
    _, out, _ = confide("policy", "show", "policy", "--on", "2026-12-01")
    assert out == LATER
    _, out, _ = confide("policy", "show", "policy", "--on", "2026-11-30")
    assert out == POLICY
    _, out, _ = confide("policy", "history", "--format", "json")
    [entry] = data(out)
    told = {name: entry[name] for name in ("kind", "proposer", "approver", "reason", "since")}
    assert told == {
        "kind": "policy",
        "proposer": "officer:ada",
        "approver": "officer:bob",
        "reason": "more for C",
        "since": "2026-12-01",
    }


def test_a_rejected_proposal_changes_nothing(confide, place):
    write(place, "p.toml", LATER)
    asked = confide(
        *("policy", "activate", "p.toml", "--by", "ada", "--reason", "r", "--format", "json")
    )
    proposal = data(asked[1])["id"]
    assert confide("policy", "reject", proposal, "--by", "ada", "--reason", "no")[0] == 4
    assert confide("policy", "reject", proposal, "--by", "bob", "--reason", "no")[0] == 0
    assert confide("policy", "approve", proposal, "--by", "bob")[0] == 1
    assert "nothing was ever activated" in confide("policy", "history")[1]


def test_one_person_pauses_increases_and_two_let_them_go_on(confide, place):
    assert confide("policy", "pause", "--by", "ada", "--reason", "a run")[0] == 0
    _, out, _ = confide("policy", "show", "--format", "json")
    assert data(out)["increases_paused"] is True
    _, out, _ = confide(
        "policy", "resume", "--by", "ada", "--reason", "it is over", "--format", "json"
    )
    proposal = data(out)["id"]
    assert confide("policy", "approve", proposal, "--by", "ada")[0] == 4
    _, out, _ = confide("policy", "show", "--format", "json")
    assert data(out)["increases_paused"] is True
    assert confide("policy", "approve", proposal, "--by", "bob")[0] == 0
    _, out, _ = confide("policy", "show", "--format", "json")
    assert data(out)["increases_paused"] is False


def test_an_unknown_proposal_is_not_found(confide, place):
    assert confide("policy", "approve", "nothing", "--by", "bob")[0] == 2
    assert confide("policy", "reject", "nothing", "--by", "bob", "--reason", "r")[0] == 2


def test_without_an_activation_the_reference_holds(rules):
    assert {kind: one.digest for kind, one in rules.on(TODAY).sources.items()} == {
        kind: one.digest for kind, one in rules.opening.items()
    }


def test_a_rule_holds_from_its_day_until_the_next_one_of_its_kind(rules):
    rules.activate(LATER)
    third = LATER.replace("2026-12-01", "2027-01-01").replace("1_300_000", "1_400_000")
    rules.activate(third)
    limits = {
        text: rules.on(day(text)).policy.grades["C"].limit_minor
        for text in ("2026-11-30", "2026-12-01", "2026-12-31", "2027-01-01")
    }
    assert list(limits.values()) == [1_200_000, 1_300_000, 1_300_000, 1_400_000]


def test_of_one_day_the_newest_counts_and_what_was_in_force_stays_in_history(rules):
    rules.activate(LATER)
    rules.activate(LATER.replace("1_300_000", "1_250_000"))
    assert rules.on(day("2026-12-01")).policy.grades["C"].limit_minor == 1_250_000
    with rules.store.read() as db:
        digest = sources_in_force(db, day("2026-12-01"), rules.opening)["policy"].digest
        assert "1_250_000" in text_of(db, digest).text


def test_a_day_in_the_past_is_refused_and_so_is_one_before_the_file_s_own(rules):
    with pytest.raises(ConfigError, match="must not lie before today"):
        rules.propose(POLICY.replace("1_200_000", "1_300_000"))
    with pytest.raises(ConfigError, match="must not lie before today"):
        rules.propose(LATER, since=TODAY - timedelta(days=1))
    with pytest.raises(ConfigError, match="holds from 2026-12-01 on"):
        rules.propose(LATER, since=TODAY)
    rules.propose(POLICY.replace("1_200_000", "1_300_000"), since=TODAY)  # a control


def test_an_approval_that_comes_after_its_day_is_refused(rules):
    proposal = rules.propose(LATER)
    rules.today = day("2026-12-02")
    with pytest.raises(Conflict, match="is over") as caught:
        rules.approve(proposal)
    assert caught.value.check == "rules"
    rules.today = day("2026-12-01")
    rules.approve(proposal)  # the refusal left it as it was


def test_the_text_that_is_in_force_already_is_not_activated_again(rules):
    with pytest.raises(Conflict, match="in force on 2026-11-22 already"):
        rules.propose(POLICY, since=TODAY)


def test_files_that_fit_only_together_come_into_force_together(rules):
    policy = LATER.replace("quantum_minor = 10_000 ", "quantum_minor = 20_000 ")
    line = embedded("line_reference")[0].replace(
        "quantum_minor = 10_000 ", "quantum_minor = 20_000 "
    )
    with pytest.raises(ConfigError, match="quantum_minor"):
        rules.propose(policy)
    rules.activate(policy, line, since=day("2026-12-01"))
    assert rules.on(day("2026-12-01")).line.quantum_minor == 20_000


def test_what_was_activated_since_is_checked_at_approval_and_on_later_days(rules):
    policy = LATER.replace("quantum_minor = 10_000 ", "quantum_minor = 20_000 ")
    line = embedded("line_reference")[0].replace(
        "quantum_minor = 10_000 ", "quantum_minor = 20_000 "
    )
    waits = rules.propose(LATER.replace("1_300_000", "1_350_000"))
    rules.activate(policy, line, since=day("2026-12-01"))
    with pytest.raises(ConfigError, match=r"on 2026-12-01: .*quantum_minor"):
        rules.approve(waits)
    soon = embedded("line_reference")[0].replace("memory_days = 90", "memory_days = 91")
    with rules.store.read() as db:
        before = sources_in_force(db, day("2026-12-01"), rules.opening)["line"].digest
    rules.activate(soon, since=TODAY)  # superseded by the one of December, so it fits
    with rules.store.read() as db:
        assert sources_in_force(db, day("2026-12-01"), rules.opening)["line"].digest == before


def test_another_jurisdiction_needs_its_currency_its_pack_and_its_products_together(rules):
    europe = LATER.replace('"cn"', '"eu"').replace('"CNY"', '"EUR"')
    with pytest.raises(ConfigError, match="currency"):
        rules.propose(europe)
    products = embedded("products")[0].replace('"CNY"', '"EUR"')
    line = embedded("line_reference")[0].replace("default_cure_days = 90", "default_cure_days = 91")
    rules.activate(europe, products, line, since=day("2026-12-01"))
    assert rules.on(day("2026-12-01")).pack.id == "eu"
    assert rules.on(TODAY).pack.id == "cn"
    needed = rules.on(day("2026-12-01")).digests()
    with rules.store.read() as db:  # the pack came with confide: decisions must replay all the same
        kept = texts_at(db, needed.values())
    assert kept == {one.digest: one.text for one in rules.on(day("2026-12-01")).sources.values()}


def test_a_policy_without_a_pack_and_a_draft_pack_are_refused(rules):
    with pytest.raises(ConfigError, match="no pack 'atlantis'"):
        rules.propose(LATER.replace('"cn"', '"atlantis"'))
    with pytest.raises(ConfigError, match="a draft binds nobody"):
        rules.propose(embedded("pack_cn_draft_2020")[0])


def test_another_time_zone_is_refused(rules):
    line = embedded("line_reference")[0].replace("Asia/Shanghai", "Europe/Paris")
    with pytest.raises(ConfigError, match=r"delinquency\.zone: must stay Asia/Shanghai"):
        rules.propose(line, since=TODAY)


def test_a_policy_must_know_the_grades_of_the_card_that_serves(rules, store):
    terms = Terms(TODAY, rules.opening, ["A", "B", "C"])
    with (
        pytest.raises(ConfigError, match="must be the scorecard's"),
        store.write() as db,
    ):
        activating.propose(db, Change([(LATER, "p.toml")], None, "ada", "r"), terms, NOW)


def test_a_downturn_is_proposed_and_approved_by_the_two_it_names(rules):
    text = OVERLAY.format(since="2026-12-01")
    with pytest.raises(FourEyes):
        rules.propose(text, by="carl")
    proposal = rules.propose(text, by="ada")
    with pytest.raises(FourEyes):
        rules.approve(proposal, by="carl")
    rules.approve(proposal, by="bob")
    assert rules.on(day("2026-12-01")).policy.macro_on(day("2026-12-01")).scenario == "downturn"
    assert rules.on(day("2026-11-30")).policy.macro_on(day("2026-11-30")).scenario == "base"
    assert rules.on(day("2026-12-01")).line.overlay_on(day("2026-12-01")).scenario == "downturn"


def test_one_person_in_two_roles_is_one_pair_of_eyes(rules):
    proposal = rules.propose(LATER, by="officer:ada")
    with pytest.raises(FourEyes):
        rules.approve(proposal, by="operator:ada")
    rules.approve(proposal, by="operator:bob")


def test_a_downturn_does_not_begin_in_the_past_but_one_that_runs_stays(rules):
    with pytest.raises(ConfigError, match="since must not lie before 2026-11-22"):
        rules.propose(OVERLAY.format(since="2026-11-01"))
    rules.activate(OVERLAY.format(since="2026-11-22"))
    rules.today = day("2026-12-24")
    second = OVERLAY.format(since="2026-12-24").replace("0.7", "0.6").replace("ada", "carl")
    proposal = rules.propose(OVERLAY.format(since="2026-11-22") + second, by="carl")
    rules.approve(proposal, by="bob")
    told = rules.on(day("2026-12-24")).policy.macro_on(day("2026-12-24"))
    assert str(told.multiplier) == "0.6"


def test_a_proposal_needs_a_reason_a_file_and_one_file_a_kind(rules):
    with pytest.raises(UsageError, match="reason"):
        rules.propose(LATER, reason=" ")
    with pytest.raises(UsageError, match="name a file"):
        rules.propose()
    with pytest.raises(UsageError, match="one kind"):
        rules.propose(LATER, LATER.replace("1_300_000", "1_310_000"))


def test_a_text_that_nobody_kept_is_not_found(rules):
    with rules.store.read() as db, pytest.raises(NotFound):
        text_of(db, "0" * 64)
