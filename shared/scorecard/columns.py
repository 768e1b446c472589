"""Columns of a card: what a holder counts, and what the card's points stand for.

A holder describes each row by one bin number a block: a block is one feature, or a pair of features
of the same holder. As a matrix a block is one-hot. The model works on cumulative indicators instead
("x above threshold 3", "x missing", "x above 1 and z above 2"); the *ladder* of a block says which
of them hold in each bin, so they are cumulated after the counts were opened (design 4.3).

`BlockPlan` holds the edges and stays with its holder; `Block` is what others see of it. How they
are planned is in `shared.scorecard.planning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shared.errors import ConfigError, DataError, UsageError
from shared.scorecard.bins import Axis, Cells, Floors, Levels
from shared.scorecard.blocks import Block, one_hot
from shared.scorecard.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shared.scorecard.summary import Kind, Relation

    Floats = NDArray[np.float64]

__all__ = ["Block", "BlockPlan", "Floors", "Summary", "one_hot"]


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A block with its edges: private to its holder.

    Parameters
    ----------
    owner : str
        The holder.
    bins : Axis, Levels or Cells
        How values become bins.
    sign : int
        Direction of the thresholds or products: 1, -1, or 0 for free.
    summary : Summary, optional
        How the feature is derived, if it is.
    source_special : tuple of (str, tuple of float)
        Special codes of the sources of the summary.
    """

    owner: str
    bins: Axis | Levels | Cells
    sign: int = 0
    summary: Summary | None = None
    source_special: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """One feature, or the two of a pair."""
        if isinstance(self.bins, Cells):
            return (self.bins.first.name, self.bins.second.name)
        return (self.bins.name,)

    @property
    def n_atoms(self) -> int:
        """Number of bins."""
        return self.bins.n_atoms

    def encode(self, values: Mapping[str, Floats]) -> NDArray[np.int16]:
        """Place rows into bins, in training and in scoring alike.

        Parameters
        ----------
        values : mapping of str to ndarray of float64, shape (n,)
            The holder's columns; NaN is missing, a category holds the index of its level. A value
            beyond all edges is fine.

        Returns
        -------
        ndarray of int16, shape (n,)
            Bin of each row, in [0, n_atoms): the compact form of the one-hot block.

        Raises
        ------
        DataError
            If a column is absent or holds a category that the card does not know.
        """
        needed = self.summary.sources if self.summary else self.features
        absent = [name for name in needed if name not in values]
        if absent:
            raise DataError(self.owner, [f"{name}: no such column" for name in absent])
        if isinstance(self.bins, Cells):
            codes = self.bins.encode(*(values[name] for name in self.features))
        elif self.summary:
            codes = self.bins.encode(self.summary.derive(values, dict(self.source_special)))
        else:
            codes = self.bins.encode(values[self.features[0]])
        return codes.astype(np.int16)

    def public(self) -> Block:
        """Return what others may see: names and the ladder."""
        ladder = self.bins.ladder()
        signs = np.zeros(ladder.shape[1], dtype=np.int8)
        ordered = len(self.bins.edges) if isinstance(self.bins, Axis) else len(signs)
        signs[:ordered] = self.sign  # a bin apart, such as missing, has no direction
        return Block(self.owner, self.features, self.bins.labels(), ladder, signs)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain lists and texts, as JSON takes them."""
        mapping: dict[str, Any] = {"owner": self.owner, "sign": self.sign}
        if isinstance(self.bins, Axis):
            mapping["axis"] = _axis_mapping(self.bins)
        elif isinstance(self.bins, Levels):
            mapping["levels"] = _levels_mapping(self.bins)
        else:
            mapping["cells"] = {
                "first": _axis_mapping(self.bins.first),
                "second": _axis_mapping(self.bins.second),
                "kept": [list(pair) for pair in self.bins.kept],
            }
        if self.summary:
            mapping["summary"] = {
                "name": self.summary.name,
                "kind": self.summary.kind,
                "features": list(self.summary.features),
                "relation": self.summary.relation,
                "other": self.summary.other,
                "special": {name: list(codes) for name, codes in self.source_special},
            }
        return mapping

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str) -> BlockPlan:
        """Read back what `to_mapping` gave.

        Parameters
        ----------
        mapping : mapping
            Parsed JSON.
        source : str
            Name of the file, for messages.

        Raises
        ------
        ConfigError
            If it is not a block plan.
        """
        try:
            plan = _plan_of(mapping)
            plan.public()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, UsageError) as error:
            raise ConfigError(source, [f"not a block plan: {error}"]) from error
        return plan


def _axis_mapping(axis: Axis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "edges": list(axis.edges),
        "special": list(axis.special),
        "apart": [list(codes) for codes in axis.apart],
        "home": axis.home,
    }


def _levels_mapping(levels: Levels) -> dict[str, Any]:
    return {
        "name": levels.name,
        "groups": list(levels.groups),
        "missing": levels.missing,
        "texts": list(levels.texts),
    }


def _axis_of(mapping: Mapping[str, Any]) -> Axis:
    axis = Axis(
        str(mapping["name"]),
        tuple(float(edge) for edge in mapping["edges"]),
        tuple(float(code) for code in mapping["special"]),
        tuple(
            tuple(None if code is None else float(code) for code in codes)
            for codes in mapping["apart"]
        ),
        float(mapping["home"]),
    )
    if not np.isfinite(axis.home) or not np.all(np.diff((*axis.edges,)) > 0):
        raise ValueError(f"{axis.name}: home must be finite and edges must rise")
    return axis


def _levels_of(mapping: Mapping[str, Any]) -> Levels:
    levels = Levels(
        str(mapping["name"]),
        tuple(int(group) for group in mapping["groups"]),
        int(mapping["missing"]),
        tuple(str(text) for text in mapping["texts"]),
    )
    if not all(0 <= group < levels.n_atoms for group in (*levels.groups, levels.missing)):
        raise ValueError(f"{levels.name}: groups must be numbers of texts")
    return levels


def _plan_of(mapping: Mapping[str, Any]) -> BlockPlan:
    bins: Axis | Levels | Cells
    if "axis" in mapping:
        bins = _axis_of(mapping["axis"])
    elif "levels" in mapping:
        bins = _levels_of(mapping["levels"])
    else:
        cells = mapping["cells"]
        kept = tuple((int(i), int(j)) for i, j in cells["kept"])
        bins = Cells(_axis_of(cells["first"]), _axis_of(cells["second"]), kept)
        if not all(
            0 <= i < len(bins.first.edges) and 0 <= j < len(bins.second.edges) for i, j in kept
        ):
            raise ValueError("kept: must be numbers of edges")
    if mapping["sign"] not in {-1, 0, 1}:
        raise ValueError("sign: must be -1, 0 or 1")
    summary = mapping.get("summary")
    if summary is None:
        return BlockPlan(str(mapping["owner"]), bins, mapping["sign"])
    derived = Summary(
        str(summary["name"]),
        cast("Kind", summary["kind"]),
        tuple(str(name) for name in summary["features"]),
        cast("Relation", summary["relation"]),
        str(summary["other"]),
    )
    special = tuple(
        (str(name), tuple(float(code) for code in codes))
        for name, codes in summary["special"].items()
    )
    return BlockPlan(str(mapping["owner"]), bins, mapping["sign"], derived, special)
