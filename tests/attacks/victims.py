"""Networks of several banks as the product trains them, over and over, for the attacks.

The training is the product's own (`shared.neural.train`, `shared.privacy.sgd`), and so is what the
coordinator does with the updates; only the messages are left out, which change a weight by less
than 1e-6 (`tests/protocols/test_neural.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from clients.data.datasets import embedded_contract, fetch_uci_default
from clients.data.split import same_features
from shared.contract import check_columns
from shared.masks import Keystream
from shared.neural import average
from shared.neural.inputs import Encoding, own_counts
from shared.neural.layout import Layout
from shared.privacy.accounting import Mechanism, multiplier_for
from shared.privacy.clip import UNITS, Clip
from shared.privacy.noise import SharedNoise, honest_majority
from tests.support import data_path

BANKS = 3
_FLOOR = 100


@dataclass(frozen=True)
class Population:
    """Customers of three banks, encoded alike.

    Parameters
    ----------
    encoding : Encoding
    inputs : ndarray of float64, shape (n, width)
    label : ndarray of int64, shape (n,)
        1 is bad.
    """

    encoding: Encoding
    inputs: np.ndarray
    label: np.ndarray

    def __len__(self):
        return len(self.label)

    def layout(self, hidden, blocks=1, free=False):
        """Return a network over these inputs; with `free` whatever directions the contract has."""
        directions = (False,) * self.encoding.width if free else self.encoding.monotone
        return Layout(directions, hidden, blocks)

    def rows(self, member):
        """Return each bank's rows of these members."""
        return [np.flatnonzero(member[bank::BANKS]) * BANKS + bank for bank in range(BANKS)]

    def confidence(self, layout, weights):
        """Return the log odds of each customer's own label, shape (n,)."""
        import torch  # noqa: PLC0415 - an extra

        from shared.neural.net import build  # noqa: PLC0415

        with torch.no_grad():
            logits = build(layout, weights)(torch.from_numpy(self.inputs))[:, 0].numpy()
        return np.where(self.label == 1, logits, -logits)


def population(contract, checked, customers, pieces, fine=False):
    """Return some customers of a table, in random order, encoded by their own edges.

    With `fine` the edges are those of the whole table, which tell few customers better apart.
    """
    order = np.random.default_rng(1).permutation(len(checked.label))[:customers]
    values = {name: column[order] for name, column in checked.values.items()}
    counts = own_counts(contract.features, checked.values if fine else values, _FLOOR)
    encoding = Encoding.from_counts(contract.features, counts, pieces)
    return Population(encoding, encoding.apply(values), checked.label[order].astype(np.int64))


def uci(customers, pieces=24, fine=False):
    """Return customers of UCI 350, encoded as the contract says."""
    contract, _ = same_features(embedded_contract("uci_default")[1], "uci_default.toml")
    return population(contract, _uci(), customers, pieces, fine)


@cache
def _uci():
    contract, _ = same_features(embedded_contract("uci_default")[1], "uci_default.toml")
    path = data_path("uci_default/UCI_Credit_Card.csv.gz")
    table = fetch_uci_default(path)
    return check_columns(contract, "bank", table, with_label=True, source=path.name)


def federated(people, member, *, agreed, seed):
    """Return the weights after the last round of federated averaging over these members.

    Parameters
    ----------
    people : Population
    member : ndarray of bool, shape (n,)
    agreed : Neural
        What a federation agrees on, strategy FedAvg.
    seed : int
        Of the order of customers; every training begins at the same weights, as everybody knows.
    """
    layout = people.layout(agreed.hidden, agreed.blocks)
    return federated_from(people, member, agreed, layout, layout.initial(agreed.seed), seed)


def federated_from(people, member, agreed, layout, weights, seed):
    """Train as `federated` does, any network from any weights."""
    from shared.neural.train import Recipe, train  # noqa: PLC0415 - an extra

    banks = people.rows(member)
    for number in range(1, agreed.rounds + 1):
        updates = []
        for bank, rows in enumerate(banks):
            recipe = Recipe(
                agreed.local_epochs,
                agreed.batch,
                agreed.learning_rate,
                seed,
                f"{bank}/{number}",
                agreed.decay,
            )
            trained, _ = train(layout, weights, people.inputs[rows], people.label[rows], recipe)
            updates.append(average.clipped(trained - weights, agreed.clip))
        mean = np.average(updates, axis=0, weights=[len(rows) for rows in banks])
        weights = layout.project(weights + mean)
    return weights


@dataclass(frozen=True)
class Noisy:
    """A training with noise.

    Parameters
    ----------
    epsilon : float
        Of the whole training; infinite for none, with the same clipping.
    delta, clip, rate, steps
        See `shared.config.Privacy`.
    hidden : int
    learning_rate : float
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 0.5
    rate: float = 0.05
    steps: int = 160
    hidden: int = 16
    learning_rate: float = 3.0

    @property
    def noise(self):
        """What each bank adds to its sum of gradients, or None."""
        if math.isinf(self.epsilon):
            return None
        multiplier = _multiplier(self.epsilon, self.delta, self.rate, self.steps)
        return SharedNoise(BANKS, honest_majority(BANKS), UNITS**2, multiplier)

    @property
    def mechanism(self):
        """What is accounted for."""
        multiplier = _multiplier(self.epsilon, self.delta, self.rate, self.steps)
        return Mechanism(multiplier, self.rate, self.steps)


@cache
def _multiplier(epsilon, delta, rate, steps):
    return multiplier_for(epsilon, delta, rate=rate, steps=steps)


def noisy(people, member, *, how, seed):
    """Return the weights after DP-SGD over these members; the others' records are blank.

    The banks' shares of noise are drawn as one Gaussian of their sum's deviation, which nobody can
    tell from the sum of theirs (`shared.privacy.noise`) and takes a hundredth of the time.
    """
    from shared.neural.net import build  # noqa: PLC0415 - an extra
    from shared.privacy.sgd import dp_update  # noqa: PLC0415

    layout, clip, noise = people.layout(how.hidden), Clip(how.clip), how.noise
    weights, speed = layout.initial(1), np.zeros(layout.size)
    entropy = Keystream(seed.to_bytes(32, "big"), "noisy").read
    rng = np.random.default_rng(seed)
    expected = how.rate * len(people) / 2  # the same for whoever is in or out
    for step in range(how.steps):
        net = build(layout, weights)
        total = np.zeros(layout.size)
        for rows in people.rows(member):
            own = people.inputs[rows], people.label[rows]
            total += dp_update(net, *own, clip, entropy, rate=how.rate)
        if noise:
            total += np.rint(rng.normal(scale=noise.deviation, size=layout.size))
        speed = 0.9 * speed + 0.1 * clip.mean(total, expected)
        fall = 0.5 * (1 + math.cos(math.pi * step / how.steps))
        weights = layout.project(weights - how.learning_rate * fall / how.clip * speed)
    return weights
