from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError, FloorBroken
from shared.scorecard.reasons import (
    Baseline,
    Reason,
    above_cutoff_baseline,
    baseline_shapley,
    maximum_baseline,
    mean_baseline,
    shortfalls,
)

# Domain T35.
POINTS = {"HIST": 40, "UTIL": 18, "ENQ": 10, "INC": 35, "TEN": 30}
MAXIMUM = {"HIST": 60, "UTIL": 50, "ENQ": 40, "INC": 45, "TEN": 35}
MEAN = {"HIST": 48, "UTIL": 30, "ENQ": 25, "INC": 32, "TEN": 25}
CUTOFF = {"HIST": 42, "UTIL": 26, "ENQ": 22, "INC": 30, "TEN": 24}


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (MAXIMUM, [("UTIL", 32), ("ENQ", 30), ("HIST", 20), ("INC", 10)]),
        (MEAN, [("ENQ", 15), ("UTIL", 12), ("HIST", 8)]),
        (CUTOFF, [("ENQ", 12), ("UTIL", 8), ("HIST", 2)]),
    ],
    ids=["maximum", "mean of all", "just above the cut-off"],
)
def test_t35_the_baseline_decides_the_reasons_and_their_order(baseline, expected):
    assert shortfalls(POINTS, baseline) == tuple(Reason(*pair) for pair in expected)


def test_a_fifth_reason_is_not_told():
    everything = shortfalls(POINTS, MAXIMUM, most=9)
    assert everything[-1] == Reason("TEN", 5)
    assert shortfalls(POINTS, MAXIMUM) == everything[:4]


def test_ties_stand_in_the_order_of_codes_whatever_the_order_of_the_input():
    baseline = dict.fromkeys("DACB", 0.1 + 0.2)  # .30000000000000004
    for order in itertools.permutations("ABCD"):
        points = dict.fromkeys(order, 0)
        codes = [r.code for r in shortfalls(points, {**baseline, "A": 0.3})]
        assert codes == ["A", "B", "C", "D"]


def test_nobody_above_the_baseline_gets_a_reason():
    assert shortfalls(MAXIMUM, MAXIMUM) == ()
    assert shortfalls({"A": 5}, {"A": 5 + 1e-12}) == ()


def shapley_over_all_orders(points, baseline):
    """Shapley value by its definition: mean marginal contribution over all orders of joining."""
    value = dict.fromkeys(points, 0.0)
    orders = list(itertools.permutations(points))
    for order in orders:
        present = dict(baseline)
        for code in order:
            before = sum(present.values())
            present[code] = points[code]
            value[code] += (sum(present.values()) - before) / len(orders)
    return value


def test_t40_shapley_values_on_the_t35_card():
    phi = baseline_shapley(POINTS, CUTOFF)
    assert phi == {"HIST": -2, "UTIL": -8, "ENQ": -12, "INC": 5, "TEN": 6}
    assert sum(phi.values()) == 133 - 144 == -11
    brute = shapley_over_all_orders(POINTS, CUTOFF)
    assert all(abs(phi[code] - brute[code]) < 1e-9 for code in POINTS)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("ABCDEF"),
        st.tuples(st.integers(-200, 200), st.floats(-200, 200)),
        min_size=1,
        max_size=5,
    )
)
def test_t40_identity_holds_for_any_additive_card(card):
    points = {code: pair[0] for code, pair in card.items()}
    baseline = {code: pair[1] for code, pair in card.items()}
    phi, brute = baseline_shapley(points, baseline), shapley_over_all_orders(points, baseline)
    assert all(abs(phi[code] - brute[code]) < 1e-9 for code in points)
    gained = sum(points.values()) - sum(baseline.values())
    assert sum(phi.values()) == pytest.approx(gained, abs=1e-9)


def test_customer_and_baseline_must_have_the_same_features():
    with pytest.raises(DataError) as caught:
        shortfalls({"A": 1, "B": 2}, {"B": 2, "C": 3})
    assert caught.value.findings == ("A: not in the baseline", "C: no points")


def population():
    rng = np.random.default_rng(4)
    features = {"A": rng.integers(0, 50, 5000), "B": rng.integers(-20, 30, 5000)}
    return features, features["A"] + features["B"]


def test_baselines_are_the_best_the_mean_and_the_mean_just_above_the_cutoff():
    features, total = population()
    assert maximum_baseline({"A": [3, 9, -1], "B": [-4, -2]}).values == {"A": 9, "B": -2}
    mean = mean_baseline(features)
    assert mean.kind == "mean"
    assert mean.cutoff is None
    assert mean.values["A"] == pytest.approx(features["A"].mean())
    above = above_cutoff_baseline(features, total, cutoff=40, width=10)
    group = (total >= 40) & (total < 50)
    assert above.cutoff == 40
    assert above.values["B"] == pytest.approx(features["B"][group].mean())
    assert above.values["A"] > mean.values["A"]


def test_a_mean_over_too_few_people_is_not_stated():
    features, total = population()
    with pytest.raises(FloorBroken, match="just above the cut-off has 0 people"):
        above_cutoff_baseline(features, total, cutoff=500, width=10)
    few = {code: points[:99] for code, points in features.items()}
    with pytest.raises(FloorBroken, match="99 people"):
        mean_baseline(few)
    assert mean_baseline({code: points[:100] for code, points in features.items()})


def test_a_baseline_is_frozen_keeps_no_link_to_its_source_and_survives_json():
    source = {"B": 2.5, "A": 1}
    baseline = Baseline("above_cutoff", source, 400)
    source["A"] = 99
    assert dict(baseline.values) == {"A": 1.0, "B": 2.5}
    with pytest.raises(TypeError):
        baseline.values["A"] = 0
    with pytest.raises(AttributeError):
        baseline.kind = "mean"
    assert Baseline.from_mapping(json.loads(json.dumps(baseline.to_mapping()))) == baseline


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("median", {"A": 1.0}), "kind: must be one of"),
        (("mean", {}), "values: must hold"),
        (("mean", {"A": float("nan")}), "values: must hold"),
        (("above_cutoff", {"A": 1.0}), "cutoff: must be given"),
        (("mean", {"A": 1.0}, 400), "cutoff: must be given"),
    ],
)
def test_a_baseline_that_is_none_is_refused(arguments, finding):
    with pytest.raises(DataError, match=finding):
        Baseline(*arguments)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"values": {"A": "1"}}, "values: must be a table of numbers"),
        ({"values": {"A": True}}, "values: must be a table of numbers"),
        ({"cutoff": 1.5}, "cutoff: must be an integer or null"),
        ({"extra": 1}, "extra: unknown"),
    ],
)
def test_a_baseline_read_from_elsewhere_is_checked(change, finding):
    with pytest.raises(DataError, match=finding):
        Baseline.from_mapping({"kind": "mean", "values": {"A": 1}, "cutoff": None} | change)
    with pytest.raises(DataError, match="cutoff: missing; kind: missing"):
        Baseline.from_mapping({"values": {}})
