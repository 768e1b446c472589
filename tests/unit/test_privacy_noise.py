"""The noise is what it claims to be: exact in its coins, right in its distribution, shared out."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from shared.errors import Refused, UsageError
from shared.masks import Keystream
from shared.privacy import gaussian
from shared.privacy.gaussian import discrete_gaussian, exponential_coins, uniform_below
from shared.privacy.noise import MIN_SHARE, SharedNoise, honest_majority, noise_share


def entropy(label="noise"):
    """The same bytes in every run."""
    return Keystream(bytes(range(32)), label).read


def chi_square(drawn, variance):
    """p-value of drawn integers against the discrete Gaussian's own probabilities."""
    reach = math.ceil(3 * math.sqrt(variance))
    values = np.arange(-8 * reach, 8 * reach + 1)
    weights = np.exp(-(values**2) / (2 * variance))
    weights /= weights.sum()
    inside = np.abs(values) < reach
    expected = np.append(weights[inside], weights[~inside].sum())
    counts = np.array([(drawn == value).sum() for value in values[inside]])
    observed = np.append(counts, len(drawn) - counts.sum())
    return chisquare(observed, expected * len(drawn)).pvalue


@pytest.mark.parametrize("variance", [1, 2, 7, 16, 50])
def test_small_noise_has_the_probabilities_of_the_discrete_gaussian(variance):
    assert chi_square(discrete_gaussian(12_000, variance, entropy()), variance) > 1e-3


def test_the_same_test_finds_noise_of_another_variance_or_a_rounded_laplace():
    drawn = discrete_gaussian(12_000, 18, entropy())
    assert chi_square(drawn, 16) < 1e-6
    laplace = np.rint(np.random.default_rng(1).laplace(0, math.sqrt(8), 12_000))
    assert chi_square(laplace, 16) < 1e-6


@pytest.mark.parametrize("variance", [10**6, 2**44, 2**56])
def test_large_noise_is_normal_to_the_eye_of_a_kolmogorov_smirnov_test(variance):
    drawn = discrete_gaussian(8_000, variance, entropy()) / math.sqrt(variance)
    assert kstest(drawn, "norm").pvalue > 1e-3
    assert kstest(1.06 * drawn + 0.04, "norm").pvalue < 1e-3


@pytest.mark.parametrize("variance", [1, 37, 2**44 + 12345, 2**56])
def test_exact_fractions_toss_the_same_coins_as_doubles_do(monkeypatch, variance):
    fast = discrete_gaussian(300, variance, entropy())
    monkeypatch.setattr(gaussian, "_MARGIN", 2.0)  # every coin is in doubt
    assert np.array_equal(discrete_gaussian(300, variance, entropy()), fast)


def test_a_coin_that_64_bits_leave_open_takes_more_bits():
    third = Fraction(1, 3)
    word = (1 << 64) // 3  # agrees with one third in all 64 bits
    asked = []

    def bits(value):
        def read(count):
            asked.append(count)
            return value.to_bytes(8, "little") * (count // 8)

        return read

    assert gaussian._exact_coin(word, third, bits(0)) is True
    assert gaussian._exact_coin(word, third, bits((1 << 64) - 1)) is False
    assert asked == [8, 8]


def test_coins_come_up_as_often_as_their_exponential_says():
    for exponent in (0.0, 0.25, 1.0, 2.5):
        up = exponential_coins(
            np.full(12_000, exponent), lambda _, exponent=exponent: Fraction(exponent), entropy()
        )
        assert up.mean() == pytest.approx(math.exp(-exponent), abs=0.02)


def test_uniform_integers_are_uniform():
    drawn = uniform_below(30_000, 7, entropy())
    assert chisquare(np.bincount(drawn, minlength=7)).pvalue > 1e-3


@pytest.mark.parametrize("colluders", [1, 2])
def test_the_noise_is_whole_even_without_the_shares_of_those_who_collude(colluders):
    noise = SharedNoise(4, colluders, 100, 3.0)
    draw = entropy(f"{colluders}")
    shares = [noise.draw(8_000, draw) for _ in range(4)]
    honest = sum(shares[colluders:])
    assert honest.std() == pytest.approx(30.0, rel=0.05)
    assert sum(shares).std() == pytest.approx(noise.deviation, rel=0.05)
    one_more = sum(shares[colluders + 1 :])
    assert one_more.std() < 0.9 * 30.0  # as many as are tolerated, and no more


def test_shares_of_one_party_are_fresh_each_time():
    noise = SharedNoise(3, 1, 100, 3.0)
    assert not np.array_equal(noise.draw(100), noise.draw(100))


def test_a_majority_is_honest_by_default():
    assert [honest_majority(parties) for parties in (2, 3, 4, 5, 10)] == [1, 1, 1, 2, 4]
    assert noise_share(3, 2.0, 1 << 20, 5_000, entropy()).std() == pytest.approx(
        2.0 * (1 << 20) / math.sqrt(2), rel=0.05
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SharedNoise(3, 3, 100, 1.0),
        lambda: SharedNoise(3, 0, 100, 1.0),
        lambda: SharedNoise(3, 1, MIN_SHARE, 0.1),
        lambda: SharedNoise(3, 1, 100, math.inf),
        lambda: SharedNoise(3, 1, 1 << 60, 10.0),
        lambda: discrete_gaussian(1, 0),
    ],
)
def test_noise_that_would_not_be_what_it_claims_is_refused(wrong):
    with pytest.raises(UsageError):
        wrong()


def test_a_share_beyond_belief_is_refused(monkeypatch):
    monkeypatch.setattr("shared.privacy.noise.discrete_gaussian", lambda *_: np.array([10**9]))
    with pytest.raises(Refused, match="random source"):
        SharedNoise(3, 1, 100, 3.0).draw(1)
