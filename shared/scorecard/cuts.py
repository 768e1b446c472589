"""How one holder cuts its own values into bins, and pairs of features into cells.

Every bin, and every cell of a pair, holds at least `Floors.minimum` training rows; since a block
has two bins or more, so does the complement of each (design 4.3). Smaller groups are merged before
anything is counted for others.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.scorecard.bins import Axis, Cells, Levels
from shared.scorecard.counted import Counted, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_FEW = 64  # a feature with at most so many values is cut at all of them before coarsening


def plan_axis(
    name: str, values: Floats, special: Sequence[float], *, thresholds: int, floor: int
) -> Axis | None:
    """Cut a column at quantiles of its ordinary values, every bin at or above the floor.

    Parameters
    ----------
    name : str
        Column.
    values : ndarray of float64, shape (n,)
        Training values, NaN is missing.
    special : sequence of float
        Special codes.
    thresholds : int
        Largest number of edges.
    floor : int
        Rows that a bin must hold.

    Returns
    -------
    Axis or None
        None where fewer ordinary values than the floor exist, or only one bin.
    """
    return cut(name, counted(values, special), thresholds=thresholds, floor=floor)


def cut(name: str, column: Counted, *, thresholds: int, floor: int) -> Axis | None:
    """Cut a counted column; see `plan_axis`."""
    total = column.n_ordinary
    if total < floor:
        return None
    apart: list[tuple[float | None, ...]] = [
        (code,) for code, count in column.apart if count >= floor
    ]
    small = [(code, count) for code, count in column.apart if 0 < count < floor]
    if sum(count for _, count in small) >= floor:
        apart.append(tuple(code for code, _ in small))
    codes = tuple(code for code, _ in column.apart if code is not None)
    home = float(column.at(np.array([(total - 1) // 2]))[0])
    axis = Axis(name, _edges(column, thresholds, floor), codes, tuple(apart), home)
    return axis if axis.n_atoms > 1 else None


def _edges(column: Counted, thresholds: int, floor: int) -> tuple[float, ...]:
    """Edges among counted values: quantiles, left to right, that leave the floor on both sides."""
    distinct, total = column.values, column.n_ordinary
    if distinct.size <= thresholds + 1:
        candidates = distinct[:-1]
    else:
        ranks = np.arange(1, thresholds + 1) * total // (thresholds + 1)
        candidates = np.unique(column.at(ranks))
    below = np.cumsum(column.counts)[np.searchsorted(distinct, candidates)]
    edges: list[float] = []
    last = 0
    for edge, count in zip(candidates.tolist(), below.tolist(), strict=True):
        if count - last >= floor and total - count >= floor:
            edges.append(edge)
            last = count
    return tuple(edges)


def coarsen(axis: Axis, values: Floats, *, edges: int, levels: int, floor: int) -> Axis | None:
    """Cut a column for pairs.

    Parameters
    ----------
    axis : Axis
        Its fine cut.
    values : ndarray of float64, shape (n,)
        Training values.
    edges : int
        Largest number of edges, of those that lie nearest to equal shares.
    levels : int
        The same for a column with few different values, whose edges are steps of a status.
    floor : int
        Rows that a bin must hold.

    Returns
    -------
    Axis or None
        None where no edge is left.
    """
    column = counted(values, axis.special)
    return coarsened(axis, column, edges=edges, levels=levels, floor=floor)


def coarsened(axis: Axis, column: Counted, *, edges: int, levels: int, floor: int) -> Axis | None:
    """Cut a counted column for pairs; see `coarsen`."""
    few = column.values.size <= _FEW
    fine = np.asarray(_edges(column, _FEW if few else 99, floor))
    wanted = levels if few else edges
    if fine.size > wanted:
        below = np.cumsum(column.counts)[np.searchsorted(column.values, fine)]
        shares = below / column.n_ordinary
        targets = np.arange(1, wanted + 1) / (wanted + 1)
        fine = fine[np.unique(np.abs(shares[None, :] - targets[:, None]).argmin(axis=1))]
    if not fine.size:
        return None
    return Axis(axis.name, tuple(fine.tolist()), axis.special, axis.apart, axis.home)


def plan_cells(first: Axis, second: Axis, one: Floats, two: Floats, *, floor: int) -> Cells | None:
    """Choose the products of two coarse axes, the most balanced first.

    A product is kept only if all cells that the kept products tell apart hold the floor. One that
    tells no new cells apart is kept as well: it is another card point over the same cells.

    Parameters
    ----------
    first, second : Axis
        Coarse axes.
    one, two : ndarray of float64, shape (n,)
        Training values of both.
    floor : int
        Rows that a cell must hold.

    Returns
    -------
    Cells or None
        None where no product can be kept.
    """
    return choose_cells(first, second, cell_counts(first, second, one, two), floor=floor)


def cell_counts(first: Axis, second: Axis, one: Floats, two: Floats) -> Ints:
    """Count the rows in each cell of two coarse axes, shape (steps of one, steps of the other)."""
    shape = (len(first.edges) + 1, len(second.edges) + 1)
    place = first.steps(one)[0] * shape[1] + second.steps(two)[0]
    return np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def choose_cells(first: Axis, second: Axis, grid: Ints, *, floor: int) -> Cells | None:
    """Choose the products of two coarse axes whose cells were counted; see `plan_cells`."""
    shape = grid.shape
    n = int(grid.sum())
    rows, columns = np.indices(shape)

    def imbalance(pair: tuple[int, int]) -> int:
        inside = int(grid[pair[0] + 1 :, pair[1] + 1 :].sum())
        return -min(inside, n - inside)

    part = np.zeros(shape, dtype=np.int64)
    kept: list[tuple[int, int]] = []
    for i, j in sorted(product(range(shape[0] - 1), range(shape[1] - 1)), key=imbalance):
        finer = part * 2 + ((rows > i) & (columns > j))
        names, inverse = np.unique(finer, return_inverse=True)
        inverse = inverse.reshape(shape)
        filled: NDArray[Any] = np.bincount(inverse.ravel(), grid.ravel(), minlength=names.size)
        if filled.min() >= floor:
            part = inverse
            kept.append((i, j))
    return Cells(first, second, tuple(sorted(kept))) if kept else None


def plan_levels(name: str, values: Floats, levels: Sequence[str], *, floor: int) -> Levels | None:
    """Give each level of a category its bin, and one to all small levels together.

    Parameters
    ----------
    name : str
        Column.
    values : ndarray of float64, shape (n,)
        Index of the level; NaN is missing.
    levels : sequence of str
        All levels of the contract.
    floor : int
        Rows that a bin must hold.

    Returns
    -------
    Levels or None
        None where only one bin is left. What is too small even together joins the commonest.

    Raises
    ------
    DataError
        If a value is not the code of a level.
    """
    return choose_levels(name, levels, level_counts(name, levels, values), floor=floor)


def level_counts(name: str, levels: Sequence[str], values: Floats) -> Ints:
    """Count the rows of each level, and behind them those that are missing.

    Raises
    ------
    DataError
        If a value is not the code of a level.
    """
    texts = (*levels, "missing")
    all_bins = Levels(name, tuple(range(len(levels))), len(levels), texts).encode(values)
    return np.bincount(all_bins, minlength=len(texts)).astype(np.int64)


def choose_levels(name: str, levels: Sequence[str], counts: Ints, *, floor: int) -> Levels | None:
    """Give each level of a counted category its bin; see `plan_levels`."""
    texts = (*levels, "missing")
    commonest = int(counts.argmax())
    large = [commonest]
    large += [k for k in range(len(texts)) if counts[k] >= floor and k != commonest]
    small = [k for k in range(len(texts)) if k not in large]
    together = int(counts[small].sum()) >= floor
    names = [texts[k] for k in large] + (["other"] if together else [])
    if len(names) < 2 or counts[commonest] < floor:
        return None
    bins = [large.index(k) if k in large else len(large) * together for k in range(len(texts))]
    return Levels(name, tuple(bins[:-1]), bins[-1], tuple(names))
