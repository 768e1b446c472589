"""`/rules/propose`: a new rule file, checked, and put before a second person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import activating, four_eyes, known_rules, policies
from server.accounts.activating import Change
from server.accounts.rule_lint import read_all, told
from server.accounts.rules import RuleText
from server.limits.basis.differences import differences
from server.web.acts import act
from server.web.forms import Posted
from server.web.policy.common import PATH, Officer, OfficerForm
from server.web.policy.compare import Row, rows_of
from server.web.render import Site
from shared.errors import ConfideError, ConfigError, Conflict, FourEyes, UsageError

SOURCE: Final = "proposed.toml"
_MOST: Final = 60_000
Digest = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposal while it is written.

    Parameters
    ----------
    text, since, reason : str
        As they stand in the form.
    kind, title : str
        Of the file, once it was read.
    rows : tuple of Row
        How it differs from what is in force.
    findings : tuple of str
        What is wrong with it.
    checked : bool
        It was looked at.
    """

    text: str = ""
    since: str = ""
    reason: str = ""
    kind: str = ""
    title: str = ""
    rows: tuple[Row, ...] = ()
    findings: tuple[str, ...] = ()
    checked: bool = False


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get(f"{PATH}/propose")
    def propose_form(request: Request, who: Officer, begin: Digest = "") -> Response:
        """Ask for a rule file; a text that is known can be begun with."""

        def work(db: Connection, now: datetime) -> tuple[Draft, tuple[known_rules.KnownText, ...]]:
            known = known_rules.known_texts(site.desk, db, now)
            if not begin:
                return Draft(), known
            return Draft(text=policies.text_of(db, begin).text), known

        draft, known = site.read(work)
        return site.page(request, "policy/propose.html", who, draft=draft, known=known)

    @found.post(f"{PATH}/propose")
    def propose(request: Request, form: OfficerForm) -> Response:
        """Check a file, or put it before a second person."""
        draft = Draft(
            text=_plain(form.one("text", most=_MOST)),
            since=form.one("since", most=10, missing=""),
            reason=form.one("reason", most=1000, missing=""),
        )
        if form.one("do", most=8, missing="propose") == "check":
            return _shown(request, site, form, checked_of(site, draft), 200)

        def work(db: Connection, now: datetime) -> str:
            files, by = [(draft.text, SOURCE)], form.visit.caller.name
            change = Change(files, _day(draft.since), by, draft.reason)
            activating.propose(db, change, four_eyes.terms_of(site.desk, now), now)
            return f"{PATH}?done=rules_proposed"

        try:
            return act(request, form, site.desk, work)
        except (UsageError, Conflict, FourEyes) as error:
            kept = checked_of(site, draft)
            findings = tuple(dict.fromkeys((*kept.findings, *_findings(error))))
            return _shown(request, site, form, with_findings(kept, findings), 422)


def checked_of(site: Site, draft: Draft) -> Draft:
    """Return a draft that was read: what it is, how it differs, or what is wrong with it."""
    try:
        [file] = read_all([(draft.text, SOURCE)])
    except ConfigError as error:
        return with_findings(draft, tuple(told(error)))
    held: RuleText | None = site.read(lambda _, __: site.desk.rules.sources.get(file.kind))
    found = () if held is None else differences((held.text, held.source), (draft.text, SOURCE))
    rows = tuple(rows_of(tuple(found), site.desk.rules.policy.minor_digits))
    return Draft(draft.text, draft.since, draft.reason, file.kind, file.title, rows, (), True)


def with_findings(draft: Draft, findings: tuple[str, ...]) -> Draft:
    """Return a draft with what is wrong with it."""
    return Draft(
        draft.text, draft.since, draft.reason, draft.kind, draft.title, draft.rows, findings, True
    )


def _shown(request: Request, site: Site, form: Posted, draft: Draft, status: int) -> Response:
    known = site.read(lambda db, now: known_rules.known_texts(site.desk, db, now))
    return site.page(
        request, "policy/propose.html", form.visit, status=status, draft=draft, known=known
    )


def _findings(error: ConfideError) -> list[str]:
    if isinstance(error, ConfigError):
        return told(error)
    return [f"{error.message}{f' ({error.hint})' if error.hint else ''}"]


def _plain(text: str) -> str:
    """Return a text as a file has it: browsers end lines with two characters."""
    return text.replace("\r\n", "\n") + "\n"


def _day(text: str) -> date | None:
    """Return a day that was typed; None where none was.

    Raises
    ------
    UsageError
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError("since: a day such as 2026-03-02") from None
