"""One solver for every scorecard: an elastic net fitted on cross-moments alone.

With centred columns of unit variance the fit minimises ::

    1/2 b'G b - c'b + penalty * sum_j w_j |b_j| + ridge/2 b'b      b_j >= 0 or <= 0 where asked

which needs the correlations `G`, the covariances `c` with the label, and no row. The active set
method is exact: solve the linear system of the points in the card, step towards its solution up
to the first change of sign, drop what reached zero, and take in the columns that violate the
optimality conditions most. It ends at a residual of rounding size, so equal moments give equal
cards and there is no tolerance to tune.

Why it ends: the ridge makes the objective strictly convex, so a set of points with its signs has
one minimum, and taking in the single worst column always lowers the objective: no set comes
twice. Taking in several at once is faster and has no such guarantee; it is undone when the
objective does not fall. Where rounding hides the fall, a set that comes a second time ends the
search.

Sources: Osborne, Presnell, Turlach (2000), IMA J. Numer. Anal. 20(3), section 3 (active set);
Zou, Hastie (2005), JRSS B 67(2) (elastic net); Mallows (1973), Technometrics 15(4) (Cp); Zou,
Hastie, Tibshirani (2007), Ann. Statist. 35(5) (the number of points kept estimates the degrees of
freedom).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.scorecard.moments import ColumnMoments

    Floats = NDArray[np.float64]

SMALLEST_RIDGE = 1e-6
"""Below this the minimum is not unique to double precision when columns are collinear."""

_BATCH = 16  # columns taken in at once while that lowers the objective; 8 to 32 are equally fast
_TOLERANCE = 1e-12  # of the largest |c|: violations below it are rounding
_FALL = 1e-12  # of the objective: what taking in several columns must gain to be kept


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


@dataclass(slots=True, eq=False)
class _ActiveSet:
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

    def with_columns(self, columns: NDArray[np.intp], force: Floats) -> _ActiveSet:
        """Minimum after some columns were taken in with the sign of their force."""
        sign = self.sign.copy()
        sign[columns] = np.sign(force[columns])
        other = _ActiveSet(self.hessian, self.pull, self.cost, self.point.copy(), sign)
        other.descend()
        return other

    def residual(self, signs: NDArray[np.int8]) -> float:
        """Largest violation of the optimality conditions, inside the set and outside."""
        excess, force = self.violations(signs)
        on = np.flatnonzero(self.sign)
        inside = np.abs(force[on] - self.cost[on] * self.sign[on]).max(initial=0.0)
        return float(max(inside, excess.max(initial=0.0)))


def _minimise(state: _ActiveSet, signs: NDArray[np.int8]) -> _ActiveSet:
    """Take in violators until none is left; see the module's text for why it ends."""
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
    state = _ActiveSet(hessian, problem.pull, cost, point, np.sign(point))
    return _fit_of(problem, _minimise(state, problem.signs), penalty)


def _fit_of(problem: Problem, state: _ActiveSet, penalty: float) -> Fit:
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
