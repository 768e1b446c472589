"""The network is monotone where the contract says so: whatever its weights, wherever a customer."""

from __future__ import annotations

import importlib.util
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import EVERY, Feature
from shared.neural.buckets import Edges
from shared.neural.inputs import Encoding
from shared.neural.layout import Layout
from tests.depth import depth

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
FEATURES = (
    Feature("up", EVERY, direction="up", special=(-9.0,)),
    Feature("down", EVERY, direction="down"),
    Feature("free", EVERY),
    Feature("level", EVERY, dtype="category", levels=("a", "b")),
)
EDGES = (Edges((0.0, 1.0, 3.0)), Edges((-2.0, 0.0, 5.0, 9.0)), Edges((0.0, 4.0)))
STEPS = np.linspace(-4.0, 11.0, 61)


def chances(layout, encoding, weights, feature, customer):
    """Return `default_prob` as one feature runs over `STEPS` and the others stay."""
    values = {name: np.full(len(STEPS), value) for name, value in customer.items()}
    values[feature] = STEPS
    default_prob = import_module("shared.neural.train").default_prob
    return default_prob(layout, weights, encoding.apply(values))


@settings(max_examples=depth(30, 60), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(0.01, 20.0),
    hidden=st.integers(2, 9),
    blocks=st.integers(0, 3),
    free=st.floats(-5.0, 10.0),
    level=st.sampled_from([0.0, 1.0, np.nan]),
)
def test_default_prob_never_turns_against_a_direction_whatever_the_weights(
    seed, size, hidden, blocks, free, level
):
    encoding = Encoding(FEATURES, EDGES)
    layout = Layout(encoding.monotone, hidden, blocks)
    weights = np.random.default_rng(seed).normal(scale=size, size=layout.size)
    customer = {"up": 1.5, "down": 2.0, "free": free, "level": level}
    up, down = (
        np.diff(chances(layout, encoding, weights, name, customer)) for name in ("up", "down")
    )
    assert up.min() >= -1e-12
    assert down.max() <= 1e-12


def test_a_free_feature_may_turn_and_so_may_one_whose_direction_is_not_kept():
    """The control: neither the network nor the check is monotone by itself."""
    encoding = Encoding(FEATURES, EDGES)
    layout = Layout(encoding.monotone, 8, 2)
    loose = Layout((False,) * encoding.width, 8, 2)
    customer = {"up": 1.5, "down": 2.0, "free": 1.0, "level": 0.0}
    falls = {"free": False, "up": False, "kept": False}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=layout.size)
        free = np.diff(chances(layout, encoding, weights, "free", customer))
        unkept = np.diff(chances(loose, encoding, weights, "up", customer))
        kept = np.diff(chances(layout, encoding, weights, "up", customer))
        falls["free"] |= bool((free < -1e-9).any())
        falls["up"] |= bool((unkept < -1e-9).any())
        falls["kept"] |= bool((kept < -1e-9).any())
    assert falls == {"free": True, "up": True, "kept": False}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_training_keeps_the_bounds_and_so_does_any_mean_of_parties(seed):
    local = import_module("shared.neural.train")
    encoding = Encoding(FEATURES, EDGES)
    layout = Layout(encoding.monotone, 5, 1)
    rng = np.random.default_rng(seed)
    found = []
    for party in range(3):
        inputs, label = rng.random((60, encoding.width)), rng.integers(0, 2, 60)
        recipe = local.Recipe(2, 16, 0.1, 1, str(party))
        found.append(local.train(layout, layout.initial(1), inputs, label, recipe)[0])
    for weights in (*found, np.average(found, axis=0, weights=[1, 5, 2])):
        assert np.array_equal(weights, layout.project(weights))
