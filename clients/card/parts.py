"""A party's part of the card: its private bin edges with the points that the builder sent.

The edges never leave the party; the points of its own lines are all it learns of the card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_value
from shared.contract import Columns
from shared.errors import BadPeer, ConfigError
from shared.scorecard.columns import BlockPlan

_MAX_POINTS = 2000

Plans = tuple[BlockPlan, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Plans of the own blocks, and points for each of their bins.

    Parameters
    ----------
    plans : tuple of BlockPlan
    points : tuple of ndarray of int64, one a block, shape (n_atoms,)
    """

    plans: Plans
    points: tuple[NDArray[np.int64], ...]

    @classmethod
    def received(cls, plans: Plans, value: Any, sender: str) -> Part:
        """Take points from the builder.

        Raises
        ------
        BadPeer
            If they do not fit the own bins.
        """
        try:
            points = tuple(np.array(line, dtype=np.int64) for line in value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadPeer("points are not lists of whole numbers", party=sender) from error
        fits = len(points) == len(plans) and all(
            line.shape == (plan.n_atoms,) and np.abs(line).max(initial=0) <= _MAX_POINTS
            for line, plan in zip(points, plans, strict=False)
        )
        if not fits:
            raise BadPeer("points do not fit this party's bins", party=sender)
        return cls(plans, points)

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Part:
        """Read the JSON form.

        Raises
        ------
        ConfigError
            If it is malformed.
        """
        blocks = value.get("blocks") if isinstance(value, Mapping) else None
        plans = plans_from_value(blocks, source)
        try:
            return cls.received(plans, [block["points"] for block in blocks or ()], "")
        except (BadPeer, KeyError) as error:
            raise ConfigError(source, ["its points do not fit its bins"]) from error

    def total(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Add the points of each row.

        Parameters
        ----------
        codes : ndarray of integers, shape (n_rows, n_blocks)

        Returns
        -------
        ndarray of int64, shape (n_rows,)
        """
        total = np.zeros(len(codes), dtype=np.int64)
        for block, line in enumerate(self.points):
            total += line[codes[:, block]]
        return total

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form; it holds the edges and stays with the party."""
        return {
            "blocks": [
                plan.to_mapping() | {"points": line.tolist()}
                for plan, line in zip(self.plans, self.points, strict=True)
            ]
        }


def plans_to_value(plans: Plans) -> list[dict[str, Any]]:
    """Return the JSON form of plans."""
    return [plan.to_mapping() for plan in plans]


def plans_from_value(value: Any, source: str) -> Plans:
    """Read the JSON form of plans.

    Raises
    ------
    ConfigError
        If it is malformed.
    """
    if not isinstance(value, list):
        raise ConfigError(source, ["is not a list of plans"])
    return tuple(BlockPlan.from_mapping(item, source) for item in value)


def plans_digest(plans: Plans, salt: bytes) -> bytes:
    """Return a salted digest of the edges: a commitment that cannot be guessed open."""
    return hashlib.sha256(salt + pack_value(plans_to_value(plans))).digest()


def encode(
    plans: Sequence[BlockPlan], columns: Columns, rows: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Return the bin of each row in each block, shape (n_rows, n_blocks).

    Parameters
    ----------
    plans : sequence of BlockPlan
    columns : Columns
        The party's table.
    rows : ndarray of int64
        Which rows, in which order.
    """
    values = take(columns, rows)
    if not plans:
        return np.zeros((len(rows), 0), dtype=np.int16)
    return np.column_stack([plan.encode(values) for plan in plans])


def take(columns: Columns, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
    """Return the columns at some rows."""
    return {name: values[rows] for name, values in columns.values.items()}
