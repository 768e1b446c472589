"""One month of a revolving account: what falls due, what is paid, what is spent.

The account may be the card at the bank or a line of the limit service: the limit is whatever
whoever owns it says in that month. A cut leaves the balance where it is, so that utilisation rises;
what no longer fits is wanted elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.world.people import logistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.world.chance import Luck
    from shared.world.people import People
    from shared.world.traits import Traits

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int8]

#: What the beginning, and what a month, takes of luck: uniforms and normals.
BEGINNING = (1, 2)
UNIFORMS, NORMALS = 7, 4
_MOST_LATE = 8
_MOST_COUNT = 15
#: So much of its limit a card lets its bill come to: interest and fees. A line lets nothing pass.
CARD_OVER = 1.05


@dataclass(frozen=True, slots=True)
class Standing:
    """How customers stand at the end of a month.

    Parameters
    ----------
    shock : (n,) float64
        The part of distress that passes.
    bill : (n,) float64
        Owed, in whole units of money.
    late : (n,) int8
        Payments that they are behind.
    others : (n,) float64
        Owed elsewhere, in whole units of money.
    """

    shock: Floats
    bill: Floats
    late: Ints
    others: Floats


@dataclass(frozen=True, slots=True)
class Happened:
    """What an account shows of a month.

    Parameters
    ----------
    paid, spent : (n,) float64
        Whole units of money.
    unmet : (n,) float64
        What they would have spent and the limit did not let them.
    whole : (n,) bool
        Whether the bill before was paid in full.
    draws : (n,) int8
        Times that they drew on the account.
    enquiries : (n,) int8
        Lenders whom they asked.
    distress : (n,) float64
    """

    paid: Floats
    spent: Floats
    unmet: Floats
    whole: NDArray[np.bool_]
    draws: Ints
    enquiries: Ints
    distress: Floats


def begin(people: People, got: Luck, traits: Traits) -> Standing:
    """Return how people stand before the first month."""
    shock = traits.shock * got.normal[0]
    used = people.thirst * got.uniform[0]
    bill = np.where(people.idle, 0.0, used * people.limit)
    others = people.income * np.exp(traits.others + 0.6 * got.normal[1])
    return Standing(shock, bill, np.zeros(len(people), np.int8), others)


def month(
    people: People,
    before: Standing,
    limit: Floats,
    got: Luck,
    traits: Traits,
    *,
    macro: Floats | float = 0.0,
    season: float = 1.0,
    over: float = CARD_OVER,
) -> tuple[Standing, Happened]:
    """Let a month pass.

    Parameters
    ----------
    people : People
    before : Standing
    limit : (n,) float64
        In whole units of money.
    got : Luck
        `UNIFORMS` and `NORMALS` of each.
    traits : Traits
    macro : (n,) float64 or float
        What the economy, or a strain of their own, adds to people's distress.
    season : float
        Factor of spending at this time of year.
    over : float
        Share of the limit up to which a bill may come.
    """
    fresh = np.sqrt(1.0 - traits.fade**2) * traits.shock
    shock = traits.fade * before.shock + fresh * got.normal[0]
    distress = people.cause + shock + macro
    late = _late(before.late, distress, got, traits)
    missed = late > 0
    whole = people.transactor & ~missed
    share = np.exp(
        traits.minimum + traits.minimum_spread * got.normal[1] - traits.minimum_pull * distress
    )
    share = np.where(missed & (got.uniform[2] < traits.skip), 0.0, np.minimum(share, 1.0))
    share = np.where(whole, 1.0, share)
    paid = np.round(share * np.maximum(before.bill, 0.0))
    left = before.bill - paid
    wanted = np.round(season * _wanted(people, left, got, traits, macro))
    wanted = np.where(late >= 2, np.round(traits.still * wanted), wanted)
    spent = np.clip(np.minimum(wanted, over * limit - left), 0.0, None)
    unmet = wanted - spent
    want = np.minimum(unmet / np.maximum(people.limit, 1.0), 1.0)
    happened = Happened(
        paid=paid,
        spent=spent,
        unmet=unmet,
        whole=whole,
        draws=np.where(spent > 0, 1 + poisson(_often(people, traits), got.uniform[5]), 0).astype(
            np.int8
        ),
        enquiries=poisson(np.exp(traits.asks + 0.3 * distress + want), got.uniform[6]),
        distress=distress,
    )
    others = np.round((1.0 - traits.repays) * before.others + traits.leaks * unmet)
    return Standing(shock, left + spent, late, others), happened


def poisson(rate: Floats, uniform: Floats) -> Ints:
    """Return Poisson counts by inversion: one uniform a count, and none above `_MOST_COUNT`."""
    term = np.exp(-rate)
    below, count = term.copy(), np.zeros(rate.shape, np.int8)
    for number in range(1, _MOST_COUNT + 1):
        count += uniform >= below
        term = term * rate / number
        below += term
    return count


def _often(people: People, traits: Traits) -> Floats:
    """Return how often people draw again in a month in which they draw."""
    often: Floats = np.exp(traits.often + traits.often_spread * people.appetite)
    return np.minimum(often, _MOST_COUNT / 2)


def _late(before: Ints, distress: Floats, got: Luck, traits: Traits) -> Ints:
    """Return by how many payments people are behind now."""
    pull = np.where(before == 0, traits.miss_pull, traits.late_pull)
    base = np.array([traits.miss, traits.go_on, traits.stay])[np.minimum(before, 2)]
    missed = got.uniform[0] < logistic(base + pull * distress)
    # Behind by two or more, most pay one instalment a month and stay where they are.
    more = (before < 2) | (got.uniform[1] < traits.worse)
    return np.where(missed, np.minimum(before + more, _MOST_LATE), 0).astype(np.int8)


def _wanted(
    people: People, left: Floats, got: Luck, traits: Traits, macro: Floats | float
) -> Floats:
    """Return what people would spend on an account, whatever its limit."""
    ease = np.exp(traits.spend + traits.spend_spread * got.normal[2])
    ease *= np.exp(traits.spend_pull * people.appetite)
    goal = np.minimum(people.thirst * (1 + traits.lift_pull * macro), CARD_OVER) * people.limit
    up = traits.relax * np.maximum(goal - left, 0.0) * 2 * got.uniform[3]
    wanted = np.where(people.transactor, ease, traits.small * ease) * people.limit
    wanted = np.where(people.transactor, wanted, wanted + up)
    found: Floats = np.where(people.idle & (got.uniform[4] >= traits.rare), 0.0, wanted)
    return found
