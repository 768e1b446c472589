"""Every rule text that counts, counted, will count or waits to: what can be compared and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final, Literal

from sqlalchemy import Connection

from server.accounts import activating, policies
from server.accounts.desk import Desk, RuleText
from server.accounts.rule_lint import reread
from server.limits.basis.differences import Difference, differences
from server.limits.checks.rule_kinds import KINDS, effective_from
from server.store import approvals, rulebook
from server.store.approvals import Approval
from shared.errors import NotFound, UsageError

Standing = Literal["in_force", "coming", "waiting", "past"]
_ORDER: Final[tuple[Standing, ...]] = ("in_force", "coming", "waiting", "past")


@dataclass(frozen=True, slots=True)
class KnownText:
    """A rule text.

    Parameters
    ----------
    digest : str
        SHA-256 in hex.
    kind : str
        One of `server.limits.checks.rule_kinds.KINDS`.
    title : str
        What it calls itself.
    since : date, optional
        From which it holds, held, will hold or would; None where nothing says so.
    standing : {'in_force', 'coming', 'waiting', 'past'}
    """

    digest: str
    kind: str
    title: str
    since: date | None
    standing: Standing


def known_texts(desk: Desk, db: Connection, now: datetime) -> tuple[KnownText, ...]:
    """Return every text once, by kind, what is in force first, then by day.

    Parameters
    ----------
    desk : Desk
    db : Connection
    now : datetime
    """
    today, found = desk.today(now), dict[str, KnownText]()
    for kind, one in desk.rules.sources.items():
        if kind in KINDS:
            title, since = _read(kind, one)
            found[one.digest] = KnownText(one.digest, kind, title, since, "in_force")
    for row in rulebook.schedule(db):
        standing: Standing = "coming" if row.since > today else "past"
        known = KnownText(row.digest, row.kind, row.title, row.since, standing)
        found.setdefault(row.digest, known)
    for kind, one in desk.book.opening.sources.items():
        if kind in KINDS and one.digest not in found:
            title, since = _read(kind, one)
            found[one.digest] = KnownText(one.digest, kind, title, since, "past")
    for asked in _waiting(approvals.waiting(db, [activating.APPROVAL], now)):
        found.setdefault(asked.digest, asked)
    return tuple(sorted(found.values(), key=_place))


def is_public(desk: Desk, db: Connection, digest: str) -> bool:
    """Return whether a text is for everybody: in force, to come, or in force once."""
    own = (*desk.rules.sources.values(), *desk.book.opening.sources.values())
    if any(one.digest == digest for one in own):
        return True
    return any(one.digest == digest for one in rulebook.schedule(db))


def compared(db: Connection, before: KnownText, after: KnownText) -> tuple[Difference, ...]:
    """Return field by field how two texts differ.

    Raises
    ------
    UsageError
        If they are of two kinds.
    """
    if before.kind != after.kind:
        raise UsageError(f"{before.title} is of kind {before.kind}, {after.title} of {after.kind}")
    old, new = (policies.text_of(db, one.digest) for one in (before, after))
    return differences((old.text, old.source), (new.text, new.source))


def find(known: Sequence[KnownText], digest: str) -> KnownText:
    """Return a text of a SHA-256.

    Raises
    ------
    NotFound
    """
    for one in known:
        if one.digest == digest:
            return one
    raise NotFound("there is no rule text of that SHA-256")


def _waiting(proposals: Sequence[Approval]) -> list[KnownText]:
    return [
        KnownText(
            one["digest"], one["kind"], one["title"], date.fromisoformat(one["since"]), "waiting"
        )
        for found in proposals
        for one in found.payload["files"]
    ]


def _place(one: KnownText) -> tuple[int, int, int, str]:
    day = 0 if one.since is None else -one.since.toordinal()
    return KINDS.index(one.kind), _ORDER.index(one.standing), day, one.digest


@lru_cache(maxsize=64)
def _read(kind: str, rule: RuleText) -> tuple[str, date | None]:
    """Return what a file calls itself and from when it holds; of one text, read once."""
    found = reread(kind, rule)
    return found.title, effective_from(found.value)
