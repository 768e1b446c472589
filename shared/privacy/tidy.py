"""From noisy counts back to moments that a card can be fitted from; nothing here costs epsilon.

Noise breaks what every table of people keeps, and a solver would follow it: margins of one block
differ between tables, and the matrix of covariances gets negative directions. In order:

1. *Margins.* Bins of a block are estimated from their own count and from the margins of all its
   tables, each weighted by its variance; every table is then moved to these margins, by least
   squares.
2. *Directions.* What tables say beyond their margins is split into eigenvectors. Noise alone has
   eigenvalues up to ``2 s sqrt(A')``, or twice the root of the largest row of variances; a
   direction of size v comes from one of ``sqrt(v^2 - edge^2)`` (Gavish, Donoho, "Optimal Shrinkage
   of Singular Values", IEEE Trans. Inf. Theory 63(4), 2017: the Frobenius loss of a square matrix),
   and below the edge it is dropped.
3. *Projection.* Bins of few customers are drawn towards independence, and then all tables are
   until no direction is negative.
4. *Ridge.* The noise that stays bounds how far the solver may trust a direction: the edge over the
   variance of a bin, in the units of the solver's ridge (as AdaSSP does: Wang, UAI 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer
from shared.privacy.moments import LABEL_WEIGHT, Table
from shared.scorecard.blocks import Block
from shared.scorecard.moments import Moments

Floats = NDArray[np.float64]

# The least eigenvalue that is kept, of 1 for a bin alone: rounding to whole customers moves less.
_LEAST = 0.02
_SMALLEST_BIN = 1.0
# A bin of fewer customers than so many deviations says little of what it goes with.
_FEW = 8.0
_MOST_EXPLAINED = 0.9
# Step 2 took part of the noise already: measured, six tenths of its bound serve best.
_TRUST = 0.6
# A count without noise is taken as one of this variance.
_EXACT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Tidied:
    """Moments to fit from, and how to.

    Parameters
    ----------
    moments : Moments
        Symmetric, with equal margins, without negative directions; whole numbers.
    ridge : float
        For `BuildSettings`: what the noise asks for.
    kept : float
        Share of the tables' dependence that the projection left, in [0, 1].
    """

    moments: Moments
    ridge: float
    kept: float


def tidy(
    vector: NDArray[np.float64] | NDArray[np.int64],
    blocks: Sequence[Block],
    n: int,
    deviation: float,
) -> Tidied:
    """Make noisy counts fit for the solver.

    Parameters
    ----------
    vector : ndarray, shape (Table.of(blocks).size,)
        As opened: `Table.vector` summed over parties, with noise.
    blocks : sequence of Block
    n : int
        Customers; public.
    deviation : float
        Standard deviation of the noise in the vector, `SharedNoise.deviation`.

    Returns
    -------
    Tidied

    Raises
    ------
    BadPeer
        If the vector does not fit the blocks, or noise is all there is: no bad or no good customer.
    """
    table = Table.of(blocks)
    counts, bads = table.read(vector)
    return tidy_counts(counts, bads, blocks, n, Variances.alike(len(table.sizes), deviation))


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """Variance of the noise in each count, in squared customers.

    Parameters
    ----------
    tables : ndarray of float64, shape (F, F)
        Of a cell between two blocks; on the diagonal, of a bin's own count. 0 where there is none.
    bads : ndarray of float64, shape (F,)
        Of a bin's bad count.
    """

    tables: Floats
    bads: Floats

    @classmethod
    def alike(cls, blocks: int, deviation: float) -> Variances:
        """Return those of one noise in every number of the released vector."""
        one = np.full(blocks, deviation**2)
        return cls(np.full((blocks, blocks), deviation**2), one / LABEL_WEIGHT**2)


def tidy_counts(
    counts: Floats, bads: Floats, blocks: Sequence[Block], n: int, variances: Variances
) -> Tidied:
    """Make noisy counts fit for the solver, each table with noise of its own; see `tidy`.

    Parameters
    ----------
    counts : ndarray of float64, shape (A, A)
        Symmetric; bins on the diagonal, zero between the bins of one block.
    bads : ndarray of float64, shape (A,)
    blocks : sequence of Block
    n : int
    variances : Variances
    """
    table = Table.of(blocks)
    bins = _bins(counts, table, n, variances.tables)
    counts = _with_margins(counts, bins, table)
    bads, n_bad = _bads(bads, bins, table, n, variances.bads)
    edge = _edge(table, variances.tables)
    root = np.sqrt(bins)
    alone = _alone(bins, table, n)
    beyond = _denoised(counts - np.outer(bins, bins) / n, edge, table) / np.outer(root, root)
    few = _FEW * np.sqrt(np.repeat(variances.tables.max(axis=1), table.sizes))
    beyond, kept = _projected(_without_small(beyond, bins, few, alone))
    covariance = beyond + alone
    bads = _explainable(bads, bins, n_bad, n, covariance)
    whole = np.rint(covariance * np.outer(root, root) + np.outer(bins, bins) / n).astype(np.int64)
    share = bins / n
    moments = Moments(
        n, tuple(blocks), _mirrored(whole), np.rint(bads).astype(np.int64), round(n_bad)
    )
    ridge = _TRUST * edge / (n * float(np.mean(share * (1 - share))))
    return Tidied(moments, max(1e-3, ridge), kept)


def _edge(table: Table, tables: Floats) -> float:
    """Return the largest eigenvalue of noise alone: twice the root of the largest row's variance.

    Without regard to the table's structure this is Wigner's edge where all variances are alike, and
    an upper bound up to lower-order terms where they are not (Bandeira, van Handel, Annals of
    Probability 44(4), 2016).
    """
    across = tables @ np.array(table.sizes, dtype=np.float64)
    across -= np.diag(tables) * table.sizes
    return 2 * math.sqrt(float(across.max()))


def _bins(counts: Floats, table: Table, n: int, tables: Floats) -> Floats:
    """Estimate bins from their own counts and from all tables, by inverse variance."""
    bins = np.empty(len(counts))
    spans = table.spans()
    trust = 1 / np.maximum(tables, _EXACT)
    for at, mine in enumerate(spans):
        total, weight = np.diag(counts)[mine] * trust[at, at], trust[at, at]
        for place, other in enumerate(spans):
            if other != mine:
                size = other.stop - other.start
                total = total + counts[mine, other].sum(axis=1) * trust[at, place] / size
                weight += trust[at, place] / size
        bins[mine] = _filled(total / weight, n)
    return bins


def _filled(estimate: Floats, total: float) -> Floats:
    """Return positive numbers that add up to a total, close to an estimate."""
    moved = np.maximum(estimate + (total - estimate.sum()) / len(estimate), _SMALLEST_BIN)
    filled: Floats = moved * (total / moved.sum())
    return filled


def _with_margins(counts: Floats, bins: Floats, table: Table) -> Floats:
    """Move every table to the margins, as little as possible."""
    moved = counts.copy()
    spans = table.spans()
    for mine in spans:
        for other in spans:
            part = moved[mine, other]
            if mine == other:
                moved[mine, other] = np.diag(bins[mine])
                continue
            part = part + ((bins[mine] - part.sum(axis=1)) / part.shape[1])[:, None]
            moved[mine, other] = part + ((bins[other] - part.sum(axis=0)) / part.shape[0])[None, :]
    return moved


def _bads(
    bads: Floats, bins: Floats, table: Table, n: int, variances: Floats
) -> tuple[Floats, float]:
    """Give all blocks the same number of bad customers, and no bin more than it holds."""
    sizes = np.array(table.sizes) * np.maximum(variances, _EXACT)
    totals = np.array([bads[span].sum() for span in table.spans()])
    n_bad = float((totals / sizes).sum() / (1 / sizes).sum())
    if not 1 <= n_bad <= n - 1:
        raise BadPeer(
            "noisy moments have no bad or no good customers: the noise drowns them",
            hint="more customers, or a larger epsilon",
        )
    moved = bads.copy()
    for span in table.spans():
        part = bads[span] + (n_bad - totals[table.spans().index(span)]) / (span.stop - span.start)
        part = np.clip(part, 0.0, bins[span])
        moved[span] = np.minimum(part * (n_bad / max(part.sum(), 1e-9)), bins[span])
    return moved, n_bad


def _denoised(beyond: Floats, edge: float, table: Table) -> Floats:
    """Keep of the dependence between blocks what stands out of the noise."""
    for span in table.spans():
        beyond[span, span] = 0.0
    size, direction = np.linalg.eigh(beyond)
    kept = np.sign(size) * np.sqrt(np.maximum(size**2 - edge**2, 0.0))
    clean: Floats = (direction * kept) @ direction.T
    for span in table.spans():
        clean[span, span] = 0.0
    return clean


def _without_small(beyond: Floats, bins: Floats, few: Floats, alone: Floats) -> Floats:
    """Draw small bins towards independence: there the noise is larger than what it hides.

    Without this the few customers of one bin would decide how much of all tables is kept.
    """
    share = np.sqrt(np.minimum(1.0, bins / np.maximum(few, 1.0)))
    drawn: Floats = alone @ (beyond * np.outer(share, share)) @ alone  # keeps all margins
    return drawn


def _projected(beyond: Floats) -> tuple[Floats, float]:
    """Draw towards independence until the smallest eigenvalue is at least `_LEAST`."""
    lowest = float(np.linalg.eigvalsh(beyond)[0])
    kept = min(1.0, (1 - _LEAST) / max(-lowest, 1e-12))
    return kept * beyond, kept


def _alone(bins: Floats, table: Table, n: int) -> Floats:
    """Return the covariances within blocks in units of the bins: identity less the mean."""
    root = np.sqrt(bins)
    within = np.zeros((len(bins), len(bins)))
    for span in table.spans():
        size = span.stop - span.start
        within[span, span] = np.eye(size) - np.outer(root[span], root[span]) / n
    return within


def _explainable(bads: Floats, bins: Floats, n_bad: float, n: int, covariance: Floats) -> Floats:
    """Draw bad counts towards the mean until the bins explain less than all of the label."""
    expected = bins * (n_bad / n)
    pull = (bads - expected) / np.sqrt(bins)
    explained = float(pull @ np.linalg.pinv(covariance, rcond=_LEAST / 2, hermitian=True) @ pull)
    allowed = _MOST_EXPLAINED * n_bad * (n - n_bad) / n
    return expected + (bads - expected) * min(1.0, math.sqrt(allowed / max(explained, 1e-12)))


def _mirrored(whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """Copy the upper half down: both halves round alike, but for the last digit."""
    upper = np.triu(whole)
    return upper + np.triu(whole, 1).T


__all__ = ["LABEL_WEIGHT", "Tidied", "Variances", "tidy", "tidy_counts"]
