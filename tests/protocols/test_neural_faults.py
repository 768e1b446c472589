"""A party of the neural model dies in a step: survivors go on, or the run is resumed, exactly."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from server.coordinator import Coordinator
from shared.errors import PartyLost
from tests.neural_kit import BANKS, build, kept, train
from tests.steps import no_input_in_two_cohorts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="torch is not installed: pip install 'confide[neural]'",
    ),
]
FOUR = ("east", *BANKS)
SETTINGS = {"banks": FOUR, "customers": 900, "rounds": 1, "min_parties": 3}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("calm"), **SETTINGS)
    train(path)
    return kept(path, "west")[0]


def test_a_bank_that_dies_while_the_model_is_evaluated_leaves_the_model_to_the_others(
    tmp_path, undisturbed
):
    path = build(tmp_path, **SETTINGS)
    outcome, _ = train(path, dies=lambda *step: step == ("south", "evaluate.neural"))
    assert outcome["parties"] == ["east", "north", "west"]
    assert np.array_equal(kept(path, "north")[0], undisturbed)  # its update counts, once
    # Edges and the update; metrics, and of the release the mean input and counts by points. What
    # belongs to a model is known by its values and by its model.
    assert no_input_in_two_cohorts(path, FOUR) == 4 * (1 + 2) + 3 * (2 + 2 + 1)


@pytest.mark.parametrize("kind", ["train.neural", "evaluate.neural_check", "evaluate.neural"])
def test_a_builder_that_dies_ends_the_run_by_name_and_it_goes_on_to_the_same_model(
    tmp_path, undisturbed, kind
):
    path = build(tmp_path, **SETTINGS)
    builder = Coordinator.load(path, "x").federation.builder
    with pytest.raises(PartyLost) as caught:
        train(path, dies=lambda *step: step == (builder, kind))
    assert caught.value.party == builder
    outcome, _ = train(path, resume=True)
    assert outcome["parties"] == list(FOUR)
    assert np.array_equal(kept(path, "west")[0], undisturbed)
    assert no_input_in_two_cohorts(path, FOUR) == 4 * (1 + 2 + 2 + 2 + 1)
