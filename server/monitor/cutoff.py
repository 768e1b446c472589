"""What another cutoff would do: whom it lets in, what they may borrow, and what is lost on them.

Who has a line counts with it as it is; who was refused for the score alone counts with what the
weakest grade that gets a line is given. Money that is out already is not called back by any cutoff:
this compares rules, as if everybody asked again today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreCell:
    """People of one score.

    Parameters
    ----------
    score : int
    people : int
    limit_minor, exposure_minor : int
        What they may borrow together, and what of it would be owed at a default.
    loss_minor : float
        To be expected of them in a year.
    refused : bool
        They have no line, for their score alone; amounts are an estimate.
    """

    score: int
    people: int
    limit_minor: int
    exposure_minor: int
    loss_minor: float
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What a cutoff does.

    Parameters
    ----------
    cutoff : int
        The lowest score that gets a line.
    people, approved : int
        Who asked, and who gets one.
    limit_minor, exposure_minor : int
    loss_minor : float
        Of a year.
    """

    cutoff: int
    people: int
    approved: int
    limit_minor: int
    exposure_minor: int
    loss_minor: float

    @property
    def rate(self) -> float:
        """Share of those who asked that gets a line; 0 of nobody."""
        return self.approved / self.people if self.people else 0.0


def effects(
    cells: Iterable[ScoreCell], otherwise: int, cutoffs: Sequence[int]
) -> tuple[Effect, ...]:
    """Return what each cutoff does, in their order.

    Parameters
    ----------
    cells : iterable of ScoreCell
    otherwise : int
        Who was refused for something else: no cutoff lets them in.
    cutoffs : sequence of int
    """
    rows = sorted(cells, key=lambda one: one.score)
    people = otherwise + sum(one.people for one in rows)
    return tuple(_effect(rows, people, cutoff) for cutoff in cutoffs)


def grid(cells: Iterable[ScoreCell], cutoff: int, step: int = 10) -> tuple[int, ...]:
    """Return the cutoffs that can be tried: from all people to nobody, and the one in force.

    Parameters
    ----------
    cells : iterable of ScoreCell
    cutoff : int
        The one in force.
    step : int
        Points between two of them.
    """
    scores = [one.score for one in cells] + [cutoff]
    low, high = min(scores) // step * step, (max(scores) // step + 1) * step
    return tuple(sorted({*range(low, high + 1, step), cutoff}))


def _effect(rows: Sequence[ScoreCell], people: int, cutoff: int) -> Effect:
    kept = [one for one in rows if one.score >= cutoff]
    return Effect(
        cutoff,
        people,
        sum(one.people for one in kept),
        sum(one.limit_minor for one in kept),
        sum(one.exposure_minor for one in kept),
        sum(one.loss_minor for one in kept),
    )
