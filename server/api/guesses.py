"""Checking a client's secret, a few at a time: each guess costs 16 MiB and a core for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.concurrency import run_in_threadpool

from server.store.access import Client, find_client, is_secret_of
from server.store.engine import Store
from shared.errors import TooMany

_AT_A_TIME: Final = 2
_MOST_WAITING: Final = 32
"""Who may wait for a turn: names are free to invent, so no rate of one name bounds them all."""


class Guesses:
    """Lets secrets be checked in turn; who waits holds none of the threads.

    Parameters
    ----------
    store : Store
        With the table of clients.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._here = 0

    async def client(self, name: str, secret: str) -> Client | None:
        """Return the client that a secret belongs to; it takes as long where there is none.

        Raises
        ------
        TooMany
            If too many wait for their turn already.
        EnvironmentFault
            If the store does not answer.
        """
        async with self._turn():
            return await run_in_threadpool(self._checked, name, secret)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._here >= _AT_A_TIME + _MOST_WAITING:
            raise TooMany("too many ask for tokens", after=1, hint="wait a moment")
        self._here += 1
        try:
            async with self._turns:
                yield
        finally:
            self._here -= 1

    def _checked(self, name: str, secret: str) -> Client | None:
        with self._store.read() as db:
            found = find_client(db, name) if 0 < len(name) <= 64 and "\0" not in name else None
        if found is not None and found.disabled_at is not None:
            found = None
        return found if is_secret_of(found, secret) else None
