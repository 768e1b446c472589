"""Reasons of a network: exact, and against orders in which blocks join, tried one by one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.challenger.shapley import (
    MOST_COALITIONS,
    Block,
    blocks_of,
    by_holder,
    coalitions,
    reasons_of,
    shapley,
)
from shared.errors import DataError, UsageError

HOLDERS = (
    Block("bank", "LIMIT", (0, 1)),
    Block("bank", "BALANCE", (2,)),
    Block("bureau", "HISTORY", (3, 4)),
    Block("payments", "REPAYMENT", (5,)),
    Block("payments", "REGULARITY", (6,)),
)


def network(seed, width=7):
    """A network with products of its inputs, so that what one adds depends on the others."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(width, 9)), rng.normal(size=9)
    return lambda rows: np.tanh(rows @ first) @ second + rows[:, 0] * rows[:, -1]


def by_orders(model, row, baseline, blocks):
    """Join the blocks in every order that keeps holders together, one by one."""
    holders = list(dict.fromkeys(block.holder for block in blocks))
    own = {one: [k for k, block in enumerate(blocks) if block.holder == one] for one in holders}
    total, count = np.zeros(len(blocks)), 0
    for order in permutations(holders):
        sequences = [()]
        for holder in order:
            sequences = [(*done, *more) for done in sequences for more in permutations(own[holder])]
        for sequence in sequences:
            mixed = baseline.copy()
            before = model(mixed[None])[0]
            for k in sequence:
                mixed[list(blocks[k].columns)] = row[list(blocks[k].columns)]
                after = model(mixed[None])[0]
                total[k] += after - before
                before = after
            count += 1
    return total / count


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_values_are_the_mean_over_all_orders_that_keep_a_holder_together(seed):
    rng = np.random.default_rng(seed)
    model, rows, baseline = network(seed), rng.normal(size=(2, 7)), rng.normal(size=7)
    found = shapley(model, rows, baseline, HOLDERS)
    for row, values in zip(rows, found, strict=True):
        assert values == pytest.approx(by_orders(model, row, baseline, HOLDERS), abs=1e-10)


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_values_add_up_to_the_difference_of_the_score(seed, n):
    rng = np.random.default_rng(seed)
    model, rows, baseline = network(seed), 5 * rng.normal(size=(n, 7)), rng.normal(size=7)
    found = shapley(model, rows, baseline, HOLDERS)
    gap = model(rows) - model(baseline[None])[0]
    assert found.sum(axis=1) == pytest.approx(gap, abs=1e-10)


def test_holders_shares_are_the_plain_shapley_values_of_their_blocks():
    """The sum over a holder's reasons is what 2^K coalitions of holders alone give it."""
    rng = np.random.default_rng(2)
    model, rows, baseline = network(2), rng.normal(size=(20, 7)), rng.normal(size=7)
    merged = (
        Block("bank", "B", (0, 1, 2)),
        Block("bureau", "U", (3, 4)),
        Block("payments", "P", (5, 6)),
    )
    whole = shapley(model, rows, baseline, merged)
    assert len(coalitions(merged)) == 2**3
    shares = by_holder(shapley(model, rows, baseline, HOLDERS), HOLDERS)
    for k, block in enumerate(merged):
        assert shares[block.holder] == pytest.approx(whole[:, k], abs=1e-10)


def test_blocks_that_do_the_same_get_the_same():
    def model(rows):
        return np.exp(rows[:, 0] + rows[:, 1]) * rows[:, 2]

    blocks = (Block("a", "A", (0,)), Block("b", "B", (1,)), Block("c", "C", (2,)))
    rows = np.array([[0.7, 0.7, 1.3], [-2.0, -2.0, 0.1]])
    found = shapley(model, rows, np.zeros(3), blocks)
    assert found[:, 0] == pytest.approx(found[:, 1], abs=1e-12)
    assert abs(found[0, 0]) > 0.1  # control: it does something


def test_a_block_that_does_nothing_gets_nothing():
    def model(rows):
        return np.sin(rows[:, 0] * rows[:, 2])

    blocks = (Block("a", "A", (0,)), Block("a", "IDLE", (1,)), Block("c", "C", (2,)))
    rows = np.random.default_rng(3).normal(size=(30, 3))
    found = shapley(model, rows, np.ones(3), blocks)
    assert np.abs(found[:, 1]).max() < 1e-15
    assert np.abs(found[:, 0]).max() > 0.1


def test_of_a_sum_the_values_are_its_terms_as_of_a_card():
    weights = np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1.5, -1.0])
    rows, baseline = np.random.default_rng(4).normal(size=(10, 7)), np.arange(7.0)
    found = shapley(lambda table: table @ weights, rows, baseline, HOLDERS)
    terms = (rows - baseline) * weights
    for k, block in enumerate(HOLDERS):
        assert found[:, k] == pytest.approx(terms[:, block.columns].sum(axis=1), abs=1e-12)


def test_the_mean_customer_has_no_reasons():
    baseline = np.random.default_rng(5).normal(size=7)
    found = shapley(network(5), np.tile(baseline, (3, 1)), baseline, HOLDERS)
    assert np.abs(found).max() < 1e-12


def test_what_does_not_fit_is_said_all_at_once():
    rows, baseline = np.zeros((2, 4)), np.zeros(4)
    blocks = (Block("a", "A", (0, 1)), Block("b", "A", (1, 2)))
    with pytest.raises(DataError) as caught:
        shapley(lambda table: table.sum(axis=1), rows, baseline, blocks)
    assert all(text in str(caught.value) for text in ("exactly one block", "share a reason code"))
    whole = (Block("a", "A", (0, 1, 2, 3)),)
    with pytest.raises(DataError, match="finite"):
        shapley(lambda t: t.sum(axis=1), np.full((1, 4), np.nan), baseline, whole)


def test_more_blocks_than_can_be_scored_are_refused_and_many_codes_are_taken_together():
    codes = [f"C{k}" for k in range(17)]
    alone = tuple(Block(code, code, (k,)) for k, code in enumerate(codes))
    with pytest.raises(UsageError, match="coalitions"):
        coalitions(alone)
    taken = blocks_of(codes, [1] * 17)
    assert len({block.holder for block in taken}) == 4
    assert len(coalitions(taken)) <= MOST_COALITIONS
    twelve = blocks_of(codes[:12], [2] * 12)
    assert len({block.holder for block in twelve}) == 12
    assert len(coalitions(twelve)) == 2**12


def test_blocks_follow_the_inputs_of_the_features_in_order():
    found = blocks_of(["A", "B", "A"], [2, 1, 3], ["bank", "bureau", "bank"])
    assert found == (Block("bank", "A", (0, 1, 3, 4, 5)), Block("bureau", "B", (2,)))
    with pytest.raises(DataError, match="two holders"):
        blocks_of(["A", "A"], [1, 1], ["bank", "bureau"])


def test_reasons_are_whole_points_costliest_first_and_equal_ones_by_name():
    points = {"B": -3.5, "A": -3.5, "C": -0.4, "D": 12.0, "E": -9.0, "F": -0.5}
    assert reasons_of(points, 4) == (("E", 9), ("A", 4), ("B", 4), ("F", 1))
    assert reasons_of(points, 1) == (("E", 9),)
