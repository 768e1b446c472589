"""What customers agree to, prove and object to: consents, evidence, bureau views, cases.

A customer is the pseudonym of the score feeds. Nothing here decides a limit; a consent that is
withdrawn closes the customer's lines to draws, by a decision like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from server.accounts.casework import (
    CASE_KINDS,
    OUTCOMES,
    CaseKind,
    CaseRequest,
    cases,
    get_case,
    open_case,
    resolve_case,
)
from server.accounts.consents import (
    PURPOSES,
    RECORD,
    TRAINING,
    ConsentRequest,
    consents_of,
    get_consent,
    give_consent,
    withdraw_consent,
)
from server.accounts.deciding import UNTIL_LOOKED
from server.accounts.desk import Desk
from server.accounts.dossier import (
    CREDIT,
    BureauReport,
    Case,
    Consent,
    Dossier,
    StoredBureauView,
    StoredEvidence,
    bureau_from,
    consent_stands,
    credit_consent,
    customer,
    dossiers,
    evidence_from,
)
from server.accounts.reviewing import close_for
from server.limits.basis.plain import to_plain
from server.limits.caps.evidence import KINDS
from server.limits.line.line import LOOKED_INTO
from server.store import approvals, decisions, idempotency, people
from server.store.ids import minor, name, new_id, utc
from server.store.lines import get_line, lines_of
from shared.errors import Conflict, NotFound, UsageError

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """A proof that somebody brings; see `server.limits.caps.evidence.Evidence`.

    Parameters
    ----------
    customer_id, kind : str
    value_minor : int
    source : str
        Who vouches for it.
    issued : date
    file_hash : str
        SHA-256 of the document.
    expires : date, optional
        Without one, as long as the rules let proofs of the kind count.
    subject : str
    whole : bool
    by : str
        Who brought it.
    """

    customer_id: str
    kind: str
    value_minor: int
    source: str
    issued: date
    file_hash: str
    expires: date | None = None
    subject: str = ""
    whole: bool = False
    by: str = "customer"


def add_evidence(
    desk: Desk, db: Connection, asked: EvidenceRequest, now: datetime
) -> StoredEvidence:
    """Take a proof; it counts from the next decision on.

    Raises
    ------
    Conflict
        With check `source`, `issued` or `expires`, if the rules do not take such a proof.
    UsageError
        If a value is malformed.
    """
    day = desk.today(now)
    _check_evidence(desk, asked, day)
    days = desk.rules.evidence.kinds[asked.kind].days
    row = {
        "id": new_id(now),
        "customer_id": asked.customer_id,
        "kind": asked.kind,
        "value_minor": asked.value_minor,
        "source": asked.source,
        "issued": asked.issued.isoformat(),
        "expires": (asked.expires or asked.issued + timedelta(days=days)).isoformat(),
        "file_hash": asked.file_hash,
        "subject": asked.subject,
        "whole": asked.whole,
        "added_by": name(asked.by, "by"),
        "added_at": utc(now),
    }
    return evidence_from(people.add(db, people.EVIDENCE, row))


def evidence_of(db: Connection, customer_id: str) -> list[StoredEvidence]:
    """Return a customer's proofs, expired ones too, oldest first."""
    return list(dossiers(db, [customer_id])[customer_id].evidence)


def report_bureau(
    desk: Desk, db: Connection, asked: BureauReport, now: datetime
) -> StoredBureauView:
    """Take what a bureau tells of a customer.

    Raises
    ------
    Conflict
        With check `as_of`, if it is of a day to come.
    UsageError
        If an amount is no amount.
    """
    customer(asked.customer_id)
    if asked.as_of > desk.today(now):
        raise Conflict("as_of must not lie in the future", check="as_of")
    for field in ("obligations_minor", "other_limits_minor", "other_balances_minor"):
        minor(getattr(asked, field), field, least=0)
    told = to_plain(asked)
    row = {
        "id": new_id(now),
        "customer_id": told.pop("customer_id"),
        "as_of": told.pop("as_of"),
        "added_by": name(told.pop("by"), "by"),
        "told": told,
        "added_at": utc(now),
    }
    return bureau_from(people.add(db, people.BUREAU_VIEWS, row))


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted of a customer.

    Parameters
    ----------
    handle : str
        What stands where the pseudonym stood.
    lines, records, evidence, cases : int
        Lines kept without a name; records of decisions, proofs and bureau views deleted; cases
        whose text was blanked.
    """

    handle: str
    lines: int
    records: int
    evidence: int
    cases: int


def erase_customer(desk: Desk, db: Connection, customer_id: str, by: str, now: datetime) -> Erased:
    """Delete a customer's data: open lines are closed, records and their salts destroyed.

    The chain of commitments stays and verifies; what it commits to can no longer be opened.

    Raises
    ------
    NotFound
        If nothing is kept of the customer.
    Conflict
        With check `state`, while money is owed or held, or a line is frozen for a person to look
        into.
    """
    # Locked before they are looked at: else a draw between look and act would be owed by nobody.
    ids = [one.id for one in lines_of(db, customer(customer_id))]
    lines = [get_line(db, one, lock=True) for one in ids]
    if any(one.domain.get("frozen_for") in LOOKED_INTO for one in lines):
        raise Conflict(UNTIL_LOOKED, check="state", hint="an officer releases or closes it")
    if any(one.totals.outstanding_minor or one.totals.held_minor for one in lines):
        raise Conflict("money is owed or held", check="state", hint="repay first, then delete")
    for one in lines:
        if one.closed_at is None:
            close_for(desk, db, one.id, now, by)
    declined = people.rows_of(db, people.DECLINED, [customer_id])[customer_id]
    chains = [one.id for one in lines] + [row["id"] for row in declined]
    records = sum(decisions.erase_records(db, chain) for chain in chains)
    handle = f"erased-{new_id(now)}"
    touched = people.forget(db, customer_id, handle)
    if not records and not any(touched.values()):
        raise NotFound("nothing is kept of that customer")
    approvals.forget_words(db, chains)
    for text in (customer_id, *chains):  # answers that are kept for repetitions
        idempotency.forget_naming(db, text)
    return Erased(
        handle=handle,
        lines=touched["lines"],
        records=records,
        evidence=touched["evidence"] + touched["bureau_views"],
        cases=touched["cases"],
    )


def _check_evidence(desk: Desk, asked: EvidenceRequest, day: date) -> None:
    customer(asked.customer_id)
    minor(asked.value_minor, "value_minor", least=0)
    rule = desk.rules.evidence.kinds.get(asked.kind)
    if rule is None:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}")
    if not _DIGEST.fullmatch(asked.file_hash):
        raise UsageError("file_hash must be a SHA-256, 64 small hex digits")
    if asked.subject:
        name(asked.subject, "subject")
    if asked.source not in rule.haircuts:
        raise Conflict(f"source must be one of {', '.join(rule.haircuts)}", check="source")
    if asked.issued > day:
        raise Conflict("issued must not lie in the future", check="issued")
    if asked.expires is not None and asked.expires <= asked.issued:
        raise Conflict("expires must lie after issued", check="expires")


__all__ = [
    "CASE_KINDS",
    "CREDIT",
    "OUTCOMES",
    "PURPOSES",
    "RECORD",
    "TRAINING",
    "BureauReport",
    "Case",
    "CaseKind",
    "CaseRequest",
    "Consent",
    "ConsentRequest",
    "Dossier",
    "Erased",
    "EvidenceRequest",
    "StoredBureauView",
    "StoredEvidence",
    "add_evidence",
    "cases",
    "consent_stands",
    "consents_of",
    "credit_consent",
    "customer",
    "dossiers",
    "erase_customer",
    "evidence_of",
    "get_case",
    "get_consent",
    "give_consent",
    "open_case",
    "report_bureau",
    "resolve_case",
    "withdraw_consent",
]
