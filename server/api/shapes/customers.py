"""Consents, evidence, what a bureau tells, and what is left of a customer who was erased."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from server.accounts import customers
from server.accounts.dossier import Consent as KeptConsent
from server.accounts.dossier import StoredBureauView, StoredEvidence
from server.api.shapes.common import (
    PSEUDONYM,
    Asked,
    CustomerId,
    Day,
    Digest,
    Id,
    MinorOrNone,
    Told,
    example,
)
from server.limits.caps.bureau import Overdue as KnownOverdue

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Enquiries = Annotated[list[Day], Field(max_length=200)]


class ConsentAsked(Asked):
    """What a customer agrees to."""

    model_config = example(
        purpose="credit_line",
        holders=["bank", "payments"],
        categories=["repayment", "income"],
        until=None,
    )

    purpose: Literal["credit_line", "credit_record", "training"]
    holders: Annotated[
        list[Name],
        Field(min_length=1, max_length=64, description="Parties; one that is not named is silent"),
    ]
    categories: Annotated[list[Name], Field(min_length=1, max_length=64)]
    until: Annotated[Day | None, Field(description="Last day; null: until it is withdrawn")] = None

    def request(self, customer_id: str) -> customers.ConsentRequest:
        """Return what is asked for, of a customer."""
        return customers.ConsentRequest(
            customer_id=customer_id,
            purpose=self.purpose,
            holders=tuple(dict.fromkeys(self.holders)),
            categories=tuple(dict.fromkeys(self.categories)),
            until=self.until,
        )


class Consent(Told):
    """A consent and its receipt."""

    consent_id: str
    customer_id: str
    purpose: str
    holders: list[str]
    categories: list[str]
    since: Day
    until: Day | None
    given_at: datetime
    withdrawn_at: datetime | None
    receipt_hash: str = Field(description="SHA-256 of what was agreed to: the customer's receipt")

    @classmethod
    def of(cls, kept: KeptConsent) -> Self:
        """Return the shape of a consent."""
        return cls(
            consent_id=kept.id,
            customer_id=kept.customer_id,
            purpose=kept.purpose,
            holders=list(kept.holders),
            categories=list(kept.categories),
            since=kept.since,
            until=kept.until,
            given_at=kept.given_at,
            withdrawn_at=kept.withdrawn_at,
            receipt_hash=kept.receipt_hash,
        )


class EvidenceAsked(Asked):
    """A proof that counts for the customer."""

    model_config = example(
        customer_id=PSEUDONYM,
        kind="income_flow",
        value_minor=900_000,
        source="declared",
        issued="2026-03-01",
        file_hash="5f" * 32,
    )

    customer_id: CustomerId
    kind: Literal["income_flow", "asset", "repaid_debt", "closed_line"]
    value_minor: MinorOrNone
    source: Annotated[Name, Field(description="Who vouches for it: names its haircut")]
    issued: Day
    file_hash: Annotated[Digest, Field(description="SHA-256 of the document")]
    expires: Annotated[Day | None, Field(description="First day on which it does not count")] = None
    subject: Annotated[Id | None, Field(description="Which asset or debt")] = None
    whole: Annotated[bool, Field(description="The source says that there is no other income")] = (
        False
    )

    @model_validator(mode="after")
    def ordered(self) -> Self:
        """Refuse a proof that ends before it begins."""
        if self.expires is not None and self.expires <= self.issued:
            raise ValueError("expires must lie after issued")
        return self

    def request(self, by: str) -> customers.EvidenceRequest:
        """Return what is asked for, by somebody."""
        return customers.EvidenceRequest(
            customer_id=self.customer_id,
            kind=self.kind,
            value_minor=self.value_minor,
            source=self.source,
            issued=self.issued,
            file_hash=self.file_hash,
            expires=self.expires,
            subject=self.subject or "",
            whole=self.whole,
            by=by,
        )


class Evidence(Told):
    """A proof that is kept."""

    evidence_id: str
    customer_id: str
    kind: str
    value_minor: int
    source: str
    issued: Day
    expires: Day
    file_hash: str
    subject: str
    whole: bool
    added_by: str
    added_at: datetime

    @classmethod
    def of(cls, kept: StoredEvidence) -> Self:
        """Return the shape of a proof."""
        proof = kept.proof
        return cls(
            evidence_id=kept.id,
            customer_id=kept.customer_id,
            kind=proof.kind,
            value_minor=proof.value_minor,
            source=proof.source,
            issued=proof.issued,
            expires=proof.expires,
            file_hash=proof.digest,
            subject=proof.subject,
            whole=proof.whole,
            added_by=kept.added_by,
            added_at=kept.added_at,
        )


class Overdue(Asked):
    """One overdue payment that a bureau knows of."""

    amount_minor: Annotated[MinorOrNone, Field(ge=1)]
    arose: Day
    repaid: Annotated[Day | None, Field(description="In full; null while it is not")] = None

    @model_validator(mode="after")
    def ordered(self) -> Self:
        """Refuse one that was repaid before it arose."""
        if self.repaid is not None and self.repaid < self.arose:
            raise ValueError("repaid must not lie before arose")
        return self


class BureauAsked(Asked):
    """What a credit bureau tells of a customer."""

    model_config = example(
        as_of="2026-03-01",
        obligations_minor=220_000,
        other_limits_minor=1_000_000,
        other_balances_minor=300_000,
        enquiries=["2026-02-11"],
        overdue=[],
    )

    as_of: Day
    obligations_minor: Annotated[MinorOrNone, Field(description="Of other debts, a month")] = 0
    other_limits_minor: Annotated[MinorOrNone, Field(description="Revolving, elsewhere")] = 0
    other_balances_minor: Annotated[MinorOrNone, Field(description="Revolving, elsewhere")] = 0
    enquiries: Annotated[Enquiries, Field(description="Hard ones")] = Field(default_factory=list)
    overdue: Annotated[list[Overdue], Field(max_length=200)] = Field(default_factory=list)

    def request(self, customer_id: str, by: str) -> customers.BureauReport:
        """Return the report on a customer, by somebody."""
        return customers.BureauReport(
            customer_id=customer_id,
            as_of=self.as_of,
            obligations_minor=self.obligations_minor,
            other_limits_minor=self.other_limits_minor,
            other_balances_minor=self.other_balances_minor,
            enquiries=tuple(sorted(self.enquiries)),
            overdue=tuple(
                KnownOverdue(one.amount_minor, one.arose, one.repaid) for one in self.overdue
            ),
            by=by,
        )


class Bureau(Told):
    """A bureau's report that is kept."""

    report_id: str
    customer_id: str
    as_of: Day
    added_at: datetime

    @classmethod
    def of(cls, kept: StoredBureauView) -> Self:
        """Return the shape of a report."""
        return cls(
            report_id=kept.id,
            customer_id=kept.report.customer_id,
            as_of=kept.report.as_of,
            added_at=kept.added_at,
        )


class Erased(Told):
    """What was deleted of a customer; the decision log still verifies."""

    handle: str = Field(description="What stands where the pseudonym stood")
    lines: int
    records: int = Field(description="Of decisions, with their salts")
    evidence: int
    cases: int

    @classmethod
    def of(cls, done: customers.Erased) -> Self:
        """Return the shape of an erasure."""
        return cls(
            handle=done.handle,
            lines=done.lines,
            records=done.records,
            evidence=done.evidence,
            cases=done.cases,
        )
