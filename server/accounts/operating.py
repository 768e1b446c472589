"""What there is and what was done in a span of time: lines, money, decisions, cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import Case, case_from
from server.accounts.kept import Span, counted
from server.store.people import CASES
from server.store.tables import DECISIONS, DRAWDOWNS, HOLDS, LINES, RECORDS, REPAYMENTS


def operations(desk: Desk, db: Connection, span: Span, now: datetime) -> dict[str, Any]:
    """Count what there is and what was done.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    now : datetime
    """
    today = desk.today(now)
    lines, open_lines = LINES.c, LINES.c.closed_at.is_(None)
    states = sa.select(lines.state, sa.func.count()).group_by(lines.state)
    sums = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(lines.limit_minor), 0),
        sa.func.coalesce(sa.func.sum(lines.outstanding_minor), 0),
        sa.func.coalesce(sa.func.sum(lines.held_minor), 0),
    ).where(open_lines)
    count, limits, owed, held = db.execute(sums).one()
    cases = [one for one in _cases(db) if one.state == "open"]
    return {
        **span.to_mapping(),
        "lines": {
            "open": int(count),
            "by_state": {state: int(n) for state, n in sorted(db.execute(states).all())},
            "limits_minor": int(limits),
            "outstanding_minor": int(owed),
            "held_minor": int(held),
        },
        "decisions": counted(db, span),
        "records_deleted": _deleted(db),
        "holds": _by_state(db),
        "draws": _moved(db, DRAWDOWNS.c.amount_minor, DRAWDOWNS.c.drawn_at, span),
        "repayments": _moved(db, REPAYMENTS.c.amount_minor, REPAYMENTS.c.repaid_at, span),
        "cases_open": {
            "total": len(cases),
            "late": sum(one.due_on < today for one in cases),
            "by_kind": dict(sorted(Counter(one.kind for one in cases).items())),
        },
        "reviews_overdue": _overdue(db, today),
    }


def _cases(db: Connection) -> list[Case]:
    rows = db.execute(sa.select(CASES).order_by(CASES.c.id)).mappings()
    return [case_from(dict(row)) for row in rows]


def _deleted(db: Connection) -> int:
    """Return how many decisions have no record any more."""
    without = sa.select(sa.func.count()).select_from(
        DECISIONS.outerjoin(RECORDS, RECORDS.c.decision_id == DECISIONS.c.id)
    )
    return int(db.execute(without.where(RECORDS.c.decision_id.is_(None))).scalar_one())


def _by_state(db: Connection) -> dict[str, int]:
    query = sa.select(HOLDS.c.state, sa.func.count()).group_by(HOLDS.c.state)
    return {state: int(n) for state, n in sorted(db.execute(query).all())}


def _moved(db: Connection, amount: Any, at: Any, span: Span) -> Mapping[str, int]:
    low, high = span.instants()
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(amount), 0))
    count, total = db.execute(query.where(at >= low, at < high)).one()
    return {"count": int(count), "amount_minor": int(total)}


def _overdue(db: Connection, today: date) -> int:
    """Return how many open lines have a review that should have been by now."""
    columns, late, after = LINES.c, 0, ""
    while True:
        query = sa.select(columns.id, columns.domain).where(
            columns.id > after, columns.closed_at.is_(None)
        )
        rows = db.execute(query.order_by(columns.id).limit(1000)).all()
        for row in rows:
            due = row.domain.get("next_review_on")
            late += due is not None and due < today.isoformat()
        if len(rows) < 1000:
            return late
        after = rows[-1].id
