"""The best policy of a small Markov decision process: an offline challenger to the rules.

Value iteration and policy iteration of a discounted process with known chances (Puterman 1994,
6.3 and 6.4). It decides on nobody: it says how far rules are from the best that a coarse picture of
the population allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Best:
    """The best policy of a process.

    Parameters
    ----------
    policy : (s,) int64
        The action in each state.
    value : (s,) float64
        What it is worth to be there.
    rounds : int
        Sweeps, or policies, until nothing changed.
    """

    policy: NDArray[np.int64]
    value: Floats
    rounds: int


def value_iteration(chances: Floats, rewards: Floats, discount: float, error: float = 1e-9) -> Best:
    """Return the best policy by improving values until they are right.

    Parameters
    ----------
    chances : (a, s, s) float64
        Chance to come from a state to another under each action; rows add up to 1.
    rewards : (s, a) float64
    discount : float
        In (0, 1): what a reward is worth a step later.
    error : float
        Largest error of the values.

    Raises
    ------
    UsageError
        If the arrays do not fit, a row is no distribution, or the discount is out of range.
    """
    _check(chances, rewards, discount)
    value, rounds = np.zeros(rewards.shape[0]), 0
    enough = error * (1.0 - discount) / (2.0 * discount)
    while True:
        rounds += 1
        better = _worth(chances, rewards, discount, value).max(axis=1)
        change = float(np.abs(better - value).max())
        value = better
        if change < enough:
            return Best(_greedy(chances, rewards, discount, value), value, rounds)


def policy_iteration(chances: Floats, rewards: Floats, discount: float) -> Best:
    """Return the best policy by solving for its values, and improving it, until nothing changes.

    See `value_iteration` for the parameters and errors.
    """
    _check(chances, rewards, discount)
    states = np.arange(rewards.shape[0])
    policy, rounds = rewards.argmax(axis=1), 0
    while True:
        rounds += 1
        own = chances[policy, states]
        value = np.linalg.solve(np.eye(states.size) - discount * own, rewards[states, policy])
        better = _greedy(chances, rewards, discount, value)
        worth = _worth(chances, rewards, discount, value)
        # Only what is truly better is changed, so that ties do not go round for ever.
        gain = worth[states, better] - worth[states, policy] > 1e-12 * np.abs(value).max()
        if not gain.any():
            return Best(policy, value, rounds)
        policy = np.where(gain, better, policy)


def _worth(chances: Floats, rewards: Floats, discount: float, value: Floats) -> Floats:
    found: Floats = rewards + discount * (chances @ value).T
    return found


def _greedy(chances: Floats, rewards: Floats, discount: float, value: Floats) -> NDArray[np.int64]:
    best: NDArray[np.int64] = _worth(chances, rewards, discount, value).argmax(axis=1)
    return best


def _check(chances: Floats, rewards: Floats, discount: float) -> None:
    states, actions = rewards.shape
    if chances.shape != (actions, states, states):
        raise UsageError(f"chances must have the shape {(actions, states, states)}")
    if (chances < 0).any() or not np.allclose(chances.sum(axis=2), 1.0, atol=1e-9):
        raise UsageError("every row of chances must be a distribution")
    if not 0.0 < discount < 1.0:
        raise UsageError("a discount must lie between 0 and 1")
