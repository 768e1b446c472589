"""Offline challengers to the rules: the best of a decision process, and the linear programme.

Both are found on other people of the same world and decide on nobody. What the caps allow stays the
most: they say which share of it each line keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.limits.portfolio.budget import Budget
from server.limits.portfolio.portfolio import Order, allocate
from server.limits.portfolio.scaling import scales
from server.limits.portfolio.segments import Allocation, Segment
from server.replay.counted import LEAST, Counted, count, process_of
from server.replay.decision_process import Best, policy_iteration
from server.replay.play import Arm, Setting
from server.replay.shares import A_GRADE, Shares, State, alike, by_grade, states_of

#: Shares to choose from; the first is what is done where there is nothing to choose by.
CHOICES: Final = tuple(Decimal(one) for one in ("1", "0.75", "0.5", "0.25"))
#: What a profit is worth a month later.
DISCOUNT: Final = 0.99
_LADDER: Final = "line"
# Challengers are found on people of a world of their own, and tried on others.
_TRIAL_WORLD: Final = 0x2545_F491


@dataclass(frozen=True, slots=True)
class Choice:
    """What is best in a state.

    Parameters
    ----------
    state : State
    share : Decimal
        Of what the caps allow.
    months : int
        Months of lines that were seen in it.
    free : bool
        Whether there was a choice: every share was seen often enough.
    value_minor : float
        What a line in it is worth, with what is best from here on.
    """

    state: State
    share: Decimal
    months: int
    free: bool
    value_minor: float


@dataclass(frozen=True, slots=True)
class Challengers:
    """What was found.

    Parameters
    ----------
    choices : tuple of Choice
        Of each state of the decision process.
    programme : Allocation
        Of a budget, by grade.
    by_grade : mapping of str to Decimal
        The share of each grade that follows from it, the safest first.
    """

    choices: tuple[Choice, ...]
    programme: Allocation
    by_grade: Mapping[str, Decimal]

    @property
    def best(self) -> Shares:
        """The best shares of the decision process."""
        return Shares(tuple(one.share for one in self.choices))

    @property
    def allocated(self) -> Shares:
        """The shares of the linear programme."""
        return by_grade(tuple(self.by_grade.values()))


def find(
    setting: Setting,
    budget: Decimal,
    *,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Challengers:
    """Find both challengers to the setting's one arm, on other people than those of the setting.

    Parameters
    ----------
    setting : Setting
    budget : Decimal
        Share of the limits that the rules open which the programme may commit, in (0, 1].
    processes : int
    tell : callable, optional
        See `server.replay.play.play`.

    Raises
    ------
    UsageError
        If nobody has a line, or no allocation meets the bounds.
    """
    (arm,) = setting.arms
    other = replace(setting, seed=setting.seed ^ _TRIAL_WORLD)
    counted = count(other, tuple(map(alike, CHOICES)), processes=processes, tell=tell)
    found = policy_iteration(*process_of(counted), DISCOUNT)
    programme, shares = _programme(counted, arm, budget)
    return Challengers(_choices(counted, found, tuple(arm.rules.policy.grades)), programme, shares)


def _choices(counted: Counted, found: Best, grades: tuple[str, ...]) -> tuple[Choice, ...]:
    months = counted.months
    return tuple(
        Choice(
            state=state,
            share=CHOICES[int(found.policy[place])],
            months=int(months[place].sum()),
            free=bool(months[place].min() >= LEAST),
            value_minor=float(found.value[place]),
        )
        for place, state in enumerate(states_of(grades))
    )


def _programme(
    counted: Counted, arm: Arm, budget: Decimal
) -> tuple[Allocation, Mapping[str, Decimal]]:
    """Share a budget out among grades by what they were seen to bring."""
    grades = tuple(arm.rules.policy.grades)
    asked = dict(zip(grades, map(int, _of_grades(counted.asked_minor)), strict=True))
    segments = _segments(counted, arm)
    commitments = int(budget * sum(asked.values()))
    found = allocate(segments, Budget(commitments_minor=commitments), Order.SHARES)
    given = scales(segments, found, asked)
    shares, least = {}, Decimal(1)
    for name in grades:  # who had no line keeps what the next safer grade keeps
        shares[name] = least = given.get(name, least)
    return found, MappingProxyType(shares)


def _segments(counted: Counted, arm: Arm) -> tuple[Segment, ...]:
    policy, prices = arm.rules.policy, arm.prices
    opened, asked = _of_grades(counted.opened), _of_grades(counted.asked_minor)
    alive, prob = _of_grades(counted.alive), _of_grades(counted.prob)
    limit, owed = _of_grades(counted.limit_minor), _of_grades(counted.owed_minor)
    return tuple(
        Segment(
            name=name,
            ladder=_LADDER,
            customers=int(opened[place]),
            floor_minor=0,
            cap_minor=int(asked[place] / opened[place]),
            default_prob=float(prob[place] / alive[place]),
            lgd=prices.loss_given_default,
            utilisation=float(owed[place] / limit[place]),
            ccf=float(policy.expected_loss.ccf),
            revenue=prices.annual_rate,
            funding=prices.funding_rate,
        )
        for place, name in enumerate(policy.grades)
        if opened[place] and limit[place]
    )


def _of_grades(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over the states of each grade."""
    found: NDArray[np.float64] = values.reshape(-1, A_GRADE).sum(axis=1)
    return found
