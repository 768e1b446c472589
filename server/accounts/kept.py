"""Decisions of a span of time with their records, read page by page: what watching goes by.

A record is read as plain JSON, field by field as it is needed; one that was deleted with a
customer's data is left out, its decision still counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.recording import KIND
from server.store.tables import DECISIONS, LINES, RECORDS
from shared.errors import UsageError

LONGEST: Final = timedelta(days=1100)
"""Of a span that is watched at once."""
USUAL: Final = timedelta(days=400)
EARLIEST: Final = date(2000, 1, 1)
"""Nothing was kept before."""
_PAGE: Final = 500
_YEAR: Final = timedelta(days=365)
_D: Final = DECISIONS.c
_R: Final = RECORDS.c


@dataclass(frozen=True, slots=True)
class Span:
    """From one local day to another, both included.

    Parameters
    ----------
    since, until : date

    Raises
    ------
    UsageError
        If it ends before it begins, or is longer than `LONGEST`.
    """

    since: date
    until: date

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.until - self.since <= LONGEST:
            raise UsageError(f"since must be until or before, by at most {LONGEST.days} days")

    @classmethod
    def of(cls, since: date | None, until: date | None, today: date) -> Span:
        """Return the span that was asked for, cut to what is looked at at once.

        Parameters
        ----------
        since : date, optional
            Without one, `USUAL` before the last day. Later than that day, it is that day.
        until : date, optional
            Without one, today; a day to come is today.
        today : date
        """
        last = max(min(until or today, today), EARLIEST)
        first = since or last - USUAL
        return cls(min(max(first, last - LONGEST, EARLIEST), last), last)

    def instants(self) -> tuple[datetime, datetime]:
        """Return the instants of UTC that it begins and ends at, for counts."""
        first = datetime.combine(self.since, time.min, UTC)
        return first, datetime.combine(self.until + timedelta(days=1), time.min, UTC)

    def to_mapping(self) -> dict[str, str]:
        """Return plain values, ready for JSON."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


@dataclass(frozen=True, slots=True)
class Kept:
    """A decision and what its record says.

    Parameters
    ----------
    id, chain, purpose : str
    on : date
        Local day on which it was made, as the record has it.
    at : datetime
        UTC.
    body : mapping
        The record, as plain JSON.
    """

    id: str
    chain: str
    purpose: str
    on: date
    at: datetime
    body: dict[str, Any]

    @property
    def customer(self) -> str:
        """The pseudonym."""
        return str(self.body["about"].get("customer", ""))

    @property
    def codes(self) -> tuple[str, ...]:
        """Reasons' codes."""
        return tuple(one["code"] for one in self.body["outcome"]["reasons"])

    @property
    def before(self) -> dict[str, Any]:
        """The line before it."""
        return dict(self.body["before"])

    @property
    def after(self) -> dict[str, Any]:
        """The line after it."""
        return dict(self.body["outcome"]["after"])

    @property
    def snapshot(self) -> dict[str, Any] | None:
        """The score's snapshot; None where the decision looked at none, or none could be had."""
        if self.body["about"].get("model", "none") == "none":
            return None
        found = self.body["grounds"]["snapshot"]
        return None if found is None else dict(found)


def kept(db: Connection, span: Span, *purposes: str) -> Iterator[Kept]:
    """Yield the decisions of a span whose record is there, oldest first.

    Parameters
    ----------
    db : Connection
    span : Span
    *purposes : str
        Only these; without any, all.
    """
    # A local day may begin up to a day before or after the day of UTC.
    low = datetime.combine(span.since - timedelta(days=1), time.min, UTC)
    at, after = low, ""
    columns = (_D.id, _D.chain, _D.purpose, _D.decided_at, _R.record)
    while True:
        query = (
            sa.select(*columns)
            .join(RECORDS, _R.decision_id == _D.id)
            .where(sa.or_(_D.decided_at > at, sa.and_(_D.decided_at == at, _D.id > after)))
            .order_by(_D.decided_at, _D.id)
            .limit(_PAGE)
        )
        if purposes:
            query = query.where(_D.purpose.in_(purposes))
        rows = db.execute(query).all()
        for row in rows:
            one = _read(row)
            if one is not None and span.since <= one.on <= span.until:
                yield one
        if len(rows) < _PAGE or rows[-1].decided_at.date() > span.until + timedelta(days=1):
            return
        at, after = rows[-1].decided_at, rows[-1].id


def kept_of(db: Connection, span: Span, chains: Sequence[str]) -> dict[str, list[Kept]]:
    """Return the decisions of some lines in a span whose record is there, each line's in order.

    Parameters
    ----------
    db : Connection
    span : Span
    chains : sequence of str
        A page of lines: everything is read at once.
    """
    columns = (_D.id, _D.chain, _D.purpose, _D.decided_at, _R.record)
    low = datetime.combine(span.since - timedelta(days=1), time.min, UTC)
    query = sa.select(*columns).join(RECORDS, _R.decision_id == _D.id)
    query = query.where(_D.chain.in_(chains), _D.decided_at > low).order_by(_D.chain, _D.number)
    found: dict[str, list[Kept]] = {}
    for row in db.execute(query):
        one = _read(row)
        if one is not None and span.since <= one.on <= span.until:
            found.setdefault(one.chain, []).append(one)
    return found


def counted(db: Connection, span: Span) -> dict[str, int]:
    """Return how many decisions of each purpose a span has, deleted records or not."""
    low, high = span.instants()
    query = sa.select(_D.purpose, sa.func.count()).where(_D.decided_at >= low, _D.decided_at < high)
    return {purpose: int(n) for purpose, n in db.execute(query.group_by(_D.purpose))}


def bads_of(db: Connection, chains: Iterable[str], now: datetime) -> dict[str, bool | None]:
    """Return what came of lines: a default, none within a year, or not known yet."""
    wanted, columns = sorted(set(chains)), LINES.c
    found: dict[str, bool | None] = {}
    for at in range(0, len(wanted), 500):
        query = sa.select(columns.id, columns.opened_at, columns.domain)
        for row in db.execute(query.where(columns.id.in_(wanted[at : at + 500]))):
            late = row.domain["delinquency"]
            if late["defaulted_on"] is not None or row.domain["frozen_for"] == "default":
                found[row.id] = True
            else:
                found[row.id] = False if now - row.opened_at >= _YEAR else None
    return found


def _read(row: Any) -> Kept | None:
    body = json.loads(bytes(row.record))
    if body.get("kind") != KIND:
        return None
    on = date.fromisoformat(body["ask"]["day"])
    return Kept(row.id, row.chain, row.purpose, on, row.decided_at, body)
