"""What each holder sees of a month: its own columns of the same borrowers, and nobody else's.

Amounts are whole units of money. Each holder's noise comes from a stream of its own, so that a
holder that is added, or that writes down more, changes nothing at the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from shared.world.people import logistic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    from shared.world.month import Happened, Standing
    from shared.world.people import People

    Raw: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A month of a block, as the world knows it.

    Parameters
    ----------
    people : People
    after : Standing
        At the end of the month.
    happened : Happened
        On the card at the bank.
    season : float
        What the time of year does to spending: 1 is the mean.
    """

    people: People
    after: Standing
    happened: Happened
    season: float


def bank(seen: Seen, rng: Generator) -> Raw:
    """Return the bank's month: the card's limit, bill, repayment and lateness; income credited."""
    people, distress = seen.people, seen.happened.distress
    n = len(people)
    steady = np.where(people.business, 0.35, 0.12)
    wobble = np.exp(steady * rng.standard_normal(n) - 0.03 * distress)
    there = rng.random(n) > logistic(-3.4 + 0.3 * distress)
    return {
        "LIMIT": whole(people.limit),
        "BILL": whole(seen.after.bill),
        "REPAID": whole(seen.happened.paid),
        "LATE": count(seen.after.late),
        "INCOME": whole(people.income * wobble * there),
    }


def payments(seen: Seen, rng: Generator) -> Raw:
    """Return the payments platform's month: card repayments, transfers, bills."""
    distress, n = seen.happened.distress, len(seen.people)
    bills = rng.poisson(2.5, n)
    return {
        "PAID": whole(seen.happened.paid),
        "TRANSFERS": count(rng.poisson(np.exp(1.6 + 0.3 * seen.people.appetite), n)),
        "FAILED": count(rng.poisson(np.exp(-2.6 + 0.3 * distress), n)),
        "BILLS": count(bills),
        "BILLS_LATE": count(rng.binomial(bills, logistic(-2.9 + 0.35 * distress))),
    }


def ecommerce(seen: Seen, rng: Generator) -> Raw:
    """Return the shop platform's month: what the card bought there, orders and returns."""
    n = len(seen.people)
    rate = np.exp(0.3 + 0.5 * seen.people.appetite) * seen.season
    orders = seen.happened.draws + rng.poisson(rate, n)
    back = logistic(-2.4 + 0.2 * seen.happened.distress)
    return {
        "SPENT": whole(seen.happened.spent),
        "ORDERS": count(orders),
        "RETURNS": count(rng.binomial(orders, back)),
    }


def lifestyle(seen: Seen, rng: Generator) -> Raw:
    """Return the travel platform's month: trips and nights in hotels."""
    people = seen.people
    wish = -1.6 + 0.5 * people.wealth + 0.3 * people.appetite - 0.1 * seen.happened.distress
    trips = rng.poisson(np.exp(wish) * seen.season, len(people))
    return {"TRIPS": count(trips), "NIGHTS": count(trips + rng.poisson(1.2 * trips))}


def bureau(seen: Seen, rng: Generator) -> Raw:
    """Return the bureau's month: payments behind, enquiries, other lenders and what they are owed.

    Whoever finds no more room on the card asks elsewhere.
    """
    lenders = 1 + rng.poisson(np.exp(0.2 + 0.15 * seen.happened.distress))
    return {
        "BEHIND": count(seen.after.late),
        "ENQUIRIES": count(seen.happened.enquiries),
        "LENDERS": count(lenders),
        "OTHER_DEBT": whole(seen.after.others),
    }


#: Each holder and what it writes down, in the order of their streams.
HOLDERS: Final[Mapping[str, Callable[[Seen, Generator], Raw]]] = {
    "bank": bank,
    "payments": payments,
    "ecommerce": ecommerce,
    "lifestyle": lifestyle,
    "bureau": bureau,
}


def whole(amount: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return amounts in whole units."""
    return np.rint(amount).astype(np.int32)


def count(number: NDArray[Any]) -> NDArray[np.int16]:
    """Return counts."""
    return number.astype(np.int16)
