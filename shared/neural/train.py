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

# Adam's own constants (Kingma and Ba, "Adam", ICLR 2015, algorithm 1).
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


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
    decay : float
        By how much, times the learning rate, weights shrink in a step; offsets do not.
    pull : float
        Strength of the pull back to where the round started (FedProx: Li et al., "Federated
        Optimization in Heterogeneous Networks", MLSys 2020, eq. 2); 0 for none.
    head_only : bool
        Whether only the last layer moves: a personal head.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int
    label: str
    decay: float = 0.0
    pull: float = 0.0
    head_only: bool = False


def train(
    layout: Layout, weights: Floats, inputs: Floats, label: NDArray[np.int64], recipe: Recipe
) -> tuple[Floats, float]:
    """Train from the common weights on the own customers, by Adam, fresh in every round.

    The optimiser is written out on the flat array: the first one that torch makes costs a process
    more than a second of imports. After every step the weights return within the layout's bounds.

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
    step = _Adam(layout, weights_of(net), recipe)
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
            step.take(torch.cat([gradient.ravel() for gradient in gradients]), parameters)
            loss_sum += float(loss.detach()) * len(rows)
    return weights_of(net), loss_sum / len(label)


class _Adam:
    """Adam with decoupled decay (Loshchilov and Hutter, ICLR 2019) on one flat array."""

    def __init__(self, layout: Layout, start: Floats, recipe: Recipe) -> None:
        self._start = torch.from_numpy(start)
        self._flat = self._start.clone()
        self._recipe = recipe
        self._mean = torch.zeros_like(self._flat)
        self._square = torch.zeros_like(self._flat)
        self._lower, self._upper = (torch.from_numpy(bound) for bound in layout.bounds)
        shrinks = [np.full(shape, float(len(shape) > 1)).ravel() for shape in layout.shapes]
        self._shrinks = torch.from_numpy(np.concatenate(shrinks) * recipe.decay)
        self._moves = torch.ones_like(self._flat)
        if recipe.head_only:
            self._moves[: layout.head.start] = 0.0
        self._steps = 0

    def take(self, gradient: torch.Tensor, parameters: list[torch.nn.Parameter]) -> None:
        """Take one step, and write the weights back to the network."""
        flat, recipe = self._flat, self._recipe
        self._steps += 1
        gradient = gradient + recipe.pull * (flat - self._start)
        self._mean.mul_(_FIRST).add_(gradient, alpha=1.0 - _FIRST)
        self._square.mul_(_SECOND).addcmul_(gradient, gradient, value=1.0 - _SECOND)
        mean = self._mean / (1.0 - _FIRST**self._steps)
        square = self._square / (1.0 - _SECOND**self._steps)
        move = mean / (square.sqrt() + _TINY) + self._shrinks * flat
        flat.sub_(recipe.learning_rate * self._moves * move)
        torch.clamp(flat, self._lower, self._upper, out=flat)
        with torch.no_grad():
            sizes = [parameter.numel() for parameter in parameters]
            for parameter, part in zip(parameters, torch.split(flat, sizes), strict=True):
                parameter.copy_(part.view_as(parameter))


def default_prob(layout: Layout, weights: Floats, inputs: Floats) -> Floats:
    """Return the predicted probability of default, shape (n,), each in [0, 1]."""
    with torch.no_grad():
        logits = build(layout, weights)(torch.from_numpy(inputs))[:, 0]
        prob: Floats = torch.sigmoid(logits).numpy()
    return prob
