"""Consents: given, withdrawn, and what that does to the customer's lines."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.dossier import (
    CREDIT,
    Consent,
    consent_from,
    credit_consent,
    customer,
    dossiers,
)
from server.accounts.reviewing import tell_consent
from server.store import people
from server.store.ids import name, new_id, utc
from server.store.tables import LINES
from shared.errors import Conflict, UsageError

RECORD: Final = "credit_record"
TRAINING: Final = "training"
PURPOSES: Final = (CREDIT, RECORD, TRAINING)


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """What a customer agrees to.

    Parameters
    ----------
    customer_id : str
        Pseudonym, 64 hex digits.
    purpose : str
        One of `PURPOSES`.
    holders : tuple of str
        Parties that may tell what they know; those that are not named count as silent.
    categories : tuple of str
        Of data, as the consent's text names them.
    until : date, optional
        Last local day.
    """

    customer_id: str
    purpose: str
    holders: tuple[str, ...]
    categories: tuple[str, ...]
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whose open lines have a consent to credit behind them.

    Parameters
    ----------
    customers : int
        With an open line.
    covered : int
        Of them, those with a consent that counts.
    withdrawn : int
        Of the others, those that withdrew one.
    by_holder : mapping of str to int
        Of those that are covered, how many let a party tell.
    """

    customers: int
    covered: int
    withdrawn: int
    by_holder: Mapping[str, int]


def give_consent(desk: Desk, db: Connection, asked: ConsentRequest, now: datetime) -> Consent:
    """Take a consent; to credit, it opens the customer's lines again that a withdrawal closed.

    Raises
    ------
    Conflict
        With check `holders` or `until`.
    UsageError
        If a value is malformed.
    """
    day = desk.today(now)
    _check_consent(desk, asked, day)
    made = Consent(
        id=new_id(now),
        customer_id=asked.customer_id,
        purpose=asked.purpose,
        holders=tuple(sorted(asked.holders)),
        categories=tuple(sorted(asked.categories)),
        since=day,
        until=asked.until,
        receipt_hash="",
        given_at=utc(now),
        withdrawn_at=None,
    )
    row = {
        "id": made.id,
        "customer_id": made.customer_id,
        "purpose": made.purpose,
        "terms": {"holders": list(made.holders), "categories": list(made.categories)},
        "since": made.since.isoformat(),
        "until": made.until.isoformat() if made.until else None,
        "receipt_hash": hashlib.sha256(made.receipt()).hexdigest(),
        "given_at": made.given_at,
        "withdrawn_at": None,
    }
    kept = consent_from(people.add(db, people.CONSENTS, row))
    if kept.purpose == CREDIT:
        tell_consent(desk, db, kept.customer_id, now, stands=True)
    return kept


def withdraw_consent(desk: Desk, db: Connection, consent_id: str, now: datetime) -> Consent:
    """Take a withdrawal: without another consent to credit, no draws, nothing raised, no cut.

    Raises
    ------
    NotFound
    Conflict
        With check `state`, if it was withdrawn before.
    """
    found = consent_from(people.get(db, people.CONSENTS, consent_id, lock=True))
    if found.withdrawn_at is not None:
        raise Conflict("the consent was withdrawn before", check="state")
    values = {"withdrawn_at": max(utc(now), found.given_at)}
    kept = consent_from(people.update(db, people.CONSENTS, consent_id, values))
    if kept.purpose == CREDIT and credit_consent(db, kept.customer_id, desk.today(now)) is None:
        tell_consent(desk, db, kept.customer_id, now, stands=False)
    return kept


def consents_of(db: Connection, customer_id: str) -> list[Consent]:
    """Return a customer's consents, withdrawn ones too, oldest first."""
    return list(dossiers(db, [customer_id])[customer_id].consents)


def coverage(db: Connection, day: date) -> Coverage:
    """Count whose open lines have a consent behind them, on a local day.

    Parameters
    ----------
    db : Connection
    day : date
    """
    lines, kept = LINES.c, people.CONSENTS.c
    whose = sa.select(lines.customer_id).where(lines.closed_at.is_(None)).distinct()
    given = sa.select(people.CONSENTS).where(kept.purpose == CREDIT, kept.customer_id.in_(whose))
    holders: dict[str, set[str]] = {}
    withdrawn = set()
    for row in db.execute(given).mappings():
        one = consent_from(dict(row))
        if one.holds_on(day):
            holders.setdefault(one.customer_id, set()).update(one.holders)
        elif one.withdrawn_at is not None:
            withdrawn.add(one.customer_id)
    return Coverage(
        customers=int(
            db.execute(sa.select(sa.func.count()).select_from(whose.subquery())).scalar_one()
        ),
        covered=len(holders),
        withdrawn=len(withdrawn - holders.keys()),
        by_holder=Counter(party for told in holders.values() for party in told),
    )


def get_consent(db: Connection, consent_id: str) -> Consent:
    """Return a consent.

    Raises
    ------
    NotFound
    """
    return consent_from(people.get(db, people.CONSENTS, consent_id))


def _check_consent(desk: Desk, asked: ConsentRequest, day: date) -> None:
    customer(asked.customer_id)
    if asked.purpose not in PURPOSES:
        raise UsageError(f"purpose must be one of {', '.join(PURPOSES)}")
    if not asked.categories:
        raise UsageError("categories must name the data that the consent is for")
    for one in asked.categories:
        name(one, "categories")
    known = desk.scores.federation.holders
    if not asked.holders or not set(asked.holders) <= set(known):
        raise Conflict(f"holders must be some of {', '.join(known)}", check="holders")
    if asked.until is not None and asked.until < day:
        raise Conflict("until must not lie in the past", check="until")
