"""What a cut does to the customer's own figures: the share in use jumps though nothing was drawn.

A lower limit makes the same debt a larger share of it; where other lenders count that share, a cut
harms a credit assessment that nothing else changed (domain M70; CFPB 2022: after a cut 94 % of the
line is in use). The report says how far the share jumped, how the score moved until the next
scheduled review, and that our own rules do not count the jump: they remember the larger limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, median

HIGH_USE = 0.9
"""Share of a limit from which use counts as almost all of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A limit that went down.

    Parameters
    ----------
    owed_minor : int
        On the day of the cut.
    before_minor, after_minor : int
        The limit; before is above after.
    score_before : int, optional
        At the cut.
    score_after : int, optional
        At the next scheduled review; None where there was none yet.
    """

    owed_minor: int
    before_minor: int
    after_minor: int
    score_before: int | None = None
    score_after: int | None = None

    @property
    def use_before(self) -> float:
        """Share of the limit that was owed before the cut."""
        return self.owed_minor / max(self.before_minor, 1)

    @property
    def use_after(self) -> float:
        """Share of the limit that is owed after it; above 1 where the limit fell below the debt."""
        return self.owed_minor / max(self.after_minor, 1)


@dataclass(frozen=True, slots=True)
class Shock:
    """Cuts in figures.

    Parameters
    ----------
    cuts, with_debt : int
        All, and those with something owed: only these move a share.
    median_use_before, median_use_after : float, optional
        Of those with debt; None where fewer of them are there than the floor.
    pushed_high : int, optional
        That the cut pushed to `HIGH_USE` or more.
    scored : int
        With a score before and after.
    mean_score_change : float, optional
        Until the next scheduled review.
    """

    cuts: int
    with_debt: int
    median_use_before: float | None
    median_use_after: float | None
    pushed_high: int | None
    scored: int
    mean_score_change: float | None


def shock(cuts: Iterable[Cut], floor: int = 0) -> Shock:
    """Sum up cuts.

    Parameters
    ----------
    cuts : iterable of Cut
    floor : int
        People behind a figure, at least; fewer, and it is withheld.
    """
    rows = list(cuts)
    owing = [row for row in rows if row.owed_minor > 0]
    moves = [
        row.score_after - row.score_before
        for row in rows
        if row.score_before is not None and row.score_after is not None
    ]
    enough = bool(owing) and len(owing) >= floor
    pushed = sum(row.use_before < HIGH_USE <= row.use_after for row in owing)
    return Shock(
        cuts=len(rows),
        with_debt=len(owing),
        median_use_before=median(row.use_before for row in owing) if enough else None,
        median_use_after=median(row.use_after for row in owing) if enough else None,
        pushed_high=pushed if enough else None,
        scored=len(moves),
        mean_score_change=mean(moves) if moves and len(moves) >= floor else None,
    )
