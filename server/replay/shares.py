"""Which share of what the caps allow a line keeps, by the state that it is in.

A state is grade, how much of what the caps allow the line has, how it is used and whether a payment
is overdue: coarse enough to be counted, and known on the day of a review.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int32]

#: How much of what the caps allow a line has: nothing yet, or nearest to which share.
HELD: Final = ("none", "1/4", "1/2", "3/4", "whole")
_HELD: Final = (0.0, 0.375, 0.625, 0.875)
#: How much of the limit is owed.
USES: Final = ("under half", "half or more")
_HALF: Final = 0.5
#: Whether a payment is overdue.
BEHIND: Final = ("on time", "behind")
#: States of one grade.
A_GRADE: Final = len(HELD) * len(USES) * len(BEHIND)


@dataclass(frozen=True, slots=True)
class State:
    """A state in words.

    Parameters
    ----------
    grade, held, use, behind : str
        The last three of `HELD`, `USES` and `BEHIND`.
    """

    grade: str
    held: str
    use: str
    behind: str


def states_of(grades: tuple[str, ...]) -> tuple[State, ...]:
    """Return every state, in the order of their places.

    Parameters
    ----------
    grades : tuple of str
        A policy's, safest first.
    """
    return tuple(State(*one) for one in product(grades, HELD, USES, BEHIND))


def places_of(
    grade: NDArray[np.int32],
    owed: NDArray[np.int64],
    limit: NDArray[np.int64],
    allowed: NDArray[np.int64],
    late: NDArray[np.int64],
) -> Places:
    """Return the place of each line's state.

    Parameters
    ----------
    grade : (n,) int32
        Places among the policy's grades.
    owed, limit, allowed : (n,) int64
        The debt, the limit in force and what the caps allow, in minor units.
    late : (n,) int64
        Payments behind.
    """
    held = sum((limit > share * allowed).astype(np.int32) for share in _HELD)
    used = (limit > 0) & (owed >= _HALF * limit)
    place = (grade * len(HELD) + held) * len(USES) + used
    found: Places = (place * len(BEHIND) + (late > 0)).astype(np.int32)
    return found


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of what the caps allow.

    Parameters
    ----------
    by_state : tuple of Decimal
        One for all lines, or one for each state; in [0, 1].
    """

    by_state: tuple[Decimal, ...]

    def places(self, states: Places) -> Places | None:
        """Return where each line's share stands; None if all have the same."""
        return None if len(self.by_state) == 1 else states


def alike(share: Decimal) -> Shares:
    """Return one share for all lines."""
    return Shares((share,))


def by_grade(shares: tuple[Decimal, ...]) -> Shares:
    """Return shares that depend on the grade alone.

    Parameters
    ----------
    shares : tuple of Decimal
        Of each grade, safest first.
    """
    return Shares(tuple(share for share in shares for _ in range(A_GRADE)))


#: All that the caps allow.
WHOLE: Final = alike(Decimal(1))
