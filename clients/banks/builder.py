"""What only the builder of several banks does: plan the common bins, and finish from counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients import phases
from clients.card import builder
from clients.card.parts import Plans, take
from clients.party import Party
from shared.errors import BadPeer, DataError, FloorBroken
from shared.jobs import Run
from shared.scorecard import common
from shared.scorecard.buckets import Tally
from shared.scorecard.common import plan_singles, propose_pairs, rows_of
from shared.scorecard.thin import rank_of, thin
from shared.shape import Shape

Ints = NDArray[np.int64]


def plan_bins(
    party: Party, shape: Shape, columns: Sequence[Tally], counts: Ints, rows: Ints
) -> tuple[Plans, Plans]:
    """Plan single features from summed counts, and propose pairs whose cells are to be counted.

    Where others hold further columns of the same customers there are no pairs, and the thresholds
    that the builder's own label asks for first are kept, as many as the rank allows: the banks know
    these customers, and the fewer columns they have, the less the table tells them of others'
    (design 4.3).

    Parameters
    ----------
    party : Party
    shape : Shape
    columns : sequence of Tally
    counts : ndarray of int64
        Summed over the banks.
    rows : ndarray of int64
        The builder's own rows.

    Returns
    -------
    plans, proposed : tuple of BlockPlan

    Raises
    ------
    FloorBroken
        If fewer columns are allowed than the banks need.
    """
    n_rows = rows_of(columns, counts)
    settings = phases.column_settings(party, n_rows, n_rows)
    singles = plan_singles(columns, counts, settings)
    if not shape.columns:
        return singles, propose_pairs(columns, counts, singles, settings) if settings.pairs else ()
    allowed = int(n_rows * party.federation.floors.builder_rank) - 1  # one is the label's
    label = builder.label_of(party.train)[rows]
    plans = thin(singles, take(party.train, rows), label, allowed)
    if rank_of(plans) > allowed:
        raise FloorBroken(
            f"{n_rows} customers allow the banks columns of rank {allowed}; their categories, "
            "missing and special values alone need more",
            hint="more customers, or fewer features at the banks",
        )
    return plans, ()


def choose_pairs(party: Party, proposed: Plans, counts: Ints) -> Plans:
    """Choose products from summed counts of cells; see `shared.scorecard.common.choose_pairs`."""
    n_rows = int(counts[: proposed[0].n_atoms].sum())
    return common.choose_pairs(proposed, counts, phases.floors(party).minimum(n_rows))


def by_points(points: Ints, label: Ints, half: int) -> Ints:
    """Count good and bad customers at each number of points.

    Parameters
    ----------
    points : ndarray of int64, shape (n,)
        Within +-`half`.
    label : ndarray of int64, shape (n,)
        1 is bad.
    half : int

    Returns
    -------
    ndarray of int64, shape (2, 2 half + 1)
    """
    size = 2 * half + 1
    flat = np.bincount(label * size + points + half, minlength=2 * size)
    return flat.reshape(2, size).astype(np.int64)


def finish(party: Party, run: Run, summed: Ints, half: int) -> dict[str, Any]:
    """Calibrate and evaluate on counts of all banks' customers, and keep the card.

    Whole points lose nothing by being counted: everything is what it would be with the customers in
    one place.

    Raises
    ------
    BadPeer
        If a count is negative.
    DataError
        If all customers to evaluate on are of one class.
    """
    learned, seen = counted(summed, half)
    return builder.conclude(party, run, learned, seen, {}) | {
        "customers": {"train": len(learned[1]), "test": len(seen[1])}
    }


def counted(summed: Ints, half: int) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Return points and label of all banks' customers: those to learn from, and the others.

    Parameters
    ----------
    summed : ndarray of int64, shape (4 (2 half + 1),)
        `by_points` of the customers to learn from and of those to evaluate on, added.
    half : int

    Raises
    ------
    BadPeer
        If a count is negative.
    DataError
        If all customers to evaluate on are of one class.
    """
    if summed.min() < 0:
        raise BadPeer("the banks' counts by points do not add up: one is negative")
    train, test = summed.reshape(2, 2, 2 * half + 1)
    learned, seen = _rows(train, half), _rows(test, half)
    if not 0 < seen[1].sum() < len(seen[1]):
        raise DataError("label", ["the banks' customers to evaluate on are of one class only"])
    return learned, seen


def _rows(counts: Ints, half: int) -> tuple[Ints, Ints]:
    """Return points and label of customers that were counted."""
    points = np.arange(-half, half + 1)
    goods, bads = (np.repeat(points, one) for one in counts)
    label = np.repeat(np.array([0, 1]), [len(goods), len(bads)])
    return np.concatenate([goods, bads]), label
