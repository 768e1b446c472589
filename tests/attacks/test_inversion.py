"""Customers cannot be read out of what the coordinator opens; out of one raw update they can.

The opened mean of a round is that of three banks, of some hundred customers and two passes each.
One thing is not stopped without noise, and shown here as it is: a network that the coordinator
crafted, in which one unit answers to one customer.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from shared.privacy.clip import UNITS, Clip
from shared.privacy.noise import SharedNoise, honest_majority
from shared.sections import Neural
from tests.attacks import inversion, victims

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("torch") is None,
        reason="torch is not installed: pip install 'confide[neural]'",
    ),
    pytest.mark.data,
]
AGREED = Neural(rounds=1)
UNITS_A_LAYER = 32
#: Share of a distance that counts for nothing; a raw update leads all the way, a share of 1.
NO_NEARER = 0.05


@pytest.fixture(scope="module")
def people():
    """Return customers of three banks, and who of them is trained on: every other one."""
    everybody = victims.uci(900, fine=True)
    member = np.arange(900) // victims.BANKS % 2 == 0
    return everybody, member


def gradient(people, layout, weights, rows):
    """Return one raw gradient over some customers: no clipping, no passes, no sum."""
    from shared.neural.net import build  # noqa: PLC0415 - an extra
    from shared.privacy.sgd import _gradients  # noqa: PLC0415

    return _gradients(build(layout, weights), people.inputs[rows], people.label[rows]).mean(0)


def baseline(people, member):
    """Return how near the mean customer is to the nearest one trained on."""
    return inversion.nearest(people.inputs[~member].mean(0), people.inputs[member])[1]


def test_the_opened_mean_of_a_round_leads_to_no_customer(people):
    everybody, member = people
    layout = everybody.layout(UNITS_A_LAYER, free=True)
    start = layout.initial(AGREED.seed)
    update = victims.federated_from(everybody, member, AGREED, layout, start, 1) - start
    found = inversion.guesses(layout, update)
    assert len(found) > UNITS_A_LAYER // 2
    trained = everybody.inputs[member]
    apart = np.array([inversion.nearest(guess, trained)[1] for guess in found])
    strange = np.array([inversion.nearest(guess, everybody.inputs[~member])[1] for guess in found])
    plain = baseline(everybody, member)
    print(f"sum: {apart.min():.2f}; strangers {strange.min():.2f}; mean customer {plain:.2f}")  # noqa: T201
    # No guess comes nearer to who was trained on than to others, nor than the mean customer does.
    assert abs(apart.mean() / strange.mean() - 1.0) < NO_NEARER
    assert apart.min() > (1.0 - NO_NEARER) * plain


def test_a_single_customers_raw_update_is_that_customer(people):
    everybody, member = people
    layout = everybody.layout(UNITS_A_LAYER, free=True)
    start = layout.initial(AGREED.seed)
    for victim in np.flatnonzero(member)[:20]:
        update = gradient(everybody, layout, start, [victim])
        found = inversion.guesses(layout, update)
        assert np.abs(found - everybody.inputs[victim]).max(axis=1).min() < 1e-6
        # The offset's sign is the label.
        assert (layout.split(update)[-1][0] < 0) == (everybody.label[victim] == 1)


def test_the_share_of_bad_customers_of_a_raw_update_is_told_by_the_last_offset(people):
    everybody, member = people
    layout = everybody.layout(UNITS_A_LAYER, free=True)
    start = layout.initial(AGREED.seed)
    rows = np.flatnonzero(member)
    odds = everybody.confidence(layout, start) * np.where(everybody.label == 1, 1, -1)
    stranger = (1 / (1 + np.exp(-odds[~member]))).mean()
    told = stranger - gradient(everybody, layout, start, rows)[-1]
    assert abs(told - everybody.label[rows].mean()) < 0.02


@pytest.fixture(scope="module")
def trapped(people):
    """Return a crafted network, the customer that its first unit answers to, and what it tells."""
    everybody, member = people
    layout = everybody.layout(UNITS_A_LAYER, free=True)
    victim = int(np.flatnonzero(member)[5])
    weights, free = inversion.trap(layout, everybody.inputs, victim)
    return layout, weights, victim, everybody.inputs[victim, free] > 0


def test_a_crafted_unit_reads_one_customer_out_of_the_sum_and_nothing_but_noise_stops_it(
    people, trapped
):
    everybody, member = people
    layout, weights, victim, present = trapped
    agreed = AGREED
    with_victim = victims.federated_from(everybody, member, agreed, layout, weights, 1) - weights
    # What decay alone moves is known, and taken off.
    without = member.copy()
    without[victim] = False
    alone = victims.federated_from(everybody, without, agreed, layout, weights, 1) - weights
    told = layout.split(with_victim - alone)[0][0]
    before = layout.split(weights)[0][0]
    assert np.abs(layout.split(alone)[0][0]).max() < 0.01 * np.abs(before).max()  # to nobody else
    assert inversion.told_apart(told, present) > 0.99


def test_noise_at_epsilon_1_hides_the_customer_of_a_crafted_unit(people, trapped):
    pytest.importorskip("dp_accounting", reason="pip install 'confide[privacy]'")
    from shared.neural.net import build  # noqa: PLC0415 - an extra
    from shared.privacy.sgd import clipped_sum  # noqa: PLC0415

    everybody, member = people
    layout, weights, _, present = trapped
    how = victims.Noisy(1.0)
    own = everybody.inputs[member], everybody.label[member]
    plain = clipped_sum(build(layout, weights), *own, Clip(how.clip)).astype(float)
    noise = SharedNoise(
        victims.BANKS, honest_majority(victims.BANKS), UNITS**2, how.mechanism.multiplier
    )
    rng = np.random.default_rng(1)
    noisy = plain + rng.normal(scale=noise.deviation, size=layout.size)
    # The control: the step's sum without noise tells the customer; every step's noise is fresh,
    # and epsilon counts all of them.
    assert inversion.told_apart(layout.split(plain)[0][0], present) > 0.99
    assert abs(inversion.told_apart(layout.split(noisy)[0][0], present) - 0.5) < 0.15
