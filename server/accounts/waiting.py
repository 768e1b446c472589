"""What waits for a person: cases by kind, those that are late, and proposals for a second one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.casework import CASE_KINDS
from server.accounts.dossier import Case, case_from
from server.store.people import CASES
from server.store.tables import APPROVALS


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits.

    Parameters
    ----------
    cases : mapping of str to int
        Open ones, by kind.
    late : int
        Of them, past the last day for an answer.
    proposals : int
    """

    cases: Mapping[str, int]
    late: int
    proposals: int


def waiting(db: Connection, today: date) -> Waiting:
    """Count what waits, along the indexes of what is open.

    Parameters
    ----------
    db : Connection
    today : date
        The local civil day.
    """
    cases, asked = CASES.c, APPROVALS.c
    opened = cases.state == "open"
    kinds = sa.select(cases.kind, sa.func.count()).where(opened).group_by(cases.kind)
    late = sa.select(sa.func.count()).where(opened, cases.due_on < today.isoformat())
    proposed = sa.select(sa.func.count()).where(asked.state == "proposed")
    return Waiting(
        cases={str(kind): int(n) for kind, n in db.execute(kinds)},
        late=int(db.execute(late.select_from(CASES)).scalar_one()),
        proposals=int(db.execute(proposed.select_from(APPROVALS)).scalar_one()),
    )


def resolved(db: Connection, *, before: str = "", count: int = 50) -> list[Case]:
    """Return cases that were answered, newest first, from the first before an id."""
    cases, found = CASES.c, []
    for kind in CASE_KINDS:  # along the index, which has the kind before the id
        query = sa.select(CASES).where(cases.state == "resolved", cases.kind == kind)
        if before:
            query = query.where(cases.id < before)
        rows = db.execute(query.order_by(cases.id.desc()).limit(count)).mappings()
        found += [case_from(dict(row)) for row in rows]
    return sorted(found, key=lambda one: one.id, reverse=True)[:count]
