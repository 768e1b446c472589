"""The neural model, real processes: one of each kind killed, and no update in two sums.

`tests/protocols/test_neural_steps.py` walks every step with everybody, in one process; so does this
where there is time (`tests/depth.py`), else one or two steps each.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal

import numpy as np
import pytest

from tests.commands import Running
from tests.depth import depth
from tests.neural_kit import BANKS, build
from tests.steps import NEURAL_REVEALED as REVEALED
from tests.steps import NEURAL_STEPS as STEPS
from tests.steps import no_input_in_two_cohorts
from tests.whole_runs import assert_nothing_half_written

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # one test is up to nine runs of real processes, one after the other
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="torch is not installed: pip install 'confide[neural]'",
    ),
]
FOUR = ("east", *BANKS)
BUILDER, OTHER = "east", "south"
LEFT = tuple(bank for bank in FOUR if bank != OTHER)
NEURAL = ("--model", "neural")


#: Which steps, of whose death: of a bank alone, of one when others revealed, builder, coordinator.
TRIED = depth(
    {
        "alone": ("round 1",),
        "revealed": ("round 2",),
        "builder": ("check 1",),
        "coordinator": ("round 1, revealed",),
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
    folder = tmp_path_factory.mktemp("world")
    settings = {"rounds": 2, "min_parties": 3, "deadline_s": 300}
    path = build(folder, banks=FOUR, customers=1200, **settings)
    assert f'builder = "{BUILDER}"' in path.read_text()
    return path


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / "federation.toml"


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The weights, and the customers, of a run without a fault."""
    path = shutil.copytree(world.parent, tmp_path_factory.mktemp("calm") / "it") / world.name
    command = ("train", "-f", path, *NEURAL, "--format", "json")
    running = Running(tmp_path_factory.mktemp("output"), *command)
    assert running.end() == 0, running.stderr
    outcome = json.loads(running.stdout)["data"]
    return weights_of(path, outcome["run"]), outcome["customers"]["train"]


def weights_of(path, run):
    found = [
        np.load(path.parent / bank / "runs" / run / "neural_weights.npy")
        for bank in FOUR
        if (path.parent / bank / "runs" / run / "neural_weights.npy").exists()
    ]
    assert all(np.array_equal(found[0], one) for one in found)
    return found[0]


class Walk:
    """One training that is killed again and again, and goes on each time."""

    def __init__(self, killed, path):
        self._killed, self.path, self.run = killed, path, ""

    def kill(self, victim, at, *, by):
        running = self._killed(self.path, victim, at, *NEURAL, *self._resume(), by=by)
        run = running.stderr.split()[1]
        assert self.run in {"", run}
        no_input_in_two_cohorts(self.path, FOUR)
        if (self.path.parent / "coordinator" / "runs" / run / "neural.npz").exists():
            self.run = run  # there is something to go on with
        return running

    def ends(self, confide, undisturbed):
        """It goes on to its end, with the very weights of a run that nobody disturbed."""
        command = ("train", "-f", self.path, *NEURAL, *self._resume(), "--format", "json")
        status, out, err = confide(*command)
        assert status == 0, err
        outcome = json.loads(out)["data"]
        assert outcome["parties"] == list(FOUR)
        assert [one["round"] for one in outcome["rounds"]] == [1, 2]
        assert {one["customers"] for one in outcome["rounds"]} == {undisturbed[1]}
        assert np.array_equal(weights_of(self.path, outcome["run"]), undisturbed[0])
        no_input_in_two_cohorts(self.path, FOUR)
        assert_nothing_half_written(self.path.parent)

    def _resume(self):
        return ("--resume", self.run) if self.run else ()


@pytest.mark.parametrize("step", TRIED["alone"])
def test_without_a_bank_that_dies_before_anybody_revealed_the_others_finish(
    killed, federation, undisturbed, step
):
    by = BUILDER if step.startswith("check") else OTHER
    running = killed(federation, OTHER, STEPS[step], *NEURAL, by=by)
    assert running.process.returncode == 0, running.stderr
    outcome = json.loads(running.stdout)["data"]
    assert outcome["parties"] == list(LEFT)
    assert f"{OTHER} is lost; {', '.join(LEFT)} go on" in running.stderr
    with_it = [one["customers"] == undisturbed[1] for one in outcome["rounds"]]
    both = {"edges": 0, "round 1": 0, "check 1": 1, "round 2": 1, "evaluate": 2}[step]
    assert with_it == [True] * both + [False] * (2 - both)
    no_input_in_two_cohorts(federation, FOUR)
    for bank in LEFT:
        assert_nothing_half_written(federation.parent / bank)


def test_a_bank_that_dies_when_others_revealed_ends_the_run_until_it_is_back(
    killed, confide, federation, undisturbed
):
    walk = Walk(killed, federation)
    for step in TRIED["revealed"]:
        at = REVEALED[step]
        running = walk.kill(OTHER, at, by=OTHER)
        assert running.process.returncode == 4, f"{step}: {running.stderr}"
        told = json.loads(running.stdout)["error"]
        assert "already revealed in the cohort" in told["message"], step
        assert told["party"] in LEFT, step
    walk.ends(confide, undisturbed)


def test_a_dead_builder_ends_every_step_by_name_and_the_run_goes_on_from_its_last_round(
    killed, confide, federation, undisturbed
):
    walk = Walk(killed, federation)
    for step in TRIED["builder"]:
        at = STEPS[step]
        running = walk.kill(BUILDER, at, by=BUILDER)
        assert running.process.returncode == 3, f"{step}: {running.stderr}"
        told = json.loads(running.stdout)["error"]
        assert (told["code"], told["party"]) == ("party-lost", BUILDER), step
    walk.ends(confide, undisturbed)


def test_a_dead_coordinator_leaves_no_process_and_the_run_goes_on_from_its_last_round(
    killed, confide, federation, undisturbed
):
    walk = Walk(killed, federation)
    steps = {name: (at, BUILDER) for name, at in STEPS.items()}
    steps |= {f"{name}, revealed": (at, OTHER) for name, at in REVEALED.items()}
    for step in sorted(TRIED["coordinator"], key=_place):
        at, by = steps[step]
        running = walk.kill("coordinator", at, by=by)
        assert running.process.returncode == -signal.SIGKILL, step
        assert running.stdout == ""
    walk.ends(confide, undisturbed)


def _place(step):
    return list(STEPS).index(step.removesuffix(", revealed")), step
