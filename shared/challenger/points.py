"""From a network's log-odds to whole points, and from these to `default_prob`: the card's scale.

Points are log-odds of staying good times the scale's points per unit, rounded before anything is
shown: as of a card, a sum at full precision would tell more of a customer than the score must.
They are calibrated exactly as a card's points are, so a score of 640 means the same of both models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from shared.errors import DataError
from shared.scorecard.calibration import Calibration, fit_calibration
from shared.scorecard.scale import Scale, round_half_away

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

MOST_LOG_ODDS: Final = 10.0
"""Log-odds are cut here: one in 22,000 and one in 22,000 the other way."""


def span(scale: Scale) -> tuple[int, int]:
    """Return the fewest and the most points that a network can give."""
    most = int(round_half_away(scale.factor * MOST_LOG_ODDS))
    return -most, most


def points_of(log_odds: Floats, scale: Scale) -> Ints:
    """Return whole points; more is safer.

    Parameters
    ----------
    log_odds : ndarray of float64, shape (n,)
        Of default.
    scale : Scale

    Raises
    ------
    DataError
        If one is not finite.
    """
    if not np.isfinite(log_odds).all():
        raise DataError("log_odds", ["every value must be finite"])
    return round_half_away(-scale.factor * np.clip(log_odds, -MOST_LOG_ODDS, MOST_LOG_ODDS))


def calibrate(points: NDArray[np.integer[Any]], goods: Ints, bads: Ints) -> Calibration:
    """Fit `default_prob` to points from counts: what banks can add up in a secure sum.

    Parameters
    ----------
    points : ndarray of integer, shape (values,)
        Distinct.
    goods, bads : ndarray of int64, shape (values,)
        Customers at each.

    Raises
    ------
    DataError
        If shapes differ, a count is negative, or as `fit_calibration`.
    """
    shapes = {points.shape, goods.shape, bads.shape}
    if len(shapes) != 1 or min(goods.min(initial=0), bads.min(initial=0)) < 0:
        raise DataError("points", ["must have as many counts of goods and bads, none below 0"])
    at = np.concatenate([np.repeat(points, goods), np.repeat(points, bads)])
    label = np.repeat([0, 1], [int(goods.sum()), int(bads.sum())])
    return fit_calibration(at, label)
