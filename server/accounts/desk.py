"""The desk: the store, the scores, the rules in force and the clock, as one value."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection

from server.accounts import policies
from server.accounts.rules import (
    DECIDING,
    FILES,
    DecidingRules,
    Rulebook,
    RuleText,
    deciding_rules,
    line_policy_of,
    rule_texts,
    rulebook_of,
)
from server.accounts.scores import HOME, LimitService
from server.limits.line.delinquency import local_day
from server.store.engine import Store, open_store
from shared.config import Federation
from shared.errors import EnvironmentFault


class Book:
    """The rules in force: those of the transaction under way in this thread, else of the opening.

    A transaction never mixes two rulebooks, and what another process activated counts in the next
    one (`server.accounts.policies.follow`).

    Parameters
    ----------
    opening : Rulebook
        What holds where nothing was activated.
    """

    def __init__(self, opening: Rulebook) -> None:
        self.opening = opening
        self._local = threading.local()

    @property
    def current(self) -> Rulebook:
        """The rulebook that counts in this thread."""
        rules: Rulebook = getattr(self._local, "rules", self.opening)
        return rules

    def turn_to(self, rules: Rulebook) -> None:
        """Let another rulebook count in this thread."""
        self._local.rules = rules


@dataclass(frozen=True, slots=True)
class Desk:
    """What every function of the limit service works with.

    Parameters
    ----------
    store : Store
    scores : LimitService
    book : Book
        Of the rules in force.
    clock : callable
        Returns the present instant, aware UTC.
    zone : ZoneInfo
        The place whose civil dates count.
    home : Path
        The service's folder: its keys and feeds.
    """

    store: Store
    scores: LimitService
    book: Book
    clock: Callable[[], datetime]
    zone: ZoneInfo
    home: Path

    @property
    def rules(self) -> Rulebook:
        """The rules in force."""
        return self.book.current

    def follow(self, db: Connection, now: datetime) -> Rulebook:
        """Let the rules in force count for a transaction: the first thing that is done in it."""
        return policies.follow(self, db, now)

    def today(self, now: datetime) -> date:
        """Return the local civil date of an instant.

        Raises
        ------
        UsageError
            If the instant does not say its offset from UTC.
        """
        return local_day(now, self.zone)


def utc_clock() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def text_of(at: datetime) -> str:
    """Return an instant as `shared.instants` spells it: UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def open_desk(
    base: Path,
    federation: Federation,
    store_url: str,
    policy_path: Path | None = None,
    *,
    clock: Callable[[], datetime] = utc_clock,
    create: bool = False,
) -> Desk:
    """Open the store, load the champion and its feeds, and read the rules.

    Parameters
    ----------
    base : Path
        Folder of the federation file.
    federation : Federation
    store_url : str
        See `server.store.engine.open_store`.
    policy_path : Path, optional
        See `rule_texts`.
    clock : callable
        Of the present instant.
    create : bool
        Bring the store's schema up first.

    Raises
    ------
    ConfideError
        Names the file, the check that the champion fails, or what is wrong with the store.
    """
    rules = rulebook_of(rule_texts(policy_path))
    scores = LimitService(base, federation, rules.policy, rules.pack, lambda: text_of(clock()))
    scores.start()
    store = open_store(store_url, create=create)
    return desk_over(store, scores, rules, clock, base / HOME)


def desk_over(
    store: Store,
    scores: LimitService,
    rules: Rulebook,
    clock: Callable[[], datetime],
    home: Path,
) -> Desk:
    """Put a desk together, and keep the texts of its rules in the store.

    Raises
    ------
    EnvironmentFault
        If the zone of the line policy is not known here, or the store is away.
    """
    zone = rules.line.arrears.zone
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        hint = "install the package tzdata"
        raise EnvironmentFault(f"the time zone {zone} is not known here", hint=hint) from error
    desk = Desk(store, scores, Book(rules), clock, place, home)
    with store.write() as db:
        policies.keep_planned(db, rules.sources, clock())
    return desk


__all__ = [
    "DECIDING",
    "FILES",
    "Book",
    "DecidingRules",
    "Desk",
    "RuleText",
    "Rulebook",
    "deciding_rules",
    "desk_over",
    "line_policy_of",
    "open_desk",
    "rule_texts",
    "rulebook_of",
    "text_of",
    "utc_clock",
]
