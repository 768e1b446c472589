"""The neural model: anybody dies in any step, the rest know what to do, no update is in two sums.

In threads; `tests/e2e/test_neural_faults.py` kills real processes in some of these steps.
"""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest

from server.neural.checkpoint import FILE
from shared.errors import ConfideError, PartyLost
from tests.deaths import Dead, dying
from tests.neural_kit import BANKS, build, folder_of, kept, train
from tests.steps import NEURAL_REVEALED as REVEALED
from tests.steps import NEURAL_STEPS as STEPS
from tests.steps import no_input_in_two_cohorts
from tests.whole_runs import COORDINATOR, assert_nothing_half_written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="torch is not installed: pip install 'confide[neural]'",
    ),
]
FOUR = ("east", *BANKS)
BUILDER, OTHER = "east", "south"
LEFT = tuple(bank for bank in FOUR if bank != OTHER)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    path = build(folder, banks=FOUR, customers=1200, rounds=2, min_parties=3)
    assert f'builder = "{BUILDER}"' in path.read_text()
    return path


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / world.name


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The weights, and the customers, of a run without a death."""
    path = shutil.copytree(world.parent, tmp_path_factory.mktemp("calm") / "it") / world.name
    outcome, _ = train(path)
    return kept(path, BUILDER)[0], outcome["customers"]["train"]


class Walk:
    """One training in which somebody dies again and again, and that goes on each time."""

    def __init__(self, path):
        self.path, self.number = path, 0

    def die(self, victim, at, kind, *, by):
        with dying(victim, at, by=by) as death, pytest.raises(kind) as caught:
            self._on(grid=death.grid)
        no_input_in_two_cohorts(self.path, FOUR)
        return caught.value

    def ends(self, undisturbed):
        """It goes on to its end, with the very weights of a run that nobody disturbed."""
        outcome = self._on()
        assert outcome["parties"] == list(FOUR)
        assert [one["round"] for one in outcome["rounds"]] == [1, 2]
        assert {one["customers"] for one in outcome["rounds"]} == {undisturbed[1]}
        for bank in FOUR:
            assert np.array_equal(kept(self.path, bank, self._run)[0], undisturbed[0])
        no_input_in_two_cohorts(self.path, FOUR)
        assert_nothing_half_written(self.path.parent)

    @property
    def _run(self):
        return f"run-{self.number}"

    def _on(self, **more):
        there = (folder_of(self.path, self._run) / FILE).exists()
        self.number += not there  # with nothing to go on from, another run
        return train(self.path, self._run, resume=there, **more)[0]


@pytest.mark.parametrize("step", STEPS)
def test_without_a_bank_that_dies_before_anybody_revealed_the_others_finish(
    federation, undisturbed, step
):
    by = BUILDER if step.startswith("check") else OTHER
    with dying(OTHER, STEPS[step], by=by) as death:
        outcome, _ = train(federation, grid=death.grid)
    assert outcome["parties"] == list(LEFT)
    with_it = [one["customers"] == undisturbed[1] for one in outcome["rounds"]]
    both = {"edges": 0, "round 1": 0, "check 1": 1, "round 2": 1, "evaluate": 2}[step]
    assert with_it == [True] * both + [False] * (2 - both)
    no_input_in_two_cohorts(federation, FOUR)
    for bank in LEFT:
        assert_nothing_half_written(federation.parent / bank)


def test_a_bank_that_dies_when_others_revealed_ends_the_run_until_it_is_back(
    federation, undisturbed
):
    walk = Walk(federation)
    for step, at in REVEALED.items():
        error = walk.die(OTHER, at, ConfideError, by=OTHER)
        assert "already revealed in the cohort" in str(error), step
        assert (error.exit_status, error.party in LEFT) == (4, True), step
    walk.ends(undisturbed)


def test_a_dead_builder_ends_every_step_by_name_and_the_run_goes_on_from_its_last_round(
    federation, undisturbed
):
    walk = Walk(federation)
    for step, at in STEPS.items():
        assert walk.die(BUILDER, at, PartyLost, by=BUILDER).party == BUILDER, step
    walk.ends(undisturbed)


def test_after_a_dead_coordinator_in_any_step_the_run_goes_on_from_its_last_round(
    federation, undisturbed
):
    walk = Walk(federation)
    steps = {name: (at, BUILDER) for name, at in STEPS.items()}
    steps |= {f"{name}, revealed": (at, OTHER) for name, at in REVEALED.items()}
    for step in sorted(steps, key=_place):
        at, by = steps[step]
        walk.die(COORDINATOR, at, Dead, by=by)
    walk.ends(undisturbed)


def _place(step):
    return list(STEPS).index(step.removesuffix(", revealed")), step
