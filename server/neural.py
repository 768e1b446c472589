"""The coordinator's side of the neural model: Flower's federated averaging over our secure sum.

Flower's own `FedAvg` averages the weights that every party sends it in clear. Here a round's
messages go out as it does, but the replies carry nothing: while the parties train, the coordinator
adds their masked vectors and opens the weighted mean, all it ever sees.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from server.coordinator import Coordinator
from server.grids import Front
from server.phases import Replies, exchange, join, same
from shared.arrays import pack_value
from shared.errors import Refused
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import Scaling
from shared.neural.layout import Layout, model_digest
from shared.protocols.sum import sum_coordinator
from shared.protocols.sum_job import MIN_COHORT, SumJob
from shared.sealed import SealedChannel

Floats = NDArray[np.float64]
_WEIGHTS = "weights"


def train_neural(grid: Grid, coordinator: Coordinator) -> dict[str, Any]:
    """Train the neural model of parties that hold the same features of other customers.

    Parameters
    ----------
    grid : Grid
        Any of Flower's grids, or the local one.
    coordinator : Coordinator

    Returns
    -------
    dict
        The model's digest and size, each round's mean loss, and the mean of the parties' metrics
        on the customers that each held out. The parties keep the model.

    Raises
    ------
    Refused
        With fewer than 3 parties.
    ConfideError
        The first party's error, under its name.
    """
    federation = coordinator.federation
    if len(federation.holders) < MIN_COHORT:
        raise Refused(
            f"{len(federation.holders)} parties: with fewer than {MIN_COHORT} each would learn the "
            "others' weights",
            hint="the neural model needs a third party",
        )
    joined = join(grid, coordinator)
    run = Run(coordinator.run, 1, federation, same(joined, "contract", "works on another contract"))
    means = Means(grid, coordinator, run, {name: reply["node"] for name, reply in joined.items()})
    scaled, replies = means.open(
        "query.neural_scale",
        average.SCALE_PHASE,
        {},
        length=3 * same(joined, "features", "holds other features"),
    )
    layout = Layout(same(replies, "width", "counts other inputs"), federation.neural.hidden)
    scaling = Scaling.from_means(scaled.values)
    strategy = SummedFedAvg(means, layout, scaling)
    start = ArrayRecord({_WEIGHTS: Array(layout.initial(federation.neural.seed))})
    with _quiet_flower():
        result = strategy.start(
            grid=strategy.grid, initial_arrays=start, num_rounds=strategy.rounds
        )
    weights = _weights(result.arrays)
    digest = model_digest(layout, scaling, weights)
    tested, _ = means.open(
        "evaluate.neural",
        average.EVALUATE_PHASE,
        {"scaling": scaling.to_mapping()},
        arrays=result.arrays,
        model=digest,
        length=2,
    )
    return {
        "run": run.name,
        "contract": run.contract_digest,
        "model": {"digest": digest, "parameters": layout.size, "inputs": layout.width},
        "customers": {"train": scaled.n_examples, "test": tested.n_examples},
        "rounds": strategy.history,
        "test": {"auc": float(tested.values[0]), "log_loss": float(tested.values[1])},
    }


@dataclass(frozen=True, slots=True)
class Mean:
    """An opened mean and the customers behind it."""

    values: Floats
    n_examples: int


class Means:
    """Opens weighted means over all parties: one Flower message and one secure sum each.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    run : Run
    node_of : mapping of str to int
        The Flower node of every party.
    """

    def __init__(
        self, grid: Grid, coordinator: Coordinator, run: Run, node_of: Mapping[str, int]
    ) -> None:
        self.grid = grid
        self.run = run
        self._coordinator = coordinator
        self._node_of = node_of

    def open(
        self,
        kind: str,
        phase: str,
        job: Mapping[str, Any],
        *,
        arrays: ArrayRecord | None = None,
        model: str = "",
        length: int,
    ) -> tuple[Mean, Replies]:
        """Ask every party for its values, and open their mean; see `exchange_mean`."""
        messages = self.messages(kind, job, arrays)
        return self.exchange_mean(messages, phase, model=model, length=length)

    def messages(
        self, kind: str, job: Mapping[str, Any], arrays: ArrayRecord | None
    ) -> list[Message]:
        """Return one message to every party."""
        value = {"run": self.run.name, "attempt": self.run.attempt, **job}
        content = RecordDict({"job": ConfigRecord({"value": pack_value(value)})})
        if arrays is not None:
            content["arrays"] = arrays
        return [
            Message(content, dst_node_id=node, message_type=kind) for node in self._node_of.values()
        ]

    def exchange_mean(
        self, messages: Iterable[Message], phase: str, *, model: str, length: int
    ) -> tuple[Mean, Replies]:
        """Send the messages, add what the parties mask, and open the mean.

        Raises
        ------
        PartyLost
            If a party is missing, by name: nothing of the others is opened without it.
        ConfideError
            The first party's error, under its name.
        """
        job = average.mean_job(
            self.run.name,
            phase,
            self.run.federation.holders,
            COORDINATOR,
            model=model,
            length=length,
        )
        opened: list[Mean] = []
        started = time.perf_counter()
        self._coordinator.tell("phase", name=phase)
        replies = exchange(
            self.grid,
            self._coordinator,
            self.run,
            phase,
            messages,
            lambda channel: opened.append(_open(channel, job)),
        )
        seconds = time.perf_counter() - started
        self._coordinator.tell("done", name=phase, seconds=seconds, replies=replies)
        return opened[0], replies


def _open(channel: SealedChannel, job: SumJob) -> Mean:
    total = sum_coordinator(channel, job)
    assert total is not None  # the coordinator is the opener
    return Mean(*average.mean_of(total))


class SummedFedAvg(FedAvg):
    """Federated averaging whose average is a secure sum.

    Every party takes part in every round: a round without one of them ends by its name, since the
    difference of two cohorts' sums would be one party's weights.

    Parameters
    ----------
    means : Means
    layout : Layout
    scaling : Scaling
    """

    def __init__(self, means: Means, layout: Layout, scaling: Scaling) -> None:
        super().__init__(min_train_nodes=MIN_COHORT, min_available_nodes=MIN_COHORT)
        self.rounds = means.run.federation.neural.rounds
        self.history: list[dict[str, Any]] = []
        self.grid = _SummingGrid(self, means.grid)
        self._means = means
        self._layout = layout
        self._scaling = scaling
        self._round = (0, "")
        self._mean: Mean | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message to every party, with the weights to train from."""
        del config, grid
        digest = model_digest(self._layout, self._scaling, _weights(arrays))
        self._round = (server_round, digest)
        job = {"round": server_round, "scaling": self._scaling.to_mapping()}
        return self._means.messages("train.neural", job, arrays)

    def play(self, messages: Iterable[Message]) -> None:
        """Send a round's messages and open its mean."""
        number, digest = self._round
        phase = average.round_phase(number)
        length = self._layout.size + 1
        self._mean, _ = self._means.exchange_mean(messages, phase, model=digest, length=length)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Return the opened mean as the new weights; the replies hold none."""
        del replies
        assert self._mean is not None  # the round was played
        mean, self._mean = self._mean, None
        loss = float(mean.values[-1])
        self.history.append({"round": server_round, "loss": loss, "customers": mean.n_examples})
        weights = np.ascontiguousarray(mean.values[:-1])
        return ArrayRecord({_WEIGHTS: Array(weights)}), MetricRecord({"loss": loss})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return nothing: the model is evaluated once, after the last round."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """Return nothing; see `configure_evaluate`."""
        del server_round, replies


class _SummingGrid(Front):
    """The grid that Flower's round loop sees: sending a round's messages plays the round."""

    def __init__(self, strategy: SummedFedAvg, grid: Grid) -> None:
        super().__init__(grid)
        self._strategy = strategy

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        del timeout  # the federation's own deadline holds
        whole = list(messages)
        if whole:
            self._strategy.play(whole)
        return []


def _weights(arrays: ArrayRecord) -> Floats:
    weights: Floats = arrays[_WEIGHTS].numpy()
    return weights


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """Keep Flower's own account of its rounds off the terminal: progress is told elsewhere."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
