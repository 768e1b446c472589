"""What noise costs: two accountants agree, compositions add up, solved noise meets its target."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from shared.errors import BudgetSpent, UsageError
from shared.privacy.accounting import Mechanism, epsilon, multiplier_for, split_in_two

DELTA = 1e-5


def gaussian_delta(multiplier, target):
    """Balle and Wang, ICML 2018, theorem 8: the exact delta of one Gaussian release."""
    half, far = 1 / (2 * multiplier), target * multiplier
    return norm.cdf(half - far) - math.exp(target) * norm.cdf(-half - far)


@pytest.mark.parametrize("multiplier", [1.0, 3.73, 10.0])
def test_one_release_costs_what_the_closed_form_says(multiplier):
    found = epsilon([Mechanism(multiplier)], DELTA)
    assert gaussian_delta(multiplier, found) == pytest.approx(DELTA, rel=0.02)
    assert gaussian_delta(multiplier, found) <= DELTA * (1 + 1e-6)


@pytest.mark.parametrize(
    ("multiplier", "rate", "steps"),
    [pytest.param(1.0, 0.024, 820, marks=pytest.mark.slow), (2.0, 0.1, 300)],
)
def test_two_accountants_agree_within_two_percent(multiplier, rate, steps):
    accountants = pytest.importorskip(
        "opacus.accountants", reason="opacus is not installed: no second opinion on epsilon"
    )
    other = accountants.PRVAccountant()
    other.history = [(multiplier, rate, steps)]
    ours = epsilon([Mechanism(multiplier, rate, steps)], DELTA)
    assert ours == pytest.approx(other.get_epsilon(DELTA), rel=0.02)


def test_releases_over_everybody_compose_like_one_with_less_noise():
    together = epsilon([Mechanism(4.0), Mechanism(3.0)], DELTA)
    assert together == pytest.approx(epsilon([Mechanism(2.4)], DELTA), rel=1e-9)
    assert epsilon([Mechanism(4.0, steps=4)], DELTA) == epsilon([Mechanism(2.0)], DELTA)


def test_a_sampled_step_costs_less_and_more_steps_cost_more():
    sampled = [epsilon([Mechanism(2.0, 0.05, steps)], DELTA) for steps in (1, 30)]
    assert 0 < sampled[0] < sampled[1]
    assert sampled[1] < epsilon([Mechanism(2.0)], DELTA)


def test_composing_sampled_steps_with_a_release_costs_more_than_either():
    release, steps = Mechanism(5.0), Mechanism(3.0, 0.05, 50)
    both = epsilon([release, steps], DELTA)
    assert both > max(epsilon([release], DELTA), epsilon([steps], DELTA))
    assert both <= epsilon([release], DELTA / 2) + epsilon([steps], DELTA / 2)


@pytest.mark.parametrize(
    ("target", "rate", "steps"), [(1.0, 1.0, 1), (0.5, 1.0, 3), (1.0, 0.05, 100)]
)
def test_the_noise_solved_for_keeps_the_target_and_is_no_more_than_needed(target, rate, steps):
    found = multiplier_for(target, DELTA, rate=rate, steps=steps)
    assert epsilon([Mechanism(found, rate, steps)], DELTA) <= target
    assert epsilon([Mechanism(0.985 * found, rate, steps)], DELTA) > target


def test_what_was_spent_before_asks_for_more_noise_until_nothing_is_left():
    before = (Mechanism(multiplier_for(0.5, DELTA)),)
    assert multiplier_for(1.0, DELTA, before=before) > multiplier_for(1.0, DELTA)
    with pytest.raises(BudgetSpent, match="spent"):
        multiplier_for(0.4, DELTA, before=before)


def test_a_release_splits_into_two_of_the_same_cost():
    first, second = split_in_two(3.73, 0.1)
    assert 1 / first**2 + 1 / second**2 == pytest.approx(1 / 3.73**2)
    assert first > second > 3.73


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Mechanism(0.0),
        lambda: Mechanism(math.nan),
        lambda: Mechanism(1.0, rate=0.0),
        lambda: Mechanism(1.0, steps=0),
        lambda: epsilon([Mechanism(1.0)], 0.0),
        lambda: multiplier_for(-1.0, DELTA),
        lambda: split_in_two(1.0, 1.0),
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_nothing_costs_nothing():
    assert epsilon([], DELTA) == 0.0
