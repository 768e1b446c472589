"""What customers take elsewhere, and what is known of them: credit record, linkage, data by holder.

A record states how a line was repaid and nothing else, and is signed only while the customer's
consent to it stands. What a line means for a later loan is computed and not kept.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import dossiers
from server.accounts.holding import data_used
from server.accounts.proving import KEY
from server.accounts.standing import look_at
from server.limits.answers.credit_record import Month, SignedRecord, build_record, sign_record
from server.limits.answers.linkage import Line, Loan, link, linkage_view
from server.limits.line.delinquency import local_day
from server.limits.words.explain import LANGUAGES, Money
from server.store import draws
from server.store.ids import name
from server.store.lines import StoredLine, get_line, lines_of
from server.store.tables import ALLOCATIONS, LINE_EVENTS, REPAYMENTS
from shared.edge.files import load_identity
from shared.errors import Conflict, EnvironmentFault, NotFound, Refused, UsageError

PURPOSE: Final = "credit_record"
"""Of the consent without which no record is signed."""
RECORD_DAYS: Final = 90
"""After so many days a record is out of date, and another one is asked for."""
_A: Final = ALLOCATIONS.c
_E: Final = LINE_EVENTS.c
_R: Final = REPAYMENTS.c
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class _Day:
    """A day on which a line's limit or balance changed."""

    on: date
    limit_minor: int
    owed_minor: int


def credit_record(
    desk: Desk,
    db: Connection,
    customer_id: str,
    now: datetime,
    *,
    subject: str,
    line_id: str = "",
) -> SignedRecord:
    """Return how a line was repaid, signed with the key of the limit service.

    Parameters
    ----------
    desk : Desk
    db : Connection
    customer_id : str
    now : datetime
    subject : str
        What the customer is known by at the reader; no pseudonym of ours.
    line_id : str
        Without one, the customer's oldest line.

    Raises
    ------
    NotFound
        If the customer has no such line.
    Refused
        If no consent to a credit record stands, or others can read the key.
    UsageError
        If the subject is malformed or the customer's pseudonym.
    EnvironmentFault
        If the service has no key.
    """
    if name(subject, "subject") == customer_id:
        raise UsageError("subject must not be the pseudonym", hint="choose another name for it")
    day = desk.today(now)
    if dossiers(db, [customer_id])[customer_id].consent(PURPOSE, day) is None:
        hint = f"give a consent to {PURPOSE} first"
        raise Refused("no consent to a credit record stands", hint=hint)
    mine = [one for one in lines_of(db, customer_id) if line_id in {"", one.id}]
    if not mine:
        raise NotFound("there is no line to make a record of")
    line = min(mine, key=lambda one: (one.opened_at, one.id))
    path = desk.home / KEY
    if not path.exists():
        raise EnvironmentFault("the service has no key to sign with", hint="`confide log init`")
    issuer = load_identity(path, desk.scores.federation.name, None)
    record = build_record(
        months_of(desk, db, line, day),
        issuer=issuer.name,
        subject=subject,
        product=line.product,
        currency=line.currency,
        issued=day,
        expires=day + timedelta(days=RECORD_DAYS),
    )
    return sign_record(issuer, record)


def months_of(desk: Desk, db: Connection, line: StoredLine, day: date) -> tuple[Month, ...]:
    """Return the months of a line until a day: what was due, what was paid, how much was in use.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line : StoredLine
    day : date
        The month it lies in is the last one.
    """
    changes = _changes(desk, db, line.id)
    due = [(on, late) for on, late in _instalments(db, line.id) if on < day]
    closed = None if line.closed_at is None else local_day(line.closed_at, desk.zone)
    last = day if closed is None else min(day, closed)
    found = []
    for first in _firsts(changes[0].on, last):
        end = first.replace(day=monthrange(first.year, first.month)[1])
        fell = [late for on, late in due if first <= on <= end]
        found.append(Month(first, bool(fell), not any(fell), *_peaks(changes, first, end)))
    return tuple(found)


def linkage(
    desk: Desk, db: Connection, line_id: str, loan: Loan, language: str, now: datetime
) -> dict[str, Any]:
    """Say what a line means for a later loan: no enquiry, and nothing is kept.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    loan : Loan
    language : str
    now : datetime

    Raises
    ------
    NotFound
        If there is no such line.
    UsageError
        If there are no texts in that language.
    Conflict
        With check `income`, if nothing is known of the customer's income.
    """
    if language not in LANGUAGES:
        raise UsageError(f"lang must be one of {', '.join(LANGUAGES)}")
    seen = look_at(desk, db, get_line(db, line_id), now)
    income = seen.inputs.income
    if income is None or income.monthly_minor <= 0:
        hint = "prove an income first: POST /v1/evidence"
        raise Conflict("nothing is known of the income", check="income", hint=hint)
    product = seen.rules.product
    price = product.prices.get(seen.snapshot.rating.grade) or list(product.prices.values())[-1]
    line = Line(
        drawn_minor=seen.facts.outstanding_minor,
        limit_minor=seen.line.effective_limit_minor,
        annual_rate=price.annual_rate,
        months=max(product.months),
    )
    found = link(loan, line, income.monthly_minor, income.obligations_minor)
    money = Money(seen.policy.currency, seen.policy.minor_digits)
    return {
        "line_id": line_id,
        "as_of": seen.day.isoformat(),
        "currency": money.currency,
        **linkage_view(loan, found, desk.rules.texts[language], money),
    }


def _changes(desk: Desk, db: Connection, line_id: str) -> list[_Day]:
    query = sa.select(_E.at, _E.limit_minor, _E.outstanding_delta).where(_E.line_id == line_id)
    owed, found = 0, []
    for at, limit, delta in db.execute(query.order_by(_E.version)):
        owed += delta
        found.append(_Day(local_day(at, desk.zone), limit, owed))
    return found


def _instalments(db: Connection, line_id: str) -> Iterator[tuple[date, bool]]:
    """Yield the due day of every instalment, and whether it was unpaid when that day was over.

    What comes in pays the oldest instalment of its drawdown first, as `server.accounts.repaying`
    counts it.
    """
    paid: dict[str, list[tuple[str, int]]] = {}
    query = sa.select(_A.drawdown_id, _R.value_date, _A.amount_minor)
    query = query.join(REPAYMENTS, _R.id == _A.repayment_id).where(_R.line_id == line_id)
    for drawdown_id, on, amount in db.execute(query):
        paid.setdefault(drawdown_id, []).append((on, int(amount)))
    after = 0
    while page := draws.drawdowns_of(db, line_id, after_version=after, count=_PAGE):
        for one in page:
            needed = 0
            for row in one.terms.get("schedule", ()):
                needed += row["principal_minor"]
                come = sum(part for on, part in paid.get(one.id, ()) if on <= row["due_on"])
                yield date.fromisoformat(row["due_on"]), come < needed
        after = page[-1].line_version


def _firsts(begin: date, last: date) -> Iterator[date]:
    first = begin.replace(day=1)
    while first <= last:
        yield first
        year, month = divmod(first.year * 12 + first.month, 12)
        first = date(year, month + 1, 1)


def _peaks(changes: Sequence[_Day], first: date, end: date) -> tuple[int, int]:
    """Return the most that was owed in a month, and the highest limit; what stood before counts."""
    before = [one for one in changes if one.on < first][-1:]
    inside = [one for one in changes if first <= one.on <= end]
    rows = [*before, *inside]
    return max(one.owed_minor for one in rows), max(one.limit_minor for one in rows)


__all__ = [
    "PURPOSE",
    "RECORD_DAYS",
    "credit_record",
    "data_used",
    "linkage",
    "months_of",
]
