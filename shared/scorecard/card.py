"""The scorecard as people read it: lines of points, a scale, a calibration, and where it came from.

A line is one block: a feature or a pair of features of one holder, with whole points for each of
its bins. The bins are named by number: the edges stay with their holder. A customer's points are
the sum over lines; the calibration turns them into `default_prob`, and the scale that into the
score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.contract import EVERY, Contract
from shared.errors import ConfigError
from shared.scorecard.blocks import Block
from shared.scorecard.build import Draft, mean_points
from shared.scorecard.calibration import Calibration
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import Grade, Scale, round_half_away

SCHEMA = 2
_PLAIN: Mapping[str, type] = {
    "contract": str,
    "rows": int,
    "bad_rate": float,
    "points_kept": int,
    "penalty": float,
    "cp": float,
    "explained": float,
}
# As fine as the errors, and no blur: with `rows` and whole points, the mean of a line of two bins
# gives their counts (docs/threat-model.md).
_MEAN_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One block of the card.

    Parameters
    ----------
    owner : str
        The holder; `EVERY` of a line that all banks hold.
    features : tuple of str
        One feature, or two of the same holder.
    reason : str
        Public reason code.
    bins : tuple of str
        Public labels.
    points : tuple of int
        One a bin; more points, less risk.
    errors : tuple of float
        Standard error of each threshold's coefficient, in points.
    mean : float
        Mean points over the customers behind the moments, to three digits: what the reasons are
        measured below, and what stands in for a holder that is missing. Whoever can read the card
        can work out counts of bins from it.
    """

    owner: str
    features: tuple[str, ...]
    reason: str
    bins: tuple[str, ...]
    points: tuple[int, ...]
    errors: tuple[float, ...]
    mean: float

    @property
    def name(self) -> str:
        """The features' names joined."""
        return " x ".join(self.features)


@dataclass(frozen=True, slots=True)
class Card:
    """A whole card.

    Parameters
    ----------
    contract : str
        Digest of the data contract.
    rows : int
        Customers behind the moments.
    bad_rate : float
        Share of bad customers among them.
    points_kept : int
        Thresholds and products with points: the degrees of freedom of Cp.
    penalty, cp, explained : float
        How it was chosen, and the share of the label's variance it explains.
    lines : tuple of Line
    scale : Scale
    baseline : Baseline
        What reasons are measured below; part of every explanation.
    calibration : Calibration or None
        None until scores were opened.
    """

    contract: str
    rows: int
    bad_rate: float
    points_kept: int
    penalty: float
    cp: float
    explained: float
    lines: tuple[Line, ...]
    scale: Scale
    baseline: Baseline
    calibration: Calibration | None = None

    def points(self, bins: Mapping[str, int]) -> dict[str, int]:
        """Return a customer's points by reason code.

        Parameters
        ----------
        bins : mapping of str to int
            Bin number of each line, by name.
        """
        total: dict[str, int] = {}
        for line in self.lines:
            total[line.reason] = total.get(line.reason, 0) + line.points[bins[line.name]]
        return total

    def of(self, owner: str) -> tuple[Line, ...]:
        """Return one holder's lines, in the order of its own blocks.

        Who owns none by name holds those of `EVERY`, as a bank among banks with the same features.
        """
        own = tuple(line for line in self.lines if line.owner == owner)
        return own or tuple(line for line in self.lines if line.owner == EVERY)

    @property
    def common(self) -> bool:
        """Whether several banks hold the same lines, each for customers of its own."""
        return any(line.owner == EVERY for line in self.lines)

    def codes(self, owner: str) -> frozenset[str]:
        """Return the reason codes of one holder's lines."""
        return frozenset(line.reason for line in self.of(owner))

    def span(self, owner: str) -> tuple[int, int]:
        """Return the fewest and the most points that one holder's lines can give."""
        lines = self.of(owner)
        return sum(min(line.points) for line in lines), sum(max(line.points) for line in lines)

    def baseline_points(self, owner: str) -> int:
        """Return a holder's mean points as a whole number: its part where it is missing."""
        return int(round_half_away(sum(line.mean for line in self.of(owner))))

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            **{key: getattr(self, key) for key in _PLAIN},
            "lines": [asdict(line) for line in self.lines],
            "scale": asdict(self.scale),
            "baseline": self.baseline.to_mapping(),
            "calibration": self.calibration.to_mapping() if self.calibration else None,
        }

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any], source: str) -> Card:
        """Read the JSON form.

        Raises
        ------
        ConfigError
            If it is not a card of this schema.
        """
        try:
            if value["schema"] != SCHEMA:
                raise ConfigError(source, [f"schema: must be {SCHEMA}. Got {value['schema']!r}"])
            lines = tuple(_line(line) for line in value["lines"])
            scale = dict(value["scale"])
            grades = tuple(Grade(**grade) for grade in scale.pop("grades"))
            return cls(
                **{key: kind(value[key]) for key, kind in _PLAIN.items()},
                lines=lines,
                scale=Scale(**scale, grades=grades),
                baseline=Baseline.from_mapping(value["baseline"]),
                calibration=(
                    Calibration.from_mapping(value["calibration"]) if value["calibration"] else None
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(source, [f"is not a scorecard: {error}"]) from error


def _line(value: Mapping[str, Any]) -> Line:
    if len(value["bins"]) != len(value["points"]):
        raise ValueError("a line needs as many points as bins")
    if not min(value["points"]) <= value["mean"] <= max(value["points"]):
        raise ValueError("the mean of a line must lie among its points")
    return Line(
        owner=str(value["owner"]),
        features=tuple(value["features"]),
        reason=str(value["reason"]),
        bins=tuple(value["bins"]),
        points=tuple(int(points) for points in value["points"]),
        errors=tuple(float(error) for error in value["errors"]),
        mean=float(value["mean"]),
    )


def card_of(draft: Draft, contract: Contract, scale: Scale) -> Card:
    """Write a draft as a card, still without calibration.

    Parameters
    ----------
    draft : Draft
    contract : Contract
    scale : Scale

    Returns
    -------
    Card
        The baseline of its reasons is the mean points of the customers behind the moments.
    """
    factor = scale.factor * draft.moments.n / draft.fit.rss
    errors = draft.columns.by_block(draft.errors * factor)
    reasons = {feature.name: feature.reason for feature in contract.features}
    reasons |= {summary.name: summary.reason for summary in contract.summaries}
    lines = tuple(
        Line(
            owner=block.owner,
            features=block.features,
            reason=_reason(block.features, reasons),
            bins=bin_labels(block),
            points=tuple(points.tolist()),
            errors=tuple(round(float(error), 3) for error in part),
            mean=round(mean, _MEAN_DIGITS),
        )
        for block, points, part, mean in zip(
            draft.moments.blocks, draft.points, errors, mean_points(draft), strict=True
        )
    )
    means: dict[str, float] = {}
    for line in lines:
        means[line.reason] = round(means.get(line.reason, 0.0) + line.mean, _MEAN_DIGITS)
    return Card(
        contract=contract.digest(),
        rows=draft.moments.n,
        bad_rate=draft.moments.n_bad / draft.moments.n,
        points_kept=draft.fit.df,
        penalty=draft.fit.penalty,
        cp=draft.fit.cp,
        explained=draft.explained,
        lines=lines,
        scale=scale,
        baseline=Baseline("mean", means),
    )


def bin_labels(block: Block) -> tuple[str, ...]:
    """Return a public label for each bin: its highest threshold, or its number in a pair."""
    if len(block.features) > 1:
        return tuple(f"cell {number}" for number in range(block.n_atoms))
    return tuple(
        block.columns[int(np.flatnonzero(row)[-1])] if row.any() else "base" for row in block.ladder
    )


def _reason(features: tuple[str, ...], reasons: Mapping[str, str]) -> str:
    """Return a line's reason code: a pair has that of its first feature."""
    return reasons[features[0]]
