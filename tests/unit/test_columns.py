"""Columns: bins over the floors, ladders that say what they claim, trusted descriptions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shared.contract import Feature
from shared.errors import BadPeer, ConfigError, DataError, UsageError
from shared.scorecard.bins import Axis, Cells
from shared.scorecard.columns import Block, BlockPlan, Floors, Summary, one_hot
from shared.scorecard.planning import ColumnSettings, plan_blocks

N = 3000
SETTINGS = ColumnSettings(thresholds=6, pair_thresholds=3, pair_levels=4, floors=Floors(50, 0.01))


@pytest.fixture
def values():
    rng = np.random.default_rng(5)
    amount = np.round(np.exp(rng.normal(size=N)), 3)
    amount[:200] = -1.0
    amount[200:300] = np.nan
    months = rng.poisson(1.0, N).astype(np.float64)
    job = rng.choice([0.0, 1.0, 2.0, 3.0], N, p=[0.55, 0.42, 0.02, 0.01])
    job[:3] = np.nan
    return {"amount": amount, "months": months, "job": job, "limit": rng.uniform(0, 9, N)}


FEATURES = (
    Feature("amount", "shop", special=(-1.0, -2.0), direction="up"),
    Feature("months", "shop", dtype="integer"),
    Feature("job", "shop", dtype="category", levels=("clerk", "nurse", "baker", "tailor")),
    Feature("limit", "shop", direction="down"),
)


def plans_of(values, settings=SETTINGS, *, with_pairs=True):
    return plan_blocks("shop", FEATURES, values, settings, with_pairs=with_pairs)


def named(plans, *features):
    return next(plan for plan in plans if plan.features == features)


def test_the_floor_is_the_larger_of_rows_and_share():
    assert Floors().minimum(24_000) == 100
    assert Floors().minimum(25_000) == 100
    assert Floors().minimum(25_001) == 101
    assert Floors(1, 0.5).minimum(7) == 4
    with pytest.raises(UsageError, match="floors"):
        Floors(rows=0)


def test_a_threshold_column_is_the_indicator_of_values_above_the_edge(values):
    plan = named(plans_of(values), "amount")
    ladder, codes = plan.public().ladder, plan.encode(values)
    ordinary = ~np.isnan(values["amount"]) & (values["amount"] != -1)
    assert len(plan.bins.edges) == 6
    for k, edge in enumerate(plan.bins.edges):
        above = (values["amount"] > edge) & ordinary
        assert np.array_equal(ladder[codes, k], above)
    labels = plan.public().columns
    assert labels[0] == "amount>#1"
    assert np.array_equal(ladder[codes, labels.index("amount missing")], np.isnan(values["amount"]))
    assert np.array_equal(ladder[codes, labels.index("amount special -1")], values["amount"] == -1)


def test_a_pair_column_is_the_product_of_two_thresholds(values):
    plan = named(plans_of(values), "months", "limit")
    ladder, codes = plan.public().ladder, plan.encode(values)
    cells = plan.bins
    assert len(cells.kept) > 1
    for k, (i, j) in enumerate(cells.kept):
        both = (values["months"] > cells.first.edges[i]) & (values["limit"] > cells.second.edges[j])
        assert np.array_equal(ladder[codes, k], both)


def test_no_pairs_are_formed_at_the_builder(values):
    assert all(len(plan.features) == 1 for plan in plans_of(values, with_pairs=False))


def test_directions_become_signs_and_a_contradicting_pair_is_left_out(values):
    plans = plans_of(values)
    amount = named(plans, "amount").public()
    assert dict(zip(amount.columns, amount.signs.tolist(), strict=True))["amount missing"] == 0
    assert amount.signs[:6].tolist() == [1] * 6
    assert set(named(plans, "limit").public().signs.tolist()) == {-1}
    assert set(named(plans, "months", "limit").public().signs.tolist()) == {-1}
    assert set(named(plans, "amount", "months").public().signs.tolist()) == {1}
    assert ("amount", "limit") not in {plan.features for plan in plans}


def test_small_levels_are_merged_and_an_unknown_category_is_an_error(values):
    plan = named(plans_of(values), "job")
    assert plan.bins.texts == ("clerk", "nurse", "baker") or plan.bins.texts[-1] == "other"
    counts = np.bincount(plan.encode(values))
    assert counts.min() >= SETTINGS.floors.minimum(N)
    with pytest.raises(DataError, match="job: 2 rows hold a category"):
        plan.encode({"job": np.array([0.0, 7.0, 1.5])})


def test_a_value_without_a_bin_of_its_own_is_read_as_the_median(values):
    plan = named(plans_of(values), "limit")  # nothing was missing in training
    median = float(np.sort(values["limit"])[(N - 1) // 2])
    codes = plan.encode({"limit": np.array([np.nan, median, -1e300, 1e300])})
    assert codes.tolist() == [codes[1], codes[1], 0, plan.n_atoms - 1]


def test_scarce_codes_share_one_bin_when_only_together_they_reach_the_floor():
    column = np.concatenate([np.full(60, np.nan), np.full(60, -1.0), np.arange(880.0)])
    feature = Feature("x", "shop", special=(-1.0, -2.0))
    settings = ColumnSettings(thresholds=4, floors=Floors(100, 0))
    (plan,) = plan_blocks("shop", [feature], {"x": column}, settings, with_pairs=False)
    assert plan.bins.apart == ((None, -1.0),)
    assert np.bincount(plan.encode({"x": column}))[-1] == 120


def test_a_constant_feature_has_no_block():
    settings = ColumnSettings(floors=Floors(2, 0))
    columns = {"x": np.zeros(50), "z": np.repeat([0.0, 1.0], [49, 1])}
    features = [Feature("x", "shop"), Feature("z", "shop")]
    assert plan_blocks("shop", features, columns, settings, with_pairs=True) == ()


def test_absent_columns_are_named(values):
    with pytest.raises(DataError, match="limit: no such column"):
        plan_blocks("shop", FEATURES, {"amount": values["amount"]}, SETTINGS, with_pairs=False)
    with pytest.raises(DataError, match="months: no such column"):
        named(plans_of(values), "months").encode({})


def test_planning_depends_on_nothing_but_the_values(values):
    again = {name: column.copy() for name, column in values.items()}
    assert plans_of(values) == plans_of(again)


def test_a_summary_is_computed_row_by_row_and_missing_where_a_source_is():
    columns = {
        "a": np.array([1.0, 5.0, np.nan, -9.0]),
        "b": np.array([3.0, 1.0, 2.0, 2.0]),
        "limit": np.array([4.0, 0.0, 1.0, 1.0]),
    }
    special = {"a": (-9.0,)}

    def derived(kind, *relation):
        return Summary("s", kind, ("a", "b"), *relation).derive(columns, special).tolist()

    assert derived("max")[:2] == [3.0, 5.0]
    assert derived("min")[:2] == [1.0, 1.0]
    assert derived("sum", "minus", "limit")[:2] == [0.0, 6.0]
    assert derived("mean", "over", "limit")[0] == 0.5
    assert np.isnan(derived("mean", "over", "limit")).tolist() == [False, True, True, True]
    with pytest.raises(UsageError, match="both relation and other"):
        Summary("s", "max", ("a",), "minus")


def test_a_holder_uses_the_summaries_whose_sources_it_holds(values):
    mine = Summary("total", "sum", ("amount", "limit"))
    foreign = Summary("used", "mean", ("bill",), "over", "limit")
    settings = ColumnSettings(thresholds=4, floors=Floors(50, 0), summaries=(mine, foreign))
    plans = plans_of(values, settings)
    plan = named(plans, "total")
    ordinary = (values["amount"] != -1) & ~np.isnan(values["amount"])
    total = np.where(ordinary, values["amount"] + values["limit"], np.nan)
    edge = plan.bins.edges[0]
    assert np.array_equal(plan.public().ladder[plan.encode(values), 0], total > edge)
    assert not [plan for plan in plans if "used" in plan.features]
    assert not [plan for plan in plans if len(plan.features) == 2 and "total" in plan.features]


def test_one_hot_rows_sum_to_one():
    matrix = one_hot(np.array([2, 0, 1, 2], dtype=np.int16), 4)
    assert matrix.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_plans_and_blocks_survive_json(values):
    settings = ColumnSettings(
        thresholds=6, floors=Floors(50, 0), summaries=(Summary("t", "max", ("amount", "limit")),)
    )
    plans = plans_of(values, settings)
    assert {type(plan.bins).__name__ for plan in plans} == {"Axis", "Levels", "Cells"}
    for plan in plans:
        read = BlockPlan.from_mapping(json.loads(json.dumps(plan.to_mapping())), "part.json")
        assert read == plan
        assert np.array_equal(read.encode(values), plan.encode(values))
        block = plan.public()
        wire = json.loads(json.dumps(block.to_mapping()))
        assert Block.from_mapping(wire, owner="shop") == block


def test_a_public_block_shows_no_edge(values):
    plan = named(plans_of(values), "amount")
    text = json.dumps(plan.public().to_mapping())
    assert any(repr(edge) in json.dumps(plan.to_mapping()) for edge in plan.bins.edges)
    assert not any(repr(edge) in text for edge in plan.bins.edges)


GOOD = {
    "owner": "shop",
    "features": ["x"],
    "columns": ["x>#1"],
    "ladder": [[0], [1]],
    "signs": [0],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owner": "bank"}, "another owner"),
        ({"features": []}, "one or two names"),
        ({"features": ["x", 3]}, "one or two names"),
        ({"columns": ["x>#1", "x>#1"]}, "different names"),
        ({"columns": ["y" * 500]}, "different names"),
        ({"signs": [2]}, "signs"),
        ({"signs": [True]}, "signs"),
        ({"ladder": [[0]]}, "2 to 4096 bins"),
        ({"ladder": [[0], [2]]}, "0 or 1"),
        ({"ladder": [[0], [1, 1]]}, "0 or 1"),
        ({"ladder": [[1], [1]]}, "alike"),
        ({"more": 1}, "exactly the keys"),
    ],
)
def test_a_malformed_block_from_a_peer_names_the_peer(change, message):
    assert Block.from_mapping(GOOD, owner="shop").n_atoms == 2
    with pytest.raises(BadPeer, match=f"shop: .*{message}"):
        Block.from_mapping({**GOOD, **change}, owner="shop")


@pytest.mark.parametrize("broken", [{}, {"owner": "a", "sign": 3}, {"axis": {"name": "x"}}])
def test_a_broken_plan_file_is_named(broken):
    with pytest.raises(ConfigError, match=r"part\.json: not a block plan"):
        BlockPlan.from_mapping(broken, "part.json")


def test_plan_files_with_impossible_numbers_are_refused():
    axis = Axis("x", (1.0, 2.0), (), (), 1.5)
    good = BlockPlan("shop", axis).to_mapping()
    assert BlockPlan.from_mapping(good, "f").bins == axis
    with pytest.raises(ConfigError, match="edges must rise"):
        BlockPlan.from_mapping({**good, "axis": {**good["axis"], "edges": [2.0, 1.0]}}, "f")
    cells = BlockPlan("shop", Cells(axis, axis, ((0, 1),))).to_mapping()
    with pytest.raises(ConfigError, match="numbers of edges"):
        BlockPlan.from_mapping({**cells, "cells": {**cells["cells"], "kept": [[0, 9]]}}, "f")
