"""Two models on the same customers: against slow sums over all pairs, and against repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.challenger.compare import (
    Comparison,
    Pairs,
    brier_difference,
    compare,
    delong,
    ks_difference,
)
from shared.challenger.verdict import Verdict
from shared.errors import DataError, UsageError
from shared.metrics import auc_interval, ks, roc_auc
from shared.trueness import brier


def slow_delong(label, first, second, level=0.95):
    """DeLong, DeLong & Clarke-Pearson (1988) as it is written: every bad against every good."""
    bad, good = label == 1, label == 0
    areas, of_bads, of_goods = [], [], []
    for score in (first, second):
        wins = (score[bad][:, None] > score[good]) + 0.5 * (score[bad][:, None] == score[good])
        areas.append(wins.mean())
        of_bads.append(wins.mean(axis=1))
        of_goods.append(wins.mean(axis=0))
    covariance = np.cov(of_bads) / bad.sum() + np.cov(of_goods) / good.sum()
    contrast = np.array([-1.0, 1.0])
    error = np.sqrt(contrast @ covariance @ contrast)
    gap = areas[1] - areas[0]
    reach = stats.norm.ppf(0.5 + level / 2) * error
    return areas, gap, gap - reach, gap + reach, 2 * stats.norm.sf(abs(gap) / error)


def people(seed, n=300, *, ties=20, gain=1.0):
    """Draw labels with two scores that err together; `ties` distinct values of each."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.3).astype(np.int64)
    truth = label + rng.normal(size=n)
    scores = [truth + rng.normal(size=n), gain * truth + rng.normal(size=n)]
    return label, *(np.round(stats.norm.cdf(score) * ties) / ties for score in scores)


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 10, 10**6]), st.integers(20, 200))
@settings(max_examples=60, deadline=None)
def test_delong_is_the_slow_sum_over_all_pairs(seed, ties, n):
    label, first, second = people(seed, n, ties=ties)
    if not 2 <= label.sum() <= n - 2:
        return
    areas, gap, low, high, p_value = slow_delong(label, first, second)
    found, p_found = delong(Pairs.of_rows(label, first, second))
    assert (found.champion, found.challenger) == pytest.approx(areas, abs=1e-12)
    told = found.difference
    assert (told.value, told.low, told.high) == pytest.approx((gap, low, high), abs=1e-10)
    if high - low > 1e-9:
        assert p_found == pytest.approx(p_value, abs=1e-9)


def test_figures_are_those_of_the_metrics_of_each_model_alone():
    label, first, second = people(1)
    found = compare(Pairs.of_rows(label, first, second), np.random.default_rng(0), replicates=20)
    for score, side in ((first, "champion"), (second, "challenger")):
        assert getattr(found.auc, side) == pytest.approx(roc_auc(label, score), abs=1e-12)
        assert getattr(found.ks, side) == pytest.approx(ks(label, score), abs=1e-12)
        assert getattr(found.brier, side) == pytest.approx(brier(label, score), abs=1e-12)
    assert (found.customers, found.bads) == (300, label.sum())


def test_a_pair_is_told_apart_where_two_intervals_overlap():
    label, first, second = people(3, 4000, ties=10**6, gain=1.6)
    gap = delong(Pairs.of_rows(label, first, second))[0].difference
    apart = [auc_interval(label, score) for score in (first, second)]
    assert gap.low > 0
    assert gap.high - gap.low < apart[0].high - apart[0].low
    assert not compare(Pairs.of_rows(label, first, second), np.random.default_rng(0)).worse


def test_a_model_is_not_different_from_itself():
    label, first, _ = people(4)
    found = compare(Pairs.of_rows(label, first, first), np.random.default_rng(0), replicates=10)
    for one in (found.auc, found.ks, found.brier):
        assert (one.difference.low, one.difference.value, one.difference.high) == (0, 0, 0)
    assert found.p_value == 1.0
    assert not found.worse


def test_exchanging_the_models_turns_the_difference_round():
    label, first, second = people(5)
    found, p_value = delong(Pairs.of_rows(label, first, second))
    back, p_back = delong(Pairs.of_rows(label, second, first))
    assert back.difference.value == pytest.approx(-found.difference.value, abs=1e-12)
    assert back.difference.low == pytest.approx(-found.difference.high, abs=1e-12)
    assert p_back == pytest.approx(p_value, abs=1e-9)


def test_rows_are_counted_by_pair_whatever_their_order():
    label, first, second = people(6, ties=5)
    order = np.random.default_rng(1).permutation(len(label))
    pairs = Pairs.of_rows(label, first, second)
    again = Pairs.of_rows(label[order], first[order], second[order])
    assert len(pairs.goods) < 36
    for name in ("champion", "challenger", "goods", "bads"):
        assert np.array_equal(getattr(pairs, name), getattr(again, name))


def test_a_seed_repeats_the_bootstrap_and_another_one_does_not():
    pairs = Pairs.of_rows(*people(7))
    found = [compare(pairs, np.random.default_rng(seed), replicates=50) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert found[0].ks.difference != found[2].ks.difference
    assert found[0].auc == found[2].auc


def test_bootstrap_of_brier_is_the_normal_interval_of_a_mean_of_differences():
    label, first, second = people(8, 2000, ties=10**6)
    pairs = Pairs.of_rows(label, first, second)
    gap = brier_difference(pairs, 0.95, 2000, np.random.default_rng(3)).difference
    each = (second - label) ** 2 - (first - label) ** 2
    error = each.std() / np.sqrt(len(each))
    assert gap.value == pytest.approx(each.mean(), abs=1e-12)
    assert gap.low == pytest.approx(each.mean() - 1.96 * error, abs=0.15 * error)
    assert gap.high == pytest.approx(each.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_of_ks_spreads_as_fresh_samples_do():
    fresh = []
    for seed in range(200):
        label, first, second = people(1000 + seed, 600, ties=50)
        fresh.append(ks(label, second) - ks(label, first))
    pairs = Pairs.of_rows(*people(9, 600, ties=50))
    gap = ks_difference(pairs, 0.95, 300, np.random.default_rng(4)).difference
    assert (gap.high - gap.low) / (2 * 1.96) == pytest.approx(np.std(fresh), rel=0.35)


@pytest.mark.parametrize(
    ("label", "first", "second"),
    [
        ([0, 1, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ([0, 0, 0, 0], [0.1] * 4, [0.2] * 4),
        ([0, 1, 0, 1], [0.1] * 3, [0.2] * 4),
        ([0, 1, 0, 1], [0.1] * 4, [0.2, 0.3, np.nan, 0.1]),
        ([0, 1, 0, 2], [0.1] * 4, [0.2] * 4),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(label, first, second):
    with pytest.raises(DataError):
        Pairs.of_rows(np.array(label), np.array(first), np.array(second))


def test_brier_needs_probabilities_and_an_interval_a_level():
    pairs = Pairs.of_rows(np.array([0, 1, 0, 1]), np.array([1.5, 2, 3, 4]), np.array([0.1] * 4))
    delong(pairs)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        compare(pairs, np.random.default_rng(0))
    good = Pairs.of_rows(*people(1))
    for level, replicates in ((0.0, 10), (1.0, 10), (0.95, 1)):
        with pytest.raises(UsageError):
            ks_difference(good, level, replicates, np.random.default_rng(0))


def test_a_comparison_is_read_as_it_was_written_and_nothing_else_is():
    found = compare(Pairs.of_rows(*people(10)), np.random.default_rng(0), replicates=20)
    told = found.to_mapping()
    assert Comparison.from_mapping(told, "x") == found
    other = {**told["auc"], "challenger": told["auc"]["challenger"] + 0.1}
    wide = {**told["auc"], "difference": {**told["auc"]["difference"], "low": 2.0}}
    for change in (
        {"more": 1},
        {"bads": 1},
        {"customers": 3.5},
        {"p_value": 2.0},
        {"p_value": float("nan")},
        {"auc": other},
        {"auc": wide},
        {"ks": None},
    ):
        with pytest.raises(DataError):
            Comparison.from_mapping({**told, **change}, "x")


def test_a_verdict_holds_only_for_the_two_releases_that_it_names():
    label, first, second = people(11, 2000, gain=1.5)
    better = compare(Pairs.of_rows(label, first, second), np.random.default_rng(0), replicates=20)
    worse = compare(Pairs.of_rows(label, second, first), np.random.default_rng(0), replicates=20)
    verdict = Verdict("a" * 64, "b" * 64, better)
    assert verdict.problem("a" * 64, "b" * 64) == ""
    assert "another release than" in verdict.problem("c" * 64, "b" * 64)
    assert "of another release" in verdict.problem("a" * 64, "c" * 64)
    assert "ranks worse" in Verdict("a" * 64, "", worse).problem("a" * 64, "b" * 64)
    assert Verdict.from_mapping(verdict.to_mapping(), "x") == verdict
    for value in ({}, None, {**verdict.to_mapping(), "champion": "A" * 64}):
        with pytest.raises(DataError):
            Verdict.from_mapping(value, "x")
