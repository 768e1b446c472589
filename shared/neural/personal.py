"""Whether a party is better off with the common model, a head of its own, or all alone.

Averaging helps most parties and may harm one whose customers are unlike the others' (Li et al.,
"Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021). So after the last
round every party trains two more models on its own customers: the common one with the last layer
its own (a *personal head*: Collins et al., "Exploiting Shared Representations for Personalized
Federated Learning", ICML 2021), and the whole network alone. It compares the three on customers
that none of them was trained on. Nothing of this leaves the party.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.neural.layout import Layout
from shared.neural.train import Recipe, default_prob, train

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMMON, HEAD, ALONE = "common", "head", "alone"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a party keeps, and why.

    Parameters
    ----------
    kept : {"common", "head", "alone"}
    weights : ndarray of float64, shape (layout.size,)
        Of the model kept.
    losses : mapping of str to float
        Mean log loss of each model on the party's own customers held out.
    """

    kept: str
    weights: Floats
    losses: Mapping[str, float]


def choose(
    layout: Layout,
    common: Floats,
    start: Floats,
    own: tuple[Floats, Ints],
    held: tuple[Floats, Ints],
    recipe: Recipe,
    rounds: int,
) -> Choice:
    """Train a personal head and the network alone; keep the best on the customers held out.

    Another model than the common one is kept only if it is better by more than one standard error
    of the difference over the same customers: with few of them, the common model stays.

    Parameters
    ----------
    layout : Layout
    common : ndarray of float64, shape (layout.size,)
        The federation's model.
    start : ndarray of float64, shape (layout.size,)
        First weights of the network alone.
    own, held : pair of ndarray, shapes (n, layout.width) and (n,)
        Inputs and labels, to train on and to compare on.
    recipe : Recipe
        Of one round.
    rounds : int
        Rounds alone, as many as together; the best of them counts.
    """
    inputs, label = held
    models = {COMMON: common}
    for name, first, head_only in ((HEAD, common, True), (ALONE, start, False)):
        tuned = replace(recipe, head_only=head_only, pull=0.0)
        models[name] = _best(layout, first, own, held, tuned, rounds)
    each = {name: log_losses(layout, model, inputs, label) for name, model in models.items()}
    losses = {name: float(loss.mean()) for name, loss in each.items()}
    best = min(losses, key=losses.__getitem__)
    gain = each[COMMON] - each[best]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    kept = best if gain.mean() > error else COMMON
    return Choice(kept, models[kept], losses)


def log_losses(layout: Layout, weights: Floats, inputs: Floats, label: Ints) -> Floats:
    """Return the log loss of each customer, shape (n,)."""
    prob = np.clip(default_prob(layout, weights, inputs), 1e-12, 1.0 - 1e-12)
    each: Floats = -np.log(np.where(label == 1, prob, 1.0 - prob))
    return each


def _best(
    layout: Layout,
    start: Floats,
    own: tuple[Floats, Ints],
    held: tuple[Floats, Ints],
    recipe: Recipe,
    rounds: int,
) -> Floats:
    """Return the weights with the least loss on `held` after any round, or the start."""
    weights = best = start
    least = float(log_losses(layout, start, *held).mean())
    for number in range(1, rounds + 1):
        labelled = replace(recipe, label=f"{recipe.label}/{number}")
        weights, _ = train(layout, weights, *own, labelled)
        loss = float(log_losses(layout, weights, *held).mean())
        if loss < least:
            best, least = weights, loss
    return best
