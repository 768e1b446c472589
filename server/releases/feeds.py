"""The limit service's score feeds: taken in, kept as they were signed, and looked up.

``limits/feeds/<party>/<release>.feed`` is a feed as its party signed it. A feed of a release that
does not serve yet is kept, and used once that release is champion. What is used is held in memory
(`server.releases.shelf`). Several processes may serve from one folder: they take feeds in one by
one, and each follows what another took.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypedDict

from server.releases.shelf import Index, InUse, Shelf
from shared.config import Federation
from shared.edge.files import write_atomic
from shared.errors import EnvironmentFault, FeedRefused
from shared.feed import FeedHeader, open_feed, open_header, refuse
from shared.instants import later
from shared.release import Manifest

FOLDER: Final = "feeds"
KEPT: Final = 4
"""Releases of which a party's feeds are kept; the champion's always is."""

_NEWEST = "newest.json"
_Stamp = tuple[int, int] | None
_NAME = re.compile(r"[a-z0-9]+-[0-9]{4,12}")


class _Terms(TypedDict):
    """What the checks of a feed compare with, beside the federation file."""

    newest: str | None
    made: str | None
    release: Manifest | None


class Feeds:
    """The feeds in a folder, and those in use in memory.

    Parameters
    ----------
    folder : Path
        Of the limit service.
    federation : Federation
        Its own file: pins, life of a feed and clock skew come from here.
    """

    def __init__(self, folder: Path, federation: Federation) -> None:
        self._folder = folder / FOLDER
        self._federation = federation
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._seen: dict[str, _Stamp] = {}  # the champion's feed files, as they were read

    @property
    def shelf(self) -> Shelf:
        """What serves now; a new value whenever something changes."""
        return self._shelf

    def use(self, release: Manifest | None, now: str) -> None:
        """Load the kept feeds of a release, and use them in place of those before, all at once.

        A kept feed that does not fit the release is left out and told of in `Shelf.refused`.

        Raises
        ------
        EnvironmentFault
            If a file cannot be read; what was in use stays.
        """
        with self._lock:
            digest = release.digest() if release else ""
            self._shelf = self._loaded(Shelf(release, digest=digest), self._federation.holders, now)

    def changed(self) -> bool:
        """Return whether another process has taken a feed of the release that serves."""
        release = self._shelf.release
        return release is not None and bool(self._stale(release))

    def follow(self, now: str) -> None:
        """Load the feeds that another process has taken; whoever loads already is left to it.

        Raises
        ------
        EnvironmentFault
            If a file cannot be read; what was in use stays.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            shelf = self._shelf
            if shelf.release is not None:
                self._shelf = self._loaded(shelf, self._stale(shelf.release), now)
        finally:
            self._lock.release()

    def _loaded(self, shelf: Shelf, parties: Iterable[str], now: str) -> Shelf:
        """Return a shelf with the kept feeds of some parties in place of what it had of them."""
        in_use, refused = dict(shelf.in_use), dict(shelf.refused)
        if shelf.release is None:
            return shelf
        for party in parties:
            stamp = _stamp(self._path(party, shelf.release.name))
            in_use.pop(party, None)
            refused.pop(party, None)
            try:
                feed = self._kept(party, shelf.release, now)
                if feed is not None:
                    in_use[party] = feed
            except FeedRefused as error:
                refused[party] = error.message
            self._seen[party] = stamp
        return replace(shelf, in_use=in_use, refused=refused)

    def _stale(self, release: Manifest) -> list[str]:
        return [
            party
            for party in self._federation.holders
            if _stamp(self._path(party, release.name)) != self._seen.get(party)
        ]

    def check_header(self, first: bytes, now: str, *, party: str) -> FeedHeader:
        """Check what a feed's first line tells, so that nobody is read who was not let in.

        Parameters
        ----------
        first : bytes
            Without its newline.
        now : str
            Instant.
        party : str
            Whose it must be.

        Raises
        ------
        FeedRefused
            By the name of the check.
        """
        # Not under the lock: it is held for as long as another feed is read, and `accept` checks
        # all of this again.
        terms = self._terms(_peek(first), self._newest())
        header = open_header(first, self._federation, now=now, party=party, **terms)
        _check_name(header)
        return header

    def accept(
        self, raw: bytes, now: str, *, party: str | None = None, keep: bool = True
    ) -> tuple[FeedHeader, bool]:
        """Check a feed, keep it, and use it if it is of the champion.

        Parameters
        ----------
        raw : bytes
        now : str
            Instant.
        party : str, optional
            Whose it must be.
        keep : bool
            False: use it in memory only.

        Returns
        -------
        header : FeedHeader
        first : bool
            It is the party's first of that release.

        Raises
        ------
        FeedRefused
            By the name of the check; the feed before it stays in use.
        EnvironmentFault
            If the disk does not take it; the feed before it stays in use.
        """
        claimed = _peek(raw)
        with self._lock, self._alone(keep=keep):
            newest = self._newest()
            terms = self._terms(claimed, newest)
            header = open_feed(raw, self._federation, now=now, party=party, **terms).header
            _check_name(header)
            if keep:
                self._keep(header, raw, newest)
            if terms["release"] is not None:
                one = InUse(header, Index(raw.partition(b"\n")[2]))
                shelf = self._shelf
                refused = {who: why for who, why in shelf.refused.items() if who != header.party}
                in_use = {**shelf.in_use, header.party: one}
                self._shelf = replace(shelf, in_use=in_use, refused=refused)
                if keep:
                    self._seen[header.party] = _stamp(self._path(header.party, header.release))
        return header, terms["newest"] is None

    def _terms(
        self, claimed: tuple[str, str], newest: Mapping[tuple[str, str], tuple[str, str]]
    ) -> _Terms:
        shelf = self._shelf
        as_of, made = newest.get(claimed) or _dates_in_use(shelf, *claimed)
        serves = shelf.release is not None and shelf.release.name == claimed[1]
        return _Terms(newest=as_of, made=made, release=shelf.release if serves else None)

    def _kept(self, party: str, release: Manifest | None, now: str) -> InUse | None:
        """Read a kept feed, and check it again against the release."""
        if release is None:
            return None
        path = self._path(party, release.name)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
        header = open_feed(
            raw, self._federation, now=_within(raw, now), release=release, party=party
        ).header
        return InUse(header, Index(raw.partition(b"\n")[2]))

    def _keep(
        self, header: FeedHeader, raw: bytes, newest: Mapping[tuple[str, str], tuple[str, str]]
    ) -> None:
        ours = {**newest, (header.party, header.release): (header.as_of, header.created)}
        rows = [[*key, *value] for key, value in sorted(ours.items())]
        # The dates first: whatever happens in between, no feed older than this one comes in.
        write_atomic(self._folder / _NEWEST, json.dumps(rows).encode())
        write_atomic(self._path(header.party, header.release), raw, mode=0o600)
        champion = self._shelf.release.name if self._shelf.release else ""
        kept = sorted(self._path(header.party, header.release).parent.glob("*.feed"), key=_counter)
        others = [path for path in kept if path.stem not in {champion, header.release}]
        for path in others[: max(0, len(kept) - KEPT)]:
            path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, *, keep: bool) -> Iterator[None]:
        """Keep other processes from taking a feed while the dates are compared and written."""
        if not keep:
            yield
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            held = os.open(self._folder, os.O_RDONLY)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {self._folder}: {error.strerror}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)

    def _newest(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return as-of date and instant of the newest feed ever taken, by party and release."""
        path = self._folder / _NEWEST
        try:
            rows = json.loads(path.read_bytes())
            return {(party, release): (as_of, made) for party, release, as_of, made in rows}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            hint = "remove it, and have every party publish again"
            raise EnvironmentFault(f"{path} is malformed", hint=hint) from error

    def _path(self, party: str, release: str) -> Path:
        return self._folder / party / f"{release}.feed"


def _stamp(path: Path) -> _Stamp:
    """Return what tells one content of a file from another: it is replaced, never written into."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns)


def _dates_in_use(shelf: Shelf, party: str, release: str) -> tuple[str | None, str | None]:
    """Return as-of date and instant of the feed in use, where the file of dates is gone."""
    feed = shelf.in_use.get(party)
    if feed is None or feed.header.release != release:
        return (None, None)
    return (feed.header.as_of, feed.header.created)


def _check_name(header: FeedHeader) -> None:
    if not _NAME.fullmatch(header.release):
        refuse("release", f"{header.release!r} is no name of a release", party=header.party)


def _peek(raw: bytes) -> tuple[str, str]:
    """Return whose feed of which release this claims to be, before anything is checked."""
    try:
        header = json.loads(raw.partition(b"\n")[0][:8192])["header"]
        return (str(header["party"]), str(header["release"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ("", "")  # `open_feed` says what is wrong


def _within(raw: bytes, now: str) -> str:
    """Return an instant at which a feed that was once accepted had not expired yet.

    Stale feeds are loaded as well: that a customer is known, and since when the party is silent,
    is part of the answer.
    """
    try:
        expires = json.loads(raw.partition(b"\n")[0][:8192])["header"]["expires"]
        return min(now, later(expires, seconds=-1))
    except (ValueError, KeyError, TypeError, RecursionError):
        return now


def _counter(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
