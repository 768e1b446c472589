"""Decisions on a line that there is: reviews, and what customers and officers ask for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from server.accounts.deciding import CAPPED, RAISING
from server.accounts.desk import Desk
from server.accounts.grounds import Ask, Grounds
from server.accounts.keeping import (
    Decided,
    check_clock,
    initiator_of,
    keep,
    made,
    read_decision,
    room_of,
)
from server.accounts.standing import NO_RELEASE, Standing, arrears_of, look_at
from server.limits.line.events import line_from_mapping
from server.limits.line.line import OPEN, Line
from server.limits.line.triggers import Facts
from server.store import approvals
from server.store.ids import name
from server.store.lines import StoredLine, get_line, lines_of
from shared.errors import Conflict, UsageError

ASKED: Final = (
    "review",
    "increase",
    "restore",
    "self_lower",
    "accept_offer",
    "decline_offer",
    "freeze_fraud",
    "freeze_purpose",
    "release",
    "temporary",
    "close",
    "override",
)
"""Purposes that callers may ask for; who may ask for which is the web's to say."""
_AMOUNTS: Final = frozenset({"self_lower", "temporary", "override"})


def decide_line(
    desk: Desk,
    db: Connection,
    line_id: str,
    purpose: str,
    now: datetime,
    by: str,
    *,
    limit_minor: int | None = None,
    expected_version: int | None = None,
    note: str = "",
    until: date | None = None,
    approval_id: str = "",
) -> Decided:
    """Decide on a line, and keep the decision with its record and what it changes.

    Outside of a scheduled review nothing is raised (invariant I20): who asks for an increase or a
    restoration gets a decision with the limit as it is, the reasons, and the earliest day.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    purpose : str
        One of `ASKED`.
    now : datetime
    by : str
        Who asks, as ``officer:desk``.
    limit_minor : int, optional
        Of `self_lower`, `temporary` and `override`.
    expected_version : int, optional
        Of the line as the caller saw it.
    note : str
        Why, in the words of who asks; an override needs one.
    until : date, optional
        Last local day of a temporary amount.
    approval_id : str
        Of an override: what a second person approved (kind `override`; its payload holds
        `line_id` and `limit_minor`). It is used up.

    Raises
    ------
    NotFound
    UsageError
        If the purpose is none, or lacks its amount.
    Conflict
        With check `version`, `clock`, `state`, `limit`, `until`, `approval` or `fund`.
    Refused
        If something would be raised without consent, with a silent holder, in a dispute or pause.
    ReleaseRefused, EnvironmentFault
        If something would be raised and no score can be had, by the name of the check.
    """
    name(by, "by")
    if purpose not in ASKED:
        raise UsageError(f"purpose must be one of {', '.join(ASKED)}")
    if (purpose in _AMOUNTS) != (limit_minor is not None):
        raise UsageError(f"limit_minor goes with {', '.join(sorted(_AMOUNTS))}, and only with them")
    stored = get_line(db, line_id, lock=True)
    if expected_version is not None and expected_version != stored.version:
        why = f"the line is at version {stored.version}, not {expected_version}"
        raise Conflict(why, check="version", hint="read the line again")
    if purpose == "override":
        _use_approval(db, stored, limit_minor or 0, note, approval_id, now)
    about = {"by": by} | ({"note": note} if note else {})
    about |= {"approval": approval_id} if approval_id else {}
    ask = Ask(purpose, desk.today(now), stored.product, initiator_of(by), limit_minor, until)
    return _decide(desk, db, stored, ask, about, now)


def tell_consent(
    desk: Desk, db: Connection, customer_id: str, now: datetime, *, stands: bool
) -> list[Decided]:
    """Let a consent that was given or withdrawn take effect on the customer's lines.

    Raises
    ------
    Conflict
        With check `clock`.
    """
    purpose = "consent_given" if stands else "consent_withdrawn"
    found = []
    for one in lines_of(db, customer_id):
        stored = get_line(db, one.id, lock=True)
        line = line_from_mapping(stored.domain)
        if line.state in OPEN and (line.consent_withdrawn_on is not None) == stands:
            ask = Ask(purpose, desk.today(now), stored.product, "customer")
            found.append(_decide(desk, db, stored, ask, {"by": "customer"}, now))
    return found


def tell_help(desk: Desk, db: Connection, customer_id: str, now: datetime, by: str) -> None:
    """Let a concession that was made today take effect on the customer's open lines.

    Raises
    ------
    Conflict
        With check `clock`.
    """
    day = desk.today(now)
    for one in lines_of(db, customer_id):
        stored = get_line(db, one.id, lock=True)
        line = line_from_mapping(stored.domain)
        if line.state in OPEN:
            facts = replace(arrears_of(desk, db, stored, day), forborne_on=day)
            ask = Ask("forborne", day, stored.product, initiator_of(by))
            _decide(desk, db, stored, ask, {"by": by}, now, Grounds(facts))


def close_for(desk: Desk, db: Connection, line_id: str, now: datetime, by: str) -> Decided:
    """Close a line on which nothing is owed, or that is closing, for whoever it is.

    Raises
    ------
    NotFound
    Conflict
        With check `state` or `clock`.
    """
    stored = get_line(db, line_id, lock=True)
    ask = Ask("close", desk.today(now), stored.product, initiator_of(by))
    return _decide(desk, db, stored, ask, {"by": by}, now)


def about_line(stored: StoredLine, model: str) -> dict[str, str]:
    """Return what the record of any decision on a line says of it."""
    return {"line": stored.id, "customer": stored.customer_id, "model": model}


def _decide(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    ask: Ask,
    about: dict[str, str],
    now: datetime,
    known: Grounds | None = None,
) -> Decided:
    """Decide on a line, from what is known or else from what its purpose looks at."""
    check_clock(stored, now)
    line = line_from_mapping(stored.domain)
    rules = desk.rules.of(stored.product)
    if ask.purpose in CAPPED:
        seen = look_at(desk, db, stored, now)
        _check_score(seen, ask, line)
        grounds, models = seen.grounds(), seen.models
    else:
        grounds, models = known or _bare(stored), {"model": NO_RELEASE}
    whole = {**about_line(stored, models["model"]), **models, **about}
    room = room_of(db, stored)
    record = made(desk, rules, ask, grounds, line, whole, now, most_minor=room)
    [decision] = keep(db, rules, [(stored, record)], now)
    return Decided(decision, record, get_line(db, stored.id))


def _bare(stored: StoredLine) -> Grounds:
    """Return the grounds of a decision that looks at no cap: what is owed."""
    totals = stored.totals
    return Grounds(Facts(totals.outstanding_minor, totals.held_minor))


def _check_score(seen: Standing, ask: Ask, line: Line) -> None:
    """Refuse to raise anything while no score can be had, by the name of the check."""
    raises = ask.purpose in RAISING or (
        ask.purpose == "override" and (ask.limit_minor or 0) > line.effective_limit_minor
    )
    if raises and seen.refusal is not None:
        raise seen.refusal


def _use_approval(
    db: Connection, stored: StoredLine, limit: int, note: str, approval_id: str, now: datetime
) -> None:
    """Use what two people agreed to: this line, this limit.

    Raises
    ------
    UsageError
        Without a reason.
    NotFound
    Conflict
        With check `approval`.
    """
    if not note.strip():
        raise UsageError("an override needs a reason")
    if not approval_id:
        hint = "propose it, and let another person approve it"
        raise Conflict("an override needs a second person", check="approval", hint=hint)
    found = approvals.get_approval(db, approval_id)
    payload = found.payload
    if (payload.get("line_id"), payload.get("limit_minor")) != (stored.id, limit):
        raise Conflict("something else was approved", check="approval")
    approvals.use(db, approval_id, "override", found.subject, now)


__all__ = [
    "ASKED",
    "Decided",
    "about_line",
    "close_for",
    "decide_line",
    "read_decision",
    "tell_consent",
]
