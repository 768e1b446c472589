"""From a party's columns to the inputs of the network, encoded alike at every party.

A number becomes its piecewise-linear encoding (Gorishniy, Rubachev, Babenko: "On Embeddings for
Numerical Features in Tabular Deep Learning", NeurIPS 2022, section 3.2): one input a piece, which
rises from 0 to 1 as the number passes from one edge of the piece to the other. It stays at 0 before
and at 1 behind it, also in the first and the last piece: no amount, however large, moves the model
further than the largest that the edges know. Edges come from a secure sum, see
`shared.neural.buckets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.contract import EVERY, Contract, Feature
from shared.errors import BadPeer, ConfigError
from shared.neural.buckets import COUNT, Edges, histogram

Floats = NDArray[np.float64]

# An encoding of more pieces than this was not made by `Encoding.from_counts`.
_MAX_EDGES = 257


@dataclass(frozen=True, slots=True)
class Encoding:
    """How every party turns its columns into inputs.

    Parameters
    ----------
    features : tuple of Feature
        In contract order.
    edges : tuple of Edges
        One for each feature that is a number, in the same order.
    """

    features: tuple[Feature, ...]
    edges: tuple[Edges, ...]

    @classmethod
    def from_counts(cls, features: Sequence[Feature], counts: Floats, pieces: int) -> Encoding:
        """Read the opened sum of what `own_counts` returned at each party.

        Parameters
        ----------
        features : sequence of Feature
        counts : ndarray of float64, shape (n_numbers * COUNT,)
        pieces : int
            Most pieces of one feature.
        """
        columns = numbers(features)
        edges = tuple(
            Edges.from_counts(own, pieces, integer=feature.dtype == "integer")
            for feature, own in zip(columns, counts.reshape(len(columns), COUNT), strict=True)
        )
        return cls(tuple(features), edges)

    @classmethod
    def from_mapping(cls, features: Sequence[Feature], value: Any, sender: str) -> Encoding:
        """Read what the coordinator sent.

        Raises
        ------
        BadPeer
            If it does not fit the features.
        """
        try:
            edges = tuple(Edges(tuple(map(float, one))) for one in value)
        except (TypeError, ValueError) as error:
            raise BadPeer("an encoding is malformed", party=sender) from error
        fit = len(edges) == len(numbers(features)) and all(_rising(one.values) for one in edges)
        if not fit:
            raise BadPeer("an encoding does not fit the features", party=sender)
        return cls(tuple(features), edges)

    def to_mapping(self) -> list[list[float]]:
        """Return the edges in their JSON form."""
        return [list(one.values) for one in self.edges]

    @property
    def owners(self) -> tuple[int, ...]:
        """The feature behind each input, by its place; length `width`."""
        return tuple(
            place
            for place, (feature, edges) in enumerate(self._pairs())
            for _ in range(_width(feature, edges))
        )

    @property
    def monotone(self) -> tuple[bool, ...]:
        """Whether `default_prob` may only rise with each input; length `width`.

        An input of a feature with direction "down" falls as the feature rises. Flags of missing
        and special values are free.
        """
        marks: list[bool] = []
        for feature, edges in self._pairs():
            pieces = len(edges.values) - 1 if edges else 0
            flags = _width(feature, edges) - pieces
            marks += [bool(feature.direction)] * pieces + [False] * flags
        return tuple(marks)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.monotone)

    def apply(self, values: Mapping[str, Floats]) -> Floats:
        """Return the network's inputs, each in [0, 1].

        A missing or special number is 0 in all its pieces, with a flag of its own raised; a
        category has one flag a level, none raised where it is missing.

        Parameters
        ----------
        values : mapping of str to ndarray of float64, shape (n,)
            See `shared.contract.Columns`.

        Returns
        -------
        ndarray of float64, shape (n, width)
        """
        rows = len(next(iter(values.values())))
        table = np.zeros((rows, self.width))
        place = 0
        for feature, edges in self._pairs():
            wide = _width(feature, edges)
            _encode(feature, edges, values[feature.name], table[:, place : place + wide])
            place += wide
        return table

    def _pairs(self) -> list[tuple[Feature, Edges | None]]:
        left = iter(self.edges)
        return [(item, None if item.dtype == "category" else next(left)) for item in self.features]


def check_same_features(contract: Contract) -> None:
    """Refuse a contract under which the parties hold different features.

    Raises
    ------
    ConfigError
        With every such feature, and the label.
    """
    own = [feature for feature in contract.features if feature.owner != EVERY]
    findings = [
        f"features.{item.name}.owner: must be '{EVERY}'. Got {item.owner!r}" for item in own
    ]
    if contract.label_owner != EVERY:
        findings.append(f"label_owner: must be '{EVERY}'. Got {contract.label_owner!r}")
    if findings:
        findings.append("the neural model is for holders of the same features")
        raise ConfigError(f"contract {contract.name}", findings)


def describe(features: Sequence[Feature]) -> list[dict[str, Any]]:
    """Return what the coordinator must know of the features to lay out the network; no value.

    See `feature_from_mapping`.
    """
    return [
        {
            "name": item.name,
            "dtype": item.dtype,
            "levels": list(item.levels),
            "special": list(item.special),
            "direction": item.direction,
            "low": item.low,
            "high": item.high,
        }
        for item in features
    ]


def feature_from_mapping(value: Mapping[str, Any]) -> Feature:
    """Read one feature of `describe`."""
    return Feature(
        name=value["name"],
        owner=EVERY,
        dtype=value["dtype"],
        levels=tuple(value["levels"]),
        special=tuple(value["special"]),
        direction=value["direction"],
        low=value["low"],
        high=value["high"],
    )


def counted(features: Sequence[Feature]) -> int:
    """Return the length of `own_counts`: `COUNT` for each feature that is a number."""
    return COUNT * len(numbers(features))


def own_counts(features: Sequence[Feature], values: Mapping[str, Floats], floor: int) -> Floats:
    """Return a party's customers by public bucket of each number, see `buckets.histogram`.

    Parameters
    ----------
    features : sequence of Feature
    values : mapping of str to ndarray of float64, shape (n,)
    floor : int

    Returns
    -------
    ndarray of float64, shape (n_numbers * COUNT,)
    """
    parts = [histogram(regular(item, values[item.name]), floor) for item in numbers(features)]
    return np.concatenate(parts) if parts else np.zeros(0)


def numbers(features: Sequence[Feature]) -> list[Feature]:
    """Return the features that are numbers, in order."""
    return [feature for feature in features if feature.dtype != "category"]


def _width(feature: Feature, edges: Edges | None) -> int:
    if edges is None:
        return len(feature.levels)
    return len(edges.values) - 1 + 1 + len(feature.special)


def _encode(feature: Feature, edges: Edges | None, raw: Floats, into: Floats) -> None:
    if edges is None:
        for level in range(len(feature.levels)):
            into[:, level] = raw == level
        return
    known = regular(feature, raw)
    low, high = np.array(edges.values[:-1]), np.array(edges.values[1:])
    passed = np.clip((known[:, None] - low) / (high - low), 0.0, 1.0)
    if feature.direction == "down":
        passed = 1.0 - passed
    pieces = len(low)
    into[:, :pieces] = np.where(np.isnan(passed), 0.0, passed)
    into[:, pieces] = np.isnan(raw)
    for flag, code in enumerate(feature.special, start=pieces + 1):
        into[:, flag] = raw == code


def regular(feature: Feature, raw: Floats) -> Floats:
    """Return a column with NaN for what is missing or has a meaning of its own, shape (n,)."""
    return np.where(np.isin(raw, feature.special), np.nan, raw) if feature.special else raw


def _rising(values: tuple[float, ...]) -> bool:
    edges = np.array(values)
    sized = 2 <= len(edges) <= _MAX_EDGES
    return sized and bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all())
