"""From a party's columns to the inputs of the network, scaled alike at every party.

Amounts range over six decades, so a number is squashed to ``sign(x) log(1 + |x|)`` before it is
standardised. Mean and spread are those of all parties' customers together: each party hands in
its own means, and a secure sum opens the weighted mean of them, never a party's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.contract import EVERY, Contract, Feature
from shared.errors import BadPeer, ConfigError

Floats = NDArray[np.float64]

# Below this variance a column is constant in all but rounding, and is only centred.
_CONSTANT = 1e-12


@dataclass(frozen=True, slots=True)
class Scaling:
    """Mean and spread of each squashed feature over all parties' customers.

    Parameters
    ----------
    mean : tuple of float, length n_features
    spread : tuple of float, length n_features
        Standard deviations, all above 0.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def from_means(cls, means: Floats) -> Scaling:
        """Read the opened mean of what `own_means` returned at each party.

        Parameters
        ----------
        means : ndarray of float64, shape (3 * n_features,)
        """
        present, first, second = means.reshape(3, -1)
        some = np.maximum(present, np.finfo(np.float64).tiny)
        mean = np.where(present > 0, first / some, 0.0)
        variance = np.where(present > 0, second / some - mean**2, 0.0)
        spread = np.where(variance > _CONSTANT, np.sqrt(np.maximum(variance, _CONSTANT)), 1.0)
        return cls(tuple(mean.tolist()), tuple(spread.tolist()))

    @classmethod
    def from_mapping(cls, value: Any, n_features: int, sender: str) -> Scaling:
        """Read what the coordinator sent.

        Raises
        ------
        BadPeer
            If it does not fit the features.
        """
        try:
            both = np.array([value["mean"], value["spread"]], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise BadPeer("a scaling is malformed", party=sender) from error
        if both.shape != (2, n_features) or not np.isfinite(both).all() or both[1].min() <= 0:
            raise BadPeer("a scaling does not fit the features", party=sender)
        return cls(tuple(both[0].tolist()), tuple(both[1].tolist()))

    def to_mapping(self) -> dict[str, list[float]]:
        """Return the JSON form."""
        return {"mean": list(self.mean), "spread": list(self.spread)}


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


def width(features: Sequence[Feature]) -> int:
    """Return the number of inputs: two of a number, one of each level of a category."""
    return sum(len(feature.levels) or 2 for feature in features)


def own_means(features: Sequence[Feature], values: Mapping[str, Floats]) -> Floats:
    """Return a party's share of present values, and its mean of them and of their squares.

    Parameters
    ----------
    features : sequence of Feature, length n_features
    values : mapping of str to ndarray of float64, shape (n,)
        See `shared.contract.Columns`.

    Returns
    -------
    ndarray of float64, shape (3 * n_features,)
        Shares first, then means, then means of squares; what is absent counts as 0 in all three,
        so that the mean over parties, weighted by customers, is the mean over all customers.
    """
    squashed = [_squash(feature, values[feature.name]) for feature in features]
    table = np.column_stack(squashed)
    present = ~np.isnan(table)
    table = np.where(present, table, 0.0)
    return np.concatenate([present.mean(axis=0), table.mean(axis=0), (table**2).mean(axis=0)])


def encode(features: Sequence[Feature], values: Mapping[str, Floats], scaling: Scaling) -> Floats:
    """Return the network's inputs.

    A number becomes its standardised value (0 where it is missing or special) and a flag that says
    so; a category becomes one flag a level.

    Parameters
    ----------
    features : sequence of Feature
    values : mapping of str to ndarray of float64, shape (n,)
    scaling : Scaling

    Returns
    -------
    ndarray of float64, shape (n, width(features))
    """
    columns: list[Floats] = []
    for feature, mean, spread in zip(features, scaling.mean, scaling.spread, strict=True):
        raw = values[feature.name]
        if feature.levels:
            columns += [(raw == level).astype(np.float64) for level in range(len(feature.levels))]
            continue
        squashed = _squash(feature, raw)
        absent = np.isnan(squashed)
        columns += [np.where(absent, 0.0, (squashed - mean) / spread), absent.astype(np.float64)]
    return np.column_stack(columns)


def _squash(feature: Feature, raw: Floats) -> Floats:
    """Return ``sign(x) log(1 + |x|)``; NaN for what is missing or has a meaning of its own."""
    regular = np.where(np.isin(raw, feature.special), np.nan, raw) if feature.special else raw
    return np.sign(regular) * np.log1p(np.abs(regular))
