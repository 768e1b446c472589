"""How good a model is, from summed histograms of scores by label: no score of a customer travels.

Every party counts its good and bad customers by score in public buckets; a secure sum adds the
counts over the parties. AUC and KS of the sum are those of all customers together, but for ties
within a bucket, and log loss and Brier score are sums to begin with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared import metrics, trueness
from shared.errors import BadPeer
from shared.neural.buckets import groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUCKETS = 256
_RANGE = 8.0  # of the log odds, on either side of even ones

#: Elements of a tally: goods, then bads by bucket; log loss and Brier score.
LENGTH = 2 * _BUCKETS + 2


def tally(label: Ints, default_prob: Floats, floor: int) -> Floats:
    """Return a party's counts and losses, each a mean over its customers.

    Neighbouring buckets with fewer customers than the floor are put together, so that no bucket a
    party hands in is about a few. AUC and KS see ties where there were none.

    Parameters
    ----------
    label : ndarray of int64, shape (n,)
    default_prob : ndarray of float64, shape (n,)
    floor : int

    Returns
    -------
    ndarray of float64, shape (LENGTH,)
    """
    prob = np.clip(default_prob, trueness.PROB_STEP, 1.0 - trueness.PROB_STEP)
    place = (np.log(prob / (1.0 - prob)) / _RANGE + 1.0) * (_BUCKETS / 2)
    bucket = np.clip(place.astype(np.int64), 0, _BUCKETS - 1)
    order = np.argsort(bucket, kind="stable")
    placed, bad = bucket[order], label[order]
    counts = np.zeros((2, _BUCKETS))
    start = 0
    for end in groups(placed, floor):
        middle = placed[(start + end) // 2]
        counts[1, middle] += bad[start:end].sum()
        counts[0, middle] += (1 - bad[start:end]).sum()
        start = end
    losses = [trueness.log_loss(label, default_prob), trueness.brier(label, default_prob)]
    return np.append(counts.ravel() / len(label), losses)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a model is on the customers of all parties."""

    auc: float
    ks: float
    log_loss: float
    brier: float

    @classmethod
    def from_mean(cls, mean: Floats, n_examples: int) -> Quality:
        """Read an opened mean of tallies, shape (LENGTH,).

        Raises
        ------
        BadPeer
            If it holds a count below zero, or one class only.
        """
        counts = np.rint(mean[:-2] * n_examples).astype(np.int64).reshape(2, _BUCKETS)
        if (counts < 0).any() or counts.sum() > n_examples:
            raise BadPeer("the sum of score histograms counts customers that there are not")
        if not counts.sum(axis=1).all():
            raise BadPeer("the sum of score histograms holds one class only")
        goods, bads = counts
        return cls(
            auc=metrics.auc_from_counts(goods, bads),
            ks=metrics.ks_from_counts(goods, bads),
            log_loss=float(mean[-2]),
            brier=float(mean[-1]),
        )
