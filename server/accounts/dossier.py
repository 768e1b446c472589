"""What is kept of customers beside their lines; `server.accounts.customers` writes it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import rfc8785
from sqlalchemy import Connection

from server.limits.basis.plain import from_plain
from server.limits.caps.bureau import BureauView, Overdue, shown
from server.limits.caps.evidence import Evidence
from server.limits.rules.pack import Pack
from server.store import people
from shared.errors import UsageError

CREDIT: Final = "credit_line"
"""Purpose without which no line is opened, nothing is raised and nothing drawn."""
GRANTED: Final = "granted"
"""Outcome of a call for help that is answered by a concession."""
DECLARED: Final = "declared"
"""The source that a customer can name for a proof: its own word."""
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent and its receipt.

    Parameters
    ----------
    id, customer_id, purpose : str
    holders, categories : tuple of str
    since : date
    until : date, optional
    receipt_hash : str
        SHA-256 of `receipt`: what the customer keeps.
    given_at, withdrawn_at : datetime
        UTC.
    """

    id: str
    customer_id: str
    purpose: str
    holders: tuple[str, ...]
    categories: tuple[str, ...]
    since: date
    until: date | None
    receipt_hash: str
    given_at: datetime
    withdrawn_at: datetime | None

    def holds_on(self, day: date) -> bool:
        """Return whether it counts on a local day; one that was withdrawn never does again."""
        begun = self.withdrawn_at is None and self.since <= day
        return begun and (self.until is None or day <= self.until)

    def receipt(self) -> bytes:
        """Return what was agreed to, as canonical JSON."""
        return rfc8785.dumps(
            {
                "id": self.id,
                "customer": self.customer_id,
                "purpose": self.purpose,
                "holders": list(self.holders),
                "categories": list(self.categories),
                "since": self.since.isoformat(),
                "until": self.until.isoformat() if self.until else None,
                "given": self.given_at.isoformat(),
            }
        )


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """A proof that is kept.

    Parameters
    ----------
    id, customer_id : str
    proof : Evidence
    added_by : str
    added_at : datetime
        UTC.
    """

    id: str
    customer_id: str
    proof: Evidence
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class BureauReport:
    """What a credit bureau tells of a customer.

    Parameters
    ----------
    customer_id : str
    as_of : date
    obligations_minor, other_limits_minor, other_balances_minor : int
        Repayments of other debts a month; revolving limits and balances with other lenders.
    enquiries : tuple of date
        Hard ones.
    overdue : tuple of Overdue
    by : str
        Who reported it.
    """

    customer_id: str
    as_of: date
    obligations_minor: int = 0
    other_limits_minor: int = 0
    other_balances_minor: int = 0
    enquiries: tuple[date, ...] = ()
    overdue: tuple[Overdue, ...] = ()
    by: str = "bureau"


@dataclass(frozen=True, slots=True)
class StoredBureauView:
    """A bureau's report that is kept.

    Parameters
    ----------
    id : str
    report : BureauReport
    added_at : datetime
        UTC.
    """

    id: str
    report: BureauReport
    added_at: datetime

    def view(self, pack: Pack, day: date) -> BureauView:
        """Return what of it may be looked at on a day: a repaired default is forgotten (T28)."""
        told = self.report
        whole = BureauView(
            told.as_of, told.obligations_minor, told.other_limits_minor, told.overdue
        )
        return shown(whole, pack.credit_repair, day)


@dataclass(frozen=True, slots=True)
class Case:
    """A dispute, an appeal, a complaint or a call for help.

    Parameters
    ----------
    id, kind, customer_id, about, text : str
    decision_id : str, optional
    state : {'open', 'resolved'}
    outcome : str, optional
        One of `OUTCOMES`, of a call for help of `HELP` (`server.accounts.casework`).
    resolved_by, note : str, optional
    opened_at, resolved_at : datetime
        UTC.
    due_on : date
        Last local day for an answer.
    """

    id: str
    kind: str
    customer_id: str
    decision_id: str | None
    about: str
    text: str
    state: str
    outcome: str | None
    resolved_by: str | None
    note: str | None
    opened_at: datetime
    due_on: date
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is kept of a customer beside the lines.

    Parameters
    ----------
    consents : tuple of Consent
    evidence : tuple of StoredEvidence
    bureau : tuple of StoredBureauView
        Oldest first.
    cases : tuple of Case
    """

    consents: tuple[Consent, ...] = ()
    evidence: tuple[StoredEvidence, ...] = ()
    bureau: tuple[StoredBureauView, ...] = ()
    cases: tuple[Case, ...] = ()

    def consent(self, purpose: str, day: date) -> Consent | None:
        """Return the newest consent to a purpose that counts on a day."""
        held = (one for one in self.consents if one.purpose == purpose and one.holds_on(day))
        return max(held, key=lambda one: (one.given_at, one.id), default=None)

    def holders(self, purpose: str, day: date) -> frozenset[str]:
        """Return the parties that may tell: those of every consent that counts on a day."""
        held = (one for one in self.consents if one.purpose == purpose and one.holds_on(day))
        return frozenset(party for one in held for party in one.holders)

    def report(self, day: date) -> StoredBureauView | None:
        """Return the newest report of a bureau of a day or before."""
        told = (one for one in self.bureau if one.report.as_of <= day)
        return max(told, key=lambda one: (one.report.as_of, one.id), default=None)

    def disputed(self) -> bool:
        """Return whether a dispute is open."""
        return any(one.kind == "dispute" and one.state == "open" for one in self.cases)


def customer(customer_id: str) -> str:
    """Return a pseudonym, checked: 64 small hex digits.

    Raises
    ------
    UsageError
        If it is anything else; its text is not repeated.
    """
    if not isinstance(customer_id, str) or not _PSEUDONYM.fullmatch(customer_id):
        raise UsageError("a customer's id has 64 small hex digits")
    return customer_id


def credit_consent(db: Connection, customer_id: str, day: date) -> Consent | None:
    """Return the consent that a draw on a day needs, or None."""
    return dossiers(db, [customer_id])[customer_id].consent(CREDIT, day)


def consent_stands(db: Connection, customer_id: str, day: date) -> bool:
    """Return whether a customer's consent to credit counts on a local day."""
    return credit_consent(db, customer_id, day) is not None


def dossiers(db: Connection, customer_ids: Collection[str]) -> dict[str, Dossier]:
    """Return what is kept of some customers: four queries, however many they are."""
    consents = people.rows_of(db, people.CONSENTS, customer_ids)
    evidence = people.rows_of(db, people.EVIDENCE, customer_ids)
    bureau = people.rows_of(db, people.BUREAU_VIEWS, customer_ids)
    told = people.rows_of(db, people.CASES, customer_ids)
    return {
        one: Dossier(
            tuple(map(consent_from, consents[one])),
            tuple(map(evidence_from, evidence[one])),
            tuple(map(bureau_from, bureau[one])),
            tuple(map(case_from, told[one])),
        )
        for one in customer_ids
    }


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def consent_from(row: Mapping[str, Any]) -> Consent:
    """Return the consent of a row."""
    terms = row["terms"]
    return Consent(
        id=row["id"],
        customer_id=row["customer_id"],
        purpose=row["purpose"],
        holders=tuple(terms.get("holders", ())),
        categories=tuple(terms.get("categories", ())),
        since=date.fromisoformat(row["since"]),
        until=_day(row["until"]),
        receipt_hash=row["receipt_hash"],
        given_at=row["given_at"],
        withdrawn_at=row["withdrawn_at"],
    )


def evidence_from(row: Mapping[str, Any]) -> StoredEvidence:
    """Return the proof of a row."""
    proof = Evidence(
        id=row["id"],
        kind=row["kind"],
        value_minor=row["value_minor"],
        source=row["source"],
        issued=date.fromisoformat(row["issued"]),
        expires=date.fromisoformat(row["expires"]),
        digest=row["file_hash"],
        subject=row["subject"],
        whole=row["whole"],
    )
    return StoredEvidence(row["id"], row["customer_id"], proof, row["added_by"], row["added_at"])


def bureau_from(row: Mapping[str, Any]) -> StoredBureauView:
    """Return the bureau's report of a row."""
    whole = {
        **row["told"],
        "customer_id": row["customer_id"],
        "as_of": row["as_of"],
        "by": row["added_by"],
    }
    report: BureauReport = from_plain(BureauReport, whole)
    return StoredBureauView(row["id"], report, row["added_at"])


def case_from(row: Mapping[str, Any]) -> Case:
    """Return the case of a row."""
    return Case(**{**row, "due_on": date.fromisoformat(row["due_on"])})
