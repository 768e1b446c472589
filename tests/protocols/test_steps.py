"""Several banks: anybody dies in any step, the rest know what to do, and no count is in two sums.

In threads; `tests/e2e/test_bank_faults.py` kills real processes in some of these steps.
"""

from __future__ import annotations

import json
import shutil
from itertools import count

import pytest

from clients.store import Store
from shared.errors import ConfideError, PartyLost
from shared.release import unpack_release
from tests.banks import BANKS, build
from tests.deaths import Dead, dying
from tests.steps import BANK_REVEALED as REVEALED
from tests.steps import BANK_STEPS as STEPS
from tests.steps import no_input_in_two_cohorts
from tests.whole_runs import COORDINATOR, assert_nothing_half_written, train

pytestmark = pytest.mark.slow

BUILDER, OTHER = "east", "south"
LEFT = tuple(bank for bank in BANKS if bank != OTHER)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return build(tmp_path_factory.mktemp("world"), sizes=(160, 170, 180, 175))[0]


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / world.name


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The card of a run without a death."""
    path = shutil.copytree(world.parent, tmp_path_factory.mktemp("calm") / "it") / world.name
    train(path)
    return draft(path, "first")


def draft(path, run):
    return json.loads((path.parent / BUILDER / "runs" / run / "draft.json").read_text())


def is_sound(path):
    """Nobody has a release, and every ledger is whole."""
    assert not list(path.parent.glob("*/releases/*"))
    for bank in BANKS:
        Store(path.parent / bank).ledger()


def trains_again(path):
    """The next run finishes with all banks; return its card."""
    outcome = train(path, "last")
    assert outcome["lost"] == {}
    release = unpack_release(outcome["release"][BUILDER]["release"])
    assert sorted(release.signatures) == list(BANKS)
    assert_nothing_half_written(path.parent)
    # Whatever was begun before, each bank's counts were revealed in one cohort: that of all.
    assert no_input_in_two_cohorts(path, BANKS) == 4 * len(BANKS)
    return draft(path, "last")


@pytest.mark.parametrize("step", STEPS)
def test_without_a_bank_that_dies_before_anybody_revealed_the_others_finish(federation, step):
    with dying(OTHER, STEPS[step], by=OTHER) as death:
        outcome = train(federation, grid=death.grid)
    assert outcome["lost"] == {OTHER: step}
    release = unpack_release(outcome["release"][BUILDER]["release"])
    assert sorted(release.signatures) == list(LEFT)
    for bank in LEFT:
        assert_nothing_half_written(federation.parent / bank)
    assert no_input_in_two_cohorts(federation, BANKS)


def test_a_bank_that_dies_when_others_revealed_ends_the_run_until_it_is_back(
    federation, undisturbed
):
    for step, at in REVEALED.items():
        with dying(OTHER, at, by=OTHER) as death, pytest.raises(ConfideError) as caught:
            train(federation, f"killed-{step}", grid=death.grid)
        assert "already revealed in the cohort" in str(caught.value), step
        assert (caught.value.exit_status, caught.value.party in LEFT) == (4, True), step
        is_sound(federation)
    assert trains_again(federation) == undisturbed


def test_a_dead_builder_ends_every_step_by_name_and_the_next_run_finishes(federation, undisturbed):
    for step, at in STEPS.items():
        with dying(BUILDER, at, by=BUILDER) as death, pytest.raises(PartyLost) as caught:
            train(federation, f"killed-{step}", grid=death.grid)
        assert caught.value.party == BUILDER, step
        is_sound(federation)
    assert trains_again(federation) == undisturbed


def test_after_a_dead_coordinator_in_any_step_the_next_run_finishes(federation, undisturbed):
    number = count()
    for at in (*STEPS.values(), *REVEALED.values()):
        with dying(COORDINATOR, at, by=OTHER) as death, pytest.raises(Dead):
            train(federation, f"killed-{next(number)}", grid=death.grid)
        is_sound(federation)
    assert trains_again(federation) == undisturbed
