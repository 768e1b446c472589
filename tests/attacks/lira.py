"""Who was trained on? The likelihood ratio attack, and what can be said for sure of its success.

Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First Principles"
(IEEE S&P 2022), algorithm 1, online: shadow models trained on random halves of the same customers
say how sure a model is of each customer's label with, and how sure without that customer. Every
model is a target once, with all the others as its shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

#: Chance that a bound of `rate` is wrong, of its threshold and of its count each.
DOUBT = 1e-3


def halves(models, customers, seed):
    """Return who is trained on, shape (models, customers): a fair coin for each, all independent.

    With exact halves the shadows' number would tell the target's.
    """
    return np.random.default_rng(seed).random((models, customers)) < 0.5


def evidence(confidence, member, *, own_spread):
    """Return the log likelihood ratio of in against out, shape (models, customers).

    Parameters
    ----------
    confidence : ndarray of float64, shape (models, customers)
        Log odds that each model gives each customer's own label.
    member : ndarray of bool, same shape
        Row by row, only the *other* rows are used.
    own_spread : bool
        Whether each customer has a spread of its own, the same in and out, which takes some dozen
        shadows; else one spread in and one out stand for everybody.
    """
    inside = _Others(confidence, member)
    outside = _Others(confidence, ~member)
    if own_spread:
        spread = (inside.squares + outside.squares) / np.maximum(inside.n + outside.n - 2, 1)
        known, unknown = spread, spread
    else:
        known, unknown = (side.squares.sum(1) / (side.n - 1).sum(1) for side in (inside, outside))
        known, unknown = known[:, None], unknown[:, None]
    known, unknown = np.maximum(known, 1e-12), np.maximum(unknown, 1e-12)
    ratio = (confidence - outside.mean) ** 2 / unknown - (confidence - inside.mean) ** 2 / known
    ratio += np.log(unknown / known)
    # Who was too rarely in or out tells nothing.
    return np.where((inside.n > 1) & (outside.n > 1), ratio / 2, 0.0)


class _Others:
    """Number, mean and sum of squared deviations over the chosen models but the row's own."""

    def __init__(self, values, chosen):
        kept = np.where(chosen, values, 0.0)
        self.n = chosen.sum(0) - chosen
        count = np.maximum(self.n, 1)
        self.mean = (kept.sum(0) - kept) / count
        self.squares = np.maximum((kept**2).sum(0) - kept**2 - count * self.mean**2, 0.0)


@dataclass(frozen=True)
class Rate:
    """True positive rate at a false positive rate, each in [0, 1].

    Parameters
    ----------
    value : float
        As counted.
    low, high : float
        Bounds, see `rate`.
    members, others : int
        How many of each were tried.
    """

    value: float
    low: float
    high: float
    members: int
    others: int

    def __str__(self):
        return f"{self.value:.3%} ({self.low:.3%} to {self.high:.3%}; {self.others} non-members)"


def rate(ratio, member, false_positives=1e-3):
    """Count members found at a false positive rate; bound what the attack's true rate can be.

    The k-th highest of n non-members has a true false positive rate that is Beta(k, n - k + 1),
    whatever the distribution. For `high` k is so large that the rate is at least the wanted one
    but for a chance of `DOUBT`; for `low` so small that it is at most that. Of the members above it
    the bound is Clopper and Pearson's, again with `DOUBT`. Customers count as independent draws.
    """
    ins, outs = ratio[member], np.sort(ratio[~member])[::-1]
    n = len(outs)
    ranks = np.arange(1, n + 1)
    below = beta.cdf(false_positives, ranks, n - ranks + 1)  # falls with the rank
    highest = ranks[below <= DOUBT]
    lowest = ranks[1.0 - below <= DOUBT]
    low = high = 0.0
    if len(lowest):
        found = _above(ins, outs[lowest[-1] - 1])
        low = float(beta.ppf(DOUBT, found, len(ins) - found + 1)) if found else 0.0
    if len(highest):
        found = _above(ins, outs[highest[0] - 1])
        high = float(beta.ppf(1 - DOUBT, found + 1, len(ins) - found)) if found < len(ins) else 1.0
    else:
        high = 1.0
    counted = _above(ins, outs[max(int(false_positives * n), 1) - 1])
    return Rate(counted / len(ins), low, high, len(ins), n)


def _above(values, threshold):
    return int((values >= threshold).sum())
