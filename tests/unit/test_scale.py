from __future__ import annotations

import numpy as np
import pytest

from shared.errors import DataError, UsageError
from shared.scorecard.card import Card, Line
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import (
    PRODUCT_SCALE,
    Grade,
    Scale,
    points_from_coefficients,
    round_half_away,
    stored_default_prob,
)

WIDE = {"low": -10_000.0, "high": 10_000.0}
SIDDIQI = Scale(pdo=20, base_score=600, base_odds=50, **WIDE)


def test_t01_factor_and_offset():
    assert SIDDIQI.factor == pytest.approx(28.85390081777927, abs=1e-12)
    assert SIDDIQI.offset == pytest.approx(487.1228762045055, abs=1e-11)


def test_t02_odds_to_scores():
    np.testing.assert_allclose(SIDDIQI.score_of_odds([50, 100, 200, 25]), [600, 620, 640, 580])


def test_t03_scores_to_odds():
    np.testing.assert_allclose(SIDDIQI.odds([601, 604]), [51.7632, 57.4349], atol=5e-5)


def test_t04_probabilities_to_scores():
    scores = SIDDIQI.score_of([0.01, 0.02, 0.05, 0.10, 0.50])
    np.testing.assert_allclose(scores, [619.710, 599.417, 572.081, 550.521, 487.123], atol=5e-4)


def test_t05_600_at_60_to_1():
    scale = Scale(pdo=20, base_score=600, base_odds=60, **WIDE)
    assert scale.offset == pytest.approx(481.862, abs=5e-4)
    assert scale.factor == pytest.approx(28.854, abs=5e-4)


def test_t06_300_at_30_to_1():
    scale = Scale(pdo=20, base_score=300, base_odds=30, **WIDE)
    np.testing.assert_allclose(scale.odds([320, 340]), [60, 120])


def test_t07_two_percent_bad_at_500():
    scale = Scale(pdo=50, base_score=500, base_odds=49, **WIDE)
    assert scale.score_of(0.02) == pytest.approx(500)
    assert scale.odds(550) == pytest.approx(98)


def test_t08_odds_given_as_bad_to_good_elsewhere_are_turned_round():
    scale = Scale(pdo=50, base_score=600, base_odds=19, **WIDE)
    assert scale.factor == pytest.approx(72.1348, abs=5e-5)
    assert scale.offset == pytest.approx(387.6036, abs=5e-5)
    assert scale.score_of(0.05) == pytest.approx(600)


def test_t09_the_published_formula_over_6000_probabilities():
    """Domain T09, without optbinning.

    The vector compares with optbinning's scores of 6,000 real rows. Here the formula that they
    follow, 487.1229 + 28.8539 ln((1 - p) / p), is reproduced over 6,000 synthetic probabilities on
    the stored grid; the library itself is not run.
    """
    prob = stored_default_prob(np.random.default_rng(9).beta(1.2, 4.0, 6000))
    expected = 487.1228762045055 + 28.85390081777927 * np.log((1 - prob) / prob)
    np.testing.assert_allclose(SIDDIQI.score_of(prob), expected, rtol=0, atol=1e-10)


T10_SCORES = {20: 440.6, 35: 474.6, 50: 507.7, 65: 534.8}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_t10_every_bin_is_scored_by_its_own_risk_whatever_the_order_of_the_bins(order):
    """Domain T10, without optbinning, whose 1.0.0 gives two ages the score of a third.

    The four bins have the risks behind the scores that the vector expects. Points and scores are
    looked up by the bin's number alone: no bin has another's, and a new order changes nothing.
    """
    ages = [list(T10_SCORES)[at] for at in order]
    prob = SIDDIQI.default_prob_of([T10_SCORES[age] for age in ages])
    np.testing.assert_allclose(
        SIDDIQI.score_of(stored_default_prob(prob)), [T10_SCORES[age] for age in ages], atol=0.05
    )
    points = tuple(int(one) for one in round_half_away(SIDDIQI.factor * np.log((1 - prob) / prob)))
    labels = tuple(f"age {age}" for age in ages)
    line = Line("bank", ("age_of_account",), "HIST", labels, points, (0.1,) * 3, 0.0)
    made = Card(
        "0" * 64, 1, 0.1, 3, 0.0, 0.0, 0.0, (line,), SIDDIQI, Baseline("mean", {"HIST": 0.0})
    )
    found = {age: made.points({line.name: at})["HIST"] for at, age in enumerate(ages)}
    assert [found[age] + round(SIDDIQI.offset) for age in T10_SCORES] == pytest.approx(
        list(T10_SCORES.values()), abs=1
    )


# Domain T34.
T34_SCORES = [350, 550, 600, 650, 700, 950]
T34_PROBS = [0.615385, 0.090909, 0.047619, 0.024390, 0.012346, 0.000390]


def test_t34_scores_and_probabilities_of_the_product_scale():
    np.testing.assert_allclose(PRODUCT_SCALE.default_prob_of(T34_SCORES), T34_PROBS, atol=5e-7)
    np.testing.assert_allclose(PRODUCT_SCALE.score_of(T34_PROBS), T34_SCORES, atol=0.1)
    assert PRODUCT_SCALE.factor == pytest.approx(72.1348, abs=5e-5)
    assert PRODUCT_SCALE.offset == pytest.approx(383.9036, abs=5e-5)


def test_t34_boundary_probabilities_get_the_grade_of_the_score_shown():
    grades = [PRODUCT_SCALE.grade_of(float(s)) for s in PRODUCT_SCALE.score_of(T34_PROBS)]
    assert grades == ["E", "D", "C", "B", "A", "A"]


def test_grades_begin_at_their_score_and_hold_below_the_next():
    just_below = [PRODUCT_SCALE.grade_of(s) for s in (549, 599, 649, 699)]
    assert just_below == ["E", "D", "C", "B"]
    assert PRODUCT_SCALE.grade_of(699.5) == "A"  # shown as 700
    assert PRODUCT_SCALE.grade_of(699.49) == "B"
    assert PRODUCT_SCALE.grade_of(-50) == "E"


def test_scores_are_clipped_and_extreme_probabilities_are_no_trouble():
    np.testing.assert_array_equal(PRODUCT_SCALE.score_of([0.0, 1.0]), [950, 350])
    assert SIDDIQI.score_of(0.0) == SIDDIQI.score_of(1e-6)


def test_the_score_is_derived_from_the_stored_probability():
    assert SIDDIQI.score_of(0.0312344) == SIDDIQI.score_of(0.031234)
    assert SIDDIQI.score_of(0.0312344) != SIDDIQI.score_of(0.031235)


def test_more_risk_never_scores_higher_and_inside_the_clip_always_lower():
    scores = PRODUCT_SCALE.score_of(np.linspace(0, 1, 100_001))
    assert (np.diff(scores) <= 0).all()
    inside = scores[(scores > 350) & (scores < 950)]
    assert len(inside) > 50_000
    assert (np.diff(inside) < 0).all()


def test_probability_to_score_and_back():
    prob = stored_default_prob(np.linspace(0.001, 0.6, 500))
    np.testing.assert_allclose(PRODUCT_SCALE.default_prob_of(PRODUCT_SCALE.score_of(prob)), prob)


@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan, np.inf])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(DataError, match="default_prob"):
        PRODUCT_SCALE.score_of([0.5, bad])


def test_every_fault_of_a_scale_is_named_at_once():
    with pytest.raises(UsageError) as caught:
        Scale(0, 600, -1, 550, 300, (Grade("A", 500), Grade("B", 600)))
    for finding in ("pdo", "base_odds", "low must be below high", "fall strictly", "reach down"):
        assert finding in str(caught.value)
    with pytest.raises(UsageError, match="finite"):
        Scale(50, np.nan, 20, 350, 950)
    with pytest.raises(UsageError, match="no grades"):
        SIDDIQI.grade_of(600)


def test_halves_round_away_from_zero_on_either_side():
    given = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, -0.2, 0.0]
    assert round_half_away(given).tolist() == [1, 2, 3, -1, -2, -3, 0, 0, 0]


def test_stored_probabilities_lie_on_the_grid_and_never_at_its_ends():
    stored = stored_default_prob([0.0, 1e-7, 0.1234565001, 1.0])
    np.testing.assert_array_equal(stored, [1e-6, 1e-6, 0.123457, 0.999999])


def test_points_are_higher_where_a_column_makes_default_less_likely():
    points = points_from_coefficients([0.1, -0.1, 0.0], 6.0, PRODUCT_SCALE)
    assert points.tolist() == [-43, 43, 0]  # 72.1348 * .1 * 6 = 43.28
    assert points.dtype == np.int64


def test_least_squares_slopes_times_n_over_rss_come_close_to_the_logit_slopes():
    """Haggstrom's result where it is exact: two normal classes with one covariance matrix."""
    rng = np.random.default_rng(2)
    label = (rng.random(400_000) < 0.3).astype(float)
    columns = rng.normal(size=(400_000, 2)) + np.outer(label, [0.8, -0.4])
    design = np.column_stack((np.ones(len(label)), columns))
    slopes, rss, *_ = np.linalg.lstsq(design, label, rcond=None)
    points = points_from_coefficients(slopes[1:], len(label) / rss[0], PRODUCT_SCALE)
    np.testing.assert_allclose(points, -PRODUCT_SCALE.factor * np.array([0.8, -0.4]), atol=1.5)


def test_a_broken_fit_gives_no_points():
    with pytest.raises(DataError, match=r"every coefficient .*; n_over_rss"):
        points_from_coefficients([np.nan, 1.0], -1.0, PRODUCT_SCALE)
