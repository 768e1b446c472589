"""Weighted means over the parties, as the coordinator opens them.

One Flower message and one secure sum each, and all parties of the cohort or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from server import audits
from server.coordinator import Coordinator
from server.exchange import Replies, ask, exchange
from shared.arrays import pack_value
from shared.errors import PartyLost, Refused
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.protocols.sum import sum_coordinator
from shared.protocols.sum_commit import Evidence
from shared.protocols.sum_job import SumJob
from shared.sealed import SealedChannel

Floats = NDArray[np.float64]
T = TypeVar("T")

#: The one array of a message.
WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Mean:
    """An opened mean and the customers behind it."""

    values: Floats
    n_examples: int


class Means:
    """Opens weighted means over all parties of the cohort.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    run : Run
        Its attempt and cohort change when a party is lost.
    node_of : mapping of str to int
        The Flower node of every party.

    Attributes
    ----------
    folder : Path or None
        Where the commitments of every sum are kept for audits; see `server.audits`.
    """

    def __init__(
        self, grid: Grid, coordinator: Coordinator, run: Run, node_of: Mapping[str, int]
    ) -> None:
        self.grid = grid
        self.run = run
        self.folder: Path | None = None
        self._coordinator = coordinator
        self._node_of = node_of
        self._tell_spare()

    def open(
        self,
        kind: str,
        phase: str,
        job: Mapping[str, Any],
        *,
        weights: Floats | None = None,
        model: str = "",
        length: int,
    ) -> tuple[Mean, Replies]:
        """Ask every party for its values, and open their mean.

        A party that is lost before anybody revealed is left behind, if `neural.min_parties` lets
        the others go on; after that their own journals refuse the smaller cohort, and the run
        ends by name until all are back.

        Parameters
        ----------
        kind : str
            Type of the Flower message.
        phase : str
        job : mapping
            What it says besides the run.
        weights : ndarray of float64, optional
            Its one array.
        model : str
            Digest of the model that the values belong to.
        length : int
            Values of the mean.

        Raises
        ------
        PartyLost
            If a party is missing and too few are left.
        ConfideError
            The first party's error, under its name.
        """

        def part(channel: SealedChannel, run: Run) -> Mean:
            agreed = average.mean_job(
                run.name, phase, run.parties, COORDINATOR, model=model, length=length
            )
            return _open(channel, agreed, self.keeper(phase))

        return self.play(kind, phase, job, part, weights=weights)

    def play(
        self,
        kind: str,
        phase: str,
        job: Mapping[str, Any],
        part: Callable[[SealedChannel, Run], T],
        *,
        weights: Floats | None = None,
    ) -> tuple[T, Replies]:
        """Play a phase with every party, and again with the survivors; see `open`.

        Parameters
        ----------
        kind, phase, job, weights
            See `open`.
        part : callable
            What the coordinator does over the channel: of the run at this attempt, and returns.
        """
        while True:
            messages = self.messages(kind, job, weights)
            try:
                return self._exchange(messages, phase, part)
            except PartyLost as lost:
                self._leave_behind(lost)

    def messages(
        self, kind: str, job: Mapping[str, Any], weights: Floats | None, to: Sequence[str] = ()
    ) -> list[Message]:
        """Return one message to every party of the cohort, or to some of it."""
        value = {"run": self.run.name, "attempt": self.run.attempt, **job}
        if self.run.cohort:
            value["cohort"] = list(self.run.cohort)
        content = RecordDict({"job": ConfigRecord({"value": pack_value(value)})})
        if weights is not None:
            content["arrays"] = ArrayRecord({WEIGHTS: Array(weights)})
        return [
            Message(content, dst_node_id=self._node_of[name], message_type=kind)
            for name in to or self.run.parties
        ]

    def ask_builder(self, kind: str, job: Mapping[str, Any], weights: Floats) -> dict[str, Any]:
        """Ask the builder alone; return what it answers."""
        builder = self.run.federation.builder
        return self.ask(kind, job, weights, to=(builder,))[builder]

    def ask(
        self,
        kind: str,
        job: Mapping[str, Any],
        weights: Floats | None = None,
        to: Sequence[str] = (),
    ) -> Replies:
        """Ask every party of the cohort, or some of it, what needs no exchange among them."""
        asked = tuple(to) or self.run.parties
        messages = self.messages(kind, job, weights, asked)
        return ask(self.grid, self._coordinator, messages, asked)

    def _exchange(
        self, messages: Iterable[Message], phase: str, part: Callable[[SealedChannel, Run], T]
    ) -> tuple[T, Replies]:
        opened: list[T] = []
        started = time.perf_counter()
        self._coordinator.tell("phase", name=phase)
        replies = exchange(
            self.grid,
            self._coordinator,
            self.run,
            phase,
            messages,
            lambda channel: opened.append(part(channel, self.run)),
        )
        seconds = time.perf_counter() - started
        self._coordinator.tell("done", name=phase, seconds=seconds, replies=replies)
        return opened[0], replies

    def keeper(self, phase: str) -> Callable[[Evidence, str], None] | None:
        """Return what keeps the commitments of a phase's sum; None without a folder."""
        if self.folder is None:
            return None
        return audits.keeper(self.folder, self.run.contract_digest, phase)

    def _leave_behind(self, lost: PartyLost) -> None:
        """Go on with the survivors, or raise what ended the round."""
        left = self._left(lost.party)
        if not left:
            raise lost
        self.run = replace(self.run, attempt=self.run.attempt + 1, cohort=left)
        self._coordinator.tell("lost", party=lost.party, left=list(left))
        self._tell_spare()

    def _left(self, lost: str) -> tuple[str, ...]:
        """Return who goes on without a party; nobody if it cannot be done without."""
        left = tuple(name for name in self.run.parties if name != lost)
        if len(left) == len(self.run.parties) or self.run.federation.builder not in left:
            return ()
        try:
            average.check_cohort(left, self.run.federation)
        except Refused:
            return ()
        return left

    def _tell_spare(self) -> None:
        """Say whose loss need not end the run: an engine lets these die."""
        spare = [party for party in self.run.parties if self._left(party)]
        self._coordinator.tell("spare", parties=spare)


def _open(
    channel: SealedChannel, job: SumJob, keep: Callable[[Evidence, str], None] | None
) -> Mean:
    total = sum_coordinator(channel, job, keep=keep)
    assert total is not None  # the coordinator is the opener
    return Mean(*average.mean_of(total))
