"""One solver for every scorecard: an elastic net fitted on cross-moments alone.

With centred columns of unit variance the fit minimises ::

    1/2 b'G b - c'b + penalty * sum_j w_j |b_j| + ridge/2 b'b      b_j >= 0 or <= 0 where asked

which needs the correlations `G`, the covariances `c` with the label, and no row. How the minimum is
found, exactly, is in `shared.scorecard.active_set`.

Sources: Zou, Hastie (2005), JRSS B 67(2) (elastic net); Mallows (1973), Technometrics 15(4) (Cp);
Zou, Hastie, Tibshirani (2007), Ann. Statist. 35(5) (the number of points kept estimates the degrees
of freedom).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import UsageError
from shared.scorecard.active_set import ActiveSet, minimise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.scorecard.moments import ColumnMoments

    Floats = NDArray[np.float64]

SMALLEST_RIDGE = 1e-6
"""Below this the minimum is not unique to double precision when columns are collinear."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A least-squares problem in centred columns of unit variance.

    Attributes
    ----------
    n : int
        Rows behind the moments.
    gram : numpy.ndarray
        Correlations of the columns, float64, shape (p, p), diagonal exactly 1.
    pull : numpy.ndarray
        Covariance of each column with the label, in label units, shape (p,).
    mean, deviation : numpy.ndarray
        Mean and standard deviation of each column before scaling, shape (p,).
    label_mean, label_variance : float
        Share of bad customers, and its variance.
    signs : numpy.ndarray
        int8 (p,): 1 keeps a coefficient >= 0, -1 keeps it <= 0, 0 leaves it free.
    weights : numpy.ndarray
        Factor of the penalty for each column, > 0, shape (p,).
    """

    n: int
    gram: Floats
    pull: Floats
    mean: Floats
    deviation: Floats
    label_mean: float
    label_variance: float
    signs: NDArray[np.int8]
    weights: Floats

    @classmethod
    def of(cls, moments: ColumnMoments, *, pair_weight: float = 1.0) -> Problem:
        """Standardise the moments of the model's columns.

        Parameters
        ----------
        moments : ColumnMoments
            Integer moments without constant columns.
        pair_weight : float
            Penalty of a product of two features relative to a single threshold, > 0.

        Returns
        -------
        Problem
            The centred products are integers until the one division.

        Raises
        ------
        UsageError
            If `pair_weight` is not positive, or if all labels are alike.
        """
        if not pair_weight > 0:
            raise UsageError(f"pair_weight: must be positive. Got {pair_weight}")
        n, bad = moments.n, moments.n_bad
        if not 0 < bad < n:
            raise UsageError("label: one class only", hint="a card needs good and bad customers")
        spread = n * moments.gram - np.outer(moments.sums, moments.sums)
        root = np.sqrt(np.diag(spread).astype(np.float64))
        gram = spread / root[:, None] / root[None, :]
        gram = (gram + gram.T) / 2  # the two divisions round apart
        np.fill_diagonal(gram, 1.0)
        return cls(
            n=n,
            gram=gram,
            pull=(n * moments.bads - moments.sums * bad) / n / root,
            mean=moments.sums / n,
            deviation=root / n,
            label_mean=bad / n,
            label_variance=bad * (n - bad) / n**2,
            signs=moments.signs,
            weights=np.where(moments.paired, pair_weight, 1.0),
        )

    @property
    def largest_penalty(self) -> float:
        """Smallest penalty that keeps no column at all."""
        allowed = np.where(self.signs == 0, np.abs(self.pull), self.signs * self.pull)
        return float(max((allowed / self.weights).max(initial=0.0), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One card: coefficients on the original columns.

    Attributes
    ----------
    coefficients : numpy.ndarray
        Change of the fitted share of bads where the indicator is 1; 0 is out of the card. (p,).
    standard : numpy.ndarray
        The same in units of one standard deviation of the column: the start of the next fit. (p,).
    intercept : float
        Fitted share of bads where every indicator is 0.
    rss : float
        Residual sum of squares over the `n` rows.
    df : int
        Points kept.
    penalty : float
        The penalty it was fitted at.
    cp : float
        `n log(RSS / n) + 2 df`; smaller is better.
    kkt : float
        Largest violation of the optimality conditions, in label units.
    """

    coefficients: Floats
    standard: Floats
    intercept: float
    rss: float
    df: int
    penalty: float
    cp: float
    kkt: float

    @property
    def kept(self) -> NDArray[np.intp]:
        """Indices of the columns in the card."""
        return np.flatnonzero(self.standard)


def fit(
    problem: Problem,
    penalty: float,
    *,
    ridge: float = 1e-3,
    start: Fit | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> Fit:
    """Fit one card at one penalty.

    Parameters
    ----------
    problem : Problem
        Standardised moments.
    penalty : float
        Price of a column, >= 0, in label units; `problem.largest_penalty` keeps none.
    ridge : float
        Quadratic penalty relative to the unit variance of a column, at least `SMALLEST_RIDGE`.
    start : Fit, optional
        A card to start from, usually that of the next larger penalty. The result does not depend
        on it beyond rounding.
    allowed : ndarray of bool, shape (p,), optional
        Columns that may enter the card; all by default.

    Returns
    -------
    Fit
        The unique minimum.

    Raises
    ------
    UsageError
        If the penalty is negative or the ridge too small.
    """
    if not (penalty >= 0 and np.isfinite(penalty)):
        raise UsageError(f"penalty: must be finite and >= 0. Got {penalty}")
    if not (ridge >= SMALLEST_RIDGE and np.isfinite(ridge)):
        raise UsageError(f"ridge: must be finite and at least {SMALLEST_RIDGE}. Got {ridge}")
    point = np.zeros_like(problem.pull) if start is None else start.standard.copy()
    cost = penalty * problem.weights
    if allowed is not None:
        point[~allowed] = 0.0
        cost = np.where(allowed, cost, np.inf)
    hessian = problem.gram.copy()
    np.fill_diagonal(hessian, 1.0 + ridge)
    state = ActiveSet(hessian, problem.pull, cost, point, np.sign(point))
    return _fit_of(problem, minimise(state, problem.signs), penalty)


def _fit_of(problem: Problem, state: ActiveSet, penalty: float) -> Fit:
    kept = np.flatnonzero(state.sign)
    held = state.point[kept]
    explained = 2 * held @ problem.pull[kept] - held @ problem.gram[np.ix_(kept, kept)] @ held
    rss = problem.n * (problem.label_variance - float(explained))
    coefficients = np.zeros_like(state.point)
    coefficients[kept] = held / problem.deviation[kept]
    return Fit(
        coefficients=coefficients,
        standard=state.point,
        intercept=problem.label_mean - float(coefficients @ problem.mean),
        rss=rss,
        df=kept.size,
        penalty=penalty,
        cp=criterion(problem.n, rss, kept.size),
        kkt=state.residual(problem.signs),
    )


def criterion(n: int, rss: float, df: int) -> float:
    """Mallows' Cp in the form that needs no estimate of the noise.

    Parameters
    ----------
    n : int
        Rows.
    rss : float
        Residual sum of squares, > 0.
    df : int
        Points kept.

    Returns
    -------
    float
        `n log(RSS / n) + 2 df`.
    """
    return float(n * np.log(rss / n) + 2 * df)


def standard_errors(problem: Problem, card: Fit, *, ridge: float = 1e-3) -> Floats:
    """Estimate the standard errors of the coefficients from the moments.

    Parameters
    ----------
    problem : Problem
        The problem the card was fitted on.
    card : Fit
        The card.
    ridge : float
        The ridge it was fitted with.

    Returns
    -------
    numpy.ndarray
        float64 (p,), on the original columns, 0 for columns outside the card. They take the
        residuals as equally spread and the choice of columns as given, so they are a guide to
        which points are firm, not a test.
    """
    kept = card.kept
    gram = problem.gram[np.ix_(kept, kept)]
    inverse = np.linalg.inv(gram + ridge * np.eye(kept.size))
    noise = card.rss / max(problem.n - card.df - 1, 1) / problem.n
    errors = np.zeros_like(card.standard)
    spread = np.einsum("ij,jk,ik->i", inverse, gram, inverse)
    errors[kept] = np.sqrt(np.maximum(noise * spread, 0.0)) / problem.deviation[kept]
    return errors
