r"""The registry: signed releases on disk, which one serves, and what became of the others.

``releases/<name>/`` holds a release as it was signed, and never changes. ``releases/registry.json``
holds the rest: the highest counter ever seen, the state of each release, and an append-only log of
every change with its time and reason. A release is taken whole or not at all, and verified again
each time it is read: a folder that was tampered with is refused by the name of the check.

States::

    challenger -> champion -> former -> champion ...
         \______________________\-> retired
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.releases.book import Book, Entry, Trial
from shared.challenger.verdict import Verdict
from shared.config import Federation
from shared.edge.files import atomic_folder, exclusive, write_atomic
from shared.errors import DataError, EnvironmentFault, ReleaseRefused
from shared.release import (
    MANIFEST_FILE,
    NEURAL,
    SIGNATURES_FILE,
    WEIGHTS_FILE,
    Manifest,
    Release,
    read_release,
    refuse,
    verify_release,
)

FOLDER = "releases"
_FILE = "registry.json"


class Registry:
    """The releases in a folder.

    Parameters
    ----------
    folder : Path
        `releases` beside the federation file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(
        self, release: Release, federation: Federation, now: str, *, contract: str | None = None
    ) -> Entry:
        """Verify a release and keep it as a challenger, whole or not at all.

        Taking the same release once more changes nothing.

        Parameters
        ----------
        release : Release
        federation : Federation
            The registry's own file: pins and quorum come from here.
        now : str
            Instant.
        contract : str, optional
            Digest of the data contract, where there is one to compare with.

        Raises
        ------
        ReleaseRefused
            By the name of the check that failed.
        EnvironmentFault
            If another process changes the registry, or the disk does not take it; the registry
            stays as it was.
        """
        manifest = release.manifest
        with self._changing() as book:
            known = book.entries.get(manifest.name)
            if known is not None and known.digest == manifest.digest():
                self.verified(known.name, federation, now)
                return known
            verify_release(release, federation, now=now, newest=book.newest, contract=contract)
            entry = Entry(
                name=manifest.name,
                counter=manifest.counter,
                digest=manifest.digest(),
                expires=manifest.expires,
                taken=now,
                state="challenger",
            )
            home = self.folder / manifest.name
            shutil.rmtree(home, ignore_errors=True)  # of an intake that was interrupted
            with atomic_folder(home) as folder:
                for file, content in release.files().items():
                    write_atomic(folder / file, content)
            try:
                self._write(book.added(entry, f"run {manifest.run}"))
            except BaseException:
                shutil.rmtree(home, ignore_errors=True)
                raise
        return entry

    def book(self) -> Book:
        """Read `registry.json`.

        Raises
        ------
        ReleaseRefused
            With check `form`, if it is malformed, or missing beside releases: without the highest
            counter an old release could come back.
        EnvironmentFault
            If it cannot be read.
        """
        path = self.folder / _FILE
        try:
            return Book.from_mapping(json.loads(path.read_bytes()))
        except FileNotFoundError:
            if self.folder.is_dir() and any(one.is_dir() for one in self.folder.iterdir()):
                refuse("form", f"{path} is missing, and with it the highest counter ever seen")
            return Book()
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"{path} is malformed"
            raise ReleaseRefused(why, check="form", hint="restore it from a backup") from error

    def stamp(self) -> tuple[int, int]:
        """Return something that changes whenever `registry.json` does; cheap to ask for."""
        try:
            found = (self.folder / _FILE).stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    def verified(self, name: str, federation: Federation, now: str) -> Release:
        """Read a release and check it again from the first byte.

        Raises
        ------
        NotFound
            If there is none of that name.
        ReleaseRefused
            By the name of the check that failed.
        """
        entry = self.book().entry(name)
        release = self._read(name)
        if release.manifest.counter != entry.counter:
            refuse("counter", f"the folder {name} holds {release.manifest.name}")
        # Its counter was held against the highest when it came in; since then, against itself.
        verify_release(release, federation, now=now, newest=entry.counter - 1)
        if release.manifest.digest() != entry.digest:
            refuse("signature", f"the folder {name} holds another manifest than was taken")
        return release

    def promote(
        self,
        name: str,
        federation: Federation,
        now: str,
        reason: str,
        verdict: Verdict | None = None,
    ) -> Entry:
        """Let a release serve; the champion before it becomes a former one.

        One of another kind than the champion needs a comparison with it on the same customers: its
        own, which the parties signed, or one that is handed in. A comparison that is handed in is
        looked at in any case.

        Parameters
        ----------
        name : str
        federation : Federation
        now : str
            Instant.
        reason : str
        verdict : Verdict, optional

        Raises
        ------
        NotFound, ReleaseRefused
            See `verified`; with check `comparison`, if there is none that holds, or the challenger
            ranks worse than the champion beyond chance.
        UsageError
            If it is retired, or serves already.
        """
        with self._changing() as book:
            book.promoted(name, now, reason)  # what cannot be done is said first
            manifest = self.verified(name, federation, now).manifest
            if verdict is not None or book.kind_changes(name):
                verdict = verdict or signed_verdict(manifest)
                reason = f"{reason}; {_compared(book, name, verdict)}"
            changed = book.promoted(name, now, reason)
            self._write(changed)
        return changed.entry(name)

    def rollback(self, federation: Federation, now: str, reason: str) -> Entry:
        """Let the champion before this one serve again; the present one becomes a challenger.

        Raises
        ------
        UsageError
            If there is no former champion.
        ReleaseRefused
            If the former champion does not verify any more, or has expired.
        """
        with self._changing() as book:
            changed = book.rolled_back(now, reason)
            name = book.former[-1]
            self.verified(name, federation, now)
            self._write(changed)
        return changed.entry(name)

    def try_out(self, trial: Trial, federation: Federation, now: str, reason: str) -> Entry:
        """Let a challenger decide for its share of the customers.

        One of another kind than the champion needs the comparison that it needs to serve.

        Parameters
        ----------
        trial : Trial
        federation : Federation
        now : str
            Instant.
        reason : str

        Raises
        ------
        NotFound, ReleaseRefused
            See `promote`.
        UsageError
            If it is no challenger, the share is out of range, or the salt is no name.
        """
        with self._changing() as book:
            book.tried(trial, reason, now)  # what cannot be done is said first
            manifest = self.verified(trial.release, federation, now).manifest
            if book.kind_changes(trial.release):
                told = _compared(book, trial.release, signed_verdict(manifest))
                reason = f"{reason}; {told}"
            changed = book.tried(trial, reason, now)
            self._write(changed)
        return changed.entry(trial.release)

    def end_trial(self, name: str, now: str, reason: str) -> Entry:
        """Let the champion decide for everybody again.

        Raises
        ------
        UsageError
            If that challenger does not decide for anybody.
        """
        with self._changing() as book:
            changed = book.untried(name, reason, now)
            self._write(changed)
        return changed.entry(name)

    def retire(self, name: str, now: str, reason: str) -> Entry:
        """Put a release away for good; its files and its history stay.

        Raises
        ------
        NotFound
        UsageError
            If it serves, or is retired already.
        """
        with self._changing() as book:
            changed = book.retired(name, now, reason)
            self._write(changed)
        return changed.entry(name)

    @contextmanager
    def _changing(self) -> Iterator[Book]:
        """Hold the registry and give its book."""
        with exclusive(self.folder, what="change of the registry"):
            book = self.book()
            if not book.log:  # so that no release ever stands without a registry beside it
                self._write(book)
            yield book

    def _read(self, name: str) -> Release:
        try:
            manifest, signatures, *rest = (
                (self.folder / name / file).read_bytes() for file in _files_of(name)
            )
        except OSError as error:
            why = f"the files of {name} cannot be read: {error.strerror}"
            raise ReleaseRefused(why, check="form", hint="take the release again") from error
        return read_release(manifest, signatures, *rest)

    def _write(self, book: Book) -> None:
        text = json.dumps(book.to_mapping(), indent=2)
        write_atomic(self.folder / _FILE, f"{text}\n".encode())


def _files_of(name: str) -> tuple[str, ...]:
    both = (MANIFEST_FILE, SIGNATURES_FILE)
    return (*both, WEIGHTS_FILE) if name.startswith(f"{NEURAL}-") else both


def signed_verdict(manifest: Manifest) -> Verdict | None:
    """Return the comparison that the parties signed with a release, if there is one.

    Raises
    ------
    ReleaseRefused
        With check `comparison`, if it is malformed.
    """
    told = manifest.evaluation.get("against")
    if told is None:
        return None
    try:
        return Verdict.from_mapping(told, "evaluation.against")
    except DataError as error:
        refuse("comparison", str(error))


def _compared(book: Book, name: str, verdict: Verdict | None) -> str:
    """Return what a comparison says, if it lets a release serve."""
    champion = book.champion
    if champion is None:
        refuse("comparison", "no release serves that it could be compared with")
    if verdict is None:
        hint = "`confide model compare` makes a comparison"
        refuse("comparison", f"it was not compared with {champion.name}, which serves", hint=hint)
    problem = verdict.problem(champion.digest, book.entry(name).digest)
    if problem:
        refuse("comparison", problem, hint="`confide model compare` makes another one")
    return verdict.told()
