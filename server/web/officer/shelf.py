"""The releases of the registry as pages read them: verified once, and again when it changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from server.accounts.desk import Desk, text_of
from server.releases.book import Book, Entry
from shared.release import Release, check_dates


@dataclass(frozen=True, slots=True)
class Shown:
    """A release that a page is about.

    Parameters
    ----------
    entry : Entry
    release : Release
    """

    entry: Entry
    release: Release


class Shelf:
    """Releases by name.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._scores, self._desk = desk.scores, desk
        self._lock = threading.Lock()
        self._stamp = (-1, -1)
        self._book = Book()
        self._read: dict[str, Release] = {}

    def book(self) -> Book:
        """Return the book of the registry.

        Raises
        ------
        ReleaseRefused, EnvironmentFault
            See `server.releases.registry.Registry.book`.
        """
        registry = self._scores.registry
        with self._lock:
            stamp = registry.stamp()
            if stamp != self._stamp:
                self._book, self._read, self._stamp = registry.book(), {}, stamp
            return self._book

    def shown(self, name: str = "") -> Shown | None:
        """Return a release; without a name the one that serves, or None where none does.

        Parameters
        ----------
        name : str

        Raises
        ------
        NotFound
            If there is none of that name.
        ReleaseRefused
            By the name of the check that it fails.
        """
        book = self.book()
        entry = book.entry(name) if name else book.champion
        if entry is None:
            return None
        now, federation = text_of(self._desk.clock()), self._scores.federation
        with self._lock:
            release = self._read.get(entry.name)
        if release is None:
            release = self._scores.registry.verified(entry.name, federation, now)
            with self._lock:
                self._read[entry.name] = release
        check_dates(release.manifest, federation, now)
        return Shown(entry, release)

    def newest_challenger(self) -> Entry | None:
        """Return the challenger that is scored in shadow; None where there is none."""
        waiting = [one for one in self.book().entries.values() if one.state == "challenger"]
        return max(waiting, key=lambda one: one.counter, default=None)
