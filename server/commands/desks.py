"""The desk of the limit service, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.accounts.desk import Desk, open_desk, utc_clock
from server.commands.common import store_url
from server.coordinator import load_federation


@contextmanager
def opened_desk(federation: Path, store: str, policy: Path | None = None) -> Iterator[Desk]:
    """Open the desk of a federation, and close its store at the end.

    Parameters
    ----------
    federation : Path
        The federation file.
    store : str
        URL; empty: SQLite beside it, made if it is not there.
    policy : Path, optional
        The policy that the service begins with.

    Raises
    ------
    ConfideError
        Names the file, the check that the champion fails, or what is wrong with the store.
    """
    agreed, _ = load_federation(federation)
    if not store:
        (federation.absolute().parent / "limits").mkdir(parents=True, exist_ok=True)
    desk = open_desk(
        federation.parent,
        agreed,
        store_url(store, federation),
        policy,
        clock=utc_clock,
        create=not store,
    )
    try:
        yield desk
    finally:
        desk.store.close()
