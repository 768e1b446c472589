"""Edges under noise, and how a noisy training shares out its steps: no torch, no accounting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import EVERY, Feature
from shared.errors import BadPeer
from shared.neural import noisy_edges
from shared.neural.layout import Layout
from shared.neural.noisy import Descent, Plan, check_step, check_weights
from shared.privacy.accounting import Mechanism
from shared.privacy.clip import Clip

STATUS = Feature("STATUS", EVERY, dtype="integer", low=-2, high=9)
AMOUNT = Feature("AMOUNT", EVERY, low=0)
SHARE = Feature("SHARE", EVERY, low=0, high=1)
CODED = Feature("CODED", EVERY, dtype="integer", low=0, special=(-1.0,))
LEVEL = Feature("LEVEL", EVERY, dtype="category", levels=("a", "b"))
FEATURES = (STATUS, AMOUNT, LEVEL, SHARE, CODED)
PLAN = Plan(Mechanism(4.0), Mechanism(1.5, 0.1, 7), 3, 0, Clip(1.0))


def columns(n, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "STATUS": rng.integers(-2, 4, n).astype(float),
        "AMOUNT": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(8, 2, n)),
        "SHARE": rng.random(n),
        "CODED": np.where(rng.random(n) < 0.2, -1.0, rng.integers(0, 500, n)),
        "LEVEL": rng.integers(0, 2, n).astype(float),
    }


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_one_customer_moves_the_histogram_by_no_more_than_its_sensitivity(seed, n):
    values = columns(n, seed)
    values["AMOUNT"][0] = 1e300 if seed % 2 else 0.0
    less = {name: column[1:] for name, column in values.items()}
    moved = noisy_edges.own_counts(FEATURES, values) - noisy_edges.own_counts(FEATURES, less)
    assert 0 < int((moved**2).sum()) <= noisy_edges.sensitivity(FEATURES)


def test_buckets_follow_from_the_contract_alone_and_take_every_value_of_it():
    assert noisy_edges.grid_of(STATUS).tolist() == list(range(-2, 10))
    for feature in (AMOUNT, SHARE, CODED):
        grid = noisy_edges.grid_of(feature)
        assert (np.diff(grid) > 0).all()
        assert grid[0] == 0.0
    assert noisy_edges.grid_of(SHARE)[-1] == 1.0
    assert noisy_edges.counted(FEATURES) == len(noisy_edges.own_counts(FEATURES, columns(5)))


def test_without_noise_edges_lie_at_quantiles_within_a_quarter_of_an_octave():
    values = columns(20_000)
    total = noisy_edges.own_counts(FEATURES, values)
    encoding = noisy_edges.read(FEATURES, total, 8, 0.0)
    status, amount, share, coded = (one.values for one in encoding.edges)
    assert status == (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    known = values["AMOUNT"][~np.isnan(values["AMOUNT"])]
    middle = np.quantile(known, 0.5)
    assert any(middle * 2**-0.25 <= edge <= middle * 2**0.25 for edge in amount)
    assert min(share) > 0
    assert max(share) == pytest.approx(1 - 1 / 32, abs=1 / 32)  # a quarter of a piece is left out
    assert min(coded) >= 0  # a special value is no number
    assert all(len(one) <= 9 for one in (status, amount, share, coded))


def test_where_noise_is_all_there_is_one_piece_spans_the_range():
    rng = np.random.default_rng(1)
    total = np.rint(rng.normal(0, 100, noisy_edges.counted(FEATURES))).astype(np.int64)
    encoding = noisy_edges.read(FEATURES, total, 8, 1e6)
    assert encoding.edges[0].values == (-2.0, 9.0)
    assert all(len(one.values) == 2 for one in encoding.edges)


@given(st.integers(1, 40), st.integers(0, 200))
def test_rounds_share_out_all_steps_evenly(rounds, more):
    plan = replace(PLAN, rounds=rounds, steps=Mechanism(1.0, 0.1, rounds + more))
    shares = [plan.steps_in(number) for number in range(1, rounds + 1)]
    assert sum(shares) == rounds + more
    assert 1 <= min(shares) <= max(shares) <= min(shares) + 1
    assert plan.steps_before(rounds) == sum(shares[:-1])


def test_fewer_parties_add_larger_shares_and_an_agreed_number_of_colluders_counts():
    three, ten = PLAN.step_noise(3), PLAN.step_noise(10)
    assert (three.colluders, ten.colluders) == (1, 4)
    assert three.share_variance > ten.share_variance
    assert replace(PLAN, colluders=2).step_noise(3).share_variance > three.share_variance


@pytest.mark.parametrize(
    ("total", "message"),
    [
        (np.array([0, 0, 0, 99]), "99 customers, not 100"),
        (np.array([1 << 40, 0, 0, 100]), "longer than clipped"),
        (np.array([0, 0, -(2**62), 100]), "longer than clipped"),
    ],
)
def test_an_opened_step_that_these_customers_can_not_give_is_refused(total, message):
    noise = PLAN.step_noise(3)
    check_step(np.array([10 << 20, 0, 0, 100]), PLAN, noise, expected=100)  # the control
    with pytest.raises(BadPeer, match=message):
        check_step(total, PLAN, noise, expected=100)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_weights_that_no_network_has_are_refused(bad):
    layout = Layout((True, False), 2, 0)
    weights = layout.initial(1)
    assert check_weights(weights, layout) is weights
    with pytest.raises(BadPeer, match="none of a network") as caught:
        check_weights(np.append(weights[:-1], bad), layout)
    assert caught.value.party == "coordinator"
    with pytest.raises(BadPeer):
        check_weights(weights[:-1], layout)


def test_steps_get_shorter_keep_to_the_layouts_bounds_and_feel_the_pull():
    layout = Layout((True, False), 2, 0)
    start, uphill = layout.initial(1), np.ones(layout.size)
    descent = Descent(PLAN, layout, 3.0, start, 0.0)
    first, speed = descent.take(start, np.zeros(layout.size), uphill, 0)
    last, _ = descent.take(start, np.zeros(layout.size), uphill, 6)
    assert np.allclose(speed, 0.1)
    assert np.abs(first - start).max() == pytest.approx(0.3)
    assert 0 < np.abs(last - start).max() < 0.03
    assert np.array_equal(layout.project(first), first)
    away = start + 1.0
    pulled, _ = replace(descent, pull=1.0).take(away, np.zeros(layout.size), 0 * uphill, 0)
    assert (pulled <= away).all()
    assert (pulled < away).any()
