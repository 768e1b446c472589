"""The store as the rule commands open it: no feeds are read, and no release but its grades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from server.accounts.activating import Terms
from server.accounts.policies import keep_planned
from server.accounts.rules import rule_texts, rulebook_of
from server.commands.common import store_url
from server.coordinator import load_federation
from server.limits.line.delinquency import local_day
from server.releases.registry import FOLDER, Registry
from server.store.engine import Store, open_store
from shared.edge.clock import utc_now
from shared.errors import ReleaseRefused


@dataclass(frozen=True, slots=True)
class RuleStore:
    """A store, what its rules are checked against, and the instant of the command.

    Parameters
    ----------
    store : Store
    terms : Terms
    now : datetime
        Aware UTC.
    """

    store: Store
    terms: Terms
    now: datetime


@contextmanager
def open_rules(federation: Path, store: str, files: Path | None) -> Iterator[RuleStore]:
    """Open a store for rules.

    Parameters
    ----------
    federation : Path
        Where there is such a file, a policy must know the grades of the card that serves.
    store : str
        URL; empty: SQLite beside the federation file, made if it is not there.
    files : Path, optional
        The policy that the service begins with; see `server.accounts.desk.rule_texts`.

    Raises
    ------
    ConfigError
        If those rules are not in order.
    EnvironmentFault
        If the store is away.
    """
    opening, now = rule_texts(files), datetime.now(UTC)
    rules = rulebook_of(opening)
    zone = ZoneInfo(rules.line.arrears.zone)
    grades = _grades(federation)
    if not store:
        (federation.absolute().parent / "limits").mkdir(parents=True, exist_ok=True)
    opened = open_store(store_url(store, federation), create=not store)
    try:
        with opened.write() as db:
            keep_planned(db, opening, now)
        yield RuleStore(opened, Terms(local_day(now, zone), opening, grades), now)
    finally:
        opened.close()


def _grades(federation: Path) -> list[str] | None:
    """Return the grades of the card that serves, safest first; None where none does."""
    if not federation.exists():
        return None
    agreed, _ = load_federation(federation)
    registry = Registry(federation.parent / FOLDER)
    champion = registry.book().champion
    if champion is None:
        return None
    try:
        release = registry.verified(champion.name, agreed, utc_now())
    except ReleaseRefused:
        return None  # it serves nobody, so no policy has to know its grades
    return [grade.name for grade in release.manifest.model.scale.grades]
