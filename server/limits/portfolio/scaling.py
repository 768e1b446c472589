"""From what an allocation gives a segment to the limits of its customers: down, never up.

Kept apart from the programme (`server.limits.portfolio.portfolio`), which needs a solver; this
needs none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from server.limits.portfolio.segments import Allocation, Segment

_GRID: Final = Decimal("1e-9")
"""Scales are kept to nine decimals, down."""


def scales(
    segments: Sequence[Segment], allocation: Allocation, asked_minor: Mapping[str, int]
) -> dict[str, Decimal]:
    """Return by how much the limits of each segment are multiplied: at most 1.

    A riskier segment never keeps a larger part than a safer one of its ladder: otherwise two single
    customers could change places although their segments do not (invariant I7).

    Parameters
    ----------
    segments : sequence of Segment
    allocation : Allocation
    asked_minor : mapping of str to int
        What the limits of each segment come to before.

    Returns
    -------
    dict of str to Decimal
        Nine decimals, down.
    """
    result: dict[str, Decimal] = {}
    lowest: dict[str, Decimal] = {}
    groups = sorted({(one.ladder, one.default_prob) for one in segments})
    for ladder, risk in groups:
        members = [one for one in segments if (one.ladder, one.default_prob) == (ladder, risk)]
        before = lowest.get(ladder, Decimal(1))
        for one in members:
            given = one.customers * allocation.limits_minor[one.name]
            asked = asked_minor.get(one.name, 0)
            share = _share(given, asked) if asked else before
            result[one.name] = min(before, share)
        lowest[ladder] = min(result[one.name] for one in members)
    return result


def _share(given: int, asked: int) -> Decimal:
    below = Fraction(given, asked) / Fraction(_GRID)
    return min(Decimal(1), Decimal(math.floor(below)) * _GRID)


def scaled(limit_minor: int, scale: Decimal, quantum_minor: int) -> int:
    """Return a limit after the allocation: down to the quantum, never up."""
    steps = Fraction(scale) * limit_minor / quantum_minor
    return min(limit_minor, math.floor(steps) * quantum_minor)


@dataclass(frozen=True, slots=True)
class Scaled:
    """Limits of single customers after an allocation.

    Parameters
    ----------
    limits_minor : mapping of str to int
        By customer.
    reserve_minor : int
        What the allocation gave and rounding left.
    cut : tuple of str
        Customers whose limit is lower than before: their reason is C-CAP, which is not about them.
    """

    limits_minor: Mapping[str, int]
    reserve_minor: int
    cut: tuple[str, ...]


def scale_down(
    segments: Sequence[Segment],
    allocation: Allocation,
    limits_minor: Mapping[str, tuple[str, int]],
    quantum_minor: int,
) -> Scaled:
    """Scale single limits to what the allocation gives their segments.

    Parameters
    ----------
    segments : sequence of Segment
    allocation : Allocation
    limits_minor : mapping of str to (str, int)
        Segment and limit of each customer.
    quantum_minor : int
    """
    asked: dict[str, int] = {}
    for segment, limit in limits_minor.values():
        asked[segment] = asked.get(segment, 0) + limit
    by = scales(segments, allocation, asked)
    after = {
        name: scaled(limit, by[segment], quantum_minor)
        for name, (segment, limit) in limits_minor.items()
    }
    given = sum(
        min(one.customers * allocation.limits_minor[one.name], asked.get(one.name, 0))
        for one in segments
    )
    return Scaled(
        limits_minor=MappingProxyType(after),
        reserve_minor=given - sum(after.values()),
        cut=tuple(sorted(name for name, limit in after.items() if limit < limits_minor[name][1])),
    )
