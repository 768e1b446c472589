"""The rules for everybody to read: what is in force, and each text with its page in two languages.

A page is made from the text of its own digest, so an old decision's rules can be read as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts import policies
from server.accounts.answering import money_of, texts_of
from server.accounts.desk import Desk, RuleText
from server.limits.checks.policy_page import (
    Section,
    catalogue_page,
    line_page,
    markdown,
    pack_page,
    policy_page,
)
from server.limits.rules.catalogue import parse_catalogue
from server.limits.rules.line_lint import parse_line_policy
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.limits.words.explain import Money, Texts
from server.store import rulebook
from server.store.people import RULE_TEXTS
from shared.errors import NotFound

Page = tuple[str, date | None, tuple[Section, ...]]
Maker = Callable[[RuleText, Texts, Money], Page]


def in_force(desk: Desk, db: Connection, now: datetime) -> dict[str, Any]:
    """Return every rule text in force, and what is to come, ready for JSON.

    Parameters
    ----------
    desk : Desk
    db : Connection
    now : datetime
    """
    today = desk.today(now)
    money = money_of(desk.rules.policy)
    texts = desk.rules.texts["en"]
    rows = [
        {"kind": kind, **_named(kind, one, texts, money)}
        for kind, one in sorted(desk.rules.sources.items())
    ]
    coming = [
        {"kind": one.kind, "digest": one.digest, "title": one.title, "since": one.since.isoformat()}
        for one in rulebook.schedule(db)
        if one.since > today
    ]
    return {"as_of": today.isoformat(), "in_force": rows, "coming": coming}


def published(desk: Desk, db: Connection, digest: str, language: str) -> dict[str, Any]:
    """Return a rule text, word for word, and its page in a language.

    Parameters
    ----------
    desk : Desk
    db : Connection
    digest : str
        SHA-256 of the text, in hex.
    language : str

    Raises
    ------
    NotFound
        If there is no such text.
    UsageError
        If there are no texts in that language.
    """
    texts, money = texts_of(desk, language), money_of(desk.rules.policy)
    found = policies.text_of(db, digest)
    kind = _kind_of(desk, db, digest)
    name, since, sections = _page(kind, found, texts, money)
    title = texts.say("page.title", name=name, day=texts.day(since)) if since else name
    return {
        "digest": digest,
        "kind": kind,
        "name": name,
        "since": None if since is None else since.isoformat(),
        "in_force": any(one.digest == digest for one in desk.rules.sources.values()),
        "language": language,
        "title": title,
        "sections": [one.to_mapping() for one in sections],
        "page": markdown(title, sections) if sections else texts.say("page.no_page"),
        "text": found.text,
    }


def _kind_of(desk: Desk, db: Connection, digest: str) -> str:
    for kind, one in desk.rules.sources.items():
        if one.digest == digest:
            return kind
    columns = RULE_TEXTS.c
    found = db.execute(sa.select(columns.kind).where(columns.digest == digest)).scalar()
    if found is None:
        raise NotFound("there is no rule text of that SHA-256")
    return str(found)


def _named(kind: str, one: RuleText, texts: Texts, money: Money) -> dict[str, Any]:
    name, since, sections = _page(kind, one, texts, money)
    return {
        "digest": one.digest,
        "name": name,
        "since": None if since is None else since.isoformat(),
        "has_page": bool(sections),
    }


def _policy(one: RuleText, texts: Texts, _: Money) -> Page:
    found = parse_policy(one.text, one.source)
    return found.name, found.effective_from, policy_page(found, texts)


def _line(one: RuleText, texts: Texts, money: Money) -> Page:
    found = parse_line_policy(one.text, one.source)
    return found.name, found.effective_from, line_page(found, texts, money)


def _catalogue(one: RuleText, texts: Texts, money: Money) -> Page:
    found = parse_catalogue(one.text, one.source)
    name = f"{found.id}/{found.version}"
    return name, found.effective_from, catalogue_page(found, texts, money)


def _pack(one: RuleText, texts: Texts, money: Money) -> Page:
    found = parse_pack(one.text, one.source)
    own = Money(found.currency, money.digits)
    return found.name, None, pack_page(found, texts, own)


_MAKERS: Final[Mapping[str, Maker]] = {
    "policy": _policy,
    "line": _line,
    "catalogue": _catalogue,
    "pack": _pack,
}
"""Kinds whose figures customers ask about; the other files are published as they stand."""


def _page(kind: str, one: RuleText, texts: Texts, money: Money) -> Page:
    maker = _MAKERS.get(kind)
    if maker is None:
        return PurePath(one.source).stem, None, ()
    return _made(maker, one, _Language(texts), money)


class _Language:
    """Texts as a key: of one language there is one value in a process and rulebook."""

    __slots__ = ("texts",)

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Language) and other.texts is self.texts

    def __hash__(self) -> int:
        return id(self.texts)


@lru_cache(maxsize=64)
def _made(maker: Maker, one: RuleText, language: _Language, money: Money) -> Page:
    return maker(one, language.texts, money)
