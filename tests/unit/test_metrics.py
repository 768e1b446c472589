from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from shared import metrics, stability, trueness
from shared.errors import DataError, UsageError

# Domain T19.
T19_LABEL = np.array([1, 0, 1, 0, 0, 1, 0, 0, 1, 0])
T19_SCORE = np.array([0.95, 0.90, 0.85, 0.80, 0.70, 0.60, 0.40, 0.30, 0.20, 0.10])


def population(n, seed=0, *, signal=1.1, rate=0.22, grain=None):
    """Binormal scores; `grain` rounds them to a grid, which makes ties."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < rate).astype(np.int64)
    score = rng.normal(size=n) + signal * label
    return label, score if grain is None else np.round(score * grain).astype(np.int64)


def test_t19_ranks_ten_customers_as_published():
    assert metrics.roc_auc(T19_LABEL, T19_SCORE) == 0.625
    assert metrics.gini(T19_LABEL, T19_SCORE) == 0.25
    assert metrics.ks(T19_LABEL, T19_SCORE) == pytest.approx(1 / 3, abs=1e-15)
    assert metrics.ks_threshold(T19_LABEL, T19_SCORE) == 0.85


@pytest.mark.parametrize("constant", [0, 7, -1.5])
def test_a_constant_score_ranks_nobody(constant):
    score = np.full(10, constant)
    assert metrics.ks(T19_LABEL, score) == 0.0
    assert metrics.roc_auc(T19_LABEL, score) == 0.5
    assert metrics.ks_threshold(T19_LABEL, score) == constant


@pytest.mark.parametrize("grain", [None, 10, 1])
def test_auc_and_ks_agree_with_sklearn_and_scipy_with_and_without_ties(grain):
    label, score = population(5000, grain=grain)
    assert metrics.roc_auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    expected = ks_2samp(score[label == 1], score[label == 0]).statistic
    assert metrics.ks(label, score) == pytest.approx(expected, abs=1e-12)


def test_figures_from_counts_are_bit_for_bit_those_from_rows():
    label, score = population(4000, grain=8)
    shifted = score - score.min()
    goods, bads = (np.bincount(shifted[label == y], minlength=shifted.max() + 1) for y in (0, 1))
    assert metrics.auc_from_counts(goods, bads) == metrics.roc_auc(label, score)
    assert metrics.ks_from_counts(goods, bads) == metrics.ks(label, score)
    assert metrics.auc_interval_from_counts(goods, bads) == metrics.auc_interval(label, score)


def delong_by_pairs(label, score):
    """The definition of DeLong et al. (1988): all pairs, placement values, their variances."""
    bad, good = score[label == 1], score[label == 0]
    won = (bad[:, None] > good[None, :]) + 0.5 * (bad[:, None] == good[None, :])
    variance = won.mean(1).var(ddof=1) / len(bad) + won.mean(0).var(ddof=1) / len(good)
    return won.mean(), np.sqrt(variance)


@pytest.mark.parametrize("grain", [None, 4])
def test_the_fast_delong_interval_is_the_one_over_all_pairs(grain):
    label, score = population(700, seed=3, grain=grain)
    auc, error = delong_by_pairs(label, score)
    interval = metrics.auc_interval(label, score, level=0.9)
    assert interval.value == pytest.approx(auc, abs=1e-12)
    assert interval.high - auc == pytest.approx(1.6448536269514722 * error, rel=1e-9)
    assert auc - interval.low == pytest.approx(1.6448536269514722 * error, rel=1e-9)
    assert interval.level == 0.9


def test_auc_intervals_cover_the_truth_as_often_as_they_say():
    truth = 0.78167  # Phi(1.1 / sqrt 2)
    covered = 0
    for seed in range(300):
        interval = metrics.auc_interval(*population(800, seed=seed), level=0.9)
        covered += interval.low <= truth <= interval.high
    assert 0.85 <= covered / 300 <= 0.95


@pytest.mark.slow
def test_ks_intervals_cover_the_truth_even_though_resampling_inflates_a_maximum():
    truth = 0.41768  # 2 Phi(1.1 / 2) - 1
    covered = 0
    for seed in range(100):
        label, score = population(1500, seed=seed, grain=40)
        interval = metrics.ks_interval(label, score, 0.95, 200, np.random.default_rng(seed))
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
        covered += interval.low <= truth <= interval.high
    assert covered >= 88


def test_ks_interval_repeats_with_its_seed_and_keeps_the_value_of_ungrouped_scores():
    label, score = population(20_000)
    first, second = (
        metrics.ks_interval(label, score, 0.95, 50, np.random.default_rng(5)) for _ in range(2)
    )
    assert first == second
    assert first.value == metrics.ks(label, score)
    assert first != metrics.ks_interval(label, score, 0.95, 50, np.random.default_rng(6))


def test_ks_interval_of_a_constant_score_is_zero():
    label, _ = population(300)
    interval = metrics.ks_interval(label, np.zeros(300), 0.95, 20, np.random.default_rng(0))
    assert (interval.low, interval.value, interval.high) == (0.0, 0.0, 0.0)


def test_brier_and_log_loss_agree_with_sklearn():
    label, score = population(3000)
    prob = 1 / (1 + np.exp(-score))
    assert trueness.brier(label, prob) == pytest.approx(brier_score_loss(label, prob), abs=1e-12)
    assert trueness.log_loss(label, prob) == pytest.approx(sklearn_log_loss(label, prob), abs=1e-12)


def test_log_loss_of_a_sure_and_wrong_forecast_is_finite():
    assert trueness.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-np.log(1e-6))


def test_calibration_table_counts_every_customer_once_in_rising_bins():
    label, score = population(10_007)
    prob = 1 / (1 + np.exp(1.5 - score))
    table = trueness.calibration_table(label, prob, bins=10)
    assert len(table) == 10
    assert sum(row.count for row in table) == 10_007
    assert sum(row.bads for row in table) == label.sum()
    assert max(row.count for row in table) - min(row.count for row in table) <= 2
    means = [row.mean_prob for row in table]
    assert means == sorted(means)
    worst = np.sort(prob)[-table[-1].count :]
    assert table[-1].mean_prob == pytest.approx(worst.mean())
    assert table[-1].bads == label[prob >= worst[0]].sum()


def test_equal_probabilities_share_a_bin():
    prob = np.repeat([0.1, 0.3], [900, 100])
    table = trueness.calibration_table(np.zeros(1000, dtype=int), prob, bins=10)
    assert [(row.count, row.mean_prob) for row in table] == [
        (900, pytest.approx(0.1)),
        (100, pytest.approx(0.3)),
    ]


def test_calibration_error_is_the_mean_miss_by_people():
    label = np.array([0] * 30 + [1] * 10 + [0] * 5 + [1] * 5)
    prob = np.array([0.25] * 40 + [0.9] * 10)
    assert trueness.expected_calibration_error(label, prob) == pytest.approx(10 / 50 * 0.4)


def test_true_probabilities_have_slope_one_and_stretched_ones_less():
    rng = np.random.default_rng(1)
    log_odds = rng.normal(-1.5, 1.2, 100_000)
    prob = 1 / (1 + np.exp(-log_odds))
    label = (rng.random(100_000) < prob).astype(int)
    assert trueness.calibration_slope(label, prob) == pytest.approx(1.0, abs=0.03)
    assert trueness.expected_calibration_error(label, prob) < 0.006
    stretched = 1 / (1 + np.exp(-2 * log_odds))
    assert trueness.calibration_slope(label, stretched) == pytest.approx(0.5, abs=0.02)
    assert trueness.expected_calibration_error(label, stretched) > 0.03


def test_logistic_line_agrees_with_sklearn():
    label, score = population(2000, grain=20)
    counts = metrics.score_counts(label, score)
    intercept, slope = trueness.logistic_line(counts.score, counts.goods, counts.bads)
    oracle = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(score[:, None] / 20, label)
    assert slope * 20 == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    assert intercept == pytest.approx(oracle.intercept_[0], rel=1e-5)


def test_logistic_line_converges_where_classes_hardly_overlap():
    at = np.array([0.0, 1.0, 2.0, 1e6])
    goods, bads = np.array([1000, 1, 1, 0]), np.array([0, 1, 0, 1000])
    intercept, slope = trueness.logistic_line(at, goods, bads)
    prob = 1 / (1 + np.exp(-np.clip(intercept + slope * at, -500, 500)))
    assert (goods + bads) @ prob == pytest.approx(bads.sum(), rel=1e-6)


@pytest.mark.parametrize(
    ("label", "prob", "finding"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.3], "separate"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], "separate"),
        ([0, 1, 0, 1], [0.2, 0.2, 0.2, 0.2], "one value only"),
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], "one class only: all 4 are bad"),
    ],
)
def test_a_slope_that_does_not_exist_is_refused(label, prob, finding):
    with pytest.raises(DataError, match=finding):
        trueness.calibration_slope(np.array(label), np.array(prob))


T20_ACTUAL = np.array([7, 8, 7, 9, 11, 11, 10, 12, 11, 14])
T20_EXPECTED = np.array([8, 10, 9, 13, 11, 10, 9, 10, 11, 9])
T20_TERMS = [0.0013, 0.0045, 0.0050, 0.0147, 0, 0.0010, 0.0011, 0.0036, 0, 0.0221]


def test_t20_stability_index_of_the_published_table():
    assert stability.stability_index(T20_EXPECTED, T20_ACTUAL) == pytest.approx(0.0532782, abs=5e-8)
    terms = stability.stability_terms(T20_EXPECTED, T20_ACTUAL)
    np.testing.assert_allclose(terms, T20_TERMS, atol=5.1e-5)


def test_t20_is_the_same_from_percent_shares_and_counts():
    from_shares = stability.stability_index(T20_EXPECTED / 100, T20_ACTUAL / 100)
    from_counts = stability.stability_index(T20_EXPECTED * 37, T20_ACTUAL * 11)
    assert from_shares == pytest.approx(from_counts, abs=1e-15)


def test_t21_bands_of_the_stability_index():
    bands = [stability.stability_band(x) for x in (0.0, 0.0999, 0.10, 0.25, 0.2501)]
    assert bands == ["stable", "stable", "watch", "watch", "act"]


def test_an_emptied_bin_is_alarming_and_finite():
    index = stability.stability_index(np.array([50, 50]), np.array([100, 0]))
    assert np.isfinite(index)
    assert stability.stability_band(index) == "act"
    assert stability.stability_index(np.array([5, 5, 0]), np.array([5, 5, 0])) == 0.0


def test_t22_an_even_swap_leaves_the_approval_rate_unchanged():
    old = np.repeat([1, 0, 1, 0], [60_000, 5_000, 5_000, 30_000])
    new = np.repeat([1, 1, 0, 0], [60_000, 5_000, 5_000, 30_000])
    label = np.zeros(100_000, dtype=int)
    label[60_000:60_100] = 1
    label[65_000:65_400] = 1
    swap = stability.swap_set(label, old, new)
    assert (swap.swapped_in.count, swap.swapped_out.count) == (5_000, 5_000)
    assert swap.old_approval_rate == swap.new_approval_rate == 0.65
    assert (swap.swapped_in.bad_rate, swap.swapped_out.bad_rate) == (0.02, 0.08)
    assert (swap.both.count, swap.neither.count) == (60_000, 30_000)


def test_an_uneven_swap_moves_the_approval_rate():
    label = np.array([0, 1, 0])
    swap = stability.swap_set(label, np.array([True, False, False]), np.array([True, True, False]))
    assert swap.new_approval_rate - swap.old_approval_rate == pytest.approx(1 / 3)
    assert swap.swapped_out.bad_rate == 0.0


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only_is_a_named_error_everywhere_that_ranks(value):
    label, score = np.full(50, value), np.arange(50)
    rng = np.random.default_rng(0)
    for figure in (
        metrics.roc_auc,
        metrics.ks,
        metrics.gini,
        metrics.auc_interval,
        lambda y, s: metrics.ks_interval(y, s, 0.95, 10, rng),
    ):
        with pytest.raises(DataError, match="one class only") as caught:
            figure(label, score)
        assert caught.value.source == "label"
        assert caught.value.code == "data"
    counts = (np.zeros(3, int), np.ones(3, int))
    with pytest.raises(DataError, match="one class only"):
        metrics.auc_from_counts(*counts)
    with pytest.raises(DataError, match="one class only"):
        metrics.ks_from_counts(*reversed(counts))


def test_all_findings_come_at_once_and_hold_no_row():
    with pytest.raises(DataError) as caught:
        metrics.roc_auc(np.array([0, 1, 77]), np.array([0.0, np.nan, 4.25]))
    assert len(caught.value.findings) == 2
    assert "77" not in str(caught.value)
    assert "4.25" not in str(caught.value)


@pytest.mark.parametrize(
    ("goods", "bads", "finding"),
    [
        ([1, 2], [1, 2, 3], "same bins"),
        ([1, -2], [1, 2], "goods: must be integer counts"),
        ([1.0, 2.0], [1, 2], "goods: must be integer counts"),
    ],
)
def test_counts_that_are_none_are_refused(goods, bads, finding):
    with pytest.raises(DataError, match=finding):
        metrics.auc_from_counts(np.array(goods), np.array(bads))


def test_probabilities_outside_0_to_1_and_unequal_shapes_are_refused():
    with pytest.raises(DataError, match=r"default_prob must lie in \[0, 1\]"):
        trueness.brier(np.array([0, 1]), np.array([0.5, 1.5]))
    with pytest.raises(DataError, match="one value for each label"):
        trueness.log_loss(np.array([0, 1]), np.array([0.5]))
    with pytest.raises(DataError, match="new_approved must hold 0 and 1 only"):
        stability.swap_set(np.array([0, 1]), np.array([0, 1]), np.array([0, 2]))
    with pytest.raises(DataError, match="same bins"):
        stability.stability_index(np.array([1, 2]), np.array([1, 2, 3]))
    with pytest.raises(DataError, match="actual: must hold"):
        stability.stability_index(np.array([1, 2]), np.array([0, 0]))


def test_a_wrong_call_is_the_callers_error():
    with pytest.raises(UsageError, match="level"):
        metrics.auc_interval(T19_LABEL, T19_SCORE, level=95)
    with pytest.raises(UsageError, match="bins"):
        trueness.calibration_table(T19_LABEL, T19_SCORE, bins=0)
    with pytest.raises(UsageError, match="replicates"):
        metrics.ks_interval(T19_LABEL, T19_SCORE, 0.95, 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="two goods and two bads"):
        metrics.auc_interval(np.array([0, 0, 1]), np.array([1, 2, 3]))


def test_a_million_rows_give_the_known_figures():
    """Also a guard: work or memory that grows with pairs would never come back from this."""
    label, score = population(1_000_000)
    interval = metrics.auc_interval(label, score)
    assert interval.low < 0.78167 < interval.high
    assert interval.high - interval.low < 0.003
    assert metrics.ks(label, score) == pytest.approx(0.41768, abs=0.005)
