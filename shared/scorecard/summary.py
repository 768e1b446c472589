"""Features that a holder derives from several of its own columns, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from shared.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kind: TypeAlias = Literal["mean", "max", "min", "sum"]
Relation: TypeAlias = Literal["", "minus", "over"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A feature that a holder derives, row by row, from several of its own columns.

    For example the highest of six monthly bills, or the limit used: the mean bill over the limit.
    A row with a missing value or special code in any source is missing in the summary.

    Parameters
    ----------
    name : str
        Name of the derived feature.
    kind : {"mean", "max", "min", "sum"}
        What is taken over `features`.
    features : tuple of str
        Columns of one holder, at least one.
    relation : {"", "minus", "over"}
        Whether `other` is then subtracted, or divided by (missing where it is 0).
    other : str
        Column of the same holder.
    reason : str
        Public reason code; without one, the name in capitals.

    Raises
    ------
    UsageError
        If a part is missing or contradicts another.
    """

    name: str
    kind: Kind
    features: tuple[str, ...]
    relation: Relation = ""
    other: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        fine = self.name and self.features and self.kind in get_args(Kind)
        if not fine or bool(self.relation) != bool(self.other):
            raise UsageError(
                f"summary {self.name!r}: needs a name, a kind of {get_args(Kind)}, features, and "
                "either both relation and other or none"
            )
        if self.relation not in get_args(Relation):
            raise UsageError(f"summary {self.name!r}: relation must be one of {get_args(Relation)}")
        if not self.reason:
            object.__setattr__(self, "reason", self.name.upper())

    @property
    def sources(self) -> tuple[str, ...]:
        """All columns it is derived from."""
        return (*self.features, self.other) if self.other else self.features

    def derive(
        self, values: Mapping[str, Floats], special: Mapping[str, tuple[float, ...]]
    ) -> Floats:
        """Compute it.

        Parameters
        ----------
        values : mapping of str to ndarray of float64, shape (n,)
            Columns of the holder.
        special : mapping of str to tuple of float
            Special codes of the sources.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN is missing.
        """
        plain = {
            name: np.where(np.isin(values[name], special.get(name, ())), np.nan, values[name])
            for name in self.sources
        }
        table = np.stack([plain[name] for name in self.features])
        result = self._reduce(table)
        if self.relation == "minus":
            return result - plain[self.other]
        if self.relation == "over":
            below = plain[self.other]
            return result / np.where(below == 0, np.nan, below)
        return result

    def _reduce(self, table: Floats) -> Floats:
        result: Floats
        if self.kind == "mean":
            result = table.mean(axis=0)
        elif self.kind == "sum":
            result = table.sum(axis=0)
        else:
            result = table.max(axis=0) if self.kind == "max" else table.min(axis=0)
        return result
