"""Repayments, schedules, days past due, and what the triggers want to know of a line's past.

A payment is of principal; it goes to the oldest drawdown first and, within it, to each lender by
what it is owed (`server.store.repayments`). Due dates are local civil dates: what is paid before
the day ends there is paid in time, whenever it is booked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import BureauReport, bureau_from
from server.limits.delinquency import Instalment, local_day
from server.limits.delinquency import days_past_due as oldest_overdue
from server.limits.history import History
from server.limits.line_policy import LinePolicy
from server.store import people, repayments
from server.store.lines import StoredLine, get_line
from server.store.repayments import Repayment, RepaymentRequest
from server.store.tables import ALLOCATIONS, DECISIONS, DRAWDOWNS, LINE_EVENTS, REPAYMENTS
from shared.errors import Conflict

HORIZON: Final = timedelta(days=800)
"""Longer than any cure takes: what was late before has no effect any more."""
FREEZE: Final = "freeze_purpose"
RELEASE: Final = "release"
_D: Final = DRAWDOWNS.c
_A: Final = ALLOCATIONS.c
_R: Final = REPAYMENTS.c
_E: Final = LINE_EVENTS.c
_OPEN: Final = (
    sa.select(_D.id, _D.amount_minor, _D.open_minor, _D.terms, _D.drawn_at)
    .where(_D.line_id == sa.bindparam("p_line"), _D.open_minor > sa.literal_column("0"))
    .order_by(_D.line_version)
)
_OF_IDS: Final = sa.select(_D.id, _D.amount_minor, _D.open_minor, _D.terms, _D.drawn_at).where(
    _D.id.in_(sa.bindparam("p_ids", expanding=True))
)
_PAID: Final = (
    sa.select(_A.drawdown_id, _R.value_date, sa.func.sum(_A.amount_minor))
    .join(REPAYMENTS, _R.id == _A.repayment_id)
    .where(_R.line_id == sa.bindparam("p_line"), _R.value_date >= sa.bindparam("p_since"))
    .group_by(_A.drawdown_id, _R.value_date)
    .order_by(_R.value_date)
)
_CHANGES: Final = (
    sa.select(_E.at, _E.kind, _E.outstanding_delta)
    .where(
        _E.line_id == sa.bindparam("p_line"),
        _E.outstanding_delta != 0,
        _E.at >= sa.bindparam("p_since", type_=LINE_EVENTS.c.at.type),
    )
    .order_by(_E.version)
)
_FREEZES: Final = (
    sa.select(DECISIONS.c.purpose, DECISIONS.c.decided_at)
    .where(
        DECISIONS.c.chain == sa.bindparam("p_line"),
        DECISIONS.c.purpose.in_([FREEZE, RELEASE]),
    )
    .order_by(DECISIONS.c.number)
)


@dataclass(frozen=True, slots=True)
class Due:
    """What falls due next, or is overdue.

    Parameters
    ----------
    due_on : date
        Local civil date of the oldest instalment that is not paid.
    principal_minor, cost_minor : int
        Of that day; once it has passed, of all days until today.
    """

    due_on: date
    principal_minor: int
    cost_minor: int

    @property
    def amount_minor(self) -> int:
        """Both together."""
        return self.principal_minor + self.cost_minor


@dataclass(frozen=True, slots=True)
class _Part:
    """An instalment of a drawdown, and when what was repaid came to reach it."""

    due_on: date
    principal_minor: int
    cost_minor: int
    unpaid_minor: int
    paid_on: date | None


def repay(desk: Desk, db: Connection, asked: RepaymentRequest, now: datetime) -> Repayment:
    """Apply a payment once, oldest drawdown first; the same one again finds what it did.

    Raises
    ------
    NotFound
        If there is no such line or drawdown.
    Conflict
        With check `value_date` if the money has not come in yet, `outstanding` if less is owed
        (the message says how much), `currency`, or `reference` if the `external_ref` was another
        payment's.
    """
    if asked.value_date > desk.today(now):
        raise Conflict("the value date lies in the future", check="value_date")
    line = get_line(db, asked.line_id, lock=True)
    owed = line.totals.outstanding_minor
    if owed < asked.amount_minor and repayments.find_repayment(db, asked.external_ref) is None:
        raise Conflict(
            f"more than is outstanding: {owed} minor units are",
            check="outstanding",
            hint="repay that much, or less",
        )
    return repayments.repay(db, asked, now)


def days_past_due(desk: Desk, db: Connection, line_id: str, today: date) -> tuple[int, date | None]:
    """Return how long the oldest unpaid instalment is overdue, and since when nothing is.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    today : date
        Local; payments with a later value date do not count.

    Returns
    -------
    int
        Days; 0 on the due date itself.
    date or None
        The first day since which nothing is overdue; None while something is, or where nothing
        was paid late within `HORIZON`.
    """
    parts = [one for draw in _drawn(desk, db, line_id, today) for one in draw]
    instalments = [
        Instalment(one.due_on, one.principal_minor, one.principal_minor - one.unpaid_minor)
        for one in parts
    ]
    days = oldest_overdue(instalments, today)
    if days:
        return days, None
    late = [one.paid_on for one in parts if one.paid_on is not None and one.paid_on > one.due_on]
    return 0, max(late, default=None)


def next_due(desk: Desk, db: Connection, line_id: str, today: date) -> Due | None:
    """Return what falls due next on a line, or what is overdue; None where nothing is owed."""
    parts = [one for draw in _drawn(desk, db, line_id, today) for one in draw]
    unpaid = [one for one in parts if one.unpaid_minor]
    if not unpaid:
        return None
    first = min(one.due_on for one in unpaid)
    now = [one for one in unpaid if one.due_on <= max(first, today)]
    return Due(first, sum(one.unpaid_minor for one in now), sum(one.cost_minor for one in now))


def history_of(
    desk: Desk,
    db: Connection,
    line: StoredLine,
    today: date,
    told: Sequence[BureauReport] | None = None,
) -> History:
    """Return what happened on a line, as far back as any window of the line policy reaches.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line : StoredLine
    today : date
        Local; later events are left out.
    told : sequence of BureauReport, optional
        What the bureau told of the customer, if it was read before.

    Returns
    -------
    History
        `enquiries` and `others` from the views of the bureau, None where there is none; `spending`
        is not known here.
    """
    since = today - timedelta(days=_reach(desk.rules.line) + 1)
    begin = datetime(since.year, since.month, since.day, tzinfo=desk.zone)
    rows = [
        (local_day(at, desk.zone), kind, delta)
        for at, kind, delta in db.execute(_CHANGES, {"p_line": line.id, "p_since": begin})
    ]
    owed = line.totals.outstanding_minor - sum(delta for _, _, delta in rows)
    draws, balances = [], [(since - timedelta(days=1), owed)]
    for day, _, delta in rows:
        if day > today:
            break
        owed += delta
        balances.append((day, owed))
        if delta > 0:
            draws.append((day, delta))
    known = _told(db, line.customer_id) if told is None else told
    told = sorted((one for one in known if one.as_of <= today), key=lambda one: one.as_of)
    return History(
        draws=tuple(draws),
        balances=tuple(balances),
        enquiries=told[-1].enquiries if told else None,
        others=tuple((one.as_of, one.other_balances_minor) for one in told) if told else None,
        forbidden=_forbidden(desk, db, line.id, today),
    )


def _told(db: Connection, customer_id: str) -> list[BureauReport]:
    """Return what the bureau told of a customer, those that came in first before the others."""
    rows = people.rows_of(db, people.BUREAU_VIEWS, [customer_id])[customer_id]
    return [bureau_from(row).report for row in rows]


def _reach(policy: LinePolicy) -> int:
    """Return the days of the longest window that a review looks through."""
    spans = [
        max(one.days, one.over_days)
        for rule in policy.rules.values()
        for one in (*rule.enter, *rule.exit)
    ]
    idle = policy.inactivity.after_days if policy.inactivity is not None else 0
    return max([*spans, idle, 31])


def _forbidden(desk: Desk, db: Connection, line_id: str, today: date) -> tuple[date, ...]:
    """Return the days of forbidden draws since a person last looked: that is what a release is."""
    days: list[date] = []
    for purpose, at in db.execute(_FREEZES, {"p_line": line_id}):
        days = [] if purpose == RELEASE else [*days, local_day(at, desk.zone)]
    return tuple(day for day in days if day <= today)


def _drawn(desk: Desk, db: Connection, line_id: str, today: date) -> list[list[_Part]]:
    """Return the instalments of the drawdowns that are open or were repaid lately."""
    since = {"p_line": line_id, "p_since": (today - HORIZON).isoformat()}
    paid: dict[str, list[tuple[date, int]]] = {}
    for drawdown_id, day, amount in db.execute(_PAID, since):
        paid.setdefault(drawdown_id, []).append((date.fromisoformat(day), int(amount)))
    rows = db.execute(_OPEN, {"p_line": line_id}).all()
    closed = sorted(paid.keys() - {row.id for row in rows})
    if closed:
        rows = [*rows, *db.execute(_OF_IDS, {"p_ids": closed})]
    return [
        _parts(row.amount_minor, row.open_minor, row.terms, paid.get(row.id, []), today)
        for row in rows
        if local_day(row.drawn_at, desk.zone) <= today
    ]


def _parts(
    amount: int,
    owed: int,
    terms: Mapping[str, Any],
    paid: Sequence[tuple[date, int]],
    today: date,
) -> list[_Part]:
    """Return the instalments of one drawdown: what comes in pays the oldest first."""
    total = amount - owed - sum(part for _, part in paid)  # repaid before the horizon
    steps = [(date.min, total)]
    for day, part in paid:
        if day <= today:
            total += part
            steps.append((day, total))
    result, needed = [], 0
    for one in terms.get("schedule", ()):
        before, needed = needed, needed + one["principal_minor"]
        reached = next((day for day, sum_paid in steps if sum_paid >= needed), None)
        unpaid = min(one["principal_minor"], max(0, needed - max(total, before)))
        due_on = date.fromisoformat(one["due_on"])
        result.append(_Part(due_on, one["principal_minor"], one["cost_minor"], unpaid, reached))
    return result
