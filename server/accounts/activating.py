"""How a rule text comes into force: proposed by one, approved by another, from a day on.

The day is never one that is over, so what was in force yesterday never changes. Whatever would be
in force after an activation is checked as a whole, on each day on which anything begins: files that
fit alone may not fit together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.desk import RuleText
from server.accounts.policies import keep_planned, planned_sources, sources_in_force, text_of
from server.accounts.rule_lint import RuleFile, findings_of, read_all, reread, told
from server.limits.checks.rule_kinds import effective_from
from server.limits.rules.macro import parse_overlays
from server.limits.rules.pack import Pack
from server.store import approvals, rulebook
from server.store.approvals import Approval, Proposal
from server.store.ids import new_id
from server.store.people import keep_texts
from server.store.rulebook import Activation
from server.store.whole import whole
from shared.errors import ConfigError, Conflict, FourEyes, NotFound, UsageError

APPROVAL: Final = "rules"
"""Kind of approval."""
DAYS_TO_APPROVE: Final = 14


@dataclass(frozen=True, slots=True)
class Change:
    """What is to come into force, and why.

    Parameters
    ----------
    files : sequence of (str, str)
        Text and name of each file; of one kind one, but packs of several jurisdictions.
    since : date, optional
        First day for all; None: each file's own `effective_from`, or today where it has none.
    by, reason : str
    """

    files: Sequence[tuple[str, str]]
    since: date | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a change is checked against.

    Parameters
    ----------
    today : date
        The local civil day.
    opening : mapping of str to RuleText
        What holds where nothing was activated.
    grades : sequence of str, optional
        Of the card that serves, safest first.
    """

    today: date
    opening: Mapping[str, RuleText]
    grades: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    file: RuleFile
    since: date

    def planned(self, approval_id: str = "") -> Activation:
        one = self.file
        return Activation(
            one.kind, one.subject, one.rule.digest, self.since, one.title, approval_id
        )


@whole
def propose(db: Connection, change: Change, terms: Terms, now: datetime) -> Approval:
    """Put rule files before another person.

    Raises
    ------
    ConfigError
        With all findings: of each file, of the law, and of what is in force from then on.
    UsageError
        Without a file, a reason or a proper name, or with two files of one kind.
    FourEyes
        If a new downturn does not name the proposer among those who approve it.
    Conflict
        With check `rules`, if a file is in force on its day already.
    """
    if not change.files:
        raise UsageError("name a file to activate")
    wanted = _dated(read_all(change.files), change.since, terms.today)
    keys = [(one.file.kind, one.file.subject) for one in wanted]
    if len(set(keys)) < len(keys):
        raise UsageError("two files of one kind cannot come into force together")
    texts = [(one.file.kind, one.file.rule) for one in wanted]
    keep_texts(db, [(kind, one.source, one.text, one.digest) for kind, one in texts], now)
    _check(db, wanted, terms)
    _check_names(db, wanted, change.by, terms)
    digest = hashlib.sha256("\n".join(rule.digest for _, rule in texts).encode()).hexdigest()
    payload = {"files": [_told(one) for one in wanted]}
    asked = Proposal(new_id(now), APPROVAL, digest, payload, change.by, change.reason)
    return approvals.propose(db, asked, now + timedelta(days=DAYS_TO_APPROVE), now)


@whole
def approve(
    db: Connection, approval_id: str, by: str, answer: str, terms: Terms, now: datetime
) -> list[Activation]:
    """Approve rule files and let them come into force on their days.

    Raises
    ------
    NotFound
        If there is no such proposal of rules.
    FourEyes
        If the approver proposed it, or is not named in a new downturn.
    Conflict
        With check `approval` if it was decided or is too old; `rules` if its day is over.
    ConfigError
        If it does not fit what was activated since.
    """
    found = approvals.get_approval(db, approval_id, lock=True)
    if found.kind != APPROVAL:
        raise NotFound("there is no proposal of rules of that id")
    approvals.decide(db, approval_id, by, now, approve=True, answer=answer)
    wanted = [
        _Wanted(reread(one["kind"], text_of(db, one["digest"])), date.fromisoformat(one["since"]))
        for one in found.payload["files"]
    ]
    if any(one.since < terms.today for one in wanted):
        hint = "propose it again with a later day"
        raise Conflict("the day from which it was to hold is over", check="rules", hint=hint)
    _check(db, wanted, terms)
    _check_names(db, wanted, by, terms)
    approvals.use(db, approval_id, APPROVAL, found.subject, now)
    rows = [one.planned(approval_id) for one in wanted]
    rulebook.activate(db, rows, now)
    keep_planned(db, terms.opening, now)
    return rows


def _dated(files: Sequence[RuleFile], since: date | None, today: date) -> list[_Wanted]:
    """Give each file its day.

    Raises
    ------
    ConfigError
        If one lies in the past, or before the file's own day.
    """
    findings, wanted = [], []
    for one in files:
        own = effective_from(one.value)
        day = since or own or today
        if day < today:
            rule = f"must not lie before today, {today}; give a later first day. Got {day}"
            findings.append(f"{one.rule.source}: effective_from: {rule}")
        elif own is not None and day < own:
            rule = f"the file holds from {own} on. Got {day}"
            findings.append(f"{one.rule.source}: effective_from: {rule}")
        if isinstance(one.value, Pack) and one.value.status != "in force":
            rule = "must be 'in force'; a draft binds nobody"
            findings.append(f"{one.rule.source}: status: {rule}. Got {one.value.status!r}")
        wanted.append(_Wanted(one, day))
    if findings:
        raise ConfigError("rules", findings)
    return wanted


def _check(db: Connection, wanted: Sequence[_Wanted], terms: Terms) -> None:
    """Check the rules of every day on which anything begins, from the first new one on.

    Raises
    ------
    ConfigError
        With all findings, each with its day.
    Conflict
        With check `rules`, if a text is in force on its day already.
    """
    plan = rulebook.schedule(db)
    after = sorted([*plan, *(one.planned() for one in wanted)], key=lambda one: one.since)
    first = min(one.since for one in wanted)
    findings: dict[str, date] = {}
    for day in sorted({one.since for one in after if one.since >= first}):
        before = planned_sources(db, plan, day, terms.opening)
        _refuse_same(wanted, before, day)
        try:
            sources = planned_sources(db, after, day, terms.opening)
            found = findings_of(sources, day, terms.grades)
            found += _other_zone(before, sources)
        except ConfigError as error:
            found = told(error)
        for finding in found:
            findings.setdefault(finding, day)
    if findings:
        raise ConfigError("rules", [f"on {day}: {one}" for one, day in findings.items()])


def _refuse_same(wanted: Sequence[_Wanted], before: Mapping[str, RuleText], day: date) -> None:
    for one in wanted:
        held = before.get(one.file.kind)
        if one.since == day and held is not None and held.digest == one.file.rule.digest:
            why = f"{one.file.rule.source} is in force on {day} already"
            raise Conflict(why, check="rules", hint="nothing has to be activated")


def _other_zone(before: Mapping[str, RuleText], after: Mapping[str, RuleText]) -> list[str]:
    """Refuse another time zone: days that were counted would be counted again, or never."""
    old, new = (reread("line", one["line"]).value.arrears.zone for one in (before, after))
    rule = f"delinquency.zone: must stay {old}, by which days were counted. Got {new}"
    return [] if old == new else [f"{after['line'].source}: {rule}"]


def _check_names(db: Connection, wanted: Sequence[_Wanted], person: str, terms: Terms) -> None:
    """Check that whoever acts stands by name in every downturn that is new.

    Raises
    ------
    FourEyes
    ConfigError
        If a new downturn begins before the day from which its file holds.
    """
    for one in wanted:
        if one.file.kind != "overlays":
            continue
        held = sources_in_force(db, one.since, terms.opening).get("overlays")
        known = parse_overlays(held.text, held.source) if held is not None else ()
        for row in one.file.value:
            if row in known:
                continue
            if row.since < one.since:
                rule = f"{row.scenario}: since must not lie before {one.since}. Got {row.since}"
                raise ConfigError(one.file.rule.source, [rule])
            if approvals.person(person) not in map(approvals.person, row.approved_by):
                raise FourEyes(
                    f"{row.scenario}: approved_by does not name who acts here",
                    hint="the two who are named there propose and approve it",
                )


def _told(one: _Wanted) -> dict[str, Any]:
    """Return what the approver reads, and what is approved: by SHA-256, no other text will do."""
    return {
        "kind": one.file.kind,
        "subject": one.file.subject,
        "source": one.file.rule.source,
        "digest": one.file.rule.digest,
        "since": one.since.isoformat(),
        "title": one.file.title,
    }
