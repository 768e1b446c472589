"""How much each segment may borrow: a budget from own funds, shared out by a linear programme.

A programme left alone gives the riskier segment more wherever it pays more (domain T24); the rows
that keep limits from rising with risk are therefore part of it (T25). Single customers are scaled
by the share that their segment keeps (`server.limits.portfolio.scaling`), which may not rise with
risk either. A programme that does not know of it gives riskier segments shares that they may not
keep, and that part of the budget reaches nobody: for lines its order is that of shares.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from server.limits.portfolio.budget import Budget
from server.limits.portfolio.segments import Allocation, Segment
from shared.errors import UsageError

_CLOSE: Final = 1e-9
"""Relative error of the solver up to which a value is meant to be a whole minor unit."""

_Row = npt.NDArray[np.float64]


class Order(enum.Enum):
    """What never rises with risk.

    `SHARES` of the caps are what customers are scaled by; `LIMITS` are the domain's T25; `NONE`
    only shows what order costs.
    """

    SHARES = "shares"
    LIMITS = "limits"
    NONE = "none"


def allocate(
    segments: Sequence[Segment], budget: Budget, order: Order = Order.LIMITS
) -> Allocation:
    """Share out a budget for the most margin.

    Parameters
    ----------
    segments : sequence of Segment
    budget : Budget
    order : Order
        With that of shares, floors give way where not all can be kept: to what everybody could keep
        alike.

    Returns
    -------
    Allocation

    Raises
    ------
    UsageError
        If there is no segment, a name stands twice, or no allocation meets all bounds.
    """
    if not segments or len({one.name for one in segments}) != len(segments):
        raise UsageError("allocation: segments must be there, with names that differ")
    names, rows, most = _rows(segments, budget, order)
    if order is Order.SHARES:
        segments = _lowered_floors(segments, rows, most)
    unit = float(max(one.cap_minor for one in segments)) or 1.0  # limits of about 1, for the solver
    crowd = np.array([one.customers for one in segments], dtype=float)
    gain = crowd * np.array([one.margin for one in segments])
    size = np.maximum(np.abs(rows).max(axis=1), 1.0)
    solved = linprog(
        -gain / max(np.abs(gain).max(), 1.0),
        A_ub=rows / size[:, None],
        b_ub=most / size / unit,
        bounds=[(one.floor_minor / unit, one.cap_minor / unit) for one in segments],
        method="highs",
    )
    if solved.status != 0:
        raise UsageError(_infeasible(segments, budget))
    prices = -solved.ineqlin.marginals * max(np.abs(gain).max(), 1.0) / size
    limits = {one.name: float(solved.x[i]) * unit for i, one in enumerate(segments)}
    whole = _whole(segments, limits, rows, most)
    return Allocation(
        limits=MappingProxyType(limits),
        limits_minor=MappingProxyType(whole),
        objective_minor=float(gain @ solved.x) * unit,
        shadow_prices=MappingProxyType(
            {name: float(price) for name, price in zip(names, prices, strict=True) if name}
        ),
    )


def _rows(
    segments: Sequence[Segment], budget: Budget, order: Order
) -> tuple[list[str], _Row, _Row]:
    """Return names, coefficients and right-hand sides of all bounds, each `row x limits <= most`.

    Rows of the order between segments have no name: their price is no price of money.
    """
    crowd = np.array([one.customers for one in segments], dtype=float)
    micro = np.array([one.micro for one in segments], dtype=float)
    found: list[tuple[str, _Row, float]] = [("commitments", crowd, float(budget.commitments_minor))]
    if budget.expected_loss_minor is not None:
        rates = np.array([one.loss_rate for one in segments])
        found.append(("expected_loss", crowd * rates, float(budget.expected_loss_minor)))
    if budget.capital_minor is not None:
        exposure = np.array([one.exposure_rate for one in segments])
        weight = float(budget.risk_weight * budget.capital_ratio)
        found.append(("capital", crowd * exposure * weight, float(budget.capital_minor)))
    if budget.inclusion_share:
        share = float(budget.inclusion_share)
        found.append(("inclusion", crowd * (share - micro), 0.0))
    for partner, most in sorted(budget.partners_minor.items()):
        shares = np.array([one.partner_shares.get(partner, 0.0) for one in segments])
        found.append((f"partner {partner}", crowd * shares, float(most)))
    if budget.concentration_share < 1:
        most_each = float(budget.concentration_share) * budget.commitments_minor
        for i, one in enumerate(segments):
            found.append((f"concentration {one.name}", crowd * _unit(len(segments), i), most_each))
    found += [("", row, 0.0) for row in _ladders(segments, order)]
    names = [name for name, _, _ in found]
    return names, np.array([row for _, row, _ in found]), np.array([most for _, _, most in found])


def _ladders(segments: Sequence[Segment], order: Order) -> list[_Row]:
    """Return a row for each pair of neighbours in risk: the riskier limit less the safer.

    In the order of shares each limit counts by the other's cap.
    """
    if order is Order.NONE:
        return []
    size = len(segments)
    caps = [one.cap_minor if order is Order.SHARES else 1 for one in segments]
    return [
        caps[i] * _unit(size, j) - caps[j] * _unit(size, i)
        for safer, riskier in _neighbours(segments)
        for i in safer
        for j in riskier
    ]


def _lowered_floors(segments: Sequence[Segment], rows: _Row, most: _Row) -> list[Segment]:
    """Return segments whose floors can be kept together, in the order of shares.

    The share that all could keep alike meets every bound; a floor above it may be out of reach.
    """
    asked = rows @ np.array([one.cap_minor for one in segments], dtype=float)
    bounded = asked > 0
    alike = float(np.min(most[bounded] / asked[bounded], initial=1.0))
    reach = max(0.0, alike * (1.0 - _CLOSE))
    return [
        replace(one, floor_minor=min(one.floor_minor, math.floor(reach * one.cap_minor)))
        for one in segments
    ]


def _neighbours(segments: Sequence[Segment]) -> list[tuple[list[int], list[int]]]:
    """Return pairs of groups of segments that follow each other in risk, safest first.

    Who has a cap of nothing has no place among them.
    """
    pairs: list[tuple[list[int], list[int]]] = []
    for ladder in sorted({one.ladder for one in segments}):
        of_risk: dict[float, list[int]] = {}
        for i, one in enumerate(segments):
            if one.ladder == ladder and one.cap_minor:
                of_risk.setdefault(one.default_prob, []).append(i)
        pairs += pairwise([of_risk[risk] for risk in sorted(of_risk)])
    return pairs


def _unit(length: int, at: int) -> _Row:
    row: _Row = np.zeros(length)
    row[at] = 1.0
    return row


def _whole(
    segments: Sequence[Segment], limits: Mapping[str, float], rows: _Row, most: _Row
) -> dict[str, int]:
    """Return limits in whole minor units that meet every bound.

    The solver is right to about nine digits of the largest cap: what it means to be a whole number
    is taken as that, the rest goes down. Where a bound is still broken, the limit that weighs most
    in it goes down until it holds: bounds and the order of risk come before the floors.
    """
    whole = []
    for one in segments:
        near = round(limits[one.name])
        close = abs(limits[one.name] - near) <= _CLOSE * max(1.0, near)
        meant = near if close else math.floor(limits[one.name])
        whole.append(min(max(meant, 0), one.cap_minor))
    while (broken := _broken(rows, most, whole)) is not None:
        row, excess = broken
        at = max((i for i, limit in enumerate(whole) if limit), key=lambda i: float(row[i]))
        whole[at] = max(0, whole[at] - math.ceil(excess / row[at]))
    return {one.name: at for one, at in zip(segments, whole, strict=True)}


def _broken(rows: _Row, most: _Row, whole: Sequence[int]) -> tuple[_Row, float] | None:
    """Return the first bound that whole limits break, and by how much."""
    taken = np.array(whole, dtype=float)
    used = rows @ taken
    slack = _CLOSE * np.maximum(np.abs(rows) @ taken, 1.0)
    slack[0] = 0.0  # commitments are counted, not measured
    beyond = np.flatnonzero(used > most + slack)
    return (rows[beyond[0]], float(used[beyond[0]] - most[beyond[0]])) if beyond.size else None


def _infeasible(segments: Sequence[Segment], budget: Budget) -> str:
    floors = sum(one.customers * one.floor_minor for one in segments)
    return (
        "allocation: no limits meet all bounds; the floors alone commit "
        f"{floors} of {budget.commitments_minor} minor units"
    )
