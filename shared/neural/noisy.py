"""A noisy training of the network: what it costs, what is summed, and how a step is taken.

DP-SGD (Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1) in which the
parties draw, clip and add noise, and the coordinator steps. Everything that decides about epsilon
follows from the federation file: each party works it out for itself and takes none of it from the
coordinator. No torch here: the coordinator has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.config import Federation
from shared.errors import BadPeer, ConfigError
from shared.jobs import COORDINATOR, Run
from shared.neural.average import EDGES_PHASE, MAX_EXAMPLES, MAX_VALUE, round_phase
from shared.neural.layout import Layout
from shared.privacy.accounting import Mechanism, multiplier_for, split_in_two
from shared.privacy.clip import UNITS, Clip
from shared.privacy.noise import SharedNoise, honest_majority
from shared.protocols.sum_job import SumJob

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What the edges take of the budget's square: enough that steps do without little.
EDGES_SHARE = 0.1
#: How much of its speed a step keeps.
MOMENTUM = 0.9

# Largest element of a party's input: all customers at the clipping bound, and noise far above any
# that `shared.privacy.noise` allows. Ten such stay below 2^63.
_BOUND = MAX_EXAMPLES * UNITS << 10
# A sum is refused beyond so many deviations of what can be: less likely than 1e-80.
_FAR = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a whole training costs, and the noise that follows.

    Parameters
    ----------
    edges, steps : Mechanism
        Of the encoding's edges, once; and of all steps together.
    rounds : int
    colluders : int
        As agreed; 0 for fewer than half of the parties.
    clip : Clip
    """

    edges: Mechanism
    steps: Mechanism
    rounds: int
    colluders: int
    clip: Clip

    @classmethod
    def of(cls, federation: Federation) -> Plan:
        """Solve for the noise that the agreed epsilon asks for; takes some seconds.

        Raises
        ------
        ConfigError
            If there are fewer steps than rounds.
        EnvironmentFault
            If `dp-accounting` is not installed.
        """
        rules, rounds = federation.privacy, federation.neural.rounds
        if rules.steps < rounds:
            raise ConfigError(
                f"federation {federation.name}",
                [f"privacy.steps: must be at least neural.rounds, {rounds}. Got {rules.steps}"],
            )
        target, delta = rules.training_epsilon, rules.delta
        first, _ = split_in_two(multiplier_for(target, delta), EDGES_SHARE)
        edges = Mechanism(first)
        multiplier = multiplier_for(
            target, delta, rate=rules.rate, steps=rules.steps, before=[edges]
        )
        return cls.with_noise(federation, edges.multiplier, multiplier)

    @classmethod
    def with_noise(cls, federation: Federation, edges: float, steps: float) -> Plan:
        """Return the plan of multipliers that were solved for before."""
        rules = federation.privacy
        return cls(
            Mechanism(edges),
            Mechanism(steps, rules.rate, rules.steps),
            federation.neural.rounds,
            rules.colluders,
            Clip(rules.clip),
        )

    def steps_before(self, number: int) -> int:
        """Return the steps of all rounds before this one; round 1 is the first."""
        return self.steps.steps * (number - 1) // self.rounds

    def steps_in(self, number: int) -> int:
        """Return the steps of a round; all rounds together have exactly the agreed ones."""
        return self.steps_before(number + 1) - self.steps_before(number)

    def edges_noise(self, parties: int, squared_sensitivity: int) -> SharedNoise:
        """Return the noise of the edges' histogram; see `shared.neural.noisy_edges`."""
        return self._noise(parties, squared_sensitivity, self.edges)

    def step_noise(self, parties: int) -> SharedNoise:
        """Return the noise of one step, sized for the cohort that is left."""
        return self._noise(parties, self.clip.units**2, self.steps)

    def _noise(self, parties: int, squared: int, mechanism: Mechanism) -> SharedNoise:
        tolerated = self.colluders or honest_majority(parties)
        return SharedNoise(parties, tolerated, squared, mechanism.multiplier)


def is_noisy(federation: Federation) -> bool:
    """Return whether the neural model is trained with noise."""
    return federation.privacy.training_epsilon > 0


def weights_tag(number: int, step: int) -> str:
    """Return the tag under which the weights after a step of a round are sent."""
    return f"noise/{number}/{step}/weights"


def edges_job(run: Run, length: int) -> SumJob:
    """Return the sum of the parties' noisy histograms, `length` counts and their customers."""
    return _job(run, EDGES_PHASE, "noisy inputs", "", length)


def step_job(run: Run, number: int, step: int, model: str, size: int) -> SumJob:
    """Return the sum of one step: `size` weights' clipped gradients, and the customers.

    Parameters
    ----------
    run : Run
    number, step : int
        Of the round, and of the step in it; both from 1 on.
    model : str
        Digest of the model at the step's weights: who was shown others has another job.
    size : int
    """
    return _job(run, f"{round_phase(number)}/{step}", "noisy step", model, size)


def _job(run: Run, label: str, kind: str, model: str, length: int) -> SumJob:
    return SumJob(
        run=run.name,
        label=label,
        attempt=run.attempt,
        cohort=tuple(sorted(run.parties)),
        opener=COORDINATOR,
        coordinator=COORDINATOR,
        kind=kind,
        model=model,
        bits=64,
        length=length + 1,
        scale=0,
        bound=_BOUND,
    )


@dataclass(frozen=True, slots=True)
class Descent:
    """How the coordinator steps: stochastic descent with momentum, ever shorter steps.

    Nothing here costs epsilon: it only ever sees opened sums.

    Parameters
    ----------
    plan : Plan
    layout : Layout
    length : float
        Of the first step, in units of the clipping bound.
    start : ndarray of float64, shape (layout.size,)
        Weights at the start of the round.
    pull : float
        Strength of the pull back there, as FedProx has it; 0 for none.
    """

    plan: Plan
    layout: Layout
    length: float
    start: Floats
    pull: float

    def take(
        self, weights: Floats, speed: Floats, gradient: Floats, step: int
    ) -> tuple[Floats, Floats]:
        """Return weights and speed after a step.

        Parameters
        ----------
        weights, speed, gradient : ndarray of float64, shape (layout.size,)
        step : int
            Steps of the whole training before this one.
        """
        pulled = gradient + self.pull * (weights - self.start)
        speed = MOMENTUM * speed + (1 - MOMENTUM) * pulled
        fall = 0.5 * (1 + math.cos(math.pi * step / self.plan.steps.steps))
        moved = weights - self.length * fall / self.plan.clip.norm * speed
        return self.layout.project(moved), speed


def check_step(total: Ints, plan: Plan, noise: SharedNoise, *, expected: int) -> None:
    """Refuse an opened step that no clipped gradients of these customers, and no noise, can give.

    Parameters
    ----------
    total : ndarray of int64, shape (size + 1,)
        Gradients, then the customers.
    plan : Plan
    noise : SharedNoise
    expected : int
        Customers of the cohort.

    Raises
    ------
    BadPeer
        Says which of it is so.
    """
    n_examples = int(total[-1])
    if n_examples != expected:
        raise BadPeer(f"the sum of a step counts {n_examples} customers, not {expected}")
    drawn = plan.steps.rate * expected
    most = (drawn + _FAR * (math.sqrt(drawn) + 1)) * plan.clip.units
    most += (math.sqrt(len(total)) + _FAR) * noise.deviation
    if float(np.linalg.norm(total[:-1].astype(np.float64))) > most:
        raise BadPeer(
            "the sum of a step is longer than clipped gradients and noise can be: "
            "a party's input is wrong, or the sum wrapped round"
        )


def check_weights(weights: Floats, layout: Layout) -> Floats:
    """Return the weights that the coordinator sent after a step, if a network can have them.

    Raises
    ------
    BadPeer
        If not.
    """
    good = weights.shape == (layout.size,) and np.isfinite(weights).all()
    if not good or np.abs(weights).max(initial=0.0) > MAX_VALUE:
        raise BadPeer("the weights after a step are none of a network", party=COORDINATOR)
    return weights
