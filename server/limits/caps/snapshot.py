"""What is known of one customer: the holders' points added up, the score, and why it is not higher.

A holder that is missing or stale is replaced by the mean points of its population, as the release
states them, and marked. What the score *could* be had it answered is kept beside it: a limit may
only be cut where it would be cut whatever the missing holder would have said (domain 2.15, I13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from server.limits.basis.reasons import Reason
from server.limits.words.explain import principal
from shared.challenger.network import Network
from shared.errors import DataError
from shared.scorecard.card import Card
from shared.scorecard.scale import round_half_away

MOST_POINTS: Final = 100_000
"""Widest range of points of a card; a real one has a thousand."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What points mean.

    Parameters
    ----------
    points : int
    default_prob : Decimal
        With six decimals: the stored value, exactly.
    score : int
        As the customer is shown it.
    grade : str
    """

    points: int
    default_prob: Decimal
    score: int
    grade: str


@dataclass(frozen=True, slots=True)
class Share:
    """What a holder's feed says of a customer.

    Parameters
    ----------
    points : int
    reasons : tuple of (str, int)
        Public reason codes and whole points below the baseline, costliest first.
    """

    points: int
    reasons: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The score of one customer, and how it came about.

    Parameters
    ----------
    rating : Rating
        With missing holders at the mean of their population.
    at_best : Rating
        With missing holders at the most points that the card can give for them.
    points : mapping of str to int
        By holder, as added up.
    missing : mapping of str to str
        Why each missing holder is missing: `no feed`, `stale` or `unknown customer`.
    reasons : tuple of Reason
        At most four and one about enquiries, costliest first; none from a missing holder.
    """

    rating: Rating
    at_best: Rating
    points: Mapping[str, int]
    missing: Mapping[str, str]
    reasons: tuple[Reason, ...]

    def hears(self, holder: str) -> bool:
        """Return whether the score has a holder's own word in it."""
        return holder in self.points and holder not in self.missing


class Scorer:
    """A card made ready to score: the rating of every sum of points that it can give.

    Parameters
    ----------
    card : Card
        With its calibration.
    baselines : mapping of str to int
        Mean points of each holder's population, as the release states them.

    Raises
    ------
    DataError
        If the card has no calibration, no grades or too many points, or a baseline lies outside of
        what the card can give.

    Attributes
    ----------
    spans : dict of str to (int, int)
        The fewest and the most points that the card can give for each holder.
    """

    def __init__(self, card: Card, baselines: Mapping[str, int]) -> None:
        self.spans = spans(card, baselines)
        self.baselines = dict(baselines)
        low = sum(low for low, _ in self.spans.values())
        high = sum(high for _, high in self.spans.values())
        findings = [
            f"baseline_points of {holder}: must lie from {least} to {most}. Got {baselines[holder]}"
            for holder, (least, most) in self.spans.items()
            if not least <= baselines[holder] <= most
        ]
        if findings:
            raise DataError("card", findings + _rating_problems(card, low, high))
        self._low = low
        self._ratings = ratings(card, low, high)

    def rating(self, points: int) -> Rating:
        """Return what a sum of points means.

        Raises
        ------
        DataError
            If the card cannot give that sum.
        """
        at = points - self._low
        if not 0 <= at < len(self._ratings):
            raise DataError("points", ["the card cannot give that sum"])
        return self._ratings[at]

    def snapshot(self, shares: Mapping[str, Share], missing: Mapping[str, str]) -> Snapshot:
        """Add up the holders' points.

        Parameters
        ----------
        shares : mapping of str to Share
            From holders whose feed is in date and has the customer.
        missing : mapping of str to str
            Why each of the other holders is missing.

        Raises
        ------
        DataError
            If a holder is in neither or in both, or its points are none that the card can give.
        """
        findings = []
        points, best = {}, 0
        for holder, (least, most) in self.spans.items():
            share = shares.get(holder)
            if (share is None) != (holder in missing):
                findings.append(f"{holder}: must either have points or be missing")
            at = self.baselines[holder] if share is None else share.points
            if not least <= at <= most:
                findings.append(f"{holder}: points must lie from {least} to {most}")
            points[holder] = at
            best += most if share is None else at
        if findings:
            raise DataError("points", findings)
        return Snapshot(
            rating=self.rating(sum(points.values())),
            at_best=self.rating(best),
            points=points,
            missing=missing,
            reasons=merged_reasons(shares),
        )


def ratings(model: Card | Network, low: int, high: int) -> tuple[Rating, ...]:
    """Return what each number of points means, from `low` to `high`.

    Raises
    ------
    DataError
        If the model has no calibration, no grades or too many points.
    """
    findings = _rating_problems(model, low, high)
    if findings or model.calibration is None:
        raise DataError("card", findings)
    points = np.arange(low, high + 1)
    probabilities = model.calibration.default_prob(points)
    scores = round_half_away(model.scale.score_of(probabilities)).tolist()
    grades = {score: model.scale.grade_of(score) for score in set(scores)}
    return tuple(
        Rating(at, Decimal(round(probability * 1e6)).scaleb(-6), score, grades[score])
        for at, probability, score in zip(
            points.tolist(), probabilities.tolist(), scores, strict=True
        )
    )


def _rating_problems(model: Card | Network, low: int, high: int) -> list[str]:
    findings = []
    if model.calibration is None:
        findings.append("calibration: is missing")
    if not model.scale.grades:
        findings.append("scale.grades: must not be empty")
    if high - low > MOST_POINTS:
        findings.append(f"points: must span at most {MOST_POINTS}. Got {high - low}")
    return findings


def spans(card: Card, holders: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return the fewest and the most points that a card can give for each holder.

    A holder without a line on the card always gives 0.
    """
    result = dict.fromkeys(sorted({*holders, *(line.owner for line in card.lines)}), (0, 0))
    for line in card.lines:
        low, high = result[line.owner]
        result[line.owner] = (low + min(line.points), high + max(line.points))
    return result


def merged_reasons(shares: Mapping[str, Share]) -> tuple[Reason, ...]:
    """Merge the holders' local reasons, costliest first, at most four, and one about enquiries.

    Each holder reports its own costliest; since points add up, so do the shortfalls of a code that
    two holders share. Equal shortfalls stand in the order of their codes.
    """
    lost: dict[str, int] = {}
    holders: dict[str, tuple[str, ...]] = {}
    for holder in sorted(shares):
        for code, points in shares[holder].reasons:
            if points > 0:
                lost[code] = lost.get(code, 0) + points
                holders[code] = (*holders.get(code, ()), holder)
    order = sorted((-points, code) for code, points in lost.items())
    return principal(
        [
            Reason(f"S-{code}", "score", points_lost=-points, holders=holders[code])
            for points, code in order
        ]
    )
