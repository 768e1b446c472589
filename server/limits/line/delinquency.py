"""Days past due, buckets and cure, on days of the customer's own place (domain 2.6, B08).

A due date is a local civil date: what is paid before the day ends there is paid in time. Nothing
here reads a clock or a time zone file; both are handed in.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

from server.limits.line.line import Delinquency
from server.limits.rules.line_policy import Arrears
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class Instalment:
    """An amount that falls due.

    Parameters
    ----------
    due_on : date
        Local civil date.
    amount_minor, paid_minor : int
        What fell due, and what of it was paid by the end of the day in question.
    """

    due_on: date
    amount_minor: int
    paid_minor: int = 0


def local_day(instant: datetime, zone: tzinfo) -> date:
    """Return the civil date of an instant at a place.

    Raises
    ------
    UsageError
        If the instant does not say its offset from UTC.
    """
    if instant.tzinfo is None:
        raise UsageError("an instant must say its offset from UTC")
    return instant.astimezone(zone).date()


def add_months(day: date, months: int) -> date:
    """Return the same day of a later month, or that month's last."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def due_dates(first: date, count: int) -> tuple[date, ...]:
    """Return monthly due dates.

    Each is reckoned from the first, so that the 31st comes back after a short month.
    """
    return tuple(add_months(first, month) for month in range(count))


def days_past_due(instalments: Sequence[Instalment], day: date) -> int:
    """Return how many days the oldest unpaid instalment is overdue at the end of a day.

    Nothing is overdue on the due date itself.
    """
    overdue = [one.due_on for one in instalments if one.paid_minor < one.amount_minor]
    return max(0, (day - min(overdue, default=day)).days)


def bucket_of(days: int, arrears: Arrears) -> str:
    """Return the name of a bucket: ``C``, ``1-29``, ... ``120+``."""
    edges = arrears.buckets
    if days < edges[0]:
        return "C"
    for low, above in pairwise(edges):
        if days < above:
            return f"{low}-{above - 1}"
    return f"{edges[-1]}+"


def advance(
    before: Delinquency,
    arrears: Arrears,
    day: date,
    days: int,
    *,
    clear_since: date | None = None,
    forborne_on: date | None = None,
) -> Delinquency:
    """Return where a line stands on a day.

    Parameters
    ----------
    before : Delinquency
    arrears : Arrears
    day : date
    days : int
        Days past due, at least 0.
    clear_since : date, optional
        First day with nothing overdue, where the caller knows it; else the first day that tells.
    forborne_on : date, optional
        Of a concession because of difficulties.
    """
    if days == before.days_past_due == 0 and not before.curing and forborne_on is None:
        return before
    curing = before.curing or days > arrears.grace_days or forborne_on is not None
    defaulted = before.defaulted_on or (day if days >= arrears.default_from else None)
    clear = None
    if days == 0 and curing:
        known = clear_since if clear_since is not None and clear_since <= day else day
        clear = before.clear_since or known
    now = replace(
        before,
        days_past_due=days,
        bucket=bucket_of(days, arrears),
        curing=curing,
        clear_since=clear,
        defaulted_on=defaulted,
        forborne_on=forborne_on or before.forborne_on,
    )
    cured_from = cured_on(now, arrears)
    if curing and cured_from is not None and cured_from <= day:
        return Delinquency(bucket=now.bucket)
    return now


def cured_on(now: Delinquency, arrears: Arrears) -> date | None:
    """Return the day on which a delinquency is cured if nothing falls overdue again.

    60 days with nothing overdue, 90 after a default, and a year after forbearance (EBA GL 2016/07
    and GL/2026/05; domain 2.6). None while something is overdue, or where nothing needs a cure.
    """
    if not now.curing or now.clear_since is None:
        return None
    days = arrears.default_cure_days if now.defaulted_on is not None else arrears.cure_days
    cured = now.clear_since + timedelta(days=days)
    if now.forborne_on is not None:
        cured = max(cured, add_months(now.forborne_on, arrears.forbearance_months))
    return cured
