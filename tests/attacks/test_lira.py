"""Who was trained on cannot be told from the network: LiRA finds next to nobody, surely.

No test holds a counted rate against the bar, which luck may pass or miss, but a bound of it
(`lira.rate`): the attack's true rate is below `high`, or above `low`, but for a chance of two in a
thousand. Seeds are fixed, so a run is the same wherever it is.

    pytest tests/attacks/test_lira.py -s                      # two or three minutes
    CONFIDE_TEST_SHADOWS=64 CONFIDE_TEST_CUSTOMERS=30000 ...  # as much as patience allows
"""

from __future__ import annotations

import importlib.util
import os
from functools import partial

import numpy as np
import pytest

from shared.sections import Neural
from tests.attacks import lira, victims
from tests.depth import depth, in_depth

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
needs_accounting = pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None,
    reason="dp-accounting is not installed: pip install 'confide[privacy]'",
)
PATIENT = pytest.mark.timeout(7200)
SHADOWS = int(os.environ.get("CONFIDE_TEST_SHADOWS", depth("10", "24")))
CUSTOMERS = int(os.environ.get("CONFIDE_TEST_CUSTOMERS", "6000"))

#: Highest true positive rate at a false positive rate of a thousandth, plain and at epsilon 1.
BAR, NOISY_BAR = 0.02, 0.004


def attacked(people, layout, train, models, seed=1):
    """Train models on random halves, attack each with the others.

    Returns
    -------
    dict
        For both ways to estimate spreads: the evidence, and who it is about.
    """
    member = lira.halves(models, len(people), seed)
    weights = (train(chosen, seed=number) for number, chosen in enumerate(member))
    confidence = np.array([people.confidence(layout, each) for each in weights])
    return {
        own: (lira.evidence(confidence, member, own_spread=own), member) for own in (False, True)
    }


def overfitted(people, layout, epochs=120):
    """Return a training of one bank that goes on until every label is known by heart."""
    from shared.neural.train import Recipe, train  # noqa: PLC0415 - an extra

    def learn_by_heart(chosen, seed):
        recipe = Recipe(epochs, len(people), 0.03, seed, "by heart")
        start = layout.initial(1)
        return train(layout, start, people.inputs[chosen], people.label[chosen], recipe)[0]

    return learn_by_heart


def rates_of(name, found, false_positives=1e-3):
    """Return both attacks' rates, and tell them."""
    rates = {own: lira.rate(*each, false_positives) for own, each in found.items()}
    for own, each in rates.items():
        print(f"{name}, {'own' if own else 'common'} spread: {each}")  # noqa: T201
    return rates.values()


# The attack on scores of a known distribution.


def drawn(models, customers, shift, seed=3):
    """Return confidences that rise by `shift` deviations where a customer is in."""
    rng = np.random.default_rng(seed)
    member = lira.halves(models, customers, seed)
    easy, spread = rng.normal(size=customers) * 3, np.exp(rng.normal(size=customers))
    noise = rng.normal(size=(models, customers))
    return easy + spread * (noise + shift * member), member


def test_the_attack_finds_members_whose_confidence_rises_as_often_as_theory_says():
    confidence, member = drawn(40, 2000, shift=3.0)
    found = lira.rate(lira.evidence(confidence, member, own_spread=True), member)
    # With everything known, Phi(3 - 3.09) = .464; shadows know a little less.
    assert 0.25 < found.low < found.value < found.high < 0.50
    common = lira.rate(lira.evidence(confidence, member, own_spread=False), member)
    assert common.value < found.value  # customers differ in spread here


@pytest.mark.parametrize("own", [False, True])
def test_the_attack_finds_nobody_where_being_in_changes_nothing(own):
    confidence, member = drawn(40, 2000, shift=0.0)
    found = lira.rate(lira.evidence(confidence, member, own_spread=own), member)
    assert found.low < 1e-3 < found.high < 2.5e-3


def test_a_targets_own_row_has_no_say_in_its_shadows():
    confidence, member = drawn(12, 50, shift=1.0)
    before = lira.evidence(confidence, member, own_spread=True)[3]
    flipped = member.copy()
    flipped[3] = ~member[3]
    assert np.allclose(lira.evidence(confidence, flipped, own_spread=True)[3], before)


def test_the_bounds_hold_the_true_rate_as_often_as_they_say():
    rng, wrong = np.random.default_rng(5), 0
    truth = 0.0227501  # Phi(1.0902 - 3.0902): of those above the threshold of a thousandth
    for _ in range(100):
        member = np.arange(40_000) < 20_000
        score = rng.normal(size=40_000) + np.where(member, 1.0902323, 0.0)
        found = lira.rate(score, member)
        wrong += not found.low <= truth <= found.high
    assert wrong <= 4  # 0.4 expected at most; 5 and more by chance once in 10,000 tests


# Networks.


@needs_torch
@pytest.mark.slow
@PATIENT
@pytest.mark.data
def test_a_network_that_knows_its_customers_by_heart_gives_them_away():
    people = victims.uci(400, fine=True)
    layout = people.layout(32, free=True)
    found = attacked(people, layout, overfitted(people, layout), 25)
    assert max(one.value for one in rates_of("by heart", found)) > BAR
    # At a hundredth there are non-members enough for a bound from below.
    assert max(one.low for one in rates_of("by heart, at .01", found, 0.01)) > 0.03


@needs_torch
@pytest.mark.data
def test_the_networks_of_a_few_customers_give_next_to_nobody_away():
    people, agreed = victims.uci(900), Neural(rounds=4)
    layout = people.layout(agreed.hidden)
    train = partial(victims.federated, people, agreed=agreed)
    rates = rates_of("few customers", attacked(people, layout, train, 16))
    assert max(one.high for one in rates) <= BAR


@needs_torch
@pytest.mark.slow
@PATIENT
@pytest.mark.data
def test_the_network_as_agreed_by_default_gives_next_to_nobody_away():
    people, agreed = victims.uci(CUSTOMERS), Neural()
    layout = people.layout(agreed.hidden)
    train = partial(victims.federated, people, agreed=agreed)
    found = attacked(people, layout, train, SHADOWS)
    rates = rates_of(f"{CUSTOMERS} customers, {SHADOWS} models", found)
    assert max(one.high for one in rates) <= BAR


@needs_torch
@needs_accounting
@in_depth  # the noise itself is tested exactly in tests/unit; this looks at what it does
@pytest.mark.slow
@PATIENT
@pytest.mark.data
def test_at_epsilon_1_nobody_is_given_away():
    people, how = victims.uci(CUSTOMERS, pieces=8), victims.Noisy(1.0)
    train = partial(victims.noisy, people, how=how)
    found = attacked(people, people.layout(how.hidden), train, SHADOWS)
    rates = rates_of(f"epsilon 1, {CUSTOMERS} customers, {SHADOWS} models", found)
    assert max(one.high for one in rates) <= NOISY_BAR
