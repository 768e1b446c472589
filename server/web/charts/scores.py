"""Scores in bins, as every curve of ranking takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from server.web.charts.people import FLOOR, runs
from shared.errors import DataError
from shared.metrics import auc_interval_from_counts, check_rows, ks_from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.metrics import Interval

MOST_RUNS = 60
"""Points of a curve, at most: more cannot be seen on a phone."""


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """Goods and bads by bins of a score that is higher where default is less likely.

    Parameters
    ----------
    edges : tuple of float, length bins + 1
        Finite, rising: bin i holds the scores from edge i to below edge i + 1, the last one also
        its upper edge. No edges and no counts for no people at all.
    goods, bads : tuple of int, length bins

    Raises
    ------
    DataError
        With all findings.
    """

    edges: tuple[float, ...]
    goods: tuple[int, ...]
    bads: tuple[int, ...]

    def __post_init__(self) -> None:
        findings = []
        if not np.isfinite(self.edges).all():
            findings.append("edges: must hold finite numbers only")
        elif any(a >= b for a, b in pairwise(self.edges)):
            findings.append("edges: must rise")
        for name, side in (("goods", self.goods), ("bads", self.bads)):
            if len(side) != max(len(self.edges) - 1, 0):
                findings.append(f"{name}: must be one fewer than edges")
            if any(count != int(count) or count < 0 for count in side):
                findings.append(f"{name}: must hold whole counts >= 0")
        if findings:
            raise DataError("score bins", findings)

    @classmethod
    def of_rows(cls, label: NDArray[Any], score: NDArray[Any], edges: Sequence[float]) -> Self:
        """Count people by bins.

        Parameters
        ----------
        label : ndarray, shape (n,)
            1 for a default, 0 for none.
        score : ndarray, shape (n,)
            Finite; higher is safer. Scores beyond the edges count in the first and the last bin.
        edges : sequence of float
            As above, two or more.

        Raises
        ------
        DataError
        """
        if not label.size and not score.size:
            return cls((), (), ())
        check_rows(label, score, "score")
        bins = len(edges) - 1
        if bins < 1:
            raise DataError("score bins", ["edges: must be two or more"])
        at = np.clip(np.searchsorted(np.asarray(edges), score, side="right") - 1, 0, bins - 1)
        bads = np.bincount(at, weights=label == 1, minlength=bins).astype(int)
        goods = np.bincount(at, minlength=bins) - bads
        return cls(
            tuple(float(edge) for edge in edges),
            tuple(int(count) for count in goods),
            tuple(int(count) for count in bads),
        )

    @property
    def people(self) -> tuple[int, ...]:
        """Goods and bads of each bin together."""
        return tuple(good + bad for good, bad in zip(self.goods, self.bads, strict=True))

    @property
    def ranks(self) -> bool:
        """Whether there are enough goods and enough bads for a figure about their order."""
        return min(sum(self.goods), sum(self.bads)) >= FLOOR

    def auc(self, level: float = 0.95) -> Interval:
        """Return AUC with DeLong's interval."""
        safest = np.array(self.goods[::-1]), np.array(self.bads[::-1])
        return auc_interval_from_counts(*safest, level)

    def ks(self) -> float:
        """Return the KS distance."""
        return ks_from_counts(np.array(self.goods), np.array(self.bads))

    def steps(self) -> tuple[Step, ...]:
        """Return cumulated shares through runs of bins with enough people, riskiest first.

        The first step is at the lowest edge with shares of 0, the last at the highest with 1.
        """
        found = runs(self.people, MOST_RUNS)
        n_goods, n_bads = max(sum(self.goods), 1), max(sum(self.bads), 1)
        goods, bads = [0, *accumulate(self.goods)], [0, *accumulate(self.bads)]
        total = max(sum(self.people), 1)
        ends = [0, *(end for _, end in found)]
        return tuple(
            Step(
                self.edges[end],
                goods[end] / n_goods,
                bads[end] / n_bads,
                (goods[end] + bads[end]) / total,
            )
            for end in ends
        )


@dataclass(frozen=True, slots=True)
class Step:
    """Who scores below a score: shares of the goods, the bads and of all, each in [0, 1]."""

    score: float
    goods: float
    bads: float
    people: float
