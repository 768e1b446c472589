"""The rules in force, and a rule as a page that a person can read."""

from __future__ import annotations

from server.api.shapes.common import Digest, Language, Told


class RuleInForce(Told):
    """A rule text in force."""

    kind: str
    digest: Digest
    name: str
    since: str | None
    has_page: bool


class RuleComing(Told):
    """A rule text that holds from a later day."""

    kind: str
    digest: Digest
    title: str
    since: str


class Rules(Told):
    """The rules in force, and what is to come."""

    as_of: str
    in_force: list[RuleInForce]
    coming: list[RuleComing]


class PageSection(Told):
    """A part of a page."""

    title: str
    lines: list[str]


class RulePage(Told):
    """A rule text, word for word, and its page."""

    digest: Digest
    kind: str
    name: str
    since: str | None
    in_force: bool
    language: Language
    title: str
    sections: list[PageSection]
    page: str
    text: str
