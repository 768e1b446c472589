"""What noise costs: epsilon of a composition, and the noise that a target epsilon asks for.

The recorded number is that of privacy loss distributions (Meiser, Mohammadi, CCS 2018; Doroshenko
et al., "Connect the Dots", PoPETs 2022) as computed by Google's `dp-accounting`, rounded so that
it is never below the truth. A Gaussian that several honest parties share out in the integers costs
what the continuous one costs, to far below double precision (`shared.privacy.noise`).

`dp-accounting` is imported when a number is asked for: it takes a second or two, and a run without
noise needs none of it.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.errors import BudgetSpent, EnvironmentFault, UsageError

#: Whose trace the noise hides, and between which two worlds nobody can tell: the zero-out relation
#: of Kairouz et al., "Practical and Private (Deep) Learning" (ICML 2021). The number of customers
#: is public in it, as alignment opens it anyway. Two customers exchanged are two steps apart.
UNIT = "one customer of one party, its record used or blank"

# Bisection ends here, on the safe side: the multiplier found is at most this much too large.
_PRECISION = 1e-3
# Width of a step of the loss distributions. Both round losses up; the coarse one, ten times faster,
# is for the search only.
_FINE, _COARSE = 1e-4, 1e-3
# Above this epsilon, up to so many steps, the coarse one is right to a thousandth as well.
_PLENTY, _SOME = 1.0, 1000
# Outside these the distributions take gigabytes or say nothing: epsilon of .3 is 20 and more.
_LARGEST, _SMALLEST = 1e4, 0.3


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Gaussian noise on a sum, over all customers or over a sample of them, once or often.

    Parameters
    ----------
    multiplier : float
        Standard deviation of the noise over the L2 sensitivity, > 0.
    rate : float
        Probability by which each customer is drawn, independently, in (0, 1].
    steps : int
        How often it is repeated, >= 1.

    Raises
    ------
    UsageError
        If a number is out of range; all findings at once.
    """

    multiplier: float
    rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        findings = [text for wrong, text in self._rules() if wrong]
        if findings:
            raise UsageError("noise: " + "; ".join(findings))

    def _rules(self) -> list[tuple[bool, str]]:
        good = math.isfinite(self.multiplier) and self.multiplier > 0
        return [
            (not good, f"multiplier: must be positive and finite. Got {self.multiplier}"),
            (not 0 < self.rate <= 1, f"rate: must be in (0, 1]. Got {self.rate}"),
            (self.steps < 1, f"steps: must be at least 1. Got {self.steps}"),
        ]


def epsilon(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return epsilon of everything together, an upper bound.

    Parameters
    ----------
    mechanisms : iterable of Mechanism
        In any order; none cost nothing.
    delta : float
        In (0, 1); below one over the number of customers to mean anything.

    Returns
    -------
    float

    Raises
    ------
    EnvironmentFault
        If `dp-accounting` is not installed.
    """
    return _epsilon(tuple(mechanisms), delta, _FINE)


@lru_cache(maxsize=512)  # a ledger is worked out again with every release
def _epsilon(used: tuple[Mechanism, ...], delta: float, width: float) -> float:
    _check_delta(delta)
    if not used:
        return 0.0
    _library()  # whether it is there is asked every time
    steps: Counter[tuple[float, float]] = Counter()
    for one in used:
        steps[one.rate, one.multiplier] += one.steps
    alike = (Mechanism(multiplier, rate, n) for (rate, multiplier), n in sorted(steps.items()))
    grouped = tuple(alike)
    found = _composed(grouped, delta, _COARSE)
    good = found > _PLENTY and sum(steps.values()) <= _SOME
    return found if good or width == _COARSE else _composed(grouped, delta, width)


@lru_cache(maxsize=256)  # seconds, where noise is small and steps are many
def _composed(used: tuple[Mechanism, ...], delta: float, width: float) -> float:
    events, pld = _library()
    accountant = pld.PLDAccountant(events.NeighboringRelation.REPLACE_SPECIAL, width)
    whole = math.fsum(one.steps / one.multiplier**2 for one in used if one.rate == 1.0)
    if whole:  # Gaussians over everybody compose to one, exactly
        accountant.compose(events.GaussianDpEvent(1.0 / math.sqrt(whole)))
    for one in used:
        if one.rate < 1.0:
            step = events.PoissonSampledDpEvent(one.rate, events.GaussianDpEvent(one.multiplier))
            accountant.compose(step, one.steps)
    return float(accountant.get_epsilon(delta))


def multiplier_for(
    target: float,
    delta: float,
    *,
    rate: float = 1.0,
    steps: int = 1,
    before: Iterable[Mechanism] = (),
) -> float:
    """Solve for the noise: the smallest multiplier that keeps within a target epsilon.

    Parameters
    ----------
    target : float
        Epsilon of everything together, > 0.
    delta : float
    rate, steps : float, int
        Of the mechanism whose noise is asked for; see `Mechanism`.
    before : iterable of Mechanism
        What was spent already.

    Returns
    -------
    float
        Never below the smallest one, at most 1 % above it, and never below .3.

    Raises
    ------
    BudgetSpent
        If what was spent before leaves nothing.
    UsageError
        If the target is not positive.
    """
    if not (math.isfinite(target) and target > 0):
        raise UsageError(f"epsilon: must be positive and finite. Got {target}")
    spent = list(before)

    def fits(multiplier: float, width: float = _COARSE) -> bool:
        return _epsilon((*spent, Mechanism(multiplier, rate, steps)), delta, width) <= target

    if spent and epsilon(spent, delta) >= target:
        raise _spent(target, delta)
    high = 1.0
    while not fits(high):
        high *= 2
        if high > _LARGEST:
            raise _spent(target, delta)
    found = _bisect(fits, high)
    while not fits(found, _FINE):
        found *= 1 + _PRECISION
    return found


def split_in_two(multiplier: float, share: float) -> tuple[float, float]:
    """Split one Gaussian release into two that cost the same together.

    Parameters
    ----------
    multiplier : float
        Of the one release.
    share : float
        What the first of the two takes of the squared signal, in (0, 1).

    Returns
    -------
    tuple of float
        Multipliers of the two: ``1/z^2 = 1/z1^2 + 1/z2^2``, exact for Gaussians.
    """
    if not 0 < share < 1:
        raise UsageError(f"share: must be in (0, 1). Got {share}")
    return multiplier / math.sqrt(share), multiplier / math.sqrt(1 - share)


def _bisect(fits: Callable[[float], bool], high: float) -> float:
    """Return the smallest multiplier that fits, from one that does."""
    low = high / 2
    while fits(low):
        if low < _SMALLEST:
            return _SMALLEST
        low, high = low / 2, low
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _spent(target: float, delta: float) -> BudgetSpent:
    return BudgetSpent(
        f"epsilon {target} at delta {delta} is spent: no noise is large enough",
        hint="a larger target, or nothing more of these customers",
    )


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise UsageError(f"delta: must be in (0, 1). Got {delta}")


def _library() -> tuple[Any, Any]:
    if importlib.util.find_spec("dp_accounting") is None:
        raise EnvironmentFault(
            "accounting for noise needs dp-accounting, which is not installed",
            hint="pip install 'confide[privacy]'",
        )
    import dp_accounting as events  # noqa: PLC0415 - a second or two; only where noise is used
    from dp_accounting import pld  # noqa: PLC0415

    return events, pld
