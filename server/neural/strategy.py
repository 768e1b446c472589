"""Flower's strategies over our secure sum: federated averaging, FedProx, FedAdam.

Flower's own `FedAvg` averages the weights that every party sends it in clear. Here a round's
messages go out as it does, but the replies carry nothing: while the parties train, the coordinator
adds their masked updates and opens the weighted mean, all it ever sees. `SummedAverage` takes the
place of Flower's averaging *behind* FedProx and FedAdam, so these are Flower's own; `_Guarded`
stands before them, and checks, undoes and writes down each round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx
from flwr.serverapp.strategy.fedopt import FedOpt
from numpy.typing import NDArray

from server.engines.grids import Front
from server.neural.checkpoint import Progress
from server.neural.means import WEIGHTS, Means
from server.neural.rounds import PlainRounds, Played, Rounds
from server.neural.verdict import read_verdict
from shared.edge.stored_arrays import carried_array
from shared.neural import average
from shared.neural.inputs import Encoding
from shared.neural.judging import BETTER, HARM, UNCHECKED
from shared.neural.layout import Layout, model_digest

Floats = NDArray[np.float64]

#: After so many rounds in a row that were undone, training ends.
PATIENCE = 3
# FedAdam's constants (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, section 5).
_FIRST, _SECOND, _TAU = 0.9, 0.99, 1e-3


class SummedAverage(FedAvg):
    """Federated averaging whose average is a secure sum of clipped updates.

    Every party of the cohort takes part in every round: the difference of two cohorts' sums would
    be one party's update. `bind` says what is trained, since constructors are Flower's.
    """

    def bind(
        self,
        means: Means,
        layout: Layout,
        encoding: Encoding,
        progress: Progress,
        save: Callable[[Progress], None],
        rounds: Rounds,
    ) -> None:
        """Say what is trained, and from where on.

        Parameters
        ----------
        means : Means
        layout : Layout
        encoding : Encoding
        progress : Progress
            Where the training stands.
        save : callable
            Takes the new `Progress` after every round.
        rounds : Rounds
            How a round is played.
        """
        self.means = means
        self.layout = layout
        self.encoding = encoding
        self.progress = progress
        self.grid = _SummingGrid(self, means.grid)
        self._save = save
        self._rounds = rounds
        self._begun = progress.round
        self._job: dict[str, Any] = {}
        self._played: Played | None = None
        self.recall()

    def recall(self) -> None:
        """Make the strategy remember what stands in `progress`."""

    @property
    def rounds_left(self) -> int:
        """Rounds that are still to come."""
        return self.means.run.federation.neural.rounds - self._begun

    @property
    def ended(self) -> bool:
        """Whether round after round was undone, so that no further one is tried."""
        return self.progress.harmed >= PATIENCE

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the round's messages to every party, with the weights to train from."""
        del grid
        if self.ended:
            return []
        self._job = {
            "round": server_round,
            "edges": self.encoding.to_mapping(),
            "shrink": average.shrunk(self.progress.harmed),
            "pull": float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
        }
        return self.means.messages("train.neural", self._job, weights_of(arrays))

    def play(self) -> None:
        """Send a round's messages and open what it is about."""
        self._played = self._rounds.play(
            self.means, self.layout, self.encoding, self.progress, self._job
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Return the weights after what was opened; the replies hold none."""
        del server_round, replies
        assert self._played is not None  # the round was played
        loss = self._played.loss
        told = MetricRecord({} if loss is None else {"loss": loss})
        return record_of(self._played.weights), told

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return nothing: the model is evaluated once, after the last round."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """Return nothing; see `configure_evaluate`."""
        del server_round, replies


class _Guarded(SummedAverage):
    """Numbers rounds on from where they stand; checks, undoes and writes down each of them."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return super().configure_train(server_round + self._begun, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        number = server_round + self._begun
        before = self.progress
        if self.ended:
            return record_of(before.weights), MetricRecord({})
        arrays, metrics = super().aggregate_train(number, replies)
        assert self._played is not None
        fresh = self.layout.project(weights_of(arrays))
        verdict = self._verdict(number, fresh)
        harmed = verdict == HARM
        entry = {
            "round": number,
            "loss": self._played.loss,
            "customers": self._played.customers,
            "verdict": verdict,
        }
        first, second = (before.first, before.second) if harmed else self._moments()
        self.progress = replace(
            before,
            attempt=self.means.run.attempt,
            cohort=self.means.run.cohort,
            round=number,
            harmed=before.harmed + 1 if harmed else 0,
            weights=before.weights if harmed else fresh,
            best=fresh if verdict in {BETTER, UNCHECKED} else before.best,
            first=first,
            second=second,
            speed=before.speed if harmed else self._played.speed,
            history=[*before.history, entry],
        )
        self.recall()
        self._save(self.progress)
        return record_of(self.progress.weights), metrics

    def _verdict(self, number: int, fresh: Floats) -> str:
        """Return the builder's verdict; a model that no party would take harms without asking."""
        if not np.isfinite(fresh).all() or np.abs(fresh).max() > average.MAX_VALUE:
            return HARM
        job = {"round": number, "edges": self.encoding.to_mapping()}
        both = np.concatenate([fresh, self.progress.best])
        reply = self.means.ask_builder("evaluate.neural_check", job, both)
        digest = model_digest(self.layout, self.encoding, fresh)
        return read_verdict(self.means.run, number, digest, reply)

    def _moments(self) -> tuple[Floats, Floats]:
        """Return what the strategy remembers between rounds."""
        return np.zeros(0), np.zeros(0)


class SummedFedAvg(_Guarded, SummedAverage):
    """McMahan et al., "Communication-Efficient Learning of Deep Networks", AISTATS 2017."""


class SummedFedProx(_Guarded, FedProx, SummedAverage):
    """Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020: Flower's own."""


class SummedFedAdam(_Guarded, FedAdam, FedOpt, SummedAverage):
    """Reddi et al., "Adaptive Federated Optimization", ICLR 2021: Flower's own."""

    def _moments(self) -> tuple[Floats, Floats]:
        assert self.m_t is not None
        assert self.v_t is not None
        return self.m_t[WEIGHTS], self.v_t[WEIGHTS]

    def recall(self) -> None:
        """See `SummedAverage.recall`."""
        known = self.progress
        self.m_t = {WEIGHTS: known.first} if known.first.size else None
        self.v_t = {WEIGHTS: known.second} if known.second.size else None


def make_strategy(
    means: Means,
    layout: Layout,
    encoding: Encoding,
    progress: Progress,
    save: Callable[[Progress], None],
    rounds: Rounds | None = None,
) -> SummedAverage:
    """Return the strategy that the federation agreed on, at where the training stands.

    Parameters
    ----------
    means, layout, encoding, progress, save
        See `SummedAverage.bind`.
    rounds : Rounds, optional
        `PlainRounds` by default.
    """
    agreed = means.run.federation.neural
    strategy: SummedAverage
    if agreed.strategy == "fedprox":
        strategy = SummedFedProx(proximal_mu=agreed.pull)
    elif agreed.strategy == "fedadam":
        strategy = SummedFedAdam(eta=agreed.server_rate, beta_1=_FIRST, beta_2=_SECOND, tau=_TAU)
    else:
        strategy = SummedFedAvg()
    strategy.bind(means, layout, encoding, progress, save, rounds or PlainRounds())
    return strategy


def weights_of(arrays: ArrayRecord) -> Floats:
    """Return the flat array of a message."""
    weights: Floats = carried_array(arrays[WEIGHTS])
    return weights


def record_of(weights: Floats) -> ArrayRecord:
    """Return the record of a message with one flat array."""
    return ArrayRecord({WEIGHTS: Array(np.ascontiguousarray(weights))})


class _SummingGrid(Front):
    """The grid that Flower's round loop sees: sending a round's messages plays the round."""

    def __init__(self, strategy: SummedAverage, grid: Grid) -> None:
        super().__init__(grid)
        self._strategy = strategy

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        del timeout  # the federation's own deadline holds
        if list(messages):
            self._strategy.play()
        return []
