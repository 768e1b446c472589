"""`confide log` as an operator types it, and as whoever got a file from him does."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest
from click.testing import CliRunner

from server.cli import command_line
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import decide
from server.limits.caps.record import DecisionRecord, digest_of
from server.limits.caps.snapshot import Scorer, Share
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from server.prooflog.folder import LEAVES, open_book
from server.prooflog.leaf import canonical
from shared.errors import EnvironmentFault, LogBroken, NotFound, Refused, UsageError
from shared.identity import Identity
from tests.service.kit import PARTIES, baselines, card

COMMAND = command_line("log")
KEY = Identity("log", hashlib.sha256(b"operator").digest())
PIN = KEY.fingerprint
NOW = "2026-03-01T08:00:00Z"
SCORER = Scorer(card(), baselines())


def decision(number, policy_text=None, **changes):
    """Return the canonical record of a real decision under the reference policy."""
    policy_text = policy_text or embedded("reference")[0]
    pack_text = embedded("pack_cn")[0]
    snapshot = SCORER.snapshot({party: Share(SCORER.spans[party][1]) for party in PARTIES}, {})
    inputs = Inputs(date(2026, 3, 1), own_minor=10_000 * number)
    policy, pack = parse_policy(policy_text, "policy"), parse_pack(pack_text, "pack")
    record = DecisionRecord(
        about={"line": f"L{number}"},
        policy=digest_of(policy_text),
        pack=digest_of(pack_text),
        snapshot=snapshot,
        inputs=inputs,
        decision=decide(policy, pack, snapshot, inputs),
    )
    return canonical({**record.to_mapping(), **changes})


class Operator:
    """A log beside a federation file, and commands on it."""

    def __init__(self, base):
        self.base = base
        self.path = base / "federation.toml"
        self.folder = base / "limits" / "log"
        self.key = base / "limits" / "log.key"
        self.key.parent.mkdir()
        self.key.write_text(KEY.secret.hex())
        self.key.chmod(0o600)

    def add(self, *records, sign=NOW):
        with open_book(self.folder) as book:
            book.add(records)
            if sign:
                book.sign(KEY, sign)

    def run(self, *arguments):
        if arguments[0] != "verify":
            arguments = (*arguments, "--federation", str(self.path))
        result = CliRunner().invoke(COMMAND, ["log", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    def export(self, name, *arguments):
        path = self.base / name
        self.run(*arguments, "--out", path)
        return path


@pytest.fixture
def operator(tmp_path):
    operator = Operator(tmp_path)
    operator.add(*[decision(number) for number in range(1, 8)])
    return operator


def refused(work, *arguments):
    with pytest.raises(LogBroken) as caught:
        work(*arguments)
    return caught.value.check


def test_the_way_of_a_decision_from_the_log_to_somebody_offline(operator, tmp_path):
    old = operator.export("old.json", "head")
    operator.add(*[decision(number) for number in range(8, 12)], sign="")
    told = operator.run("head")
    assert "7 leaves" in told
    assert "4 leaves since then are not signed yet" in told
    with pytest.raises(UsageError, match="the head covers 7 leaves"):
        operator.run("export", 9)
    assert "11 leaves" in operator.run("head", "--sign")
    files = [
        operator.export("one.json", "export", 9),
        operator.export("many.json", "export", 2, "--to", 8),
        operator.export("sealed.json", "export", 0, "--to", 11, "--sealed"),
        operator.export("steps.json", "consistency", old),
        old,
    ]
    # Only the files and the pin go with the verifier.
    away = tmp_path / "away"
    away.mkdir()
    moved = [path.rename(away / path.name) for path in files]
    told = operator.run("verify", *moved, "--pin", PIN, "--replay")
    assert "leaf 9, 1 opened, 1 made again" in told
    assert "leaves 2-7, 6 opened, 6 made again" in told
    assert "leaves 0-10, 0 opened" in told
    assert "11 leaves extend 7" in told
    assert "not linked" not in told
    data = json.loads(operator.run("verify", *moved, "--pin", PIN, "--format", "json"))["data"]
    assert data["linked"]
    assert [one["size"] for one in data["files"]] == [11, 11, 11, 11, 7]
    assert "not linked" in operator.run("verify", moved[0], moved[-1], "--pin", PIN)


def test_an_export_goes_to_stdout_byte_by_byte(operator):
    told = operator.run("export", 3)
    assert told == operator.export("three.json", "export", 3).read_text()


def test_head_in_json_says_how_many_leaves_are_not_signed(operator):
    operator.add(decision(9), sign="")
    data = json.loads(operator.run("head", "--format", "json"))["data"]
    assert (data["size"], data["unsigned"], data["log"]) == (7, 1, PIN)


def test_verification_names_the_file_and_the_check(operator):
    path = operator.export("one.json", "export", 3)
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"index":3', b'"index":2'))
    with pytest.raises(LogBroken, match=r"one\.json: inclusion") as caught:
        operator.run("verify", path, "--pin", PIN)
    assert caught.value.check == "inclusion"
    path.write_bytes(good)
    assert refused(operator.run, "verify", path, "--pin", "0" * 64) == "key"
    path.write_bytes(good + b"\n")
    assert refused(operator.run, "verify", path, "--pin", PIN) == "form"


def test_heads_of_two_logs_in_two_files_are_a_fork(operator, tmp_path):
    (tmp_path / "second").mkdir()
    second = Operator(tmp_path / "second")
    second.add(*[decision(number) for number in range(20, 27)])
    ours, theirs = operator.export("a.json", "head"), second.export("b.json", "export", 1)
    operator.run("verify", theirs, "--pin", PIN)
    assert refused(operator.run, "verify", ours, theirs, "--pin", PIN) == "fork"
    # The operator cannot explain the other head away either.
    head = second.export("c.json", "head")
    assert refused(operator.run, "consistency", head) == "fork"


def test_consistency_takes_no_head_of_another_key_and_no_other_file(operator, tmp_path):
    path = tmp_path / "head.json"
    operator.run("head", "--out", path)
    text = path.read_text()
    other = Identity("log", bytes(31) + b"\1").fingerprint
    path.write_text(text.replace(PIN, other))
    assert refused(operator.run, "consistency", path) == "key"
    path.write_text("{")
    assert refused(operator.run, "consistency", path) == "form"
    with pytest.raises(EnvironmentFault, match="cannot read"):
        operator.run("consistency", tmp_path / "nowhere.json")


def test_a_decision_that_the_rules_do_not_give_is_refused_on_replay(operator):
    operator.add(decision(5, inputs=json.loads(decision(4))["inputs"]))
    path = operator.export("false.json", "export", 7)
    operator.run("verify", path, "--pin", PIN)
    with pytest.raises(LogBroken, match=r"false\.json: leaf 7: replay: .* limit_minor") as caught:
        operator.run("verify", path, "--pin", PIN, "--replay")
    assert caught.value.check == "replay"


def test_replay_asks_for_the_text_of_a_policy_that_it_does_not_know(operator, tmp_path):
    text = embedded("reference")[0] + "\n# ours\n"
    operator.add(decision(5, policy_text=text))
    path = operator.export("ours.json", "export", 7)
    assert refused(operator.run, "verify", path, "--pin", PIN, "--replay") == "policy"
    policy, pack = tmp_path / "ours.toml", tmp_path / "pack_cn.toml"
    policy.write_text(text)
    pack.write_text(embedded("pack_cn")[0])
    arguments = ("--pin", PIN, "--replay", "--rules", policy, "--rules", pack)
    assert "1 made again" in operator.run("verify", path, *arguments)


def test_records_of_another_kind_are_verified_and_not_replayed(operator):
    operator.add(canonical({"kind": "confide/note/1", "text": "drill"}))
    path = operator.export("note.json", "export", 7)
    assert "1 opened, 0 made again" in operator.run("verify", path, "--pin", PIN, "--replay")


def test_a_deleted_decision_is_exported_without_its_opening(operator):
    with open_book(operator.folder) as book:
        book.forget([3])
    path = operator.export("gone.json", "export", 3)
    assert json.loads(path.read_bytes())["opening"] is None
    assert "leaf 3, 0 opened" in operator.run("verify", path, "--pin", PIN)


def test_head_finds_what_was_done_to_the_files(operator):
    path = operator.folder / LEAVES
    good = path.read_bytes()
    path.write_bytes(good[:-130])
    assert refused(operator.run, "head") == "shrunk"
    assert refused(operator.run, "head", "--sign") == "shrunk"
    assert refused(operator.run, "export", 1) == "shrunk"
    path.write_bytes(good[130:])
    assert refused(operator.run, "head") == "chain"


def test_signing_needs_the_operators_own_key_closed_to_others(operator):
    operator.key.chmod(0o640)
    with pytest.raises(Refused, match="can be read by others"):
        operator.run("head", "--sign")
    operator.key.chmod(0o600)
    operator.key.write_text(bytes(range(32)).hex())
    assert refused(operator.run, "head", "--sign") == "key"
    operator.key.unlink()
    with pytest.raises(EnvironmentFault, match=r"log\.key"):
        operator.run("head", "--sign")
    operator.run("head")  # reading needs none


def test_a_log_that_is_not_there_or_not_signed_is_named(tmp_path):
    operator = Operator(tmp_path)
    with pytest.raises(EnvironmentFault, match="there is no decision log"):
        operator.run("head")
    operator.add(decision(1), sign="")
    with pytest.raises(NotFound, match="no signed head"):
        operator.run("head")


@pytest.mark.parametrize(
    "arguments", [("export", 1, "--sealed"), ("export", 3, "--to", 3), ("export", 3, "--to", 99)]
)
def test_a_wrong_call_is_told(operator, arguments):
    with pytest.raises(UsageError):
        operator.run(*arguments)


@pytest.mark.parametrize("pin", ["", "0" * 63, "A" * 64])
def test_a_pin_is_a_fingerprint(operator, pin):
    path = operator.export("head.json", "head")
    with pytest.raises(UsageError, match="--pin must be 64"):
        operator.run("verify", path, "--pin", pin)
