"""Which rule texts are in force from which day, by whose approval: rows that never change.

A rule begins on a day and holds until a later day's row of its kind; of rows of one day the newest
counts. Since no row begins in the past, what was in force on a day that is over never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, String, Table

from server.store.ids import name, utc
from server.store.people import RULE_TEXTS
from server.store.tables import APPROVALS, ID, METADATA, Instant
from server.store.whole import whole

ACTIVATIONS = Table(
    "activations",
    METADATA,
    Column("approval_id", ID, ForeignKey("approvals.id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("kind", ID, nullable=False),
    Column("subject", ID, nullable=False),
    Column("digest", String(64), ForeignKey("rule_texts.digest"), nullable=False),
    Column("since", String(10), nullable=False),
    Column("title", String(128), nullable=False),
    Column("activated_at", Instant, nullable=False),
    Index(None, "kind", "since"),
)
_A: Final = ACTIVATIONS.c
_T: Final = RULE_TEXTS.c
_ORDER: Final = (_A.since, _A.activated_at, _A.approval_id, _A.place)


@dataclass(frozen=True, slots=True)
class Activation:
    """A rule text that holds from a day.

    Parameters
    ----------
    kind : str
        Of rule.
    subject : str
        Which of several of a kind: the jurisdiction of a pack; empty elsewhere.
    digest : str
        SHA-256 of the text.
    since : date
        First day on which it holds.
    title : str
        What the file calls itself.
    approval_id : str
    """

    kind: str
    subject: str
    digest: str
    since: date
    title: str
    approval_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An activation with who stands for it.

    Parameters
    ----------
    activation : Activation
    activated_at : datetime
        UTC.
    proposer, approver, reason : str
    """

    activation: Activation
    activated_at: datetime
    proposer: str
    approver: str
    reason: str


@whole
def activate(db: Connection, rows: list[Activation], at: datetime) -> None:
    """Let texts hold from their days on, in the transaction that uses their approval."""
    fresh = [
        {
            "approval_id": name(one.approval_id, "approval_id"),
            "place": place,
            "kind": name(one.kind, "kind"),
            "subject": one.subject,
            "digest": one.digest,
            "since": one.since.isoformat(),
            "title": one.title,
            "activated_at": utc(at),
        }
        for place, one in enumerate(rows)
    ]
    if fresh:
        db.execute(sa.insert(ACTIVATIONS), fresh)


def schedule(db: Connection) -> list[Activation]:
    """Return every activation, by the day from which it holds; of one day the newest last."""
    return [_read(row) for row in db.execute(sa.select(ACTIVATIONS).order_by(*_ORDER)).mappings()]


def history(db: Connection) -> list[Entry]:
    """Return every activation with who proposed and approved it, oldest first."""
    people = APPROVALS.c
    query = sa.select(ACTIVATIONS, people.proposer, people.approver, people.reason).join(
        APPROVALS, people.id == _A.approval_id
    )
    ordered = query.order_by(_A.activated_at, _A.approval_id, _A.place)
    return [
        Entry(_read(row), row["activated_at"], row["proposer"], row["approver"], row["reason"])
        for row in db.execute(ordered).mappings()
    ]


def text_at(db: Connection, digest: str) -> tuple[str, str] | None:
    """Return the text of a SHA-256 and the name of its file, or None."""
    row = db.execute(sa.select(_T.text, _T.source).where(_T.digest == digest)).first()
    return None if row is None else (row.text, row.source)


def _read(row: Any) -> Activation:
    return Activation(
        kind=row["kind"],
        subject=row["subject"],
        digest=row["digest"],
        since=date.fromisoformat(row["since"]),
        title=row["title"],
        approval_id=row["approval_id"],
    )
