"""Disputes, appeals, complaints and calls for help: a person answers each, and says why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import GRANTED, Case, case_from, customer
from server.accounts.reviewing import tell_help
from server.store import decisions, people
from server.store.ids import name, new_id, utc
from shared.errors import Conflict, UsageError

CASE_KINDS: Final = ("dispute", "appeal", "complaint", "hardship")
OUTCOMES: Final = ("upheld", "partly", "rejected", "withdrawn")
"""Of what is objected to."""
HELP: Final = (GRANTED, "declined", "withdrawn")
"""Of a call for help."""
_LONGEST: Final = 4000  # characters of what somebody writes
CaseKind = Literal["dispute", "appeal", "complaint", "hardship"]


@dataclass(frozen=True, slots=True)
class CaseRequest:
    """What a customer objects to, or needs help with.

    Parameters
    ----------
    kind : {'dispute', 'appeal', 'complaint', 'hardship'}
        Some data are wrong; a decision is wrong; anything else; repaying has become hard.
    customer_id : str
    decision_id : str, optional
    about : str
        A reason code, a holder, or a word such as `price`.
    text : str
        In the customer's own words; at most 4,000 characters.
    """

    kind: CaseKind
    customer_id: str
    decision_id: str | None
    about: str
    text: str


def open_case(desk: Desk, db: Connection, asked: CaseRequest, now: datetime) -> Case:
    """Take a case; while a dispute is open, nothing is raised, and asking for help takes nothing.

    Raises
    ------
    UsageError
        With every field that is wrong.
    NotFound
        If there is no such decision.
    """
    customer(asked.customer_id)
    findings = []
    if asked.kind not in CASE_KINDS:
        findings.append(f"kind must be one of {', '.join(CASE_KINDS)}")
    if not 1 <= len(asked.text.strip()) <= _LONGEST:
        findings.append(f"text must hold 1 to {_LONGEST} characters")
    if asked.kind == "appeal" and asked.decision_id is None:
        findings.append("an appeal names a decision_id")
    if findings:
        raise UsageError("; ".join(findings))
    if asked.decision_id is not None:
        decisions.get_decision(db, asked.decision_id)
    due = desk.today(now) + timedelta(days=desk.rules.monitoring.complaint_days)
    row = {
        "id": new_id(now),
        "kind": asked.kind,
        "customer_id": asked.customer_id,
        "decision_id": asked.decision_id,
        "about": name(asked.about, "about"),
        "text": asked.text,
        "state": "open",
        "opened_at": utc(now),
        "due_on": due.isoformat(),
    }
    return case_from(people.add(db, people.CASES, row))


def resolve_case(
    desk: Desk, db: Connection, case_id: str, outcome: str, by: str, note: str, now: datetime
) -> Case:
    """Answer a case; a person does, and says why.

    Help that is granted counts as forbearance from that day on (domain 2.6, M68): the customer's
    lines stay as they are, and nothing is raised for a year.

    Raises
    ------
    NotFound
    UsageError
        If the outcome is none, or the note is empty or too long.
    Conflict
        With check `state`, if it was answered before; `outcome`, if its kind has no such one.
    """
    if outcome not in {*OUTCOMES, *HELP}:
        raise UsageError(f"outcome must be one of {', '.join(dict.fromkeys((*OUTCOMES, *HELP)))}")
    if not 1 <= len(note.strip()) <= _LONGEST:
        raise UsageError(f"note must hold 1 to {_LONGEST} characters")
    found = case_from(people.get(db, people.CASES, case_id, lock=True))
    if desk.today(now) < desk.today(found.opened_at):
        raise Conflict("the case was opened after that day", check="clock")
    if found.state != "open":
        raise Conflict("the case was answered before", check="state")
    ends = HELP if found.kind == "hardship" else OUTCOMES
    if outcome not in ends:
        raise Conflict(f"a {found.kind} ends with {', '.join(ends)}", check="outcome")
    values = {
        "state": "resolved",
        "outcome": outcome,
        "resolved_by": name(by, "by"),
        "note": note,
        "resolved_at": max(utc(now), found.opened_at),
    }
    made = case_from(people.update(db, people.CASES, case_id, values))
    if outcome == GRANTED:
        tell_help(desk, db, made.customer_id, now, by)
    return made


def get_case(db: Connection, case_id: str) -> Case:
    """Return a case.

    Raises
    ------
    NotFound
    """
    return case_from(people.get(db, people.CASES, case_id))


def cases(
    db: Connection,
    kind: str | None = None,
    customer_id: str | None = None,
    *,
    open_only: bool = False,
    after: str = "",
    count: int = 100,
) -> list[Case]:
    """Return cases in order of their ids, from the first behind `after`."""
    rows = people.page_of_cases(
        db, kind=kind, customer_id=customer_id, only_open=open_only, after=after, count=count
    )
    return [case_from(row) for row in rows]
