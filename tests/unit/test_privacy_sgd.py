"""No customer moves an update further than the bound, whatever its rows are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: no network to train")

import torch
from torch import nn

from shared.errors import Refused, UsageError
from shared.masks import Keystream
from shared.neural.layout import Layout
from shared.neural.net import build
from shared.neural.train import default_prob
from shared.privacy.noise import SharedNoise
from shared.privacy.sgd import Clip, clipped_sum, dp_update, poisson_sample

CLIP = Clip(0.5)


def net(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)).double()


def rows(n, seed=2, size=1.0):
    rng = np.random.default_rng(seed)
    return size * rng.normal(size=(n, 4)), rng.integers(0, 2, n)


def entropy(label="sgd"):
    return Keystream(bytes(32), label).read


def plain_gradient(model, row, label):
    """The gradient by torch's ordinary way, one row at a time."""
    loss = nn.functional.binary_cross_entropy_with_logits(
        model(torch.tensor(row[None]))[:, 0], torch.tensor([float(label)], dtype=torch.float64)
    )
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return np.concatenate([grad.numpy().ravel() for grad in grads])


def test_the_sum_is_that_of_gradients_taken_and_clipped_one_by_one():
    model, (values, labels) = net(), rows(600)
    wanted = np.zeros(19)
    for row, label in zip(values, labels, strict=True):
        own = plain_gradient(model, row, label)
        wanted += own * min(1.0, CLIP.norm / np.linalg.norm(own))
    found = clipped_sum(model, values, labels, CLIP)
    assert found.dtype == np.int64
    assert np.abs(found * CLIP.norm / CLIP.units - wanted).max() < 600 * CLIP.norm / CLIP.units


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_one_customer_more_moves_the_sum_by_no_more_than_the_bound(size):
    model, (values, labels) = net(), rows(30)
    base = clipped_sum(model, values, labels, CLIP)
    for seed in range(5):
        row, label = rows(1, seed, size)
        more = clipped_sum(model, np.vstack([values, row]), np.append(labels, label), CLIP)
        assert int(((more - base) ** 2).sum()) <= CLIP.units**2


def test_without_clipping_the_same_customer_would_move_it_further():
    model = net()
    found = [
        plain_gradient(model, rows(1, seed, 1e6)[0][0], bad) for seed in range(5) for bad in (0, 1)
    ]
    assert max(map(np.linalg.norm, found)) > 100 * CLIP.norm


def test_many_rows_of_one_customer_count_as_one():
    model, (values, labels) = net(), rows(40, size=50.0)
    same = clipped_sum(model, values, labels, CLIP, customers=np.zeros(40, np.int64))
    assert int((same**2).sum()) <= CLIP.units**2
    apart = clipped_sum(model, values, labels, CLIP)
    assert int((apart**2).sum()) > CLIP.units**2  # so the bound above came from counting them once


def test_rows_of_one_customer_are_drawn_together_whatever_their_order():
    model, (values, labels) = net(), rows(60)
    who = np.arange(60) % 7
    found = dp_update(model, values, labels, CLIP, entropy(), rate=0.5, customers=who)
    drawn = poisson_sample(7, 0.5, entropy())
    assert 0 < drawn.size < 7
    wanted = sum(
        clipped_sum(model, values[who == one], labels[who == one], CLIP, customers=np.zeros(k, int))
        for one in drawn
        for k in [int((who == one).sum())]
    )
    assert np.array_equal(found, wanted)


def test_customers_are_drawn_independently_at_the_agreed_rate():
    draws = [poisson_sample(2_000, 0.1, entropy(str(k))).size for k in range(200)]
    assert np.mean(draws) == pytest.approx(200, rel=0.03)
    assert np.var(draws) == pytest.approx(2_000 * 0.09, rel=0.35)  # a fixed size would have none
    assert poisson_sample(50, 1.0, entropy()).size == 50


def test_nobody_drawn_is_an_update_of_zeros():
    values, labels = rows(3)
    assert not dp_update(net(), values, labels, CLIP, entropy(), rate=1e-12).any()
    assert not clipped_sum(net(), values[:0], labels[:0], CLIP).any()


def test_the_network_of_the_product_trains_on_noisy_updates():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(1_500, 3))
    labels = (values[:, 0] + 0.5 * rng.normal(size=1_500) > 0).astype(int)
    layout = Layout((False,) * 3, 4, 1)
    weights, noise, draw = (
        layout.initial(1),
        SharedNoise(3, 1, CLIP.units**2, 1.0),
        entropy("train"),
    )

    def apart(weights):
        prob = default_prob(layout, weights, values)
        return prob[labels == 1].mean() - prob[labels == 0].mean()

    before = apart(weights)
    for _ in range(25):
        total = dp_update(build(layout, weights), values, labels, CLIP, draw, rate=0.2)
        total = total + sum(noise.draw(layout.size, draw) for _ in range(3))
        weights = weights - 2.0 * CLIP.mean(total, 300)
    assert apart(weights) > before + 0.3


def test_a_gradient_that_is_not_finite_is_refused():
    values, labels = rows(3)
    values[1, 0] = np.nan
    with pytest.raises(Refused, match="diverged"):
        clipped_sum(net(), values, labels, CLIP)


@pytest.mark.parametrize(
    "wrong", [lambda: Clip(0.0), lambda: Clip(1.0, 0), lambda: CLIP.mean(0, 0)]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        wrong()
