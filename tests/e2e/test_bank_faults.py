"""Several banks, real processes: one of each kind killed, and no count in two sums.

`tests/protocols/test_steps.py` walks every step with everybody, in one process; so does this where
there is time (`tests/depth.py`), else one step each, early, in the middle and late.
"""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from clients.store import Store
from tests.banks import BANKS, build
from tests.commands import Running
from tests.depth import depth
from tests.steps import BANK_REVEALED as REVEALED
from tests.steps import BANK_STEPS as STEPS
from tests.steps import no_input_in_two_cohorts
from tests.whole_runs import assert_nothing_half_written

# One test is up to ten runs of real processes, one after the other.
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

BUILDER, OTHER = "east", "south"
LEFT = tuple(bank for bank in BANKS if bank != OTHER)


#: Which steps, of whose death: of a bank alone, of one when others revealed, builder, coordinator.
TRIED = depth(
    {
        "alone": ("moments",),
        "revealed": ("score",),
        "builder": ("bins",),
        "coordinator": ("cells, revealed",),
    },
    {
        "alone": tuple(STEPS),
        "revealed": tuple(REVEALED),
        "builder": tuple(STEPS),
        "coordinator": (*STEPS, *(f"{name}, revealed" for name in REVEALED)),
    },
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path, _ = build(tmp_path_factory.mktemp("world"), sizes=(160, 170, 180, 175), deadline_s=300)
    return path


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / "federation.toml"


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The card of a run without a fault."""
    path = shutil.copytree(world.parent, tmp_path_factory.mktemp("calm") / "it") / world.name
    running = Running(tmp_path_factory.mktemp("output"), "train", "-f", path)
    assert running.end() == 0, running.stderr
    return last_draft(path)


def last_draft(path):
    found = sorted((path.parent / BUILDER / "runs").glob("*/draft.json"))
    return json.loads(found[-1].read_text())


def trains_again(confide, path):
    """The next run finishes with all banks; return its card."""
    status, out, err = confide("train", "-f", path, "--format", "json")
    assert status == 0, err
    result = json.loads(out)["data"]
    assert result["lost"] == {}
    assert sorted(result["release"]["signatures"]) == list(BANKS)
    assert_nothing_half_written(path.parent)
    # Whatever was begun before, each bank's counts were revealed in one cohort: that of all.
    assert no_input_in_two_cohorts(path, BANKS) == 4 * len(BANKS)
    return last_draft(path)


def is_sound(path):
    """Nobody has a release, and every ledger is whole."""
    assert not list(path.parent.glob("*/releases/*"))
    for bank in BANKS:
        Store(path.parent / bank).ledger()


@pytest.mark.parametrize("step", TRIED["alone"])
def test_without_a_bank_that_dies_before_anybody_revealed_the_others_finish(
    killed, federation, step
):
    running = killed(federation, OTHER, STEPS[step], by=OTHER)
    assert running.process.returncode == 0, running.stderr
    result = json.loads(running.stdout)["data"]
    assert result["lost"] == {OTHER: step}
    assert sorted(result["release"]["signatures"]) == list(LEFT)
    assert f"{OTHER} was lost in phase {step}" in running.stderr
    for bank in LEFT:
        assert_nothing_half_written(federation.parent / bank)
    assert no_input_in_two_cohorts(federation, BANKS)
    counted = LEFT if step in {"bins", "cells", "moments"} else BANKS
    ledgers = {bank: Store(federation.parent / bank).ledger() for bank in counted}
    rows = [
        next(line.entry.rows for line in lines if line.entry.phase == "bins")
        for lines in ledgers.values()
    ]
    assert last_draft(federation)["rows"] == sum(rows)


def test_a_bank_that_dies_when_others_revealed_ends_the_run_until_it_is_back(
    killed, confide, federation, undisturbed
):
    for step in TRIED["revealed"]:
        running = killed(federation, OTHER, REVEALED[step], by=OTHER)
        assert running.process.returncode == 4, f"{step}: {running.stderr}"
        told = json.loads(running.stdout)["error"]
        assert "already revealed in the cohort" in told["message"], step
        assert told["party"] in LEFT, step
        is_sound(federation)
    assert trains_again(confide, federation) == undisturbed


def test_a_dead_builder_ends_every_step_by_name_and_the_next_run_finishes(
    killed, confide, federation, undisturbed
):
    for step in TRIED["builder"]:
        running = killed(federation, BUILDER, STEPS[step], by=BUILDER)
        assert running.process.returncode == 3, f"{step}: {running.stderr}"
        told = json.loads(running.stdout)["error"]
        assert (told["code"], told["party"]) == ("party-lost", BUILDER), step
        is_sound(federation)
    assert trains_again(confide, federation) == undisturbed


def test_a_dead_coordinator_leaves_no_process_in_any_step_and_the_next_run_finishes(
    killed, confide, federation, undisturbed
):
    steps = STEPS | {f"{name}, revealed": at for name, at in REVEALED.items()}
    for step in TRIED["coordinator"]:
        running = killed(federation, "coordinator", steps[step], by=OTHER)
        assert running.process.returncode == -signal.SIGKILL, step
        assert running.stdout == ""
        is_sound(federation)
    assert trains_again(confide, federation) == undisturbed
