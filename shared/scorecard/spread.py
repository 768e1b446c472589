"""How goods and bads spread over points: groups of neighbouring points, none of them small.

It is what a release tells of its ranking and of its probabilities beside single figures. Who holds
the points of single customers must learn nobody's label from it, so a group has many customers, and
some of either class; neighbours are joined until it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from shared.errors import DataError
from shared.metrics import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST: Final = 20
"""Customers of a group."""
FEWEST_OF_A_CLASS: Final = 5
"""Goods of a group, and bads: a group of one class only would tell the label of all of it."""
MOST_GROUPS: Final = 40
_DIGITS: Final = 6
_FIELDS: Final = ("points", "goods", "bads", "expected")


@dataclass(frozen=True, slots=True)
class Spread:
    """Customers by groups of points, fewest points (most risk) first.

    Parameters
    ----------
    points : tuple of int, length groups + 1
        Ends of the groups, rising: group i holds the points from end i to below end i + 1.
    goods, bads : tuple of int, length groups
        At least `FEWEST_OF_A_CLASS` each, `FEWEST` together.
    expected : tuple of float, length groups
        Mean default_prob, in [0, 1].

    Raises
    ------
    DataError
        With all findings.
    """

    points: tuple[int, ...]
    goods: tuple[int, ...]
    bads: tuple[int, ...]
    expected: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {len(side) for side in (self.goods, self.bads, self.expected)}
        findings = []
        if sizes != {len(self.points) - 1} or not 1 <= len(self.goods) <= MOST_GROUPS:
            findings.append(f"must have 1 to {MOST_GROUPS} groups, and one end more")
        if any(a >= b for a, b in pairwise(self.points)):
            findings.append("points: must rise")
        if any(min(pair) < FEWEST_OF_A_CLASS or sum(pair) < FEWEST for pair in self._pairs()):
            findings.append(f"a group must have {FEWEST} customers, {FEWEST_OF_A_CLASS} of a class")
        if not all(isfinite(prob) and 0.0 <= prob <= 1.0 for prob in self.expected):
            findings.append("expected: must lie in [0, 1]")
        if findings:
            raise DataError("spread", findings)

    @classmethod
    def of_rows(
        cls, label: NDArray[Any], points: NDArray[Any], default_prob: NDArray[Any]
    ) -> Self | None:
        """Count customers by groups of points; None where there are too few for one group.

        Parameters
        ----------
        label : ndarray, shape (n,)
            1 is bad.
        points : ndarray of int, shape (n,)
            More points, less risk.
        default_prob : ndarray, shape (n,)
            In [0, 1].

        Raises
        ------
        DataError
            If the shapes differ, or a label is not 0 or 1.
        """
        check_rows(label, points, "points")
        check_rows(label, default_prob, "default_prob")
        at, where = np.unique(points, return_inverse=True)
        bads = np.bincount(where, weights=label).astype(np.int64)
        goods = np.bincount(where).astype(np.int64) - bads
        foretold = np.bincount(where, weights=default_prob)
        first = _starts(goods.tolist(), bads.tolist(), MOST_GROUPS)
        if not first:
            return None
        good, bad, sums = (np.add.reduceat(side, first) for side in (goods, bads, foretold))
        return cls(
            points=(*(int(at[one]) for one in first), int(at[-1]) + 1),
            goods=tuple(good.tolist()),
            bads=tuple(bad.tolist()),
            expected=tuple(round(float(one), _DIGITS) for one in sums / (good + bad)),
        )

    def joined(self, most: int, of_a_class: int = FEWEST_OF_A_CLASS) -> Spread | None:
        """Return the same customers in fewer groups; None where there are too few for one.

        Parameters
        ----------
        most : int
            Groups, at most; of about equal size.
        of_a_class : int
            Fewest goods of a group, and fewest bads.
        """
        first = _starts(self.goods, self.bads, most, of_a_class)
        if not first:
            return None
        ends = [*first[1:], len(self.goods)]
        groups = list(zip(first, ends, strict=True))
        people = [good + bad for good, bad in self._pairs()]
        foretold = [prob * count for prob, count in zip(self.expected, people, strict=True)]
        return Spread(
            points=(*(self.points[a] for a in first), self.points[-1]),
            goods=tuple(sum(self.goods[a:b]) for a, b in groups),
            bads=tuple(sum(self.bads[a:b]) for a, b in groups),
            expected=tuple(sum(foretold[a:b]) / sum(people[a:b]) for a, b in groups),
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return plain lists, ready for JSON."""
        return {name: list(side) for name, side in asdict(self).items()}

    @classmethod
    def from_mapping(cls, value: Any) -> Self:
        """Read what `to_mapping` wrote.

        Raises
        ------
        DataError
            If it is not exactly that.
        """
        if not isinstance(value, Mapping) or set(value) != set(_FIELDS):
            raise DataError("spread", [f"must have {', '.join(_FIELDS)} and nothing else"])
        *counts, expected = (value[name] for name in _FIELDS)
        whole = all(isinstance(side, list) and {type(x) for x in side} <= {int} for side in counts)
        if not whole or not isinstance(expected, list):
            raise DataError("spread", ["must hold lists of whole numbers, and of probabilities"])
        if not {type(x) for x in expected} <= {int, float}:
            raise DataError("spread", ["expected: must hold numbers"])
        ends, goods, bads = map(tuple, counts)
        return cls(ends, goods, bads, tuple(map(float, expected)))

    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.goods, self.bads, strict=False))


def _starts(
    goods: Sequence[int],
    bads: Sequence[int],
    most: int,
    of_a_class: int = FEWEST_OF_A_CLASS,
) -> list[int]:
    """Return where each group begins; nothing where all together are too few.

    Groups are of about equal size and then joined, so that no end of one depends on a single label.
    """
    share = max((sum(goods) + sum(bads)) / most, FEWEST)
    starts, good, bad, people = [0], 0, 0, 0
    for at, (more_good, more_bad) in enumerate(zip(goods, bads, strict=True)):
        good, bad, people = good + more_good, bad + more_bad, people + more_good + more_bad
        if people < share:
            continue
        people = 0
        if min(good, bad) >= of_a_class:
            starts.append(at + 1)
            good = bad = 0
    if len(starts) == 1:  # nothing is whole before the end: all are one group, or too few
        return starts if min(good, bad) >= of_a_class and sum(goods) + sum(bads) >= FEWEST else []
    return starts[:-1]  # what is left over belongs to the group before it
