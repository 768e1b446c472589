"""A party's disk: appended lines survive a crash, a broken chain is found, a budget is kept."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from clients.journal import Journal
from clients.store import Store
from shared.errors import BadPeer, BudgetSpent, EnvironmentFault, Refused
from tests.support import ROOT

DETAILS = {
    "phase": "moments",
    "what": "moments",
    "unit": "customers",
    "recipient": "bank",
    "rows": 100,
    "values": 9,
    "binding": "b" * 64,
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, now=lambda: "2026-01-01T00:00:00Z")


def test_ledger_lines_are_chained_and_read_back(store):
    for run in ("one", "two", "three"):
        store.record(run, **DETAILS)
    lines = store.ledger()
    assert [line.entry.run for line in lines] == ["one", "two", "three"]
    assert [line.previous for line in lines[1:]] == [line.digest for line in lines[:-1]]
    assert lines[0].entry.time == "2026-01-01T00:00:00Z"


def test_the_very_same_opening_is_one_line(store):
    for run in ("one", "two", "one"):
        store.record(run, **DETAILS)
    store.record("one", **DETAILS | {"recipient": "bureau"})
    told = [(line.entry.run, line.entry.recipient) for line in store.ledger()]
    assert told == [("one", "bank"), ("two", "bank"), ("one", "bureau")]


def test_a_line_that_was_torn_by_a_crash_is_dropped_and_the_chain_goes_on(store):
    store.record("one", **DETAILS)
    whole = store.ledger_path.read_bytes()
    store.record("two", **DETAILS)
    torn = store.ledger_path.read_bytes()[:-5]
    for cut in (torn, whole + b"{", whole + b"\xff\xfe"):
        store.ledger_path.write_bytes(cut)
        assert [line.entry.run for line in store.ledger()] == ["one"]
        store.record("three", **DETAILS)
        assert [line.entry.run for line in store.ledger()] == ["one", "three"]


@pytest.mark.parametrize("spoil", ["change", "drop", "swap", "insert", "no json", "binary"])
def test_a_ledger_that_was_altered_is_found_and_nothing_is_added_to_it(store, spoil):
    for run in ("one", "two", "three"):
        store.record(run, **DETAILS)
    lines = store.ledger_path.read_bytes().splitlines(keepends=True)
    altered = {
        "change": [lines[0].replace(b'"rows": 100', b'"rows": 999'), *lines[1:]],
        "drop": [lines[0], lines[2]],
        "swap": [lines[1], lines[0], lines[2]],
        "insert": [lines[0], lines[0], *lines[1:]],
        "no json": [lines[0][:-9] + b"\n", *lines[1:]],
        "binary": [b"\xff\n", *lines],
    }[spoil]
    store.ledger_path.write_bytes(b"".join(altered))
    with pytest.raises(BadPeer):
        store.ledger()
    with pytest.raises(BadPeer):
        store.record("four", **DETAILS)
    assert store.ledger_path.read_bytes() == b"".join(altered)


def test_a_budget_of_openings_is_spent_once_and_survives_a_restart(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path).open_scores("these people", "card one", 2)
    Journal(path).open_scores("these people", "card two", 2)
    Journal(path).open_scores("these people", "card one", 2)  # nothing new
    with pytest.raises(BudgetSpent, match="2 different cards were opened"):
        Journal(path).open_scores("these people", "card three", 2)
    Journal(path).open_scores("other people", "card three", 2)
    assert len(path.read_text().splitlines()) == 3


def test_a_dealt_seed_serves_one_matrix_only(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.use_seed(b"s" * 32, "columns", "order")
    journal.use_seed(b"s" * 32, "columns", "order")  # a resend of the same
    journal.use_seed(b"t" * 32, "other columns", "order")
    for columns, order in (("other columns", "order"), ("columns", "other order")):
        with pytest.raises(Refused, match="already masked other columns or another row order"):
            Journal(tmp_path / "journal.jsonl").use_seed(b"s" * 32, columns, order)
    assert (b"s" * 32).hex() not in (tmp_path / "journal.jsonl").read_text()


def test_an_input_that_was_summed_may_not_be_summed_with_a_smaller_cohort(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.reveal("job", "input", ("bank", "bureau", "shop"))
    with pytest.raises(Refused):
        Journal(tmp_path / "journal.jsonl").reveal("job 2", "input", ("bank", "bureau"))
    Journal(tmp_path / "journal.jsonl").reveal("job 2", "other input", ("bank", "bureau"))


def test_further_moments_need_consent_and_the_same_ones_do_not(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.open_moments("first", accept_more=False)
    journal.open_moments("first", accept_more=False)
    with pytest.raises(Refused, match='further_moments = "accept"'):
        journal.open_moments("second", accept_more=False)
    journal.open_moments("second", accept_more=True)
    journal.open_moments("first", accept_more=False)


def test_a_runs_values_and_arrays_come_back_and_what_is_not_there_is_named(store):
    rows = np.arange(7)
    store.save_array("run", "rows", rows)
    path = store.save_value("run", "card", {"b": [1.5, None], "a": "x"})
    np.testing.assert_array_equal(store.load_array("run", "rows"), rows)
    assert store.load_value("run", "card") == {"a": "x", "b": [1.5, None]}
    for load, name in ((store.load_array, "none.npy"), (store.load_value, "none.json")):
        with pytest.raises(EnvironmentFault, match=name):
            load("run", "none")
    path.write_text("{")
    with pytest.raises(EnvironmentFault, match=r"card\.json is not JSON"):
        store.load_value("run", "card")


def test_what_a_run_left_is_never_written_again(store):
    """The coordinator chooses a run's name; a signed release rests on what is there."""
    store.save_value("run", "part", {"points": [1]})
    store.save_array("run", "rows", np.arange(3))
    for save, value in ((store.save_value, {"points": [2]}), (store.save_array, np.arange(4))):
        name = "part" if save == store.save_value else "rows"
        with pytest.raises(Refused, match=rf"run run has left {name}\.(json|npy) here already"):
            save("run", name, value)
        save("another", name, value)  # the control
    assert store.load_value("run", "part") == {"points": [1]}
    assert len(store.load_array("run", "rows")) == 3


def test_an_array_of_objects_is_never_loaded(store):
    path = store.run_path("run", "rows.npy")
    path.parent.mkdir(parents=True)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(EnvironmentFault, match="not an array"):
        store.load_array("run", "rows")


@pytest.mark.parametrize("run", ["", "..", "a/b", "a\\b", "../../etc"])
def test_a_runs_name_is_no_path(store, run):
    with pytest.raises(Refused, match="it is no path"):
        store.run_path(run, "card.json")
    with pytest.raises(Refused):
        store.run_path("run", "../card.json")


def test_a_folder_serves_one_run_at_a_time_and_is_swept_of_what_a_killed_one_left(store):
    stale = store.home / "runs" / "old" / ".card.json.0a1b2c3d.part"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    kept = stale.with_name("plans.json")
    kept.write_text("[]")
    with store.exclusive():
        assert not stale.exists()
        assert kept.exists()
        with pytest.raises(EnvironmentFault, match="another run is using"), store.exclusive():
            pass
    with store.exclusive():
        pass


# A full disk: a limit on the size of files stands for it, or a small disk of its own.

SCRIPT = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from clients.store import Store
from shared.errors import EnvironmentFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
home, kind, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(home)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if kind == "array":
        store.save_array("run", "rows", np.arange(100_000))
    elif kind == "value":
        store.save_value("run", "card", list(range(100_000)))
    elif kind == "ledger":
        store.record("two", phase="p", what="w" * 4000, unit="u", recipient="r", rows=1, values=1,
                     binding="b")
    else:
        store.journal.open_scores("of" * 2000, "points", 3)
except EnvironmentFault as fault:
    print(fault)
    sys.exit(fault.exit_status)
"""


def write_in_a_process(home, kind, limit):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home), kind, str(limit)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("kind", ["array", "value", "ledger", "journal"])
def test_a_disk_that_takes_no_more_is_a_fault_and_nothing_is_half_written(store, kind):
    store.record("one", **DETAILS)
    store.save_value("old", "card", ["the old one"])
    store.save_array("old", "rows", np.arange(3))
    Journal(store.home / "journal.jsonl").open_scores("of", "points", 3)
    status, said = write_in_a_process(store.home, kind, 2048)
    assert status == 3
    assert "cannot write" in said
    assert str(store.home) in said
    # A line torn by the full disk is dropped; files of a run stay as they were.
    assert [line.entry.run for line in store.ledger()] == ["one"]
    assert store.load_value("old", "card") == ["the old one"]
    np.testing.assert_array_equal(store.load_array("old", "rows"), np.arange(3))
    assert {path.parent.name for path in (store.home / "runs").glob("*/*")} == {"old"}
    assert not list(store.home.rglob("*.part"))
    assert sum(1 for _ in store.journal._lines("scores")) == 1
    assert write_in_a_process(store.home, kind, 0) == (0, "")  # the control: with room it works
    store.record("three", **DETAILS)
    assert store.ledger()[-1].entry.run == "three"


def test_a_folder_that_may_not_be_written_is_named(store):
    (store.home / "runs").write_text("a file where a folder should be")
    with pytest.raises(EnvironmentFault, match=r"cannot write .*a part of the path is a file"):
        store.save_value("run", "card", {})
    assert not list(store.home.rglob("*.part"))
