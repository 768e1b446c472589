"""Scores and caps of one customer, without the web: the champion, its feeds and the policy.

The champion is verified when it is loaded, and again whenever the registry changes; its expiry is
looked at on every answer. Release and feeds are swapped as one value, so that an answer never mixes
two releases.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from server.accounts.shadow import Shadow
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision, decide
from server.limits.caps.snapshot import Scorer, Share, Snapshot
from server.limits.caps.whole import WholeScorer, scorer_of
from server.limits.line.reasons import NOT_ALLOWED
from server.limits.rules.pack import Pack, parse_pack
from server.limits.rules.pack_rows import Duty
from server.limits.rules.policy import Policy
from server.limits.rules.policy_lint import check_together, parse_policy
from server.policies import embedded
from server.releases.feeds import Feeds
from server.releases.registry import FOLDER as RELEASES
from server.releases.registry import Registry
from server.releases.shelf import Found, Shelf
from shared.config import Federation
from shared.edge.clock import utc_now
from shared.edge.files import read_text
from shared.errors import ConfideError, EnvironmentFault, NotFound, ReleaseRefused
from shared.manifest import refuse
from shared.release import Manifest, check_dates

HOME = "limits"

Clock = Callable[[], str]


def load_policy(path: Path | None) -> tuple[Policy, Pack]:
    """Read the policy and the pack of its jurisdiction.

    Parameters
    ----------
    path : Path, optional
        A policy file; its pack may lie beside it as ``pack_<jurisdiction>.toml``. Without one, the
        embedded reference policy.

    Raises
    ------
    ConfigError
        With all findings of a file.
    EnvironmentFault
        If a file cannot be read.
    """
    text, source = embedded("reference") if path is None else (read_text(path), str(path))
    policy = parse_policy(text, source)
    name = f"pack_{policy.jurisdiction.replace('-', '_')}"
    beside = path.with_name(f"{name}.toml") if path else None
    if beside is not None and beside.exists():
        return policy, parse_pack(read_text(beside), str(beside))
    try:
        return policy, parse_pack(*embedded(name))
    except FileNotFoundError as error:
        where = beside or Path(f"{name}.toml")
        raise EnvironmentFault(
            f"no pack for jurisdiction {policy.jurisdiction!r}: {where}"
        ) from error


@dataclass(frozen=True, slots=True)
class Scored:
    """A customer's score, by which release, from which feeds.

    Parameters
    ----------
    snapshot : Snapshot
    release : Manifest
    shelf : Shelf
    now : str
        Instant of the answer.
    """

    snapshot: Snapshot
    release: Manifest
    shelf: Shelf
    now: str


class LimitService:
    """Scores and limits from a federation's registry and feeds.

    Parameters
    ----------
    base : Path
        Folder of the federation file.
    federation : Federation
    policy : Policy
    pack : Pack
    clock : callable
        Returns the present instant.
    """

    def __init__(
        self,
        base: Path,
        federation: Federation,
        policy: Policy,
        pack: Pack,
        clock: Clock = utc_now,
    ) -> None:
        self.federation = federation
        self.policy = policy
        self.pack = pack
        self.clock = clock
        self.registry = Registry(base / RELEASES)
        self.feeds = Feeds(base / HOME, federation)
        self.shadow = Shadow(base / HOME, federation)
        self._lock = threading.Lock()
        self._stamp = (-1, -1)
        self._tried = ""
        self._scorers: dict[str, Scorer | WholeScorer] = {}
        self._refusal: ConfideError | None = None

    def start(self) -> None:
        """Load the champion and its feeds; without a champion, wait for one.

        Raises
        ------
        ConfideError
            If the champion does not verify, or policy, pack and card do not fit each other.
        """
        self.policy.macro_on(self._today())
        self.pack.cap_on(self._today())
        self.refresh()
        if self._refusal is not None:
            raise self._refusal

    def changed(self) -> bool:
        """Return whether the registry changed since it was read, or a refusal may have passed."""
        if self._refusal is not None and self.clock() != self._tried:
            return True
        return self.registry.stamp() != self._stamp

    def refresh(self) -> None:
        """Follow the registry: verify its champion, load its feeds, then swap both at once.

        While one thread loads, the others answer from what was there before.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self.changed():
                stamp, self._tried = self.registry.stamp(), self.clock()
                self._refusal = self._load(self._tried)
                self.shadow.load(self.registry, self._tried)
                self._stamp = stamp
        finally:
            self._lock.release()

    def fed(self) -> bool:
        """Return whether another process has taken a feed of champion or challenger."""
        return self.feeds.changed() or self.shadow.feeds.changed()

    def follow(self) -> None:
        """Load the feeds that another process has taken, of champion and challenger.

        Raises
        ------
        EnvironmentFault
            If a file cannot be read; what was in use stays.
        """
        now = self.clock()
        self.feeds.follow(now)
        self.shadow.feeds.follow(now)

    def serving(self, now: str) -> tuple[Manifest, Scorer | WholeScorer, Shelf]:
        """Return the release that serves at an instant, ready to score, and its feeds.

        Raises
        ------
        EnvironmentFault
            If no release serves.
        ReleaseRefused
            If the champion does not verify, or has expired by now.
        """
        shelf, refusal = self.feeds.shelf, self._refusal
        if refusal is not None:
            raise refusal.with_traceback(None)
        if shelf.release is None:
            raise _no_champion()
        if now >= shelf.release.expires:
            check_dates(shelf.release, self.federation, now)
        self._check_topics(shelf.release, now)
        return shelf.release, self._scorers[shelf.digest], shelf

    def grades(self) -> list[str] | None:
        """Return the grades of the model that serves, safest first; None where none does."""
        release = self.feeds.shelf.release
        if release is None:
            return None
        return [grade.name for grade in release.model.scale.grades]

    def score(
        self, pseudonym: str, *, now: str = "", allowed: Collection[str] | None = None
    ) -> Scored:
        """Return a customer's score: the champion's, or that of a challenger that decides here.

        Parameters
        ----------
        pseudonym : str
            64 hex digits.
        now : str
            Instant; without one, the clock's.
        allowed : collection of str, optional
            Holders that the customer lets tell: the feeds of the others are not looked at.

        Raises
        ------
        NotFound
            If no feed has the customer.
        EnvironmentFault
            If no release serves, no feed is there, or those that have the customer are all stale.
        ReleaseRefused
            See `serving`.
        """
        now = now or self.clock()
        release, scorer, shelf = self.serving(now)
        tried = self.shadow.decides(pseudonym, now, allowed)
        if tried is not None and not self._kept_out(tried[1], now):
            return Scored(*tried, now)
        found = shelf.find(pseudonym, self.federation.holders, now)
        if not shelf.in_use:
            hint = "`confide feed publish --to URL` at every party"
            raise EnvironmentFault(f"no score feed of {release.name} is here yet", hint=hint)
        if not found.known:
            raise NotFound("no score feed has this customer")
        if not found.shares:
            raise EnvironmentFault("every score feed that has this customer is out of date")
        shares, missing = _allowed(found, allowed)
        return Scored(scorer.snapshot(shares, missing), release, shelf, now)

    def limit(
        self,
        pseudonym: str,
        *,
        current_minor: int | None = None,
        drawn_minor: int = 0,
        own_minor: int | None = None,
        allowed: Collection[str] | None = None,
    ) -> tuple[Scored, Decision]:
        """Return a customer's score and limit.

        Parameters
        ----------
        pseudonym : str
        current_minor : int, optional
            The limit of today, where there is a line.
        drawn_minor : int
            What is owed on it.
        own_minor : int, optional
            The customer's own cap.
        allowed : collection of str, optional
            See `score`.

        Raises
        ------
        ConfideError
            See `score` and `server.limits.caps.decide.decide`.
        """
        scored = self.score(pseudonym, allowed=allowed)
        inputs = Inputs(
            day=date.fromisoformat(scored.now[:10]),
            current_minor=current_minor,
            drawn_minor=drawn_minor,
            own_minor=own_minor,
        )
        return scored, decide(self.policy, self.pack, scored.snapshot, inputs)

    def _today(self) -> date:
        return date.fromisoformat(self.clock()[:10])

    def _check_topics(self, release: Manifest, now: str) -> None:
        """Refuse a release that scores by what a duty of the pack keeps out.

        Raises
        ------
        ReleaseRefused
            With check `law`.
        """
        if found := self._kept_out(release, now):
            topics = ", ".join(f"{topic} of {holder}" for topic, holder, _ in found)
            hint = "train without those features, or without that holder, and promote the release"
            refuse("law", f"it scores by {topics}; {found[0][2].origin.rule}", hint=hint)

    def _kept_out(self, release: Manifest, now: str) -> list[tuple[str, str, Duty]]:
        """Return the topics of a release that a duty keeps out, whose they are, and the duty."""
        if not any(duty.topics for duty in self.pack.duties):
            return []
        holders = {topic: one for one in release.parties for topic in release.model.codes(one)}
        found = self.pack.keeps_out(holders, date.fromisoformat(now[:10]))
        return [(topic, holders[topic], duty) for topic, duty in found]

    def _load(self, now: str) -> ConfideError | None:
        """Load the champion; return why it cannot serve, or None."""
        try:
            champion = self.registry.book().champion
            if champion is None:
                self.feeds.use(None, now)
                return None
            manifest = self.registry.verified(champion.name, self.federation, now).manifest
            check_together(
                self.policy, self.pack, [grade.name for grade in manifest.model.scale.grades]
            )
            self._check_topics(manifest, now)
            baselines = {name: one.baseline_points for name, one in manifest.parties.items()}
            scorer = scorer_of(manifest.model, baselines)
            before = dict(list(self._scorers.items())[-1:])  # somebody may be answering from it
            self._scorers = {**before, manifest.digest(): scorer}
            self.feeds.use(manifest, now)
        except ReleaseRefused as error:
            self.feeds.use(None, now)
            return error
        except ConfideError as error:
            self.feeds.use(None, now)
            return EnvironmentFault(f"the champion cannot serve: {error}")
        return None


def _allowed(
    found: Found, allowed: Collection[str] | None
) -> tuple[Mapping[str, Share], Mapping[str, str]]:
    """Return the shares of the holders that may tell, and why each of the others is missing."""
    if allowed is None:
        return found.shares, found.missing
    silent = {party: NOT_ALLOWED for party in found.shares if party not in allowed}
    shares = {party: one for party, one in found.shares.items() if party in allowed}
    return shares, {**found.missing, **silent}


def _no_champion() -> EnvironmentFault:
    hint = "`confide model list` shows what there is, `confide model promote NAME` lets it serve"
    return EnvironmentFault("no release serves", hint=hint)
