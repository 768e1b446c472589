"""Figures that take longer than a page may: a thread works them out while the page says so.

They are kept for a while and told with the instant they are of. One is worked out at a time, so
that looking at figures never takes more than one processor from those who ask for a limit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, Literal, TypeVar

from sqlalchemy import Connection

from server.web.render import Site
from shared.errors import ConfideError

KEPT: Final = timedelta(minutes=10)
"""Age from which figures are worked out anew; until that is done the old ones are told."""
AGAIN: Final = timedelta(seconds=20)
"""After what could not be worked out, the next try."""
MOST_WAITING: Final = 16
"""Figures that are under way or wait for their turn; beyond them a page comes again."""
PATIENCE_S: Final = 0.03
"""How long a page waits for what is quick."""
MOST: Final = 64
"""Figures that are kept; beyond them the oldest go."""

T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """Figures, or where they are.

    Parameters
    ----------
    state : {'ready', 'loading', 'error'}
    at : datetime, optional
        Of the state of the store that they are of.
    value : optional
        There only if `state` is `ready`.
    """

    state: Literal["ready", "loading", "error"]
    at: datetime | None = None
    value: T | None = None


class Slow:
    """What threads have worked out for pages.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._made: dict[Hashable, Made[object]] = {}
        self._under_way: dict[Hashable, threading.Event] = {}

    def ask(self, key: Hashable, work: Callable[[Connection, datetime], T]) -> Made[T]:
        """Return figures, at once; where there are none yet, a thread begins with them.

        Parameters
        ----------
        key : hashable
            What they are; the same for the same figures.
        work : callable
            Works them out in the transaction and at the instant it is given. What it raises is
            logged, and told as the state `error`.
        """
        return self._asked(
            key, lambda: self._site.read(lambda db, now: Made("ready", now, work(db, now)))
        )

    def ask_apart(self, key: Hashable, work: Callable[[], T]) -> Made[T]:
        """Return figures that need no store, as `ask` does: no connection waits with them.

        Parameters
        ----------
        key, work
            See `ask`.
        """
        return self._asked(key, lambda: Made("ready", self._site.desk.clock(), work()))

    def _asked(self, key: Hashable, make: Callable[[], Made[T]]) -> Made[T]:
        now = self._site.desk.clock()
        with self._lock:
            room = len(self._under_way) < MOST_WAITING
            begun = self._begin(key, make) if room and self._stale(key, now) else None
        if begun is not None:
            begun.wait(PATIENCE_S)
        with self._lock:
            return self._made.get(key, Made("loading"))  # type: ignore[return-value]

    def _stale(self, key: Hashable, now: datetime) -> bool:
        made = self._made.get(key)
        if key in self._under_way:
            return False
        if made is None or made.at is None:
            return True
        most = KEPT if made.state == "ready" else AGAIN
        return not timedelta(0) <= now - made.at < most

    def _begin(self, key: Hashable, make: Callable[[], Made[T]]) -> threading.Event:
        done = self._under_way[key] = threading.Event()
        threading.Thread(
            target=self._run, args=(key, make, done), name="figures", daemon=True
        ).start()
        return done

    def _run(self, key: Hashable, make: Callable[[], Made[T]], done: threading.Event) -> None:
        made: Made[T] = Made("error", self._site.desk.clock())
        try:
            with self._turn:
                made = make()
        except ConfideError as error:
            _LOG.warning("figures could not be worked out: %s", error.message)
        except Exception:  # noqa: BLE001 - a defect in a thread would be missed by everybody
            _LOG.exception("figures could not be worked out")
        finally:
            with self._lock:
                self._made.pop(key, None)
                self._made[key] = made  # type: ignore[assignment]
                while len(self._made) > MOST:
                    self._made.pop(next(iter(self._made)))
                del self._under_way[key]
            done.set()
