"""The book of a registry: what state each release is in, and every change with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from shared.errors import NotFound, UsageError

SCHEMA = 1
#: Of 10,000 customers, for whom a challenger may decide: half of them.
MOST_SLOTS = 5_000
_SALT = re.compile(r"[0-9A-Za-z._-]{1,64}")

State = Literal["challenger", "champion", "former", "retired"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A release as the registry knows it.

    Parameters
    ----------
    name : str
    counter : int
    digest : str
        Of its manifest.
    expires : str
        Instant.
    taken : str
        Instant at which it came in.
    state : {'challenger', 'champion', 'former', 'retired'}
    """

    name: str
    counter: int
    digest: str
    expires: str
    taken: str
    state: State


@dataclass(frozen=True, slots=True)
class Trial:
    """A challenger that decides for its share of the customers.

    Parameters
    ----------
    release : str
        Name.
    slots : int
        Of 10,000, 1 to `MOST_SLOTS`; see `server.monitor.champion.slot`.
    salt : str
        Another salt is another split of the customers.
    """

    release: str
    slots: int
    salt: str

    @property
    def told(self) -> str:
        """The share and the salt, for the log."""
        return f"for {self.slots} of 10,000 customers, salt {self.salt!r}"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log.

    Parameters
    ----------
    time : str
        Instant.
    action : {'take', 'promote', 'rollback', 'retire', 'trial'}
    release : str
    was, now : str
        Its state before and after; `was` is empty when it came in.
    reason : str
    """

    time: str
    action: str
    release: str
    was: str
    now: str
    reason: str


@dataclass(frozen=True, slots=True)
class Book:
    """All of `registry.json`.

    Parameters
    ----------
    newest : int
        Highest counter ever taken; 0 for none. Deleting a release does not lower it.
    former : tuple of str
        Former champions, the latest last: what a roll-back returns to.
    entries : mapping of str to Entry
    log : tuple of Change
    trial : Trial or None
        Of the challenger that decides for some; it ends with the challenger's being one.
    """

    newest: int = 0
    former: tuple[str, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    log: tuple[Change, ...] = ()
    trial: Trial | None = None

    def kind_changes(self, name: str) -> bool:
        """Return whether a release is of another kind than the champion that it would replace.

        Raises
        ------
        NotFound
        """
        kind = self.entry(name).name.rpartition("-")[0]
        return self.champion is not None and self.champion.name.rpartition("-")[0] != kind

    @property
    def champion(self) -> Entry | None:
        """The release that serves."""
        return next((one for one in self.entries.values() if one.state == "champion"), None)

    def entry(self, name: str) -> Entry:
        """Return a release's entry.

        Raises
        ------
        NotFound
        """
        entry = self.entries.get(name)
        if entry is None:
            known = ", ".join(self.entries) or "there is none yet"
            raise NotFound(f"no release {name!r}", hint=f"releases: {known}")
        return entry

    def promoted(self, name: str, now: str, reason: str) -> Book:
        """Return the book with another champion; the one before it becomes a former one.

        Raises
        ------
        NotFound
        UsageError
            If it is retired, or serves already.
        """
        state = self.entry(name).state
        if state in {"champion", "retired"}:
            what = "serves already" if state == "champion" else "is retired"
            raise UsageError(f"release {name} {what}")
        book, former = self, tuple(one for one in self.former if one != name)
        if self.champion is not None:
            was = self.champion.name
            book = book.moved(was, "former", "promote", f"{name} takes its place", now)
            former = (*former, was)
        return replace(book.moved(name, "champion", "promote", reason, now), former=former)

    def rolled_back(self, now: str, reason: str) -> Book:
        """Return the book with the former champion serving, and the present one a challenger.

        Raises
        ------
        UsageError
            If there is no former champion.
        """
        if not self.former:
            raise UsageError("there is no former champion to go back to")
        book, name = self, self.former[-1]
        if self.champion is not None:
            book = book.moved(self.champion.name, "challenger", "rollback", reason, now)
        book = book.moved(name, "champion", "rollback", reason, now)
        return replace(book, former=self.former[:-1])

    def retired(self, name: str, now: str, reason: str) -> Book:
        """Return the book with a release put away for good.

        Raises
        ------
        NotFound
        UsageError
            If it serves, or is retired already.
        """
        state = self.entry(name).state
        if state == "champion":
            hint = "promote another, or roll back, first"
            raise UsageError(f"release {name} serves", hint=hint)
        if state == "retired":
            raise UsageError(f"release {name} is retired already")
        former = tuple(one for one in self.former if one != name)
        return replace(self.moved(name, "retired", "retire", reason, now), former=former)

    def tried(self, trial: Trial, reason: str, now: str) -> Book:
        """Return the book with a challenger that decides for its share, in place of any before.

        Raises
        ------
        NotFound
        UsageError
            If it is no challenger, the share is out of range, or the salt is no name.
        """
        entry = self.entry(trial.release)
        if entry.state != "challenger":
            raise UsageError(f"release {entry.name} is no challenger: it is {entry.state}")
        if not 1 <= trial.slots <= MOST_SLOTS:
            raise UsageError(
                f"a challenger decides for 1 to {MOST_SLOTS} of 10,000 customers",
                hint="`confide model promote` lets it serve everybody",
            )
        if not _SALT.fullmatch(trial.salt):
            raise UsageError("a salt is 1 to 64 letters, digits, and . _ -")
        state = entry.state
        book = self.moved(entry.name, state, "trial", f"{reason}; {trial.told}", now)
        return replace(book, trial=trial)

    def untried(self, name: str, reason: str, now: str) -> Book:
        """Return the book in which a challenger decides for nobody any more.

        Raises
        ------
        UsageError
            If it does not decide for anybody.
        """
        if self.trial is None or self.trial.release != name:
            raise UsageError(f"release {name} decides for nobody")
        book = self.moved(name, self.entry(name).state, "trial", f"{reason}; for nobody", now)
        return replace(book, trial=None)

    def added(self, entry: Entry, reason: str) -> Book:
        """Return the book with a release that came in."""
        change = Change(entry.taken, "take", entry.name, "", entry.state, reason)
        entries = {**self.entries, entry.name: entry}
        return replace(self, newest=entry.counter, entries=entries, log=(*self.log, change))

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "newest": self.newest,
            "former": list(self.former),
            "releases": [asdict(entry) for entry in self.entries.values()],
            "log": [asdict(change) for change in self.log],
            "trial": None if self.trial is None else asdict(self.trial),
        }

    @classmethod
    def from_mapping(cls, value: Any) -> Book:
        """Read the JSON form; anything else raises KeyError, TypeError or ValueError."""
        if value["schema"] != SCHEMA or type(value["newest"]) is not int:
            raise ValueError("schema")
        entries = [Entry(**entry) for entry in value["releases"]]
        if any(entry.counter > value["newest"] for entry in entries):
            raise ValueError("newest")
        return cls(
            newest=value["newest"],
            former=tuple(value["former"]),
            entries={entry.name: entry for entry in entries},
            log=tuple(Change(**change) for change in value["log"]),
            trial=_trial(value.get("trial"), entries),
        )

    def moved(self, name: str, state: State, action: str, reason: str, now: str) -> Book:
        """Return the book with a release in another state, and a line in the log."""
        entry = self.entry(name)
        change = Change(now, action, name, entry.state, state, reason)
        entries = {**self.entries, name: replace(entry, state=state)}
        ends = self.trial is not None and self.trial.release == name and state != "challenger"
        trial = None if ends else self.trial
        return replace(self, entries=entries, log=(*self.log, change), trial=trial)


def _trial(value: Any, entries: list[Entry]) -> Trial | None:
    """Read a trial, which registries of before have none of."""
    if value is None:
        return None
    trial = Trial(**value)
    waiting = {entry.name for entry in entries if entry.state == "challenger"}
    right = trial.release in waiting and type(trial.slots) is int and _SALT.fullmatch(trial.salt)
    if not right or not 1 <= trial.slots <= MOST_SLOTS:
        raise ValueError("trial")
    return trial
