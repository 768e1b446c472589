"""Why a network's score differs from that of the mean customer: exact Shapley values of blocks.

A network has no points a feature, so what a block of features adds depends on which others have
joined. The Shapley value is the mean over all orders in which they can join (Shapley 1953), with
what has not joined left at a stated baseline (Baseline-Shapley, Sundararajan & Najmi, "The many
Shapley values for model explanation", ICML 2020). Nothing is sampled: with K holders all 2^K
coalitions are scored.

Inside a holder's block its reasons share what the holder adds, in orders that keep the holder
together: the value of Owen (1977), "Values of games with a priori unions". So the reasons of a
holder add up to the holder's Shapley value, and all of them to the score's difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from shared.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

MOST_COALITIONS: Final = 4096
"""Coalitions that are scored for one explanation: 12 blocks of one reason each."""
_CHUNK: Final = 65_536  # rows of mixed inputs at once: memory stays flat

Model: TypeAlias = "Callable[[Floats], Floats]"
"""From inputs, shape (n, width), to log-odds of default, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Block:
    """Inputs that join together.

    Parameters
    ----------
    holder : str
        Whose they are, or the group that stands for a holder where all hold the same.
    code : str
        Public reason code; no two blocks share one.
    columns : tuple of int
        Inputs of the network.
    """

    holder: str
    code: str
    columns: tuple[int, ...]


def shapley(model: Model, rows: Floats, baseline: Floats, blocks: Sequence[Block]) -> Floats:
    """Return what each block adds to the log-odds of default, against the baseline.

    Parameters
    ----------
    model : callable
        Only its outputs are looked at; asked with at most 65,536 rows at once.
    rows : ndarray of float64, shape (n, width)
    baseline : ndarray of float64, shape (width,)
        The federation's mean input.
    blocks : sequence of Block, length k
        Every input in exactly one of them.

    Returns
    -------
    ndarray of float64, shape (n, k)
        Rows add up to ``model(rows) - model(baseline)``, to rounding.

    Raises
    ------
    DataError
        If rows, baseline and blocks do not fit each other.
    UsageError
        If there would be more than `MOST_COALITIONS`.
    """
    _check(rows, baseline, blocks)
    shares = coalitions(blocks)
    result = np.zeros((len(rows), len(blocks)))
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        total = result[start : start + _CHUNK]
        for joined, share in shares.items():
            there = np.zeros(part.shape[1], dtype=bool)
            there[[c for k in joined for c in blocks[k].columns]] = True
            total += np.multiply.outer(model(np.where(there, part, baseline)), share)
    return result


def by_holder(values: Floats, blocks: Sequence[Block]) -> dict[str, Floats]:
    """Return each holder's Shapley value: the sum of its blocks', shape (n,)."""
    return {
        holder: values[:, [k for k, block in enumerate(blocks) if block.holder == holder]].sum(
            axis=1
        )
        for holder in sorted({block.holder for block in blocks})
    }


def coalitions(blocks: Sequence[Block]) -> dict[tuple[int, ...], Floats]:
    """Return with what weight the score of each coalition counts for each block.

    Parameters
    ----------
    blocks : sequence of Block, length k

    Returns
    -------
    dict of tuple of int to ndarray of float64, shape (k,)
        By the numbers of the blocks that joined.

    Raises
    ------
    UsageError
        If there are more than `MOST_COALITIONS`.
    """
    unions: dict[str, list[int]] = {}
    for k, block in enumerate(blocks):
        unions.setdefault(block.holder, []).append(k)
    groups = list(unions.values())
    needed = sum(2 ** (len(groups) - 1 + len(own)) for own in groups)
    if needed > 2 * len(groups) * MOST_COALITIONS:
        raise UsageError(
            f"{len(blocks)} blocks of {len(groups)} holders need too many coalitions",
            hint="give features that mean the same one reason code",
        )
    shares: dict[tuple[int, ...], Floats] = {}
    for at, own in enumerate(groups):
        for others, outer in _subsets(groups[:at] + groups[at + 1 :]):
            before = [k for group in others for k in group]
            for k in own:
                for inside, inner in _subsets([[one] for one in own if one != k]):
                    left = sorted(before + [one for group in inside for one in group])
                    _add(shares, left, k, -outer * inner, len(blocks))
                    _add(shares, sorted([*left, k]), k, outer * inner, len(blocks))
    if len(shares) > MOST_COALITIONS:
        raise UsageError(
            f"{len(shares)} coalitions; at most {MOST_COALITIONS} are scored",
            hint="give features that mean the same one reason code",
        )
    return shares


def blocks_of(
    codes: Sequence[str], widths: Sequence[int], holders: Sequence[str] | None = None
) -> tuple[Block, ...]:
    """Return the blocks of features that stand side by side in the inputs.

    Parameters
    ----------
    codes : sequence of str, length n_features
        Reason code of each feature.
    widths : sequence of int, length n_features
        Inputs of each.
    holders : sequence of str, optional
        Whose each feature is. Without it every code stands by itself if there are at most 12, else
        codes are taken together five by five, in the order in which they come.

    Raises
    ------
    DataError
        If a code is spread over two holders.
    """
    columns: dict[str, list[int]] = {}
    owner: dict[str, str] = {}
    at = 0
    for number, (code, width) in enumerate(zip(codes, widths, strict=True)):
        columns.setdefault(code, []).extend(range(at, at + width))
        holder = holders[number] if holders is not None else ""
        if owner.setdefault(code, holder) != holder:
            raise DataError("blocks", [f"reason code {code} has features of two holders"])
        at += width
    if holders is None:
        alone = len(columns) <= 12
        owner = {code: code if alone else f"group {k // 5 + 1}" for k, code in enumerate(columns)}
    return tuple(Block(owner[code], code, tuple(own)) for code, own in columns.items())


def _subsets(groups: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[Sequence[int], ...], float]]:
    """Yield all subsets with the share of orders in which exactly they come before one more."""
    n = len(groups)
    for size in range(n + 1):
        weight = 1.0 / ((n + 1) * comb(n, size))
        for chosen in combinations(groups, size):
            yield chosen, weight


def _add(
    shares: dict[tuple[int, ...], Floats], joined: Sequence[int], k: int, weight: float, count: int
) -> None:
    share = shares.setdefault(tuple(joined), np.zeros(count))
    share[k] += weight


def _check(rows: Floats, baseline: Floats, blocks: Sequence[Block]) -> None:
    findings = []
    width = len(baseline)
    if rows.ndim != 2 or rows.shape[1] != width:
        findings.append(f"rows must have the {width} inputs of the baseline")
    if sorted(c for block in blocks for c in block.columns) != list(range(width)):
        findings.append("every input must stand in exactly one block")
    if len({block.code for block in blocks}) != len(blocks):
        findings.append("no two blocks may share a reason code")
    if not (np.isfinite(rows).all() and np.isfinite(baseline).all()):
        findings.append("rows and baseline must be finite")
    if findings:
        raise DataError("blocks", findings)


def reasons_of(points: Mapping[str, float], most: int) -> tuple[tuple[str, int], ...]:
    """Return the codes that cost whole points, the costliest first, equal ones by their names.

    Parameters
    ----------
    points : mapping of str to float
        What each code adds to a customer's points against the baseline; below 0 it costs.
    most : int
    """
    costs = {code: int(np.floor(0.5 - value)) for code, value in points.items()}
    order = sorted((-cost, code) for code, cost in costs.items() if cost > 0)
    return tuple((code, -cost) for cost, code in order[:most])
