"""The coordinator's side of a noisy training: it opens noisy sums and takes the steps.

It never holds a figure without noise, and has no say in how much there is: each party adds what the
federation file asks for. The coordinator works the plan out as well, only to know what is noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.neural.checkpoint import Progress
from server.neural.means import Means
from server.neural.rounds import Played
from shared.arrays import pack_array
from shared.config import Federation
from shared.contract import Feature
from shared.jobs import Run
from shared.neural import average, noisy, noisy_edges
from shared.neural.inputs import Encoding
from shared.neural.layout import Layout, model_digest
from shared.neural.noisy import Descent, Plan
from shared.privacy.accounting import UNIT
from shared.protocols.sum import sum_coordinator
from shared.protocols.sum_job import SumJob
from shared.sealed import SealedChannel

Ints = NDArray[np.int64]


class NoisyRounds:
    """Some steps of DP-SGD a round; see `server.neural.rounds.Rounds`.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def agree(self, means: Means, features: Sequence[Feature]) -> tuple[Encoding, int]:
        """See `server.neural.rounds.Rounds`."""
        length = noisy_edges.counted(features)

        def part(channel: SealedChannel, run: Run) -> tuple[Encoding, int]:
            total = _open(channel, noisy.edges_job(run, length))
            squared = noisy_edges.sensitivity(features)
            noise = self.plan.edges_noise(len(run.parties), squared)
            pieces = run.federation.neural.pieces
            encoding = noisy_edges.read(features, total[:-1], pieces, noise.deviation)
            return encoding, int(total[-1])

        return means.play("query.neural_edges", average.EDGES_PHASE, {}, part)[0]

    def play(
        self,
        means: Means,
        layout: Layout,
        encoding: Encoding,
        progress: Progress,
        job: Mapping[str, Any],
    ) -> Played:
        """See `server.neural.rounds.Rounds`; the loss stays unknown, as it would need noise too."""
        number = int(job["round"])

        def part(channel: SealedChannel, run: Run) -> Played:
            return self._steps(channel, run, layout, encoding, progress, job)

        phase = average.round_phase(number)
        return means.play("train.neural", phase, job, part, weights=progress.weights)[0]

    def _steps(
        self,
        channel: SealedChannel,
        run: Run,
        layout: Layout,
        encoding: Encoding,
        progress: Progress,
        job: Mapping[str, Any],
    ) -> Played:
        plan, number, weights = self.plan, int(job["round"]), progress.weights
        length = run.federation.privacy.step_length * float(job["shrink"])
        descent = Descent(plan, layout, length, weights, float(job["pull"]))
        speed = progress.speed if progress.speed.size else np.zeros(layout.size)
        noise = plan.step_noise(len(run.parties))
        customers = 0 if run.cohort else progress.customers
        for step in range(1, plan.steps_in(number) + 1):
            digest = model_digest(layout, encoding, weights)
            total = _open(channel, noisy.step_job(run, number, step, digest, layout.size))
            # Where a party was lost, its customers are no longer counted.
            customers = customers or int(total[-1])
            noisy.check_step(total, plan, noise, expected=customers)
            gradient = plan.clip.mean(total[:-1], plan.steps.rate * customers)
            before = plan.steps_before(number) + step - 1
            weights, speed = descent.take(weights, speed, gradient, before)
            if step < plan.steps_in(number):
                sent = pack_array(weights)
                channel.send_all(run.parties, noisy.weights_tag(number, step), sent)
        return Played(weights, customers, speed=speed)


def statement(federation: Federation) -> dict[str, Any] | None:
    """Return what a noisy training agreed on; None of one without noise.

    What it cost stands in each party's ledger: a round that was played again costs again.
    """
    if not noisy.is_noisy(federation):
        return None
    rules = federation.privacy
    return {"epsilon": rules.training_epsilon, "delta": rules.delta, "unit": UNIT}


def _open(channel: SealedChannel, job: SumJob) -> Ints:
    total = sum_coordinator(channel, job)
    assert total is not None  # the coordinator is the opener
    return total
