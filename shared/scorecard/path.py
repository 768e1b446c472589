"""Cards from few points to many, and the choice of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.scorecard.solve import Fit, Problem, fit

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Cards from few points to many.

    Attributes
    ----------
    fits : tuple of Fit
        One a penalty, penalties falling.
    ridge : float
        The quadratic penalty of all of them.
    """

    fits: tuple[Fit, ...]
    ridge: float


def fit_path(
    problem: Problem,
    *,
    penalties: int | Sequence[float] = 20,
    span: tuple[float, float] = (0.05, 0.003),
    ridge: float = 1e-3,
) -> Path:
    """Fit cards from few points to many, each from the one before.

    Parameters
    ----------
    problem : Problem
        Standardised moments.
    penalties : int or sequence of float
        How many, in geometric steps over `span`; or the penalties themselves, falling.
    span : tuple of float
        Largest and smallest penalty as shares of `problem.largest_penalty`.
    ridge : float
        Quadratic penalty, at least `SMALLEST_RIDGE`.

    Returns
    -------
    Path
        One card a penalty.
    """
    if isinstance(penalties, int):
        penalties = [float(v) for v in problem.largest_penalty * np.geomspace(*span, penalties)]
    fits: list[Fit] = []
    for penalty in penalties:
        start = fits[-1] if fits else None
        fits.append(fit(problem, penalty, ridge=ridge, start=start))
    return Path(tuple(fits), ridge)


def choose(path: Path, *, sparser: bool = False) -> Fit:
    """Choose the card of a path by Cp.

    Parameters
    ----------
    path : Path
        Cards.
    sparser : bool
        Take the card with the fewest points among those whose Cp is within `sqrt(2 df)` of the
        best, `df` that of the best card: one standard error of its chi-squared part (Hastie,
        Tibshirani, Friedman, 2009, section 7.10, the one-standard-error rule, in units of Cp).

    Returns
    -------
    Fit
        The card. Of equal ones, that with fewer points, then the larger penalty.
    """
    best = min(path.fits, key=lambda card: (card.cp, card.df))
    if not sparser:
        return best
    near = [card for card in path.fits if card.cp <= best.cp + np.sqrt(2 * best.df)]
    return min(near, key=lambda card: (card.df, -card.penalty))
