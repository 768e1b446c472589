"""Customers whom a model had not seen, counted by score: what curves of ranking are drawn from.

A release tells of them in groups of many customers with both classes in each
(`shared.scorecard.spread`), by points; people know scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.web.charts import FLOOR, ScoreBins
from shared.errors import DataError
from shared.scorecard.calibration import Calibration
from shared.scorecard.scale import Scale
from shared.scorecard.spread import MOST_GROUPS, Spread
from shared.trueness import CalibrationBin

_TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """People counted by score, and by default_prob.

    Parameters
    ----------
    bins : ScoreBins
    told : ScoreBins
        The same in wider bins, each with as many of either class as a chart tells of.
    tenths : tuple of CalibrationBin
        From the lowest default_prob to the highest, at most ten.
    """

    bins: ScoreBins
    told: ScoreBins
    tenths: tuple[CalibrationBin, ...]


def scored_of(spread: Spread, calibration: Calibration, scale: Scale) -> Scored:
    """Return counts by points as counts by the score that they come to.

    Parameters
    ----------
    spread : Spread
    calibration : Calibration
    scale : Scale
    """

    def bins(one: Spread | None) -> ScoreBins:
        if one is None:
            return ScoreBins((), (), ())
        scores = scale.score_of(calibration.default_prob(one.points))
        return rising(scores.tolist(), one.goods, one.bads)

    tenths = spread.joined(_TENTHS)
    return Scored(
        bins(spread),
        bins(spread.joined(MOST_GROUPS, FLOOR)),
        () if tenths is None else _safest(tenths),
    )


def rising(edges: Sequence[float], goods: Sequence[int], bads: Sequence[int]) -> ScoreBins:
    """Return bins whose edges rise: a scale is cut at its ends, where groups fall together.

    Parameters
    ----------
    edges : sequence of float, length groups + 1
        Not falling.
    goods, bads : sequence of int, length groups
    """
    kept, groups, below = [edges[0]], [], (0, 0)
    for high, good, bad in zip(edges[1:], goods, bads, strict=True):
        if high > kept[-1]:
            kept.append(high)
            groups.append((good + below[0], bad + below[1]))
            below = (0, 0)
        elif groups:  # at the upper end: with those before
            groups[-1] = (groups[-1][0] + good, groups[-1][1] + bad)
        else:  # at the lower end: with those that follow
            below = (below[0] + good, below[1] + bad)
    if not groups:
        return ScoreBins((), (), ())
    return ScoreBins(
        tuple(kept), tuple(good for good, _ in groups), tuple(bad for _, bad in groups)
    )


def spread_of(value: Any) -> Spread | None:
    """Read what an evaluation says by points; None where it says nothing.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    if value is None:
        return None
    try:
        return Spread.from_mapping(value)
    except DataError as error:
        raise ValueError(str(error)) from error


def _safest(tenths: Spread) -> tuple[CalibrationBin, ...]:
    rows = zip(tenths.goods, tenths.bads, tenths.expected, strict=True)
    found = [CalibrationBin(g + b, b, prob, b / (g + b)) for g, b, prob in rows]
    return tuple(reversed(found))
