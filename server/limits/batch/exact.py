"""Exact arithmetic on columns of money: int64 while that is wide enough, Python's integers beyond.

No step goes through a float. Shares and thresholds of a policy are decimals, so they are whole
numbers over whole numbers, and every rule about them is a comparison or a division of integers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.limits.batch.columns import Flags, Money

_WIDEST: Final = 2**62
"""A sum of two products below it still fits."""


def times(amounts: NDArray[Any], factor: NDArray[Any] | int) -> NDArray[Any]:
    """Return amounts times whole numbers: int64 if all products fit, else Python's integers.

    Parameters
    ----------
    amounts : (n,) int64 or object
    factor : (n,) int64 or object, or int

    Returns
    -------
    (n,) int64 or object
        Both take the same operators with the same results.
    """
    most = _largest(amounts) * (abs(factor) if isinstance(factor, int) else _largest(factor))
    if amounts.dtype != object and most < _WIDEST and abs(_one(factor)) < _WIDEST:
        return amounts.astype(np.int64) * factor
    return amounts.astype(object) * factor


def _largest(amounts: NDArray[Any]) -> int:
    return max(int(amounts.max()), -int(amounts.min())) if amounts.size else 0


def _one(factor: NDArray[Any] | int) -> int:
    """Return a factor that stands alone: also beside zeros it must fit."""
    return factor if isinstance(factor, int) else 0


def narrow(amounts: NDArray[Any]) -> Money:
    """Return results that are amounts again as int64.

    Raises
    ------
    OverflowError
        If one is not.
    """
    return amounts.astype(np.int64, casting="unsafe" if amounts.dtype == object else "same_kind")


def share_of(amounts: Money, share: Decimal, quantum: int = 1) -> Money:
    """Return a share of amounts, down to a whole quantum.

    Parameters
    ----------
    amounts : (n,) Money
        At least 0.
    share : Decimal
        At least 0.
    quantum : int
    """
    above, below = share.as_integer_ratio()
    return narrow(times(amounts, above) // (below * quantum)) * quantum


def step_of(amounts: Money, share: Decimal, quantum: int) -> Money:
    """Return steps: a share, down to a quantum, one quantum at least (`LinePolicy.step`)."""
    return np.maximum(quantum, share_of(amounts, share, quantum))


def met(above: NDArray[Any], below: NDArray[Any], threshold: Decimal, *, rising: bool) -> Flags:
    """Return where ``above / below`` is on the right side of a threshold (`Condition.met`).

    Parameters
    ----------
    above : (n,) int64 or object
    below : (n,) int64 or object
        Above 0.
    threshold : Decimal
    rising : bool
        At least the threshold; else at most.
    """
    numerator, denominator = threshold.as_integer_ratio()
    left, right = times(above, denominator), times(below, numerator)
    return np.asarray(left >= right if rising else left <= right, np.bool_)
