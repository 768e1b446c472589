"""A party's share of a round: some passes over its own customers, and how good the result is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from shared.neural.layout import Layout, uniform
from shared.neural.net import build, weights_of

Floats = NDArray[np.float64]

_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a party trains in one round.

    Parameters
    ----------
    epochs : int
        Passes over the own customers.
    batch : int
        Customers in one step.
    learning_rate : float
    seed : int
        With the label, the order of the customers.
    label : str
        Party and round.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int
    label: str


def train(
    layout: Layout, weights: Floats, inputs: Floats, label: NDArray[np.int64], recipe: Recipe
) -> tuple[Floats, float]:
    """Train from the common weights on the own customers.

    Stochastic gradient descent with momentum, written out: the first optimiser that torch makes
    costs a process more than a second of imports.

    Parameters
    ----------
    layout : Layout
    weights : ndarray of float64, shape (layout.size,)
        Not changed.
    inputs : ndarray of float64, shape (n, layout.width)
    label : ndarray of int64, shape (n,)
        1 is bad.
    recipe : Recipe

    Returns
    -------
    weights : ndarray of float64, shape (layout.size,)
    loss : float
        Mean log loss of the last pass, each customer at the weights of its step.
    """
    net = build(layout, weights)
    parameters = list(net.parameters())
    speeds = [torch.zeros_like(parameter) for parameter in parameters]
    table, target = torch.from_numpy(inputs), torch.from_numpy(label.astype(np.float64))
    loss_sum = 0.0
    for epoch in range(recipe.epochs):
        draws = uniform(recipe.seed, f"order/{recipe.label}/{epoch}", len(label))
        order = torch.from_numpy(np.argsort(draws, kind="stable"))
        loss_sum = 0.0
        for start in range(0, len(label), recipe.batch):
            rows = order[start : start + recipe.batch]
            loss = binary_cross_entropy_with_logits(net(table[rows])[:, 0], target[rows])
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, speed, gradient in zip(parameters, speeds, gradients, strict=True):
                    speed.mul_(_MOMENTUM).add_(gradient)
                    parameter.sub_(recipe.learning_rate * speed)
            loss_sum += float(loss.detach()) * len(rows)
    return weights_of(net), loss_sum / len(label)


def default_prob(layout: Layout, weights: Floats, inputs: Floats) -> Floats:
    """Return the predicted probability of default, shape (n,), each in [0, 1]."""
    with torch.no_grad():
        logits = build(layout, weights)(torch.from_numpy(inputs))[:, 0]
        prob: Floats = torch.sigmoid(logits).numpy()
    return prob
