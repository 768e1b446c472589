"""The log at work over real decisions: in, signed, proved, opened by its owner, made again."""

from __future__ import annotations

import json
import shutil
import stat
from datetime import timedelta

import pytest

from server.accounts import proving, replaying
from server.accounts.proving import Place
from server.prooflog.export import to_bytes
from server.prooflog.verify import missing_between, verify_bytes, verify_together
from server.store import decisions
from server.store.decisions import NewDecision
from server.store.log_checks import check_log
from shared.errors import Conflict, EnvironmentFault, LogBroken, NotFound, Refused
from tests.accounts.kit import GOOD, POOR
from tests.store.log_kit import KEY, PIN, put_key, tamper

BOTH = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def url(request, tmp_path):
    """SQLite; a test that is marked runs over PostgreSQL, too."""
    if getattr(request, "param", "sqlite") == "postgresql":
        server = request.getfixturevalue("server")
        return server.new_database(server.template)
    shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "limits.db")
    return f"sqlite:///{tmp_path}/limits.db"


class Kept:
    """An office's store with a folder of its own for the key."""

    def __init__(self, office, home):
        self.office, self.store = office, office.store
        self.desk = Place(office.store, home, lambda: office.now)
        put_key(home)

    def tick(self):
        return proving.tick(self.desk)

    def read(self, work, *values, **named):
        with self.store.read() as db:
            return work(self.desk, db, *values, **named)

    def proof(self, decision, **named):
        return self.read(proving.proof, decision, **named)

    def newest(self):
        with self.store.read() as db:
            return proving.newest(db)

    def chain(self, name):
        with self.store.read() as db:
            return decisions.chain_of(db, name)

    def replayed(self):
        with self.store.read() as db:
            return replaying.replay_store(db)


@pytest.fixture
def kept(office, tmp_path):
    return Kept(office, tmp_path / "limits")


@pytest.fixture
def lived(kept):
    """Two customers' decisions: a line with reviews, and a refusal."""
    office = kept.office
    kept.line = office.line(GOOD)
    kept.declined = office.open(POOR).decision.chain
    for _ in range(3):
        office.review(kept.line)
    office.later(seconds=5)
    kept.tick()
    return kept


def refused(kind, work, *values, **named):
    with pytest.raises(kind) as caught:
        work(*values, **named)
    return caught.value


@BOTH
def test_every_decision_proves_itself_offline_and_is_made_again(lived):
    chain = lived.chain(lived.line)
    texts = {}
    for one in chain:
        found = verify_bytes(to_bytes(lived.proof(one.id)), PIN)
        (record,) = found.records.values()
        assert record["about"]["id"] == one.id
        assert [header.id for header in found.headers.values()] == [one.id]
        with lived.store.read() as db:
            texts |= replaying.texts_at(db, replaying.digests_in(record))
        assert replaying.again(record, texts)
    assert len(chain) == 4
    # Without the texts there is nothing to make them by, and the refusal says what to bring.
    assert refused(LogBroken, replaying.again, record, {}).check in {"policy", "pack"}


def test_all_proofs_of_a_line_show_that_none_is_left_out(lived):
    found = [verify_bytes(to_bytes(lived.proof(one.id)), PIN) for one in lived.chain(lived.line)]
    assert verify_together(found)
    assert missing_between(found) == []
    assert missing_between(found[:1] + found[2:]) == [f"{lived.line}: decision 2 was not shown"]
    assert missing_between(found[3:]) == [f"{lived.line}: decision 1 to 3 was not shown"]


@BOTH
def test_the_store_makes_all_its_decisions_again_bit_for_bit(lived):
    found = lived.replayed()
    assert (found.same, found.deleted, found.other, found.failed) == (5, 0, 0, 0)
    with lived.store.write() as db:
        note = NewDecision("note-1", "notes", "note", b'{"kind":"note"}', "p", "m", "k")
        decisions.append(db, note, lived.office.now)
        decisions.erase_records(db, lived.declined)
    found = lived.replayed()
    assert (found.same, found.deleted, found.other, found.failed) == (4, 1, 1, 0)


def test_a_decision_that_the_rules_do_not_give_is_named(lived):
    """Committed to properly, so that nothing but replay can find it."""
    with lived.store.write() as db:
        raw, _ = decisions.record_of(db, lived.chain(lived.line)[1].id)
        record = json.loads(raw)
        record["outcome"]["after"]["approved_minor"] = 9_900_000
        for name, content in (
            ("lie", json.dumps(record).encode()),
            ("rot", b"\xff"),
            ("no", b"[]"),
        ):
            one = NewDecision(name, "other", "review", content, "p", "m", "k")
            decisions.append(db, one, lived.office.now)
    found = lived.replayed()
    assert (found.same, found.failed) == (5, 3)
    assert any(one.startswith("decision lie: ") for one in found.findings)
    assert "decision rot: form: the record is not JSON" in found.findings
    assert "decision no: form: the record is no object" in found.findings


def test_a_swapped_record_is_not_made_again_as_if_it_were_right(lived):
    first, second = (one.id for one in lived.chain(lived.line)[:2])
    tamper(
        lived.store,
        f"UPDATE decision_records SET record = (SELECT record FROM decision_records "
        f"WHERE decision_id = '{first}') WHERE decision_id = '{second}'",
    )
    assert lived.replayed().findings == [f"decision {second}: commitment: it is another record"]


def test_a_decision_without_a_place_under_a_head_is_pending(kept):
    line = kept.office.line()
    (one,) = kept.chain(line)
    assert refused(Conflict, kept.proof, one.id).check == "pending"
    with kept.store.write() as db:
        proving.integrate(kept.desk, db, kept.office.now)
    assert refused(Conflict, kept.proof, one.id).check == "pending"  # in the tree, not signed
    assert kept.tick() == 0
    assert kept.proof(one.id)["index"] == 0
    refused(NotFound, kept.proof, "no-such-decision")


def test_a_proof_can_be_given_without_the_decision(lived):
    (one, *_) = lived.chain(lived.line)
    sealed = lived.proof(one.id, opened=False)
    assert sealed["opening"] is None
    assert verify_bytes(to_bytes(sealed), PIN).records == {}


@BOTH
def test_heads_of_all_sizes_are_shown_to_extend_each_other(lived):
    sizes = [lived.newest().head.size]
    for _ in range(3):
        lived.office.later(days=30)
        lived.office.review(lived.line)
        lived.tick()
        sizes.append(lived.newest().head.size)
    assert sizes == [5, 6, 7, 8]
    for old in sizes:
        for new in sizes:
            if old <= new:
                made = lived.read(proving.consistency, old, new)
                heads = verify_bytes(to_bytes(made), PIN).heads
                assert [head.size for head in heads] == [old, new]
    assert refused(Conflict, lived.read, proving.consistency, 7, 5).check == "extension"
    refused(NotFound, lived.read, proving.consistency, 4, 5)


@BOTH
def test_an_export_of_everything_is_whole_and_opens(lived):
    found = verify_bytes(to_bytes(lived.read(proving.export, 0, 1000)), PIN)
    assert (found.first, found.count, len(found.records), len(found.headers)) == (0, 5, 5, 5)
    assert missing_between([found]) == []
    sealed = lived.read(proving.export, 1, 3, opened=False)
    found = verify_bytes(to_bytes(sealed), PIN)
    assert (found.first, found.count, found.records, found.headers) == (1, 3, {}, {})
    refused(NotFound, lived.read, proving.export, 5, 1)


def test_what_was_exported_and_altered_is_refused_by_its_check(lived):
    (one, *_) = lived.chain(lived.line)
    good = lived.proof(one.id)

    def check(**changes):
        return refused(LogBroken, verify_bytes, to_bytes({**good, **changes}), PIN).check

    header, opening = good["header"], good["opening"]
    assert check(header={**header, "policy_ref": "lie"}) == "opening"
    assert check(header={**header, "number": 0}) == "form"
    assert check(header={**header, "decided_at": "2026-03-02T08:00:00"}) == "form"
    assert check(opening={**opening, "record": {**opening["record"], "about": {}}}) == "opening"
    assert check(index=good["index"] + 1) == "inclusion"
    assert check(kind="confide/log-decision/1") == "form"
    assert check(more=1) == "form"
    whole = lived.read(proving.export, 0, 5)
    for changes, name in (
        ({"headers": None}, "form"),
        ({"headers": whole["headers"][:-1]}, "form"),
        ({"headers": whole["headers"][::-1]}, "opening"),
        ({"leaves": whole["leaves"][::-1]}, "range"),
    ):
        caught = refused(LogBroken, verify_bytes, to_bytes({**whole, **changes}), PIN)
        assert caught.check == name


def test_two_decisions_of_one_number_are_found_when_exports_meet(lived):
    found = verify_bytes(to_bytes(lived.read(proving.export, 0, 5)), PIN)
    header = next(iter(found.headers.values()))
    fields = header.to_mapping() | {"policy_ref": "other"}
    other = type(found)(found.kind, found.heads, headers={9: type(header)(**fields)})
    assert refused(LogBroken, missing_between, [found, other]).check == "chain"


def test_ticks_sign_when_something_came_in_and_once_an_hour(lived):
    def heads():
        with lived.store.read() as db:
            return check_log(db, PIN).heads

    before = heads()
    assert lived.tick() == 0
    assert heads() == before
    lived.office.later(minutes=61)
    assert lived.tick() == 0
    assert heads() == before + 1
    lived.office.review(lived.line)
    assert lived.tick() == 1
    assert heads() == before + 2


@BOTH
def test_many_decisions_come_in_over_several_transactions(kept, monkeypatch):
    monkeypatch.setattr(proving, "AT_ONCE", 3)
    real = proving.log.extend
    monkeypatch.setattr(proving.log, "extend", lambda db, most: real(db, min(most, 3)))
    with kept.store.write() as db:
        many = [NewDecision(f"d{n}", "c", "note", b"{}", "p", "m", "k") for n in range(8)]
        decisions.append_all(db, many, kept.office.now)
    assert kept.tick() == 8
    assert kept.newest().head.size == 8


def test_a_clock_that_goes_back_signs_nothing_and_is_named(lived):
    signed = lived.newest()
    lived.office.review(lived.line)
    lived.office.now -= timedelta(days=60)
    assert refused(LogBroken, lived.tick).check == "clock"
    assert lived.newest() == signed
    lived.office.later(days=61)
    lived.tick()
    assert lived.newest().head.size == signed.head.size + 1


def test_the_log_key_is_made_once_for_its_owner_and_never_in_place_of_a_lost_one(office, tmp_path):
    place = Place(office.store, tmp_path / "fresh", lambda: office.now)
    refused(EnvironmentFault, proving.log_key, place.home)
    made = proving.make_log_key(place)
    path = place.home / proving.KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in place.home.iterdir()] == [proving.KEY]
    assert proving.make_log_key(place).fingerprint == made.fingerprint
    proving.tick(place)
    with office.store.read() as db:
        proving.check_pin(db, made)
        assert refused(LogBroken, proving.check_pin, db, KEY).check == "key"
    path.chmod(0o644)
    assert "can be read by others" in str(refused(Refused, proving.make_log_key, place))
    path.unlink()
    assert "bring the key back" in str(refused(Refused, proving.make_log_key, place))


def test_another_key_signs_nothing_behind_the_first(lived):
    put_key(lived.desk.home, type(KEY)("log", bytes(range(32))))
    lived.office.later(hours=2)
    assert refused(LogBroken, lived.tick).check == "key"


def test_a_log_without_a_head_says_so(kept):
    with kept.store.read() as db:
        refused(NotFound, proving.newest, db)


def test_rule_texts_come_from_files_and_folders(tmp_path):
    (tmp_path / "a.toml").write_text("a = 1\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.toml").write_text("b = 1\n")
    found = replaying.texts_in([tmp_path / "a.toml", tmp_path / "more"])
    assert sorted(found.values()) == ["a = 1\n", "b = 1\n"]
    (tmp_path / "none").mkdir()
    refused(EnvironmentFault, replaying.texts_in, [tmp_path / "none"])
    refused(EnvironmentFault, replaying.texts_in, [tmp_path / "nowhere.toml"])
