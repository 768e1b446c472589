"""People with a card and a line, block by block: what they do in a month, given both limits.

Amounts on a line are minor units: a unit of the world's money is `MINOR` of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.world.chance import Luck, Span, luck, stream
from shared.world.economy import Economy, season
from shared.world.month import (
    BEGINNING,
    NORMALS,
    UNIFORMS,
    Happened,
    Standing,
    begin,
    month,
)
from shared.world.people import People, born
from shared.world.traits import FITTED, Traits

_T = TypeVar("_T", bound=np.generic)
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Minor units of a unit of the world's money: four units are one of the policy's.
MINOR: Final = 25
#: Months that pass before the first in which a line may be drawn on.
WARM_MONTHS: Final = 12
#: Payments behind that are a default: ninety days.
DEFAULT_LATE: Final = 3
#: Months that a past holds.
SEEN_MONTHS: Final = 6
#: A line is wanted for so much of what the card is used for.
WISH: Final = 0.3
# What it adds to somebody's distress that the line does not let them spend what they are used to.
_STRAIN: Final = 0.25
# What a month's income owed on the line adds to it, and at most so many months count.
_BURDEN: Final = 0.3
_MOST_BURDEN: Final = 3.0
_LINE_LUCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Past:
    """What the last months showed, the latest last.

    Parameters
    ----------
    late : (6, n) int8
    bill, paid, spent, enquiries : (6, n) float64
    others : (6, n) float64
    """

    late: NDArray[np.int8]
    bill: Floats
    paid: Floats
    spent: Floats
    enquiries: Floats
    others: Floats

    @classmethod
    def empty(cls, people: int) -> Past:
        """Return a past in which nothing happened."""
        blank = np.zeros((SEEN_MONTHS, people))
        return cls(np.zeros((SEEN_MONTHS, people), np.int8), blank, blank, blank, blank, blank)

    def then(self, after: Standing, happened: Happened) -> Past:
        """Return the past one month later."""
        return Past(
            late=_pushed(self.late, after.late),
            bill=_pushed(self.bill, after.bill),
            paid=_pushed(self.paid, happened.paid),
            spent=_pushed(self.spent, happened.spent),
            enquiries=_pushed(self.enquiries, happened.enquiries.astype(np.float64)),
            others=_pushed(self.others, after.others),
        )


@dataclass(frozen=True, slots=True)
class Life:
    """Where the people of a block stand, after a month.

    Parameters
    ----------
    people : People
        With the card at their bank.
    card, line : Standing
        On the line, amounts are minor units; who has none owes nothing.
    happened, drawn : Happened or None
        On the card, and on the line, in the last month.
    past : Past
    number : int
        The month; 0 and below are warm.
    """

    people: People
    card: Standing
    line: Standing
    happened: Happened | None
    drawn: Happened | None
    past: Past
    number: int


def _pushed(past: NDArray[_T], now: NDArray[_T]) -> NDArray[_T]:
    return np.concatenate([past[1:], now[None]])


def warm(span: Span, seed: int, traits: Traits = FITTED) -> Life:
    """Return the people of a block, before the first month in which they may have a line."""
    people = born(span, seed, traits)
    card = begin(people, luck(stream(seed, span.block, 1), len(people), *BEGINNING), traits)
    nothing = np.zeros(len(people))
    line = Standing(card.shock, nothing, card.late, nothing)
    life = Life(people, card, line, None, None, Past.empty(len(people)), -WARM_MONTHS)
    for _ in range(WARM_MONTHS):
        life = live(life, span, seed, nothing, Economy(swing=0.0), traits)
    return life


def live(
    life: Life,
    span: Span,
    seed: int,
    limit: Floats,
    economy: Economy,
    traits: Traits = FITTED,
) -> Life:
    """Let a month pass.

    Parameters
    ----------
    life : Life
    span : Span
    seed : int
    limit : (n,) float64
        Up to which each may owe on the line, in minor units.
    economy : Economy
    traits : Traits
    """
    number = life.number + 1
    rng = stream(seed, span.block, number + WARM_MONTHS + 1)
    got = luck(rng, len(life.people), UNIFORMS, NORMALS)
    strained: Floats = _strain(life) + (economy.distress(number) if number > 0 else 0.0)
    time = season(number)
    card, happened = month(
        life.people, life.card, life.people.limit, got, traits, macro=strained, season=time
    )
    own = _own_luck(got, span, seed, number)
    wishing = replace(life.people, limit=WISH * MINOR * life.people.limit)
    before = replace(life.line, shock=life.card.shock, late=life.card.late)
    line, drawn = month(wishing, before, limit, own, traits, macro=strained, season=time, over=1.0)
    # Nobody is behind on a line on which nothing was owed.
    line = replace(line, late=np.where(life.line.bill > 0, line.late, 0).astype(np.int8))
    # What the line does not let them have they find elsewhere in part, and the bureau is told.
    elsewhere = card.others + traits.leaks * drawn.unmet / MINOR
    past = life.past.then(replace(card, others=elsewhere), happened)
    return Life(life.people, card, line, happened, drawn, past, number)


def _strain(life: Life) -> Floats:
    """Return the distress that a line brings its owner: by what is owed, and by what it denies.

    Whoever is lent more than the income carries falls behind more often, so that more limit is more
    risk; and a line that no longer lets people spend what they are used to is a strain, too.
    """
    if life.drawn is None:
        return np.zeros(len(life.people))
    wish = WISH * MINOR * life.people.limit
    denied = np.minimum(life.drawn.unmet / np.maximum(wish, 1.0), 1.0)
    owed = np.minimum(life.line.bill / (MINOR * life.people.income), _MOST_BURDEN)
    has = life.line.bill > 0
    return np.asarray(has * (_STRAIN * denied + _BURDEN * owed), np.float64)


def _own_luck(got: Luck, span: Span, seed: int, number: int) -> Luck:
    """Return the luck of the line: lateness is the person's, spending is its own."""
    rng = stream(seed, span.block, number + WARM_MONTHS + 1 + _LINE_LUCK)
    own = luck(rng, got.uniform.shape[1], UNIFORMS, NORMALS)
    own.uniform[:3], own.normal[:2] = got.uniform[:3], got.normal[:2]
    return own
