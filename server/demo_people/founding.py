"""The demo's people are made once, all together or not at all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from server.accounts import activating
from server.accounts.activating import Change, Terms
from server.accounts.desk import Desk, RuleText, desk_over, rulebook_of
from server.api.tokens import Role
from server.demo_people import logins
from server.demo_people.lives import DAYS, lives
from server.demo_people.logins import Login
from server.demo_people.people import ABOUT, REPAID, STEADY, Person, borrowers, people
from server.limits.line.golden import BASE_MINOR, CYCLE_DAYS, DOWNTURN
from server.store.access import find_client

_FIRST: Final = date(2026, 1, 1)
"""From when on the reference rules hold."""
_DATED: Final = ("policy", "line", "catalogue", "evidence", "budget")
_CAP: Final = "cap_minor = 5_000_000"  # of the everyday line: nobody had more than 10,000 then
_NOTICE: Final = 14  # days until the proposal would come into force
_OVERLAY: Final = """
[[overlay]]
scenario = "downturn"
since = {since}
until = {until}
multiplier = 0.7
approved_by = ["officer", "officer-two"]
approved_on = {since}
note = "cycles 3 and 4 of the golden replay"
"""


def found(desk: Desk, file: Path, avoid: Collection[str] = ()) -> list[Login]:
    """Return everybody who may sign in; who is not there yet is made, with a life until today.

    Parameters
    ----------
    desk : Desk
        With feeds.
    file : Path
        Of the secrets, mode 0600.
    avoid : collection of str
        Pseudonyms of customers that are somebody else's.

    Raises
    ------
    EnvironmentFault
        If the feeds have nobody who could be one of them.
    Conflict
        With check `id`, if a client has one of their names.
    """
    now = desk.clock()
    with desk.store.write() as db:
        if find_client(db, STEADY) is not None:
            return logins.known(db, file, now)
    begun = desk.today(now) - timedelta(days=DAYS)
    rules = rulebook_of(_past(desk, begun))
    before = desk_over(desk.store, desk.scores, rules, desk.clock, desk.home)
    with desk.store.write() as db:
        desk.follow(db, now)
        who = borrowers(desk, avoid)
        ends = max(_FIRST, _downturn(begun)[1] + timedelta(days=1))
        for step in lives(who, desk.scores.federation.holders, now):
            used = before if desk.today(step.at) < ends else desk
            used.follow(db, step.at)
            step.act(used, db, step.at)
        desk.follow(db, now)
        _proposes(desk, db, now)
        return logins.admitted(db, file, people(who), now)


def add_repaid(desk: Desk, file: Path, pseudonym: str) -> list[Login]:
    """Let the customer of the demo's own story sign in, too; return everybody who may.

    Parameters
    ----------
    desk : Desk
    file : Path
        See `found`.
    pseudonym : str
    """
    now = desk.clock()
    person = Person(REPAID, Role.CUSTOMER, pseudonym, ABOUT[REPAID])
    with desk.store.write() as db:
        known = logins.known(db, file, now)
        if any(one.person.name == REPAID for one in known):
            return known
        return logins.admitted(db, file, (person,), now, known)


def _downturn(begun: date) -> tuple[date, date]:
    """Return first and last day of the replay's downturn."""
    first, last = DOWNTURN
    since = begun + timedelta(days=CYCLE_DAYS * (first - 1) + 1)
    return since, begun + timedelta(days=CYCLE_DAYS * last)


def _past(desk: Desk, begun: date) -> dict[str, RuleText]:
    """Return the rules of the months before: the reference, from an earlier day, and a downturn."""
    texts = dict(desk.book.opening.sources)
    since, until = _downturn(begun)
    for kind in _DATED:
        text = texts[kind].text
        if begun < _FIRST:
            text = text.replace(_FIRST.isoformat(), begun.isoformat())
            text = text.replace('version = "2026.1"', 'version = "2025.1"', 1)
        if kind == "catalogue":
            text = text.replace(_CAP, f"cap_minor = {BASE_MINOR}", 1)
        if kind == "line":
            text += _OVERLAY.format(since=since, until=until)
        texts[kind] = RuleText.of(text, texts[kind].source)
    return texts


def _proposes(desk: Desk, db: Connection, now: datetime) -> None:
    """Propose smaller limits of a grade: something waits for a second officer."""
    opening = desk.book.opening.sources
    text = opening["catalogue"].text
    smaller = text.replace('version = "2026.1"', 'version = "2026.2"', 1)
    smaller = smaller.replace("limit_minor = 1_200_000", "limit_minor = 1_000_000", 1)
    today = desk.today(now)
    why = "Grade C loses more than it was priced for."
    since = today + timedelta(days=_NOTICE)
    change = Change([(smaller, "products.toml")], since, "officer:officer-two", why)
    terms = Terms(today, opening, desk.scores.grades())
    activating.propose(db, change, terms, now)
