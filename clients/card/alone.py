"""How good each holder would be alone, without opening a score of a single customer.

A holder bins the points of its own card on the customers to evaluate on; one blind product with the
builder's label gives the good and the bad of each bin, and these give AUC and KS. The bins keep the
floors, so what is opened is one small table of many people each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card import builder
from clients.party import Party
from shared.jobs import Run
from shared.metrics import equal_count_bins
from shared.protocols.products import OneHot, multiply
from shared.sealed import SealedChannel

_MAX_BINS = 50

Tables = dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]


def evaluate_alone(
    party: Party,
    channel: SealedChannel,
    run: Run,
    n_test: int,
    both_classes: bool,
    rows: NDArray[np.int64],
    points: NDArray[np.int64],
    order: str,
) -> Tables | None:
    """Run the exchange.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    n_test : int
        Common customers to evaluate on.
    both_classes : bool
        See `shared.jobs.Run.alone`.
    rows : ndarray of int64, shape (n_test,)
        Their rows in the own table.
    points : ndarray of int64, shape (n_test,)
        Points of the party's own card.
    order : str
        Digest of the rows' common order.

    Returns
    -------
    dict or None
        At the builder, for every other holder: goods and bads of its bins from the safest to the
        riskiest. None elsewhere, or with too few customers.
    """
    job = run.alone(n_test, both_classes=both_classes)
    if job is None:
        return None
    floor = party.federation.floors.rows
    codes = builder.label_of(party.test)[rows] if party.is_builder else score_bins(points, floor)
    size = int(codes.max()) + 1 if len(codes) else 1
    mine = OneHot(codes[:, None], (size,), b"", order)

    def consent() -> None:
        party.store.record(
            run.name,
            phase="score",
            what="good and bad by bin of own points",
            unit="customers in a bin",
            recipient=run.federation.builder,
            rows=n_test,
            values=2 * size,
            binding=mine.columns_digest,
        )

    opened = multiply(
        channel,
        job,
        mine,
        minimum=floor,
        max_rank_share=1.0,
        journal=party.store.journal,
        consent=consent,
    )
    return None if opened is None else _tables(party.name, opened.cross)


def score_bins(points: NDArray[np.int64], floor: int) -> NDArray[np.int64]:
    """Return each customer's bin: 0 is the safest, each with at least `floor` customers.

    Customers with equal points share a bin.
    """
    values, size = np.unique(-points, return_counts=True)
    before = np.cumsum(size) - size
    starts = [0]
    for index in equal_count_bins(size, _MAX_BINS)[1:].tolist():
        if before[index] - before[starts[-1]] >= floor <= len(points) - before[index]:
            starts.append(index)
    distinct = np.searchsorted(values, -points)
    return np.searchsorted(np.array(starts), distinct, side="right") - 1


def _tables(me: str, cross: Any) -> Tables:
    tables: Tables = {}
    for (a, b), table in cross.items():
        by_bin = table if b == me else table.T  # rows are bins of points, columns good and bad
        tables[a if b == me else b] = (by_bin[:, 0], by_bin[:, 1])
    return tables
