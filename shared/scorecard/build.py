"""From moments to a card: fit, whole points, worth of each holder, and each holder's own card.

Everything follows from the moments alone and is deterministic: equal moments give equal cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.errors import FloorBroken
from shared.scorecard.moments import ColumnMoments, Moments
from shared.scorecard.path import choose, fit_path
from shared.scorecard.scale import PRODUCT_SCALE, Scale, points_from_coefficients
from shared.scorecard.solve import Fit, Problem, standard_errors
from shared.scorecard.worth import Worth, worth_of_holders

Points = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How a card is fitted.

    Parameters
    ----------
    scale : Scale
        Of the score.
    pair_weight : float
        Price of a product of two features, relative to a single threshold.
    penalties : int
        Steps of the regularisation path.
    ridge : float
        Quadratic penalty on columns of unit variance.
    sparser : bool
        Prefer a shorter card that is nearly as good.
    """

    scale: Scale = PRODUCT_SCALE
    pair_weight: float = 1.0
    penalties: int = 20
    ridge: float = 1e-3
    sparser: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A card before it was calibrated.

    Parameters
    ----------
    moments : Moments
    columns : ColumnMoments
    fit : Fit
    explained : float
        Share of the label's variance that the card explains.
    errors : ndarray of float64, shape (p,)
        Standard errors of the coefficients.
    points : tuple of ndarray of int64, one a block, shape (n_atoms,)
        Whole points of each bin; more points, less risk.
    worth : tuple of Worth
    alone : mapping of str to tuple of ndarray
        Points of a card of one holder's columns only, for all blocks; zero outside its own.
    """

    moments: Moments
    columns: ColumnMoments
    fit: Fit
    explained: float
    errors: NDArray[np.float64]
    points: Points
    worth: tuple[Worth, ...]
    alone: Mapping[str, Points]


def draft_card(moments: Moments, settings: BuildSettings | None = None) -> Draft:
    """Fit a card to moments.

    Parameters
    ----------
    moments : Moments
        Pooled, blind or summed: the card is the same.
    settings : BuildSettings, optional

    Returns
    -------
    Draft

    Raises
    ------
    FloorBroken
        If the holders' bins have nothing to tell: every column was merged away.
    """
    settings = settings or BuildSettings()
    columns = moments.columns()
    if not columns.names:
        raise FloorBroken("no column is left: every bin of every holder was merged away")
    problem = Problem.of(columns, pair_weight=settings.pair_weight)
    chosen = _best(problem, settings)
    total = problem.n * problem.label_variance
    return Draft(
        moments=moments,
        columns=columns,
        fit=chosen,
        explained=1.0 - chosen.rss / total,
        errors=standard_errors(problem, chosen, ridge=settings.ridge),
        points=_points(moments, columns, chosen, settings.scale),
        worth=worth_of_holders(problem, columns.owners, chosen, ridge=settings.ridge),
        alone={
            owner: _alone(moments, columns, problem, owner, settings)
            for owner in sorted({block.owner for block in moments.blocks})
        },
    )


def _best(problem: Problem, settings: BuildSettings) -> Fit:
    path = fit_path(problem, penalties=settings.penalties, ridge=settings.ridge)
    return choose(path, sparser=settings.sparser)


def _alone(
    moments: Moments,
    columns: ColumnMoments,
    problem: Problem,
    owner: str,
    settings: BuildSettings,
) -> Points:
    """Fit the best card of one holder's columns, with a penalty chosen for it."""
    mine = np.flatnonzero(np.array(columns.owners) == owner)
    if not mine.size:
        return tuple(np.zeros(block.n_atoms, dtype=np.int64) for block in moments.blocks)
    chosen = _best(_only(problem, mine), settings)
    whole = np.zeros(len(columns.names))
    whole[mine] = chosen.coefficients
    return _points(moments, columns, chosen, settings.scale, whole)


def _only(problem: Problem, columns: NDArray[np.intp]) -> Problem:
    """Return the problem with some of its columns: the same rows and label."""
    return replace(
        problem,
        gram=problem.gram[np.ix_(columns, columns)],
        pull=problem.pull[columns],
        mean=problem.mean[columns],
        deviation=problem.deviation[columns],
        signs=problem.signs[columns],
        weights=problem.weights[columns],
    )


def _points(
    moments: Moments,
    columns: ColumnMoments,
    chosen: Fit,
    scale: Scale,
    coefficients: NDArray[np.float64] | None = None,
) -> Points:
    values = chosen.coefficients if coefficients is None else coefficients
    whole = points_from_coefficients(values, moments.n / chosen.rss, scale)
    return tuple(
        block.ladder.astype(np.int64) @ part
        for block, part in zip(moments.blocks, columns.by_block(whole), strict=True)
    )


def mean_points(draft: Draft) -> list[float]:
    """Return each block's mean points over the customers of the moments."""
    margins = np.diagonal(draft.moments.counts)
    starts = draft.moments.starts
    return [
        float(margins[start:stop] @ points) / draft.moments.n
        for start, stop, points in zip(starts, starts[1:], draft.points, strict=False)
    ]


def part_of(draft: Draft, owner: str, points: Points) -> list[list[int]]:
    """Return one holder's part of a card: for each of its blocks, the points of its bins."""
    return [
        values.tolist()
        for block, values in zip(draft.moments.blocks, points, strict=True)
        if block.owner == owner
    ]
