"""Repayments, schedules, days past due, and what the triggers want to know of a line's past.

A payment is of principal; it pays the instalment that falls due first, of whichever drawdown, and
within a drawdown each lender by what it is owed (`server.store.repayments`). So whoever pays what
is due, and in time, is never late, however many drawdowns there are. Due dates are local civil
dates: what is paid before the day ends there is paid in time, whenever it is booked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import BureauReport, bureau_from
from server.accounts.pasts import RELEASE, Drawn, Past, drawn_on, pasts_of
from server.limits.line.delinquency import Instalment, local_day
from server.limits.line.delinquency import days_past_due as oldest_overdue
from server.limits.line.history import History
from server.limits.rules.line_policy import LinePolicy
from server.store import people, repayments
from server.store.lines import StoredLine, get_line
from server.store.repayments import Repayment, RepaymentRequest
from shared.errors import Conflict

HORIZON: Final = timedelta(days=800)
"""Longer than any cure takes: what was late before has no effect any more."""


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
    """Apply a payment once, to what falls due first; the same one again finds what it did.

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
    if repayments.find_repayment(db, asked.external_ref) is not None:
        return repayments.repay(db, asked, now)
    if owed < asked.amount_minor:
        raise Conflict(
            f"more than is outstanding: {owed} minor units are",
            check="outstanding",
            hint="repay that much, or less",
        )
    to = None if asked.to is not None else _first_due(db, asked, desk.today(now))
    return repayments.repay(db, asked, now, to)


def _first_due(db: Connection, asked: RepaymentRequest, today: date) -> dict[str, int] | None:
    """Return what each drawdown gets of a payment; None where there is one drawdown, or none."""
    drawn = [one for one in drawn_for(db, [asked.line_id], today)[asked.line_id] if one.open_minor]
    if len(drawn) <= 1:
        return None
    due = sorted(
        (
            (part.due_on, at, part.unpaid_minor)
            for at, one in enumerate(drawn)
            for part in _parts(one, today)
        ),
        key=lambda one: one[:2],
    )
    # A drawdown without a schedule is owed at any time: after what has a day, the oldest first.
    rest = [(at, one.open_minor) for at, one in enumerate(drawn)]
    left, given = asked.amount_minor, [0] * len(drawn)
    for at, most in [*((at, unpaid) for _, at, unpaid in due), *rest]:
        more = min(left, most, drawn[at].open_minor - given[at])
        given[at] += more
        left -= more
    return {one.id: amount for one, amount in zip(drawn, given, strict=True) if amount}


def days_past_due(
    desk: Desk,
    db: Connection,
    line_id: str,
    today: date,
    drawn: Sequence[Drawn] | None = None,
) -> tuple[int, date | None]:
    """Return how long the oldest unpaid instalment is overdue, and since when nothing is.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    today : date
        Local; payments with a later value date do not count.
    drawn : sequence of Drawn, optional
        The line's drawdowns, if they were read before; see `drawn_for`.

    Returns
    -------
    int
        Days; 0 on the due date itself.
    date or None
        The first day since which nothing is overdue; None while something is, or where nothing
        was paid late within `HORIZON`.
    """
    parts = _parts_of(desk, db, line_id, today, drawn)
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
    unpaid = [one for one in _parts_of(desk, db, line_id, today, None) if one.unpaid_minor]
    if not unpaid:
        return None
    first = min(one.due_on for one in unpaid)
    now = [one for one in unpaid if one.due_on <= max(first, today)]
    return Due(first, sum(one.unpaid_minor for one in now), sum(one.cost_minor for one in now))


def due_by(desk: Desk, db: Connection, line_id: str, today: date, until: date) -> int:
    """Return the principal that is not paid and falls due by a day, in minor units.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    today, until : date
        Local.
    """
    parts = _parts_of(desk, db, line_id, today, None)
    return sum(one.unpaid_minor for one in parts if one.due_on <= until)


def drawn_for(
    db: Connection, line_ids: Collection[str], today: date
) -> dict[str, tuple[Drawn, ...]]:
    """Return the drawdowns that `days_past_due` looks at, of some lines at once."""
    return drawn_on(db, line_ids, today - HORIZON)


def pasts_for(
    desk: Desk, db: Connection, line_ids: Collection[str], today: date
) -> dict[str, Past]:
    """Return the pasts that `history_of` looks at, of some lines at once."""
    since = _since(desk, today)
    return pasts_of(db, line_ids, datetime(since.year, since.month, since.day, tzinfo=desk.zone))


def history_of(
    desk: Desk,
    db: Connection,
    line: StoredLine,
    today: date,
    told: Sequence[BureauReport] | None = None,
    past: Past | None = None,
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
    past : Past, optional
        Of the line, if it was read before; see `pasts_for`.

    Returns
    -------
    History
        `enquiries` and `others` from the views of the bureau, None where there is none; `spending`
        is not known here.
    """
    past = past or pasts_for(desk, db, [line.id], today)[line.id]
    rows = [(local_day(at, desk.zone), delta) for at, delta in past.changes]
    owed = line.totals.outstanding_minor - sum(delta for _, delta in rows)
    draws, balances = [], [(_since(desk, today) - timedelta(days=1), owed)]
    for day, delta in rows:
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
        forbidden=_forbidden(desk, past, today),
    )


def _told(db: Connection, customer_id: str) -> list[BureauReport]:
    """Return what the bureau told of a customer, those that came in first before the others."""
    rows = people.rows_of(db, people.BUREAU_VIEWS, [customer_id])[customer_id]
    return [bureau_from(row).report for row in rows]


def _since(desk: Desk, today: date) -> date:
    """Return the first local day that a review looks at."""
    return today - timedelta(days=_reach(desk.rules.line) + 1)


def _reach(policy: LinePolicy) -> int:
    """Return the days of the longest window that a review looks through."""
    spans = [
        max(one.days, one.over_days)
        for rule in policy.rules.values()
        for one in (*rule.enter, *rule.exit)
    ]
    idle = policy.inactivity.after_days if policy.inactivity is not None else 0
    return max([*spans, idle, 31])


def _forbidden(desk: Desk, past: Past, today: date) -> tuple[date, ...]:
    """Return the days of forbidden draws since a person last looked: that is what a release is."""
    days: list[date] = []
    for purpose, at in past.looked:
        days = [] if purpose == RELEASE else [*days, local_day(at, desk.zone)]
    return tuple(day for day in days if day <= today)


def _parts_of(
    desk: Desk, db: Connection, line_id: str, today: date, drawn: Sequence[Drawn] | None
) -> list[_Part]:
    """Return the instalments of a line's drawdowns that are open or were repaid lately."""
    if drawn is None:
        drawn = drawn_for(db, [line_id], today)[line_id]
    return [
        part
        for one in drawn
        if local_day(one.drawn_at, desk.zone) <= today
        for part in _parts(one, today)
    ]


def _parts(drawn: Drawn, today: date) -> list[_Part]:
    """Return the instalments of one drawdown: what comes in pays the oldest first."""
    repaid = drawn.amount_minor - drawn.open_minor
    total = repaid - sum(part for _, part in drawn.paid)  # before the horizon
    steps = [(date.min, total)]
    for day, part in drawn.paid:
        if day <= today:
            total += part
            steps.append((day, total))
    result, needed = [], 0
    for one in drawn.terms.get("schedule", ()):
        before, needed = needed, needed + one["principal_minor"]
        reached = next((day for day, sum_paid in steps if sum_paid >= needed), None)
        unpaid = min(one["principal_minor"], max(0, needed - max(total, before)))
        due_on = date.fromisoformat(one["due_on"])
        result.append(_Part(due_on, one["principal_minor"], one["cost_minor"], unpaid, reached))
    return result
