"""Which rules are in force on a day.

The embedded reference, or the files that a service began with, hold until something else is
activated (`server.accounts.activating`). Texts are kept by their SHA-256: what a decision was
made under is there when it is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from server.accounts.rule_packs import embedded_pack, jurisdiction_of
from server.accounts.rules import Rulebook, RuleText, rulebook_of
from server.store import rulebook
from server.store.people import keep_texts
from server.store.rulebook import Activation
from shared.errors import NotFound

if TYPE_CHECKING:
    from server.accounts.desk import Desk

_MOST_TEXTS: Final = 256
_TEXTS: Final[dict[str, RuleText]] = {}
"""Texts by SHA-256: what they are never changes, whatever store they came from."""


def sources_in_force(
    db: Connection, day: date, opening: Mapping[str, RuleText]
) -> dict[str, RuleText]:
    """Return the rule texts of a day by kind.

    Parameters
    ----------
    db : Connection
    day : date
    opening : mapping of str to RuleText
        What holds where nothing was activated.

    Raises
    ------
    ConfigError
        If there is no pack for the jurisdiction of the policy.
    """
    return planned_sources(db, rulebook.schedule(db), day, opening)


def planned_sources(
    db: Connection, plan: Sequence[Activation], day: date, opening: Mapping[str, RuleText]
) -> dict[str, RuleText]:
    """Return the rule texts of a day by kind if a plan is followed; see `sources_in_force`.

    Parameters
    ----------
    plan : sequence of Activation
        By day; of one day and kind the last one counts.
    """
    chosen = {(one.kind, one.subject): one for one in plan if one.since <= day}
    sources = dict(opening)
    sources |= {kind: _kept(db, one) for (kind, _), one in chosen.items() if kind != "pack"}
    jurisdiction = jurisdiction_of(sources["policy"])
    pack = chosen.get(("pack", jurisdiction))
    if pack is not None:
        sources["pack"] = _kept(db, pack)
    elif jurisdiction != jurisdiction_of(opening["policy"]):
        sources["pack"] = embedded_pack(jurisdiction)
    return sources


def keep_planned(db: Connection, opening: Mapping[str, RuleText], now: datetime) -> None:
    """Keep every text that the schedule lets count on any day, so that decisions can be replayed.

    A change of jurisdiction brings in the pack that comes with confide: nobody activated it, and
    the next version may bring another.

    Parameters
    ----------
    db : Connection
    opening : mapping of str to RuleText
    now : datetime
    """
    plan = rulebook.schedule(db)
    texts = {one.digest: (kind, one) for kind, one in opening.items()}
    for day in sorted({one.since for one in plan}):
        sources = planned_sources(db, plan, day, opening)
        texts |= {one.digest: (kind, one) for kind, one in sources.items()}
    keep_texts(db, [(kind, one.source, one.text, one.digest) for kind, one in texts.values()], now)


def rulebook_on(db: Connection, day: date, opening: Rulebook) -> Rulebook:
    """Return the rules of a day; texts that were read before are not read again.

    Parameters
    ----------
    db : Connection
    day : date
    opening : Rulebook
        What holds where nothing was activated.
    """
    plan = rulebook.schedule(db)
    if not any(one.since <= day for one in plan):
        return opening
    sources = planned_sources(db, plan, day, opening.sources)
    return _compiled(tuple(sorted(sources.items())))


def follow(desk: Desk, db: Connection, now: datetime) -> Rulebook:
    """Let the rules in force count for a transaction: the first thing that is done in it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    now : datetime
    """
    rules = rulebook_on(db, desk.today(now), desk.book.opening)
    if rules is not desk.book.current:
        desk.book.turn_to(rules)
    if rules.policy is not desk.scores.policy or rules.pack is not desk.scores.pack:
        desk.scores.policy, desk.scores.pack = rules.policy, rules.pack
    return rules


def text_of(db: Connection, digest: str) -> RuleText:
    """Return the rule text of a SHA-256.

    Raises
    ------
    NotFound
    """
    known = _TEXTS.get(digest)
    if known is not None:
        return known
    found = rulebook.text_at(db, digest)
    if found is None:
        raise NotFound("there is no rule text of that SHA-256")
    text, source = found
    known = RuleText(source, text, digest)
    if len(_TEXTS) < _MOST_TEXTS:
        _TEXTS[digest] = known
    return known


def _kept(db: Connection, one: Activation) -> RuleText:
    return text_of(db, one.digest)


@lru_cache(maxsize=8)
def _compiled(sources: tuple[tuple[str, RuleText], ...]) -> Rulebook:
    return rulebook_of(dict(sources))
