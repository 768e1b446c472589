from __future__ import annotations

import json

import numpy as np
import pytest

from shared.errors import DataError
from shared.metrics import roc_auc
from shared.scorecard.calibration import Calibration, fit_calibration, prior_correction
from shared.trueness import calibration_slope, expected_calibration_error


def customers(n, seed, bend=0.0):
    """Integer points around 200 whose true log-odds fall, with a bend in the curve if wanted."""
    rng = np.random.default_rng(seed)
    points = np.round(rng.normal(200, 70, n)).astype(np.int64)
    risk = (200 - points) / 72.1348
    log_odds = -1.5 + risk + bend * np.maximum(risk, 0)
    prob = 1 / (1 + np.exp(-log_odds))
    return points, (rng.random(n) < prob).astype(np.int64), prob


@pytest.mark.parametrize("bend", [0.0, 1.5, -0.8], ids=["straight", "steeper", "flatter"])
def test_calibrated_on_one_half_it_holds_on_the_other(bend):
    points, label, truth = customers(80_000, seed=1, bend=bend)
    fit, held_out = slice(None, 40_000), slice(40_000, None)
    calibration = fit_calibration(points[fit], label[fit])
    prob = calibration.default_prob(points[held_out])
    assert 0.9 <= calibration_slope(label[held_out], prob) <= 1.1
    assert expected_calibration_error(label[held_out], prob) < 0.01
    assert np.mean(np.abs(prob - truth[held_out])) < 0.01


def test_the_bend_needs_the_knots():
    """Positive control: the line alone misses what the knots put right."""
    points, label, truth = customers(80_000, seed=1, bend=1.5)
    whole = fit_calibration(points, label)
    middle = len(whole.knots_points) // 2
    line = Calibration(
        whole.knots_points[middle : middle + 1],
        whole.knots_log_odds[middle : middle + 1],
        whole.slope,
    )
    missed, kept = (np.mean(np.abs(c.default_prob(points) - truth)) for c in (line, whole))
    assert missed > 0.02
    assert kept < missed / 4


def test_default_prob_keeps_the_ranking_of_the_points():
    points, label, _ = customers(20_000, seed=2)
    prob = fit_calibration(points, label).default_prob(points)
    assert roc_auc(label, prob) == pytest.approx(roc_auc(label, -points), abs=1e-6)


def test_log_odds_fall_strictly_inside_and_outside_the_knots():
    calibration = fit_calibration(*customers(5_000, seed=3)[:2])
    assert len(calibration.knots_points) > 3
    at = np.arange(-2000, 3000)
    assert (np.diff(calibration.log_odds(at)) < 0).all()
    low, high = calibration.knots_points[0], calibration.knots_points[-1]
    beyond = calibration.log_odds([low - 10, low, high, high + 10])
    assert beyond[0] - beyond[1] == pytest.approx(-10 * calibration.slope)
    assert beyond[2] - beyond[3] == pytest.approx(-10 * calibration.slope)


def test_probabilities_are_stored_on_the_grid_and_never_sure():
    calibration = fit_calibration(*customers(5_000, seed=3)[:2])
    prob = calibration.default_prob(np.array([-(10**9), 100, 200, 10**9]))
    np.testing.assert_array_equal(prob, np.round(prob, 6))
    assert (prob[0], prob[-1]) == (1 - 1e-6, 1e-6)


def test_few_customers_get_the_line_and_little_else():
    points, label, _ = customers(60, seed=4)
    assert len(fit_calibration(points, label).knots_points) == 1


def test_a_rare_default_is_calibrated_in_the_mean():
    points, label, _ = customers(40_000, seed=5)
    rare = (label == 0) | (np.arange(40_000) % 40 == 0)
    calibration = fit_calibration(points[rare], label[rare])
    mean = calibration.default_prob(points[rare]).mean()
    assert mean == pytest.approx(label[rare].mean(), rel=0.1)


@pytest.mark.parametrize("turned", [False, True], ids=["noise", "the wrong way round"])
def test_points_that_say_nothing_give_the_base_rate_to_all(turned):
    points, label, _ = customers(5_000, seed=6)
    informed = fit_calibration(points, label).default_prob(points)
    points = 400 - points if turned else np.random.default_rng(0).permutation(points)
    prob = fit_calibration(points, label).default_prob(points)
    assert np.mean(np.abs(prob - label.mean())) < 0.02
    assert np.max(np.abs(prob - label.mean())) < 0.1  # an end bin of 167 people may stray so far
    assert np.mean(np.abs(informed - label.mean())) > 0.1  # and points that speak are heard


def test_the_same_people_in_another_order_give_the_same_curve_bit_for_bit():
    points, label, _ = customers(3_000, seed=7)
    order = np.random.default_rng(1).permutation(3_000)
    assert fit_calibration(points[order], label[order]) == fit_calibration(points, label)


@pytest.mark.parametrize(
    ("points", "label", "finding"),
    [
        ([1, 2, 3], [1, 1, 1], "one class only: all 3 are bad"),
        ([1, 2, 3], [0, 0, 0], "one class only: all 3 are good"),
        ([5, 5, 5], [0, 1, 0], "one value only"),
        ([1, 2, 3, 4], [1, 1, 0, 0], "separate"),
        ([1, 2], [0, 1, 0], "one value for each label"),
        ([1.5, 2.5], [0, 1], "points: must be integers"),
    ],
)
def test_what_cannot_be_calibrated_is_a_named_error(points, label, finding):
    with pytest.raises(DataError, match=finding):
        fit_calibration(np.array(points), np.array(label))


def test_a_calibration_survives_json_bit_for_bit():
    calibration = fit_calibration(*customers(5_000, seed=8)[:2])
    again = Calibration.from_mapping(json.loads(json.dumps(calibration.to_mapping())))
    assert again == calibration


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"points": [1, 1]}, "knots_points must rise strictly"),
        ({"log_odds": [0.5, 0.5]}, "knots_log_odds must fall strictly"),
        ({"log_odds": [0.5, float("nan")]}, "must be finite"),
        ({"log_odds": [0.5]}, "as many knots_points"),
        ({"points": [], "log_odds": []}, "at least one"),
        ({"slope": 0.0}, "slope must be below 0"),
        ({"slope": "steep"}, "slope: must be a number"),
        ({"points": [1.0, 2.0]}, "points: must be a list of integers"),
        ({"points": [True, 2]}, "points: must be a list of integers"),
        ({"log_odds": "ab"}, "log_odds: must be a list of numbers"),
        ({"colour": 1}, "colour: unknown"),
    ],
)
def test_a_calibration_read_from_elsewhere_is_checked(change, finding):
    with pytest.raises(DataError, match=finding):
        Calibration.from_mapping({"points": [1, 2], "log_odds": [0.5, 0.1], "slope": -0.1} | change)


def test_missing_keys_are_all_named():
    with pytest.raises(DataError, match="log_odds: missing; points: missing"):
        Calibration.from_mapping({"slope": -1.0})


def test_t38_prior_correction():
    assert prior_correction(0.1, base_rate=0.1, true_rate=0.02) == pytest.approx(0.02, abs=1e-15)


def test_prior_correction_undoes_itself_and_leaves_certainty_alone():
    prob = np.linspace(0, 1, 101)
    there = prior_correction(prob, 0.22, 0.05)
    np.testing.assert_allclose(prior_correction(there, 0.05, 0.22), prob, atol=1e-14)
    assert (there[0], there[-1]) == (0.0, 1.0)
    assert (there[1:-1] < prob[1:-1]).all()
    np.testing.assert_allclose(prior_correction(prob, 0.3, 0.3), prob, atol=1e-15)


def test_prior_correction_names_every_wrong_rate():
    with pytest.raises(DataError, match=r"default_prob .*; base_rate .*; true_rate"):
        prior_correction(1.2, 0.0, 1.0)
