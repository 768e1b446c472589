"""How a round of the neural model is played: what is summed, and what comes of the sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from server.neural.checkpoint import Progress
from server.neural.means import Means
from shared.contract import Feature
from shared.neural import average
from shared.neural.inputs import Encoding, counted
from shared.neural.layout import Layout, model_digest

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a round.

    Parameters
    ----------
    weights : ndarray of float64, shape (layout.size,)
        After the round, before the strategy has its say.
    customers : int
        Customers behind it.
    loss : float or None
        Mean log loss over all parties; None where it is not opened.
    speed : ndarray of float64, shape (layout.size,) or (0,)
        What the next round starts with, besides the weights.
    """

    weights: Floats
    customers: int
    loss: float | None = None
    speed: Floats = field(default_factory=lambda: np.zeros(0))


class Rounds(Protocol):
    """Agrees on the edges, and plays round after round; chosen once a training."""

    def agree(self, means: Means, features: Sequence[Feature]) -> tuple[Encoding, int]:
        """Open the edges of the inputs; return the encoding and the customers in all."""

    def play(
        self,
        means: Means,
        layout: Layout,
        encoding: Encoding,
        progress: Progress,
        job: Mapping[str, Any],
    ) -> Played:
        """Play one round from the weights of `progress`.

        Raises
        ------
        BadPeer
            If what was opened is nothing that these customers can give.
        PartyLost
            If a party is missing and too few are left.
        """


class PlainRounds:
    """Federated averaging: each party trains alone, and the mean of their updates is opened."""

    def agree(self, means: Means, features: Sequence[Feature]) -> tuple[Encoding, int]:
        """See `Rounds`."""
        opened, _ = means.open(
            "query.neural_edges", average.EDGES_PHASE, {}, length=counted(features)
        )
        counts = opened.values * opened.n_examples
        pieces = means.run.federation.neural.pieces
        return Encoding.from_counts(features, counts, pieces), opened.n_examples

    def play(
        self,
        means: Means,
        layout: Layout,
        encoding: Encoding,
        progress: Progress,
        job: Mapping[str, Any],
    ) -> Played:
        """See `Rounds`."""
        mean, _ = means.open(
            "train.neural",
            average.round_phase(job["round"]),
            job,
            weights=progress.weights,
            model=model_digest(layout, encoding, progress.weights),
            length=layout.size + 1,
        )
        update, loss = mean.values[:-1], float(mean.values[-1])
        average.check_mean(
            update,
            mean.n_examples,
            # Where a party was lost, its customers are no longer counted.
            expected=mean.n_examples if means.run.cohort else progress.customers,
            length=means.run.federation.neural.clip,
        )
        return Played(progress.weights + update, mean.n_examples, loss)
