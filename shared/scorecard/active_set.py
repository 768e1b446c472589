"""The search behind every scorecard: the exact minimum for one penalty, by active sets.

Solve the linear system of the points in the card, step towards its solution up to the first change
of sign, drop what reached zero, and take in the columns that violate the optimality conditions
most. It ends at a residual of rounding size, so equal moments give equal cards and there is no
tolerance to tune.

Why it ends: the ridge makes the objective strictly convex, so a set of points with its signs has
one minimum, and taking in the single worst column always lowers the objective: no set comes
twice. Taking in several at once is faster and has no such guarantee; it is undone when the
objective does not fall. Where rounding hides the fall, a set that comes a second time ends the
search.

Source: Osborne, Presnell, Turlach (2000), IMA J. Numer. Anal. 20(3), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BATCH = 16  # columns taken in at once while that lowers the objective; 8 to 32 are equally fast

_TOLERANCE = 1e-12  # of the largest |c|: violations below it are rounding

_FALL = 1e-12  # of the objective: what taking in several columns must gain to be kept


@dataclass(slots=True, eq=False)
class ActiveSet:
    """The search for one penalty: a point, the signs of its support, and the objective there."""

    hessian: Floats
    pull: Floats
    cost: Floats  # penalty times weight, per column
    point: Floats
    sign: Floats  # -1, 0 or 1; 0 is outside the active set

    def objective(self) -> float:
        """Value at the point, which lies in the orthant of the signs."""
        on = np.flatnonzero(self.sign)
        held = self.point[on]
        linear = self.pull[on] - self.cost[on] * self.sign[on]
        return float(held @ (self.hessian[np.ix_(on, on)] @ held) / 2 - linear @ held)

    def descend(self) -> None:
        """Move to the minimum over the active set, dropping what changes its sign on the way."""
        while True:
            on = np.flatnonzero(self.sign)
            signs, old = self.sign[on], self.point[on]
            goal = np.linalg.solve(
                self.hessian[np.ix_(on, on)], self.pull[on] - self.cost[on] * signs
            )
            wrong = goal * signs <= 0
            if not wrong.any():
                self.point[on] = goal
                return
            # Share of the way at which each wrong one reaches zero; one that stands there: 0.
            way = np.where(old == 0, 0.0, np.abs(old) / (np.abs(old) + np.abs(goal) + (old == 0)))
            step = way[wrong].min()
            gone = wrong & (way <= step)
            self.point[on] = np.where(gone, 0.0, old + step * (goal - old))
            self.sign[on[gone]] = 0.0

    def violations(self, signs: NDArray[np.int8]) -> tuple[Floats, Floats]:
        """How far each column outside the set breaks optimality (<= 0: not), and its gradient."""
        on = np.flatnonzero(self.sign)
        force = self.pull - self.hessian[:, on] @ self.point[on]
        reach = np.where(signs == 0, np.abs(force), signs * force)
        excess = reach - self.cost
        excess[on] = -np.inf
        return excess, force

    def with_columns(self, columns: NDArray[np.intp], force: Floats) -> ActiveSet:
        """Minimum after some columns were taken in with the sign of their force."""
        sign = self.sign.copy()
        sign[columns] = np.sign(force[columns])
        other = ActiveSet(self.hessian, self.pull, self.cost, self.point.copy(), sign)
        other.descend()
        return other

    def residual(self, signs: NDArray[np.int8]) -> float:
        """Largest violation of the optimality conditions, inside the set and outside."""
        excess, force = self.violations(signs)
        on = np.flatnonzero(self.sign)
        inside = np.abs(force[on] - self.cost[on] * self.sign[on]).max(initial=0.0)
        return float(max(inside, excess.max(initial=0.0)))


def minimise(state: ActiveSet, signs: NDArray[np.int8]) -> ActiveSet:
    """Take in violators until none is left; the module says why it ends."""
    state.descend()
    tolerance = _TOLERANCE * np.abs(state.pull).max(initial=0.0)
    seen: set[bytes] = set()
    while True:
        excess, force = state.violations(signs)
        worst = np.flatnonzero(excess > tolerance)
        if not worst.size:
            return state
        worst = worst[np.argsort(-excess[worst], kind="stable")]  # ties: lower column first
        value = state.objective()
        batch = state.with_columns(worst[:_BATCH], force)
        if batch.objective() < value - _FALL * abs(value):
            state = batch
            continue
        key = state.sign.astype(np.int8).tobytes()
        if key in seen:
            return state
        seen.add(key)
        state = state.with_columns(worst[:1], force)
