"""What has to be done beside the requests, by one process at a time.

Holds whose time is over are given back, decisions go into the Merkle log and its heads are signed,
and keys that nobody will repeat are forgotten. Each is a conditional change of the store, so doing
it twice does no harm; one process at a time does it because more would only wait for each other.
On one machine a lock on a file says which; it falls with its process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

from server.accounts import proving
from server.accounts.desk import Desk
from server.store import holds, idempotency
from shared.errors import ConfideError

LOCK_FILE: Final = "duties.lock"
BEAT_S: Final = 2.0
KEYS_FOR: Final = timedelta(days=7)
"""How long a request may be repeated under its key."""

_AT_ONCE: Final = 100
_RARELY: Final = timedelta(hours=1)
_LOG: Final = logging.getLogger(__name__)


def expire_holds(desk: Desk) -> int:
    """Give back the holds whose time is over, a line in a transaction; return how many."""
    total, now = 0, desk.clock()
    while True:
        with desk.store.read() as db:
            found = holds.lines_with_expired(db, now, count=_AT_ONCE)
        for line_id in found:
            with desk.store.write() as db:
                total += holds.expire(db, line_id, now)
        if len(found) < _AT_ONCE:
            return total


def forget_keys(desk: Desk) -> int:
    """Forget idempotency keys that are older than `KEYS_FOR`; return how many."""
    now = desk.clock()
    with desk.store.guard() as db:
        return idempotency.forget(db, now - KEYS_FOR)


@dataclass(slots=True)
class Duties:
    """Does them in a thread, for as long as it is entered.

    What goes wrong is logged once, by its name, and tried again at the next beat.

    Parameters
    ----------
    desk : Desk
    beat_s : float
        Seconds between two rounds.
    """

    desk: Desk
    beat_s: float = BEAT_S
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _held: int | None = field(default=None, repr=False)
    _told: dict[str, str] = field(default_factory=dict, repr=False)
    _forgot_at: datetime | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="duties", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End after the round at hand, and let another process have them."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @property
    def mine(self) -> bool:
        """Whether they are this process's; asked for again where they are not."""
        if self._held is None:
            self._held = self._lock()
        return self._held is not None

    def round(self) -> None:
        """Do each of them once."""
        self._try("holds", expire_holds)
        self._try("the decision log", proving.tick)
        now = self.desk.clock()
        if self._forgot_at is None or now - self._forgot_at >= _RARELY:
            self._try("keys", forget_keys)
            self._forgot_at = now

    def _run(self) -> None:
        while not self._stop.wait(self.beat_s):
            if self.mine:
                self.round()

    def _try(self, name: str, duty: Callable[[Desk], int]) -> None:
        said = ""
        try:
            duty(self.desk)
        except ConfideError as error:
            said = f"{name}: {error}"
        except Exception as error:  # noqa: BLE001 - a thread that ends would be missed by nobody
            said = f"{name}: a defect, {type(error).__name__}"
        if said and said != self._told.get(name):
            _LOG.error(said)
        self._told[name] = said

    def _lock(self) -> int | None:
        handle = os.open(self.desk.home / LOCK_FILE, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle
