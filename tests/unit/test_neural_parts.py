"""Parts of the neural model: buckets, edges, encodings, layout, tallies, the choice of a party."""

from __future__ import annotations

import importlib.util
from importlib import import_module

import numpy as np
import pytest

from shared import metrics, trueness
from shared.contract import EVERY, Feature
from shared.errors import BadPeer
from shared.neural.buckets import COUNT, Edges, bucket_of, histogram, middles
from shared.neural.inputs import (
    Encoding,
    describe,
    feature_from_mapping,
    own_counts,
)
from shared.neural.layout import Layout
from shared.neural.scores import LENGTH, Quality, tally

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
AMOUNT = Feature("amount", EVERY, special=(-1.0,), direction="up")
DOWN = Feature("down", EVERY, direction="down")
LEVEL = Feature("level", EVERY, dtype="category", levels=("a", "b", "c"))


def test_a_number_lies_in_a_bucket_whose_middle_is_near_it():
    values = np.array([-3e9, -8.0, -0.01, 0.0, 1e-9, 0.02, 1.0, 3.0, 7.5, 1e6])
    places = bucket_of(values)
    assert (np.diff(places) >= 0).all()
    near = middles()[places]
    inside = np.abs(values) > 2**-7
    assert np.abs(near[inside] / values[inside] - 1.0).max() < 0.025
    assert not near[~inside].any()
    assert len(near) <= COUNT == len(middles())
    assert bucket_of(np.array([-1e300, 1e300])).tolist() == [0, COUNT - 1]


@pytest.mark.parametrize("rows", [0, 99, 100, 101, 250, 5000])
def test_no_bucket_that_a_party_hands_in_holds_fewer_than_the_floor(rows):
    rng = np.random.default_rng(rows)
    values = np.append(rng.lognormal(8, 2, rows), [np.nan] * 30)
    counts = histogram(values, 100)
    assert counts.sum() == (rows if rows >= 100 else 0)
    assert not counts[counts > 0].size or counts[counts > 0].min() >= 100
    # The control: with a floor of one customer, single customers do show.
    assert rows == 0 or histogram(values, 1)[histogram(values, 1) > 0].min() == 1


def test_edges_are_quantiles_of_all_parties_customers_together():
    rng = np.random.default_rng(1)
    parts = [rng.lognormal(8, 1, 4000), rng.lognormal(9, 1, 4000), rng.lognormal(7, 2, 4000)]
    edges = Edges.from_counts(sum(histogram(one, 20) for one in parts), 8, integer=False).values
    wanted = np.quantile(np.concatenate(parts), np.arange(1, 8) / 8)
    assert len(edges) == 9
    assert np.abs(np.array(edges[1:-1]) / wanted - 1.0).max() < 0.06


def test_a_feature_of_few_values_keeps_an_edge_for_each_and_a_constant_one_piece():
    counts = histogram(np.repeat([-2.0, -1.0, 0.0, 1.0, 2.0, 8.0], 100), 50)
    assert Edges.from_counts(counts, 24, integer=True).values == (-2, -1, 0, 1, 2, 8)
    assert len(Edges.from_counts(np.zeros(COUNT), 24, integer=False).values) == 2
    assert Edges.from_counts(histogram(np.full(80, 3.0), 50), 4, integer=True).values == (3, 4)


def test_an_encoding_is_piecewise_linear_with_flags_for_missing_and_special():
    encoding = Encoding((AMOUNT, LEVEL), (Edges((0.0, 10.0, 20.0)),))
    table = encoding.apply(
        {
            "amount": np.array([-5.0, 5.0, 15.0, 90.0, np.nan, -1.0]),
            "level": np.array([0.0, 1.0, 2.0, np.nan, 0.0, 0.0]),
        }
    )
    assert table[:, :4].tolist() == [
        [0.0, 0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0, 0.0],
        [1.0, 0.5, 0.0, 0.0],
        [1.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    assert table[:4, 4:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert encoding.monotone == (True, True, False, False, False, False, False)
    assert encoding.owners == (0, 0, 0, 0, 1, 1, 1)
    assert encoding.width == 7


def test_an_encoding_survives_its_journey_and_one_that_does_not_fit_is_refused():
    features = (AMOUNT, DOWN, LEVEL)
    values = {name: np.random.default_rng(1).normal(size=500) for name in ("amount", "down")}
    encoding = Encoding.from_counts(features, own_counts(features, values, 20), 6)
    again = Encoding.from_mapping(features, encoding.to_mapping(), "coordinator")
    assert again == encoding
    told = tuple(feature_from_mapping(one) for one in describe(features))
    assert Encoding.from_mapping(told, encoding.to_mapping(), "x").monotone == encoding.monotone
    good = [[0.0, 1.0]] * 2
    for bad in (None, [], [[0.0, 1.0]], [[1.0, 0.0]] * 2, [[0.0]] * 2, [[0, np.nan]] * 2, [["a"]]):
        with pytest.raises(BadPeer) as caught:
            Encoding.from_mapping(features, bad, "coordinator")
        assert caught.value.party == "coordinator"
    Encoding.from_mapping(features, good, "coordinator")  # the control


def test_a_network_starts_alike_everywhere_and_within_its_bounds():
    layout = Layout((True, False, True), 5, 2)
    start = layout.initial(3)
    assert start.shape == (layout.size,) == (15 + 5 + 2 * 55 + 5 + 3 + 1,)
    assert np.array_equal(start, layout.initial(3))
    assert not np.array_equal(start, layout.initial(4))
    assert np.array_equal(start, layout.project(start))
    assert not np.array_equal(start - 1.0, layout.project(start - 1.0))  # the control
    assert layout.rising.sum() == 3
    assert [part.shape for part in layout.split(start)] == list(layout.shapes)


def test_units_are_all_free_without_directions_and_all_rising_with_nothing_else():
    assert not Layout((False,) * 4, 6, 1).rising.any()
    assert Layout((True,) * 4, 6, 1).rising.all()
    assert 1 <= Layout((True, *[False] * 99), 6, 1).rising.sum() < 6


def test_the_mean_of_tallies_gives_the_metrics_of_all_customers():
    rng = np.random.default_rng(2)
    sizes = (4000, 900, 2500)
    label = [rng.integers(0, 2, size) for size in sizes]
    prob = [
        1 / (1 + np.exp(-(rng.normal(size=size) + one)))
        for size, one in zip(sizes, label, strict=True)
    ]
    tallies = [tally(*pair, 30) for pair in zip(label, prob, strict=True)]
    mean = np.average(tallies, axis=0, weights=sizes)
    assert mean.shape == (LENGTH,)
    found = Quality.from_mean(mean, sum(sizes))
    label, prob = np.concatenate(label), np.concatenate(prob)
    assert found.auc == pytest.approx(metrics.roc_auc(label, prob), abs=0.005)
    assert found.ks == pytest.approx(metrics.ks(label, prob), abs=0.01)
    assert found.log_loss == pytest.approx(trueness.log_loss(label, prob), abs=1e-9)
    assert found.brier == pytest.approx(trueness.brier(label, prob), abs=1e-9)


def test_no_bucket_of_scores_that_a_party_hands_in_holds_fewer_than_the_floor():
    rng = np.random.default_rng(3)
    counts = (
        tally(rng.integers(0, 2, 730), rng.random(730), 50)[:-2].reshape(2, -1).sum(axis=0) * 730
    )
    assert counts.sum() == pytest.approx(730)
    assert counts[counts > 0].min() > 49.5
    assert not tally(np.array([0, 1]), np.array([0.2, 0.4]), 50)[:-2].any()


@pytest.mark.parametrize("wrong", ["below", "more", "one class"])
def test_a_sum_of_tallies_that_cannot_be_is_refused(wrong):
    mean = tally(np.array([0, 1] * 60), np.linspace(0.1, 0.9, 120), 10)
    Quality.from_mean(mean, 120)  # the control
    if wrong == "below":
        mean[0] = -0.5
    elif wrong == "more":
        mean[0] = 2.0
    else:
        mean[LENGTH // 2 - 1 : -2] = 0.0
    with pytest.raises(BadPeer, match="histograms"):
        Quality.from_mean(mean, 120)


@needs_torch
def test_a_party_unlike_the_others_keeps_a_model_of_its_own_and_another_the_common_one():
    local, personal = import_module("shared.neural.train"), import_module("shared.neural.personal")
    rng = np.random.default_rng(4)
    layout = Layout((False, False), 4, 1)
    inputs = rng.random((600, 2))
    usual = (rng.random(600) < inputs[:, 0]).astype(np.int64)
    recipe = local.Recipe(2, 100, 0.1, 1, "x")
    start = layout.initial(1)
    common, _ = local.train(layout, start, inputs, usual, recipe)
    for label, wanted in ((usual, {"common"}), (1 - usual, {"alone", "head"})):
        own, held = (inputs[:400], label[:400]), (inputs[400:], label[400:])
        choice = personal.choose(layout, common, start, own, held, recipe, 2)
        assert choice.kept in wanted
        assert choice.losses[choice.kept] <= choice.losses["common"]
    # With a handful of customers to compare on, nothing but the common model is kept.
    few = personal.choose(layout, common, start, own, (held[0][:1], held[1][:1]), recipe, 1)
    assert few.kept == "common"


@needs_torch
def test_a_personal_head_moves_the_last_layer_only_and_a_pull_keeps_weights_near():
    local = import_module("shared.neural.train")
    rng = np.random.default_rng(5)
    layout = Layout((True, False), 4, 1)
    inputs, label = rng.random((300, 2)), rng.integers(0, 2, 300)
    start = layout.initial(1)
    moved, _ = local.train(
        layout, start, inputs, label, local.Recipe(2, 32, 0.02, 1, "x", head_only=True)
    )
    body = slice(0, layout.head.start)
    assert np.array_equal(moved[body], start[body])
    assert not np.array_equal(moved[layout.head], start[layout.head])
    free, _ = local.train(layout, start, inputs, label, local.Recipe(9, 32, 0.02, 1, "x"))
    held, _ = local.train(layout, start, inputs, label, local.Recipe(9, 32, 0.02, 1, "x", pull=9.0))
    assert np.linalg.norm(held - start) < 0.5 * np.linalg.norm(free - start)
