"""What became of lines, for the next training: of those who consented, once their time is over."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.consents import TRAINING
from server.accounts.desk import Desk
from server.accounts.dossier import dossiers
from server.accounts.kept import Span, kept
from server.store.tables import LINES
from shared.errors import Conflict, UsageError
from shared.outcomes import Outcomes

_LONGEST = timedelta(days=366)
_PAGE = 500


def outcomes_of(desk: Desk, db: Connection, since: date, until: date, now: datetime) -> Outcomes:
    """Return what became of the lines that were open on a day, by pseudonym.

    Bad is who was in default on a line at some decision after the first day and by the last; who
    was in default on the first already is left out. A line that was closed on the way without a
    default is good: all was repaid.

    Parameters
    ----------
    desk : Desk
    db : Connection
    since, until : date
        Local.
    now : datetime

    Raises
    ------
    UsageError
        If the days are in the wrong order, or more than a year apart.
    Conflict
        With check `until`, if that day is not over: nobody counts as good before.
    """
    today = desk.today(now)
    if not timedelta(0) < until - since <= _LONGEST:
        raise UsageError("the last day must come after the first, by a year at most")
    if until > today:
        raise Conflict(f"{until} is not over", check="until", hint="what is not known is no label")
    lines = _open_on(desk, db, since)
    consenting = _consenting(db, sorted(set(lines.values())), today)
    found = {line: False for line, customer in lines.items() if customer in consenting}
    before: set[str] = set()
    for one in kept(db, Span(since, until)):
        if one.chain not in found:
            continue
        if one.before.get("delinquency", {}).get("defaulted_on") and not found[one.chain]:
            before.add(one.chain)
        if one.after["delinquency"]["defaulted_on"] and one.on > since:
            found[one.chain] = True
    bad: dict[str, bool] = {}
    for line, defaulted in found.items():
        if line not in before:
            bad[lines[line]] = bad.get(lines[line], False) or defaulted
    return Outcomes(since.isoformat(), until.isoformat(), bad)


def _open_on(desk: Desk, db: Connection, day: date) -> dict[str, str]:
    """Return the lines that were open at the end of a day, and whose they are."""
    end = datetime.combine(day + timedelta(days=1), time.min, desk.zone)
    columns = LINES.c
    query = sa.select(columns.id, columns.customer_id).where(
        columns.opened_at < end, sa.or_(columns.closed_at.is_(None), columns.closed_at >= end)
    )
    return {row.id: row.customer_id for row in db.execute(query)}


def _consenting(db: Connection, customers: list[str], day: date) -> set[str]:
    """Return those who let the lender learn from how they repay."""
    found: set[str] = set()
    for at in range(0, len(customers), _PAGE):
        part = dossiers(db, customers[at : at + _PAGE])
        found |= {name for name, one in part.items() if one.consent(TRAINING, day) is not None}
    return found
