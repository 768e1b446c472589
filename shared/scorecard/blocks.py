"""What others see of a block: names, the ladder from bins to indicators, no edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import BadPeer

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ATOMS = 4096
"""Most bins of one block that are accepted from a peer."""

_MAX_TEXT = 400


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What others see of a block: names and the ladder, no edge.

    Parameters
    ----------
    owner : str
        Its holder.
    features : tuple of str
        One feature, or the two of a pair.
    columns : tuple of str
        Public name of each indicator.
    ladder : ndarray of uint8, shape (n_atoms, n_columns)
        1 where an indicator holds in a bin. Rows are all different.
    signs : ndarray of int8, shape (n_columns,)
        1: `default_prob` may only rise with the indicator; -1: only fall; 0: free.
    """

    owner: str
    features: tuple[str, ...]
    columns: tuple[str, ...]
    ladder: NDArray[np.uint8]
    signs: NDArray[np.int8]

    @property
    def name(self) -> str:
        """Features joined for people."""
        return " x ".join(self.features)

    @property
    def n_atoms(self) -> int:
        """Number of bins."""
        return len(self.ladder)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.to_mapping() == other.to_mapping()

    def __hash__(self) -> int:
        return hash((self.owner, self.features, self.columns))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain lists and texts, as JSON takes them."""
        return {
            "owner": self.owner,
            "features": list(self.features),
            "columns": list(self.columns),
            "ladder": self.ladder.tolist(),
            "signs": self.signs.tolist(),
        }

    @classmethod
    def from_mapping(cls, mapping: Any, *, owner: str) -> Block:
        """Read what a peer sent.

        Parameters
        ----------
        mapping : object
            Parsed JSON.
        owner : str
            The party that sent it; it may describe its own blocks only.

        Raises
        ------
        BadPeer
            If anything is malformed; names the party.
        """
        problem = _block_problem(mapping, owner)
        if problem:
            raise BadPeer(f"malformed description of a block: {problem}", party=owner)
        return cls(
            owner,
            tuple(mapping["features"]),
            tuple(mapping["columns"]),
            np.array(mapping["ladder"], dtype=np.uint8),
            np.array(mapping["signs"], dtype=np.int8),
        )


def _block_problem(mapping: Any, owner: str) -> str:
    """Say what is wrong with a peer's block, or nothing."""
    keys = {"owner", "features", "columns", "ladder", "signs"}
    if not isinstance(mapping, dict) or set(mapping) != keys:
        return f"must have exactly the keys {', '.join(sorted(keys))}"
    if mapping["owner"] != owner:
        return "names another owner than its sender"
    if not _texts(mapping["features"]) or len(mapping["features"]) not in {1, 2}:
        return "features must be one or two names"
    columns = mapping["columns"]
    if not _texts(columns) or not columns or len(set(columns)) != len(columns):
        return "columns must be different names"
    return _ladder_problem(mapping["ladder"], mapping["signs"], len(columns))


def _ladder_problem(ladder: Any, signs: Any, width: int) -> str:
    if not _entries(signs, width, {-1, 0, 1}):
        return "signs must be -1, 0 or 1, one a column"
    if not isinstance(ladder, list) or not 2 <= len(ladder) <= MAX_ATOMS or width > MAX_ATOMS:
        return f"ladder must have 2 to {MAX_ATOMS} bins"
    if not all(_entries(row, width, {0, 1}) for row in ladder):
        return "ladder must be 0 or 1, one a column in every bin"
    if len({tuple(row) for row in ladder}) != len(ladder):
        return "two bins of the ladder are alike"
    return ""


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(text, str) and 0 < len(text) <= _MAX_TEXT for text in value
    )


def _entries(row: Any, width: int, allowed: set[int]) -> bool:
    whole = isinstance(row, list) and len(row) == width
    return whole and all(type(entry) is int and entry in allowed for entry in row)


def one_hot(codes: NDArray[np.integer[Any]], n_atoms: int) -> NDArray[np.uint8]:
    """Return a block as a matrix.

    Parameters
    ----------
    codes : ndarray of integers, shape (n,)
        Bin of each row.
    n_atoms : int
        Number of bins.

    Returns
    -------
    ndarray of uint8, shape (n, n_atoms)
        Exactly one 1 in every row.
    """
    matrix: NDArray[np.uint8] = (codes[:, None] == np.arange(n_atoms)).astype(np.uint8)
    return matrix
