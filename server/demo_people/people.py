"""Who can be signed in as in the demo, and which customers of the feeds the borrowers are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from server.accounts.desk import Desk
from server.api.tokens import Role
from shared.errors import ConfideError, EnvironmentFault

PARTNER: Final = "lake"
"""Id of the partner bank."""
STEADY: Final = "steady"
OFTEN: Final = "often"
BUSINESS: Final = "business"
SILENT: Final = "holder-missing"
CAPITAL: Final = "capital"
REPAID: Final = "repaid"
_LOOK_AT: Final = 2_000  # customers of a feed
_ENOUGH: Final = 2_000_000  # well above the limit of the golden replay, whatever is owed on it


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in.

    Parameters
    ----------
    name : str
        Id of the client.
    role : Role
    subject : str
        A customer's pseudonym, the partner's id, or nothing.
    about : str
        Who that is, for whoever chooses whom to be.
    """

    name: str
    role: Role
    subject: str
    about: str


ABOUT: Final[Mapping[str, str]] = {
    STEADY: "one loan a month, always on time: cut in the downturn, restored since",
    OFTEN: "eight loans a month, always on time: cut in the same downturn, not restored yet",
    BUSINESS: "a micro business with a proven income and one loan open",
    SILENT: "one data holder may tell nothing any more: nothing is cut, nothing is raised",
    CAPITAL: "everything else allows more; the lender's capital does not",
    REPAID: "six loans in a day, all repaid: what came back, and what did not",
}
"""What each customer shows."""
STAFF: Final[Mapping[str, tuple[Role, str]]] = {
    "officer": (Role.OFFICER, "risk officer: model, policy, portfolio, cases"),
    "officer-two": (Role.OFFICER, "a second one, for what two people must agree to"),
    "operator": (Role.OPERATOR, "runs training and the service"),
    "partner": (Role.PARTNER, "a bank that lends together with the platform: its own book"),
    "regulator": (Role.REGULATOR, "reads the rules, samples of decisions, and the log"),
}
"""Who is no customer: role, and what for."""


def people(customers: Mapping[str, str]) -> tuple[Person, ...]:
    """Return everybody who may sign in.

    Parameters
    ----------
    customers : mapping of str to str
        Pseudonyms by the names above.
    """
    known = [Person(name, Role.CUSTOMER, customers[name], ABOUT[name]) for name in customers]
    others = [
        Person(name, role, PARTNER if role is Role.PARTNER else "", about)
        for name, (role, about) in STAFF.items()
    ]
    return (*known, *others)


def borrowers(desk: Desk, avoid: Collection[str] = ()) -> dict[str, str]:
    """Return customers whose scores let them be who they are to be: pseudonyms by name.

    Parameters
    ----------
    desk : Desk
        With feeds.
    avoid : collection of str
        Pseudonyms that are somebody else's.

    Raises
    ------
    EnvironmentFault
        If the feeds have too few customers whom all holders know and whose limits are high enough.
    """
    found = sorted(_known(desk, set(avoid)), reverse=True)
    if len(found) < 5:
        why = "too few customers of the feeds could have a limit that the demo needs"
        raise EnvironmentFault(why, hint="make a larger world: `confide demo --customers 12000`")
    ranked = [pseudonym for _, pseudonym in found]
    return {
        STEADY: ranked[-1],
        OFTEN: ranked[-2],
        BUSINESS: ranked[1],
        SILENT: ranked[len(ranked) // 2],
        CAPITAL: ranked[0],
    }


def _known(desk: Desk, avoid: set[str]) -> list[tuple[int, str]]:
    """Return score and pseudonym of customers whom all know, if the limit is high enough."""
    feeds = desk.scores.feeds.shelf.in_use
    if not feeds:
        raise EnvironmentFault(
            "no score feed is here yet", hint="wait until the parties have sent theirs"
        )
    found = []
    for pseudonym in islice(next(iter(feeds.values())).index.names(), _LOOK_AT):
        try:
            scored, decision = desk.scores.limit(pseudonym)
        except ConfideError:
            continue
        whole = pseudonym not in avoid and not scored.snapshot.missing
        if whole and decision.limit_minor >= _ENOUGH:
            found.append((scored.snapshot.rating.score, pseudonym))
    return found
