"""The fault drill: what it looks for is found where it is, and its quick size finds nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from server.releases.registry import FOLDER, Registry
from shared.edge.clock import utc_now
from shared.release import unpack_release
from tests.support import ROOT
from tests.whole_runs import build, train

sys.path.insert(0, str(ROOT / "scripts"))
from drills import checks, limits, local, plan, scenes
from drills.faults import FAULTS
from drills.processes import Mark
from drills.table import SKIPPED, Book, Drill, Row, findings, text
from drills.trainings import Training, until

pytestmark = pytest.mark.e2e
DRILL = Drill("local", "kill", "bank", "score")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation with one release in its registry."""
    path = build(tmp_path_factory.mktemp("trained") / "federation", customers=400)
    outcome = train(path, "20260301T120000-abcdef")
    agreed, _ = checks.load_federation(path)
    release = unpack_release(outcome["release"][agreed.builder]["release"])
    registry = Registry(path.parent / FOLDER)
    registry.take(release, agreed, utc_now(), contract=outcome["contract"])
    return path


@pytest.fixture
def federation(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "federation")
    return tmp_path / "federation" / "federation.toml"


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def found(path, before=None):
    after = checks.remember(path)
    half = list(checks.half_written(path.parent))
    lost = list(checks.lost(before or after, after))
    return lost + list(checks.broken(path)), list(checks.doubled(path)), half


def test_a_drill_that_is_stopped_amid_a_row_leaves_no_training(federation):
    mark = Mark.new()
    seen = []

    def start(*_):
        words = (sys.executable, "-c", "import time; time.sleep(600)")
        return Training(federation, mark, environment=mark.environment(), command=words)

    def stopped(*_):
        assert until(mark.pids, 30)
        seen.extend(mark.pids())
        sys.exit(143)

    scene = scenes.Scene(federation, 30.0, 30.0, start, stopped, lambda *_: False, target=None)
    with pytest.raises(SystemExit):
        scenes.play(scene, DRILL, FAULTS["kill"])
    assert seen
    assert mark.pids() == []


def test_a_calm_training_has_nothing_lost_doubled_or_half_written(federation):
    assert found(federation) == ([], [], [])
    assert checks.remember(federation).releases


@pytest.mark.parametrize("kind", sorted(set(checks.ONCE) & {"seed", "scores", "release"}))
def test_a_line_that_is_twice_in_a_journal_is_reported_as_doubled(federation, kind):
    journal = federation.parent / "bank" / "journal.jsonl"
    again = next(line for line in lines_of(journal) if json.loads(line)["kind"] == kind)
    journal.write_text("".join([*lines_of(journal), again]))
    _, doubled, _ = found(federation)
    assert doubled == [f"bank: {kind} is in its journal 2 times"]


def test_a_seed_that_masked_something_else_too_is_doubled(federation):
    journal = federation.parent / "bureau" / "journal.jsonl"
    seed = next(json.loads(one) for one in lines_of(journal) if json.loads(one)["kind"] == "seed")
    with journal.open("a") as stream:
        stream.write(json.dumps({**seed, "order": "0" * 64}) + "\n")
    assert found(federation)[1] == ["bureau: seed is in its journal 2 times"]


@pytest.mark.parametrize("name", ["ledger", "journal"])
def test_a_line_that_is_not_there_any_more_is_lost(federation, name):
    before = checks.remember(federation)
    path = federation.parent / "payments" / f"{name}.jsonl"
    path.write_text("".join(lines_of(path)[:-1]))
    lost, doubled, _ = found(federation, before)
    assert f"the {name} of payments is not continued from what it was" in lost
    assert doubled == []


def test_a_ledger_whose_chain_is_broken_and_a_release_that_is_gone_are_lost(federation):
    before = checks.remember(federation)
    path = federation.parent / "bank" / "ledger.jsonl"
    path.write_text(path.read_text().replace('"rows": ', '"rows": 1', 1))
    shutil.rmtree(federation.parent / FOLDER / "scorecard-0001")
    with pytest.raises(Exception, match="breaks at line"):
        checks.Store(federation.parent / "bank").ledger()
    after = checks.remember(federation)
    lost = [*checks.lost(before, after), *checks.broken(federation)]
    assert any("bank: the ledger breaks at line" in one for one in lost)
    assert any("scorecard-0001" in one for one in lost)


def test_a_release_that_its_signer_did_not_note_is_found(federation):
    journal = federation.parent / "bank" / "journal.jsonl"
    kept = [line for line in lines_of(journal) if json.loads(line)["kind"] != "release"]
    journal.write_text("".join(kept))
    assert found(federation)[0] == [
        "scorecard-0001: the journal of bank, who signed it, knows another"
    ]


def test_files_that_are_not_whole_are_named(federation):
    home = federation.parent / "bank"
    (home / "feeds" / ".one.part").write_bytes(b"")
    (home / "feeds" / "two.json").write_text('{"cut": ')
    assert sorted(found(federation)[2]) == [
        "bank/.one.part was left",
        "bank/two.json is not whole",
    ]


def test_what_the_store_lacks_is_lost_and_what_it_has_too_often_is_doubled():
    few = "draw: ('a', 'line', 1) is in 1 answers, 0 times kept"
    many = "repayment: ('b', 'x', 'line', 2) is in 1 answers, 2 times kept"
    other = "line's holds: 01M"
    assert limits.split([few, many, other]) == ((few, other), (many,))


def test_rows_are_kept_as_they_end_and_one_that_was_cut_short_is_tried_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        Row(DRILL, "refused party-lost (bank), again", 0.5, 4.0, 60.0),
        Row(Drill("flower", "kill", "relay", "align"), SKIPPED, note="no root"),
    ]
    book = Book(path)
    for row in rows:
        book.add(row)
    with path.open("a") as stream:
        stream.write('{"system": "local", "fault": "pau')
    again = Book(path)
    assert again.rows == rows
    assert again.done == {DRILL.key}  # what was skipped may be possible now
    again.add(Row(rows[1].drill, "finished"))
    assert [row.outcome for row in Book(path).rows][1] == "finished"
    assert "refused party-lost (bank), again" in text(again.rows)


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        (Row(DRILL, "finished"), False),
        (Row(DRILL, "died 9, again"), False),
        (Row(DRILL, "refused environment, resumed"), False),
        (Row(DRILL, "hung"), True),
        (Row(DRILL, "unnamed: status 5"), True),
        (Row(DRILL, "refused environment, not recovered: hung"), True),
        (Row(DRILL, "finished", lost=("x",)), True),
        (Row(DRILL, "finished", doubled=("x",)), True),
        (Row(DRILL, "finished", left=("x",)), True),
    ],
)
def test_the_bar(row, bad):
    assert row.good is not bad
    assert bool(findings([row])) is bad


def test_the_full_drill_is_every_fault_of_every_member_in_every_phase():
    keys = {drill.key for drill in plan.plan("full", {})}
    for fault in FAULTS:
        for phase in local.PHASES:
            for target in ("coordinator", *plan.PARTIES):
                assert ("local", fault, target, phase) in keys
                assert ("flower", fault, target, phase) in keys
            assert {("flower", fault, one, phase) for one in ("gate", "relay")} <= keys
        assert ("limits-postgresql", fault, "postgresql", limits.PHASE) in keys
    chosen = plan.plan("full", {"fault": frozenset({"kill"}), "target": frozenset({"bank"})})
    assert {(one.fault, one.target) for one in chosen} == {("kill", "bank")}


def test_the_first_round_of_a_system_has_every_fault_at_every_member_and_every_phase():
    drills = [one for one in plan.plan("full", {}) if one.system == "local"]
    members = ("coordinator", *plan.PARTIES)
    first = drills[: len(FAULTS) * len(members)]
    wanted = {(fault, member) for fault in FAULTS for member in members}
    assert {(one.fault, one.target) for one in first} == wanted
    for fault in FAULTS:
        assert {one.phase for one in first if one.fault == fault} == set(local.PHASES)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_quick_drill_finds_nothing_lost_doubled_hung_or_without_a_name(tmp_path):
    rows = tmp_path / "rows.jsonl"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "scripts" / "drill.py", "--quick", "--json", rows],
        capture_output=True,
        text=True,
        timeout=1450,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    kept = Book(rows).rows
    assert {row.drill.key for row in kept} == {one.key for one in plan.plan("quick", {})}
    kills = [row for row in kept if row.drill.fault in {"kill", "restart", "pause", "long-pause"}]
    assert not any(row.skipped for row in kills)  # they need nothing but processes
    for why in {row.note for row in kept if row.skipped}:
        print(f"SKIPPED: {why}")  # noqa: T201 - loudly: `-rP` shows it
