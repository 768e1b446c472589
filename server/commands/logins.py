"""`confide logins`: who may sign in to a demo's pages; they are made where there are none yet."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from server import demo_screen
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
)
from server.commands.desks import opened_desk
from server.coordinator import load_federation
from server.demo_people.founding import add_repaid, found
from server.demo_people.logins import FILE, Login
from shared.errors import Refused

NAME = "demo"
"""What a federation must be called: others have customers of their own."""


def logins(
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Print who may sign in to the demo's pages; make them, with lives until today, if need be."""
    made = demo_logins(federation, store)
    if form is Format.JSON:
        emit([one.told() for one in made])
    else:
        demo_screen.logins(made)


def demo_logins(
    federation: Path,
    store: str = "",
    feeds: Collection[Path] = (),
    avoid: Collection[str] = (),
) -> list[Login]:
    """Return everybody who may sign in to a demo's pages, made if need be.

    Parameters
    ----------
    federation : Path
        The federation file.
    store : str
        URL; empty: SQLite beside it.
    feeds : collection of Path
        Score feeds that the service has not taken yet.
    avoid : collection of str
        Pseudonyms of customers that are somebody else's.

    Raises
    ------
    Refused
        If the federation is no demo.
    EnvironmentFault
        If no release serves, or the feeds have nobody who could be one of them.
    """
    check_demo(federation)
    with opened_desk(federation, store) as desk:
        for path in feeds:
            desk.scores.feeds.accept(path.read_bytes(), desk.scores.clock(), keep=False)
        return found(desk, desk.home / FILE, avoid)


def let_repaid_in(federation: Path, pseudonym: str) -> list[Login]:
    """Let the customer of the demo's own story sign in; return everybody who may."""
    with opened_desk(federation, "") as desk:
        return add_repaid(desk, desk.home / FILE, pseudonym)


def check_demo(federation: Path) -> None:
    """Refuse to invent borrowers among the customers of a federation that is no demo.

    Raises
    ------
    Refused
    """
    agreed, _ = load_federation(federation)
    if agreed.name != NAME:
        why = f"{federation}: people are invented in a federation called {NAME!r} alone"
        raise Refused(why, hint="`confide demo FOLDER` makes one, in a new folder")
