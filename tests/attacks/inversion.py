"""From an update back to customers: what the first layers of a network give away.

The gradient of a layer ``W x + b`` is ``(d x', d)`` for one customer, so their quotient is the
customer's inputs, whatever the loss (Geiping, Bauermeister, Droege, Moeller, "Inverting Gradients",
NeurIPS 2020, proposition 3.1). Over many customers it is a mean of theirs, weighted by `d`. The
network has two such layers: the first one, unit by unit, and the direct path to the logit.
"""

from __future__ import annotations

import numpy as np


def guesses(layout, update):
    """Return inputs guessed from an update, shape (g, width), each in [0, 1].

    Of every hidden unit and of the direct path that moved, the quotient of its weights' and its
    offset's move. Inputs whose weight may not move are left at the mean of the others.
    """
    parts = layout.split(update)
    rows, offsets = np.vstack([parts[0], parts[-2]]), np.append(parts[1], parts[-1])
    moved = np.abs(offsets) > 1e-12 * max(np.abs(update).max(), 1e-300)
    return np.clip(rows[moved] / offsets[moved, None], 0.0, 1.0)


def nearest(guess, inputs):
    """Return the customer whose inputs are nearest (L2), and how near."""
    apart = np.linalg.norm(inputs - guess, axis=1)
    return int(apart.argmin()), float(apart.min())


def trap(layout, inputs, victim, seed=1):
    """Return weights whose first unit answers to one customer alone (a coordinator's craft).

    After Fowl et al., "Robbing the Fed" (ICLR 2022), with the bin so narrow that one customer is in
    it. Where to put it the attacker has to know or to guess; here it knows.
    """
    weights = layout.initial(seed)
    parts = layout.split(weights)
    low, high = (layout.split(bound)[0][0] for bound in layout.bounds)
    free = np.flatnonzero(high > low)
    direction = inputs[victim, free] - 0.5
    score = inputs[:, free] @ direction
    others = np.delete(score, victim).max()
    assert score[victim] > others, "another customer is all alike"
    scale = 1.0 / (score[victim] - others)
    parts[0][0] = 0.0
    parts[0][0, free] = scale * direction
    parts[1][0] = -scale * (score[victim] + others) / 2
    parts[-3][0, 0] = 1.0
    return layout.project(weights), free


def told_apart(move, present):
    """Return how well a move tells a customer's inputs that are there from those that are not.

    The area under the curve of the move's size; .5 is chance.
    """
    size = np.abs(move)
    there, absent = size[present], size[~present]
    higher = (there[:, None] > absent[None, :]).mean()
    return float(higher + 0.5 * (there[:, None] == absent[None, :]).mean())
