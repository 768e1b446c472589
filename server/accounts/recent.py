"""The decisions of the whole service, newest first, in pages that cost the same however many exist.

A page walks back along the index of instants over at most `WINDOW` decisions. Where a filter leaves
few of them, the page is short and says how far back it looked; the next one goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.recording import KIND
from server.store.decisions import StoredDecision, get_decision
from server.store.tables import DECISIONS, LINES, RECORDS

WINDOW: Final = 2000
"""Decisions that one page looks at, at most."""
_D: Final = DECISIONS.c
_R: Final = RECORDS.c


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision in a list.

    Parameters
    ----------
    id, chain, purpose, policy_ref : str
    number : int
        In its chain.
    decided_at : datetime
        UTC.
    day : str
        Local.
    line : bool
        Whether the chain is a line's; an opening that was declined has none.
    kept : bool
        Whether its record is there; without it nothing below is known.
    by : str
        Who asked, as ``officer:ada``.
    before_minor, after_minor : int
        Limit.
    state : str
        Of the line after it.
    codes : tuple of str
        Of its reasons.
    """

    id: str
    chain: str
    purpose: str
    policy_ref: str
    number: int
    decided_at: datetime
    day: str
    line: bool
    kept: bool = False
    by: str = ""
    before_minor: int = 0
    after_minor: int = 0
    state: str = ""
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of decisions.

    Parameters
    ----------
    entries : tuple of Entry
        Newest first.
    older : str
        Id of the decision behind which the next page begins; empty where there is none.
    looked_to : str
        Local day down to which was looked; empty where nothing was there.
    """

    entries: tuple[Entry, ...]
    older: str
    looked_to: str


def recent(
    desk: Desk,
    db: Connection,
    *,
    purpose: str = "",
    until: date | None = None,
    behind: str = "",
    count: int = 50,
) -> Listing:
    """Return decisions, newest first.

    Parameters
    ----------
    desk : Desk
    db : Connection
    purpose : str
        Only this one.
    until : date, optional
        Last local day.
    behind : str
        Id of a decision: only those before it, in time.
    count : int
        At most.

    Raises
    ------
    NotFound
        If there is no decision of that id.
    """
    window = _window(desk, db, until, behind, WINDOW if purpose else min(WINDOW, count + 1))
    query = sa.select(window).order_by(window.c.decided_at.desc(), window.c.id.desc())
    if purpose:
        query = query.where(window.c.purpose == purpose)
    rows = [dict(row) for row in db.execute(query.limit(count + 1)).mappings()]
    last = rows[count - 1] if len(rows) > count else _end_of(db, window)
    more = len(rows) > count or (last is not None and _goes_on(db, last))
    return Listing(
        entries=entries_of(desk, db, [StoredDecision(**row) for row in rows[:count]]),
        older=str(last["id"]) if more and last else "",
        looked_to=desk.today(last["decided_at"]).isoformat() if last else "",
    )


def entries_of(
    desk: Desk, db: Connection, decisions: Sequence[StoredDecision]
) -> tuple[Entry, ...]:
    """Return decisions with what their records say of the limit; two queries."""
    ids, chains = [one.id for one in decisions], {one.chain for one in decisions}
    query = sa.select(_R.decision_id, _R.record).where(_R.decision_id.in_(ids))
    records = {row.decision_id: bytes(row.record) for row in db.execute(query)} if ids else {}
    lines = set(db.execute(sa.select(LINES.c.id).where(LINES.c.id.in_(chains))).scalars())
    return tuple(
        Entry(
            id=one.id,
            chain=one.chain,
            purpose=one.purpose,
            policy_ref=one.policy_ref,
            number=one.number,
            decided_at=one.decided_at,
            day=desk.today(one.decided_at).isoformat(),
            line=one.chain in lines,
            **_told(records.get(one.id)),
        )
        for one in decisions
    )


def _told(raw: bytes | None) -> dict[str, Any]:
    body = json.loads(raw) if raw is not None else {}
    if body.get("kind") != KIND:
        return {}
    after = body["outcome"]["after"]
    return {
        "kept": True,
        "by": str(body["about"].get("by", "")),
        "before_minor": int(body["before"]["effective_limit_minor"]),
        "after_minor": int(after["effective_limit_minor"]),
        "state": str(after["state"]),
        "codes": tuple(one["code"] for one in body["outcome"]["reasons"]),
    }


def _window(desk: Desk, db: Connection, until: date | None, behind: str, most: int) -> sa.Subquery:
    query = sa.select(DECISIONS)
    if behind:
        at = get_decision(db, behind).decided_at
        query = query.where(_D.decided_at <= at, sa.or_(_D.decided_at < at, _D.id < behind))
    elif until is not None:
        midnight = datetime.combine(until + timedelta(days=1), time.min, desk.zone)
        query = query.where(_D.decided_at < midnight.astimezone(UTC))
    newest = query.order_by(_D.decided_at.desc(), _D.id.desc()).limit(most)
    return newest.subquery("newest")


def _end_of(db: Connection, window: sa.Subquery) -> dict[str, Any] | None:
    """Return the oldest decision of a window."""
    columns = (window.c.id, window.c.decided_at)
    query = sa.select(*columns).order_by(window.c.decided_at, window.c.id).limit(1)
    row = db.execute(query).mappings().first()
    return None if row is None else dict(row)


def _goes_on(db: Connection, last: dict[str, Any]) -> bool:
    """Return whether anything is older than a decision."""
    at = last["decided_at"]
    older = sa.or_(_D.decided_at < at, _D.id < last["id"])
    query = sa.select(_D.id).where(_D.decided_at <= at, older)
    return db.execute(query.limit(1)).first() is not None
