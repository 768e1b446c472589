"""The challenger's score beside the champion's: noted with every decision.

The newest challenger of the registry is scored from its own feeds, which the service keeps as it
keeps the champion's. It decides nothing, unless the registry has it decide for its share of the
customers (`server.releases.book.Trial`). Whatever is wrong with a challenger, its feeds or a
customer in them leaves the champion's answer as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from server.limits.caps.snapshot import Rating, Scorer, Snapshot
from server.limits.caps.whole import WholeScorer, scorer_of
from server.limits.line.reasons import NOT_ALLOWED
from server.monitor.champion import CHALLENGER, Experiment
from server.releases.feeds import Feeds
from server.releases.registry import Registry
from server.releases.shelf import Found, Shelf
from shared.config import Federation
from shared.errors import ConfideError
from shared.release import Manifest

NAMES: Final = tuple(
    f"challenger{tail}" for tail in ("", "_points", "_prob", "_score", "_grade", "_reasons")
)
"""What stands in `about` of a decision's record, all of it or none."""


@dataclass(frozen=True, slots=True)
class Shade:
    """What a challenger says of a customer.

    Parameters
    ----------
    release : str
        Name.
    rating : Rating
    reasons : tuple of str
        Codes, costliest first.
    """

    release: str
    rating: Rating
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, release: str, snapshot: Snapshot) -> Shade:
        """Return what a snapshot of a release says."""
        return cls(release, snapshot.rating, tuple(one.code for one in snapshot.reasons))

    def told(self) -> dict[str, str]:
        """Return it as it stands in the record of a decision, beside what was decided on."""
        rating = self.rating
        told = (
            self.release,
            str(rating.points),
            f"{rating.default_prob:f}",
            str(rating.score),
            rating.grade,
            " ".join(self.reasons),
        )
        return dict(zip(NAMES, told, strict=True))

    @classmethod
    def read(cls, about: Mapping[str, str]) -> Shade | None:
        """Return what `told` wrote; None where a decision was made without a challenger."""
        if not all(name in about for name in NAMES):
            return None
        release, points, prob, score, grade, reasons = (about[name] for name in NAMES)
        rating = Rating(int(points), Decimal(prob), int(score), grade)
        return cls(release, rating, tuple(reasons.split()))


@dataclass(frozen=True, slots=True)
class _Loaded:
    release: Manifest
    scorer: Scorer | WholeScorer
    digest: str


class Shadow:
    """The newest challenger, or the one that decides for its share, and its feeds.

    Parameters
    ----------
    home : Path
        The service's folder: the feeds are those that the champion's side takes in and keeps.
    federation : Federation
    """

    def __init__(self, home: Path, federation: Federation) -> None:
        self.feeds = Feeds(home, federation)
        self.refusal = ""
        self._federation = federation
        self._loaded: _Loaded | None = None
        self._experiment: Experiment | None = None

    @property
    def release(self) -> Manifest | None:
        """The challenger that is scored; None without one."""
        return None if self._loaded is None else self._loaded.release

    @property
    def slots(self) -> int:
        """Of 10,000 customers, those for whom it decides; 0 where it decides for nobody."""
        return 0 if self._experiment is None else self._experiment.share

    def load(self, registry: Registry, now: str) -> None:
        """Follow the registry; a challenger that does not verify is left out, and why is kept."""
        self.refusal, self._loaded, self._experiment = "", None, None
        try:
            book = registry.book()
            waiting = [one for one in book.entries.values() if one.state == "challenger"]
            if not waiting:
                self.feeds.use(None, now)
                return
            trial = book.trial
            newest = max(waiting, key=lambda one: one.counter)
            newest = newest if trial is None else book.entry(trial.release)
            release = registry.verified(newest.name, self._federation, now).manifest
            baselines = {name: one.baseline_points for name, one in release.parties.items()}
            scorer = scorer_of(release.model, baselines)
            self.feeds.use(release, now)
            self._loaded = _Loaded(release, scorer, release.digest())
            if trial is not None:
                self._experiment = Experiment(trial.release, trial.salt, trial.slots, "live")
        except ConfideError as error:
            self.refusal = error.message
            self.feeds.use(None, now)

    def score(
        self, pseudonym: str, now: str, allowed: Collection[str] | None = None
    ) -> Shade | None:
        """Return what the challenger says of a customer, or None where it cannot say.

        Parameters
        ----------
        pseudonym : str
            64 hex digits.
        now : str
            Instant.
        allowed : collection of str, optional
            Holders that the customer lets tell.
        """
        found = self._snapshot(pseudonym, now, allowed)
        return None if found is None else Shade.of(found[1].name, found[0])

    def decides(
        self, pseudonym: str, now: str, allowed: Collection[str] | None = None
    ) -> tuple[Snapshot, Manifest, Shelf] | None:
        """Return the challenger's score where it decides for a customer; None where it does not.

        It does not where a holder is missing that it wants to hear: the champion may know more.

        Parameters
        ----------
        pseudonym, now, allowed
            See `score`.
        """
        trial = self._experiment
        if trial is None or trial.serves(pseudonym) != CHALLENGER:
            return None
        found = self._snapshot(pseudonym, now, allowed)
        return None if found is None or found[0].missing else found

    def _snapshot(
        self, pseudonym: str, now: str, allowed: Collection[str] | None
    ) -> tuple[Snapshot, Manifest, Shelf] | None:
        loaded, shelf = self._loaded, self.feeds.shelf
        if loaded is None or shelf.digest != loaded.digest or now >= loaded.release.expires:
            return None
        found = _allowed(shelf.find(pseudonym, self._federation.holders, now), allowed)
        if not found.shares:
            return None
        try:
            snapshot = loaded.scorer.snapshot(found.shares, found.missing)
        except ConfideError:  # a feed that says what the model cannot give: checked when it came in
            return None
        return snapshot, loaded.release, shelf


def _allowed(found: Found, allowed: Collection[str] | None) -> Found:
    if allowed is None:
        return found
    silent = {party: NOT_ALLOWED for party in found.shares if party not in allowed}
    shares = {party: one for party, one in found.shares.items() if party in allowed}
    return Found(shares, {**found.missing, **silent}, found.known)
