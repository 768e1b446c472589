"""The score of one customer where every holder that knows the customer has a whole score.

Points of holders add up on a card, since each holds other columns. Banks with the same columns each
score their own customers by the same network or card, so one answer is enough and no holder is
missing. A customer of two banks has two answers; the lower one counts, and its reasons with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.limits.caps.banks import BanksScorer
from server.limits.caps.snapshot import Rating, Scorer, Share, Snapshot, merged_reasons, ratings
from shared.challenger.network import Network
from shared.contract import EVERY
from shared.errors import DataError
from shared.scorecard.card import Card


class WholeScorer:
    """A model made ready to score: the rating of every number of points that it can give.

    Parameters
    ----------
    model : Network or Card
        With its calibration. Of a card all lines are of `EVERY`.

    Raises
    ------
    DataError
        If it has no calibration or no grades, or too many points.
    """

    def __init__(self, model: Card | Network) -> None:
        self._low, high = model.span(EVERY)
        self._ratings = ratings(model, self._low, high)

    def rating(self, points: int) -> Rating:
        """Return what points mean.

        Raises
        ------
        DataError
            If the model cannot give them.
        """
        at = points - self._low
        if not 0 <= at < len(self._ratings):
            raise DataError("points", ["the model cannot give them"])
        return self._ratings[at]

    def snapshot(self, shares: Mapping[str, Share], missing: Mapping[str, str]) -> Snapshot:
        """Take the lowest of the holders' scores.

        Parameters
        ----------
        shares : mapping of str to Share
            From holders whose feed is in date and has the customer.
        missing : mapping of str to str
            Why each other holder is missing: told only where nobody has the customer.

        Raises
        ------
        DataError
            If there is no share, or its points are none that the model can give.
        """
        if not shares:
            why = ", ".join(f"{holder}: {text}" for holder, text in sorted(missing.items()))
            raise DataError("points", [f"no holder has the customer ({why})"])
        holder = min(sorted(shares), key=lambda one: shares[one].points)
        rating = self.rating(shares[holder].points)
        return Snapshot(
            rating=rating,
            at_best=rating,
            points={holder: shares[holder].points},
            missing={},
            reasons=merged_reasons({holder: shares[holder]}),
        )


def scorer_of(model: Card | Network, baselines: Mapping[str, int]) -> Scorer | WholeScorer:
    """Return what scores by a released model.

    Parameters
    ----------
    model : Card or Network
    baselines : mapping of str to int
        Mean points of each holder's population, as the release states them.

    Raises
    ------
    DataError
        As `Scorer`, `BanksScorer` and `WholeScorer`.
    """
    if isinstance(model, Network) or all(line.owner == EVERY for line in model.lines):
        return WholeScorer(model)
    return BanksScorer(model, baselines) if model.common else Scorer(model, baselines)
