"""`confide log` and `confide store` over a real store: signed, shown, backed up, brought back."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.accounts.replaying import digests_in
from server.cli import command_line
from server.store import decisions
from server.store.engine import open_store
from shared.errors import DataError, EnvironmentFault, LogBroken, NotFound, Refused, UsageError
from tests.accounts.kit import GOOD, POOR, Office, Scene
from tests.store.log_kit import same, tamper
from tests.stores import empty_file, server  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("federation"))


class Shop:
    """An operator's folder with a store in which customers were decided on."""

    def __init__(self, scene, base):
        self.base = base
        self.federation = base / "federation.toml"
        self.store = open_store(f"sqlite:///{base}/limits/limits.db")
        self.office = Office(scene, self.store)

    def run(self, *arguments):
        if arguments[:2] != ("log", "verify"):
            arguments = (*arguments, "--federation", self.federation)
        result = CliRunner().invoke(command_line(arguments[0]), [*map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    def data(self, *arguments):
        return json.loads(self.run(*arguments, "--format", "json"))["data"]

    def export(self, name, *arguments):
        path = self.base / name
        self.run("log", *arguments, "--out", path)
        return path

    def chain(self, name):
        with self.store.read() as db:
            return decisions.chain_of(db, name)


@pytest.fixture(scope="module")
def opened(scene, empty_file, tmp_path_factory):  # noqa: F811 - the fixture
    """A folder of an operator with a key, a line and its reviews, and a refusal; to be copied."""
    base = tmp_path_factory.mktemp("shop")
    shutil.copy(scene.kit.path, base)
    (base / "limits").mkdir()
    shutil.copy(empty_file, base / "limits")
    shop = Shop(scene, base)
    line, declined = shop.office.line(GOOD), shop.office.open(POOR).decision.chain
    for _ in range(3):
        shop.office.review(line)
    pin = shop.data("log", "init")["pin"]
    shop.store.close()
    return base, shop.office.now, line, declined, pin


@pytest.fixture
def shop(scene, opened, tmp_path):
    base, now, line, declined, pin = opened
    shutil.copytree(base, tmp_path / "shop")
    shop = Shop(scene, tmp_path / "shop")
    shop.office.now, shop.line, shop.pin = now, line, pin
    shop.declined = declined
    yield shop
    shop.store.close()


def refused(kind, work, *arguments):
    with pytest.raises(kind) as caught:
        work(*arguments)
    return caught.value


def test_init_makes_a_key_for_its_owner_and_pin_shows_it(shop):
    key = shop.base / "limits" / "log.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.fullmatch("[0-9a-f]{64}", shop.pin)
    assert shop.run("log", "pin").splitlines()[0] == shop.pin
    assert shop.data("log", "init")["pin"] == shop.pin
    shop.run("log", "head", "--sign")
    key.write_text("11" * 32)
    assert refused(LogBroken, shop.run, "log", "pin").check == "key"
    key.unlink()
    refused(Refused, shop.run, "log", "init")
    refused(EnvironmentFault, shop.run, "log", "pin")


def test_what_waits_is_taken_in_and_signed(shop):
    assert shop.data("log", "check")["waiting"] == 5
    refused(NotFound, shop.run, "log", "head")
    assert "5 leaves, root" in shop.run("log", "head", "--sign")
    shop.office.review(shop.line)
    assert "1 decisions wait for their leaf" in shop.run("log", "head")
    data = shop.data("log", "head")
    assert (data["size"], data["unsigned"], data["waiting"], data["log"]) == (5, 0, 1, shop.pin)
    told = shop.data("log", "check")
    assert (told["decisions"], told["leaves"], told["waiting"], told["heads"]) == (6, 5, 1, 1)


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_export_goes_to_somebody_offline_with_the_rules_and_is_made_again(
    shop, tmp_path, monkeypatch, apart
):
    shop.run("log", "head", "--sign")
    old = shop.export("old.json", "head")
    shop.office.review(shop.line)
    shop.run("log", "head", "--sign")
    (first, *_) = shop.chain(shop.line)
    rules = shop.base / "rules"
    files = [
        old,
        shop.export("one.json", "export", "--decision", first.id, "--rules", rules),
        shop.export("many.json", "export", 1, "--to", 6),
        shop.export("sealed.json", "export", 0, "--to", 6, "--sealed"),
        shop.export("steps.json", "consistency", old),
    ]
    (record,) = [json.loads(files[1].read_text())["opening"]["record"]]
    assert {path.stem for path in rules.iterdir()} == digests_in(record)
    # Only the files, the rules and the pin go with the verifier.
    away = tmp_path / "away"
    shutil.copytree(rules, away / "rules")
    moved = [path.rename(away / path.name).name for path in files]
    words = ["log", "verify", *moved, "--pin", shop.pin, "--replay", "--rules", "rules"]
    monkeypatch.chdir(away)
    data = in_process(words) if apart else shop.data(*words)
    assert (data["linked"], data["not_shown"]) == (True, [])
    told = [(one["size"], one["count"], one["opened"], one["replayed"]) for one in data["files"]]
    assert told == [(5, 0, 0, 0), (6, 1, 1, 1), (6, 5, 5, 5), (6, 6, 0, 0), (6, 0, 0, 0)]


def in_process(words):
    """Run a command in a process of its own; return what it told."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", *words, "--format", "json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["data"]


def test_who_is_shown_some_decisions_of_a_line_is_told_which_are_missing(shop):
    shop.run("log", "head", "--sign")
    last = shop.chain(shop.line)[-1]
    path = shop.export("last.json", "export", "--decision", last.id)
    told = shop.run("log", "verify", path, "--pin", shop.pin)
    assert f"{shop.line}: decision 1 to 3 was not shown" in told


def test_replay_counts_what_came_out_the_same_and_says_how_fast(shop):
    told = shop.data("log", "replay")
    assert (told["same"], told["deleted"], told["other"]) == (5, 0, 0)
    assert told["per_second"] > 0
    with shop.store.write() as db:
        decisions.erase_records(db, shop.declined)
    assert "4 decisions made again, bit for bit" in shop.run("log", "replay")
    second, third = shop.chain(shop.line)[1:3]
    tamper(shop.store, "UPDATE decision_records SET record = (SELECT record FROM decision_records "
           f"WHERE decision_id = '{second.id}') WHERE decision_id = '{third.id}'")  # fmt: skip
    findings = refused(DataError, shop.run, "log", "replay").findings
    assert findings == (f"decision {third.id}: commitment: it is another record",)


def test_check_names_all_that_was_done_to_the_log(shop):
    shop.run("log", "head", "--sign")
    assert "in order: 5 decisions, the records of 0 deleted" in shop.run("log", "check")
    second = shop.chain(shop.line)[1]
    tamper(
        shop.store,
        f"UPDATE decisions SET model_ref = 'lie' WHERE id = '{second.id}'",
        "UPDATE log_nodes SET hash = (SELECT leaf FROM log_leaves WHERE number = 0) "
        "WHERE level = 1 AND number = 1",
    )
    found = refused(DataError, shop.run, "log", "check")
    assert {one.partition(":")[0] for one in found.findings} == {"chain", "leaf", "node"}
    assert found.findings[0] == f"chain: {shop.line}: decision 2 was altered"
    assert refused(DataError, shop.run, "store", "check").findings == found.findings
    assert "key" in str(refused(DataError, shop.run, "log", "check", "--pin", "0" * 64))


def test_upgrade_makes_a_store_and_leaves_one_as_it_is(tmp_path):
    arguments = ["store", "upgrade", "--federation", str(tmp_path / "federation.toml")]
    for _ in range(2):
        result = CliRunner().invoke(command_line("store"), arguments)
        assert result.exit_code == 0
        assert "limits.db is of this version's schema" in result.stdout.replace("\n", "")
    assert (tmp_path / "limits" / "limits.db").exists()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_backup_comes_back_in_another_folder_or_database(shop, request, tmp_path, kind):
    shop.run("log", "head", "--sign")
    head = shop.export("head.json", "head")
    told = shop.run("store", "backup", tmp_path / "b")
    assert "a head of 5 leaves" in told
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(shop.federation, other)
    if kind == "sqlite":
        url, where = f"sqlite:///{other}/limits/limits.db", ()
    else:
        url = request.getfixturevalue("server").new_database()
        where = ("--store", url)
    first = shop.federation
    shop.federation = other / "federation.toml"
    told = shop.run("store", "restore", tmp_path / "b", "--head", head, "--pin", shop.pin, *where)
    assert "was restored" in told
    assert "in order: 5 decisions, 5 leaves, 1 heads" in shop.run("store", "check", *where)
    assert shop.data("log", "replay", *where)["same"] == 5
    refused(UsageError, shop.run, "store", "restore", tmp_path / "b", *where)
    again = open_store(url)
    assert same(shop.store, again)
    again.close()
    shop.federation = first


def test_a_backup_from_before_a_kept_head_is_refused(shop, tmp_path):
    shop.run("log", "head", "--sign")
    shop.run("store", "backup", tmp_path / "b")
    shop.office.review(shop.line)
    shop.run("log", "head", "--sign")
    head = shop.export("head.json", "head")
    assert "in order" in shop.run("store", "check", "--head", head)
    other = tmp_path / "new.db"
    arguments = ("store", "restore", tmp_path / "b", "--store", f"sqlite:///{other}")
    error = refused(LogBroken, shop.run, *arguments, "--head", head)
    assert (error.check, error.hint) == ("shrunk", "1 decisions are missing: find a newer backup")
    shop.run(*arguments)  # knowingly, without the head
    told = refused(DataError, shop.run, "store", "check", "--store", arguments[-1], "--head", head)
    assert [one.partition(":")[0] for one in told.findings] == ["shrunk"]


def test_wrong_calls_are_told(shop, tmp_path):
    shop.run("log", "head", "--sign")
    refused(UsageError, shop.run, "log", "export")
    refused(UsageError, shop.run, "log", "export", 1, "--decision", "x")
    refused(UsageError, shop.run, "log", "export", 1, "--sealed")
    refused(UsageError, shop.run, "log", "export", 7)
    refused(NotFound, shop.run, "log", "export", "--decision", "x")
    refused(EnvironmentFault, shop.run, "store", "restore", tmp_path / "nowhere")
    refused(EnvironmentFault, shop.run, "store", "check", "--head", tmp_path / "nowhere")
    shop.office.review(shop.line)
    newest = shop.chain(shop.line)[-1]
    error = refused(NotFound, shop.run, "log", "export", "--decision", newest.id)
    assert "takes it in" in error.hint


def test_without_a_store_its_commands_say_so(tmp_path):
    federation = tmp_path / "federation.toml"
    for words in (["log", "check"], ["log", "init"], ["log", "replay"], ["store", "backup", "b"]):
        result = CliRunner().invoke(
            command_line(words[0]), [*words, "--federation", str(federation)]
        )
        assert isinstance(result.exception, EnvironmentFault | NotFound), (words, result)
    assert list(tmp_path.iterdir()) == []
