"""What a release tells of its model's worth, as the parties signed it: read, never worked out anew.

The evaluation is a free mapping: what is not there was not opened in that run, and stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from shared.errors import DataError
from shared.metrics import Interval
from shared.scorecard.spread import Spread

FIGURES: Final = (
    "auc",
    "ks",
    "gini",
    "brier",
    "log_loss",
    "calibration_error",
    "calibration_slope",
)
LEVEL: Final = 0.95
"""Of the intervals in an evaluation (`clients.card.builder`)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure on customers that the model has not seen.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    value : float
    low, high : float, optional
        Ends of its interval, both or neither.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> Interval | None:
        """The figure with its interval; None where none was told."""
        if self.low is None or self.high is None:
            return None
        return Interval(self.value, self.low, self.high, LEVEL)


@dataclass(frozen=True, slots=True)
class Alone:
    """What one holder's own card reaches.

    Parameters
    ----------
    holder : str
    auc, ks : Figure, optional
    """

    holder: str
    auc: Figure | None
    ks: Figure | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that a release tells of its worth.

    Parameters
    ----------
    people : int, optional
        Customers behind every figure.
    bad_rate : float, optional
        Among them, in [0, 1].
    figures : tuple of Figure
        In the order of `FIGURES`; those that were told.
    alone : tuple of Alone
        By holder's name.
    spread : Spread, optional
        The counts behind the curves; None where they were not opened.
    """

    people: int | None
    bad_rate: float | None
    figures: tuple[Figure, ...]
    alone: tuple[Alone, ...]
    spread: Spread | None

    def figure(self, name: str) -> Figure | None:
        """Return a figure by its name, or None where it was not told."""
        return next((one for one in self.figures if one.name == name), None)


def evaluation_of(told: Mapping[str, Any]) -> Evaluation:
    """Read the evaluation of a manifest.

    Parameters
    ----------
    told : mapping
        `Manifest.evaluation`. What has another form than confide writes is left out: it is nothing
        that these pages know how to show.
    """
    people, alone = told.get("n"), told.get("alone")
    every = alone.items() if isinstance(alone, Mapping) else ()
    return Evaluation(
        people=people if type(people) is int and people >= 0 else None,
        bad_rate=_number(told.get("bad_rate")),
        figures=tuple(one for name in FIGURES if (one := _figure(told, name)) is not None),
        alone=tuple(
            Alone(holder, _figure(one, "auc"), _figure(one, "ks"))
            for holder, one in sorted(every)
            if isinstance(one, Mapping)
        ),
        spread=_spread(told.get("by_points")),
    )


def _figure(told: Mapping[str, Any], name: str) -> Figure | None:
    value, ends = _number(told.get(name)), told.get(f"{name}_interval")
    if value is None:
        return None
    if isinstance(ends, list) and len(ends) == 2:
        low, high = map(_number, ends)
        if low is not None and high is not None and low <= value <= high:
            return Figure(name, value, low, high)
    return Figure(name, value)


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and isfinite(value) else None


def _spread(value: Any) -> Spread | None:
    try:
        return None if value is None else Spread.from_mapping(value)
    except DataError:
        return None
