from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from shared import metrics, stability
from shared.scorecard.calibration import fit_calibration
from tests.depth import depth

quick = settings(max_examples=depth(40, 80), deadline=None)


@st.composite
def outcomes(draw, least=2):
    """Labels of both classes and scores on a short grid, so that ties are common."""
    size = draw(st.integers(least, 60))
    label = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    label[0], label[1] = 0, 1
    score = draw(st.lists(st.integers(-6, 6), min_size=size, max_size=size))
    return np.array(label), np.array(score)


counts = st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(lambda x: sum(x) > 0)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # scipy, in the p value
@quick
@given(outcomes())
def test_auc_and_ks_are_what_sklearn_and_scipy_say(case):
    label, score = case
    assert metrics.roc_auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    expected = ks_2samp(score[label == 1], score[label == 0], method="asymp").statistic
    assert metrics.ks(label, score) == pytest.approx(expected, abs=1e-12)


@quick
@given(outcomes(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_of_equal_scores_changes_no_bit(case, random):
    label, score = case
    order = list(range(len(label)))
    random.shuffle(order)
    shuffled = (label[order], score[order])
    assert metrics.roc_auc(*shuffled) == metrics.roc_auc(label, score)
    assert metrics.ks(*shuffled) == metrics.ks(label, score)


@quick
@given(outcomes())
def test_any_rising_map_of_the_score_changes_no_bit_and_a_falling_one_mirrors_auc(case):
    label, score = case
    assert metrics.roc_auc(label, score**3 + 5.5) == metrics.roc_auc(label, score)
    assert metrics.ks(label, np.exp(score / 3)) == metrics.ks(label, score)
    assert metrics.roc_auc(label, -score) == pytest.approx(1 - metrics.roc_auc(label, score))
    assert metrics.ks(label, -score) == metrics.ks(label, score)


@quick
@given(outcomes(), st.integers(1, 13))
def test_coarser_bins_never_raise_ks(case, width):
    label, score = case
    assert metrics.ks(label, score // width) <= metrics.ks(label, score)


@quick
@given(outcomes())
def test_ks_is_reached_at_its_threshold(case):
    label, score = case
    at = metrics.ks_threshold(label, score)
    upper = score >= at
    gap = abs(upper[label == 1].mean() - upper[label == 0].mean())
    assert gap == pytest.approx(metrics.ks(label, score), abs=1e-12)


@quick
@given(outcomes(least=6), st.floats(0.5, 0.999))
def test_the_auc_interval_holds_its_value_and_stays_in_range(case, level):
    label, score = case
    label[2:4] = 0, 1
    interval = metrics.auc_interval(label, score, level)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    assert interval.low >= metrics.auc_interval(label, score, 0.9999).low


@quick
@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 100))
def test_equal_count_bins_start_at_zero_rise_and_are_about_equal(size, bins):
    size = np.array(size)
    first = metrics.equal_count_bins(size, bins)
    assert first[0] == 0
    assert (np.diff(first) > 0).all()
    assert len(first) <= bins
    assert np.add.reduceat(size, first).max() <= size.sum() / bins + size.max() + 1e-9


@quick
@given(counts, st.data())
def test_the_stability_index_is_symmetric_never_negative_and_zero_for_itself(expected, data):
    actual = data.draw(
        st.lists(st.integers(0, 1000), min_size=len(expected), max_size=len(expected)).filter(
            lambda x: sum(x) > 0
        )
    )
    e, a = np.array(expected), np.array(actual)
    there, back = stability.stability_index(e, a), stability.stability_index(a, e)
    assert there >= 0
    assert there == pytest.approx(back, abs=1e-12)
    assert stability.stability_index(e, 3 * e) == pytest.approx(0, abs=1e-12)


@quick
@given(
    st.integers(0, 2**32 - 1), st.integers(5, 400), st.floats(-2, 4), st.sampled_from([40, 3000])
)
def test_default_prob_never_rises_with_points_and_log_odds_always_fall(seed, spread, signal, n):
    """Even where points are noise or rank the wrong way round (signal <= 0)."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.3).astype(int)
    points = np.round(spread * (rng.normal(size=n) - signal * label)).astype(int)
    label[:4] = 0, 1, 0, 1  # both classes at both ends: no perfect separation
    points[:4] = (points.min() - 1,) * 2 + (points.max() + 1,) * 2
    calibration = fit_calibration(points, label)
    at = np.arange(points.min() - 100, points.max() + 101)
    assert (np.diff(calibration.log_odds(at)) < 0).all()
    prob = calibration.default_prob(at)
    assert (np.diff(prob) <= 0).all()
    assert ((prob >= 1e-6) & (prob <= 1 - 1e-6)).all()
