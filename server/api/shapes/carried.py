"""What a customer carries to others, and what is held: records, linkage, data used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from server.api.shapes.common import Amount, Asked, Id, Language, Share, Told, example


class LoanAsked(Asked):
    """The loan that is planned."""

    model_config = example(
        type="mortgage", amount_minor=100_000_000, annual_rate=0.035, months=360, most_share=0.5
    )

    type: Literal["mortgage", "car", "other"]
    amount_minor: Amount
    annual_rate: Share
    months: Annotated[int, Field(ge=1, le=600)]
    most_share: Annotated[
        float, Field(ge=0.01, le=1, description="Of the income, for all repayments")
    ] = 0.5


class LinkageAsked(Asked):
    """A line and a later loan."""

    line_id: Id
    loan: LoanAsked
    lang: Language = "en"


class Linkage(Told):
    """What the line means for the loan: no enquiry, and not kept."""

    line_id: str
    as_of: str
    currency: str
    loan_instalment_minor: int
    dti_drawn: str
    dti_full_limit: str
    largest_loan_drawn_minor: int
    largest_loan_full_limit_minor: int
    effect: Literal["fits", "undrawn", "over"]
    effect_text: str
    note: str


class CreditRecord(Told):
    """How a line was repaid, and nothing else."""

    form: int
    issuer: str
    subject: str
    product: str
    currency: str
    first_month: str
    last_month: str
    months: int
    months_due: int
    months_on_time: int
    on_time_rate: str
    peak_utilisation: str
    issued: str
    expires: str


class SignedRecord(Told):
    """A record with the signature of its issuer; keep the bytes as they came."""

    record: CreditRecord
    public_key: str
    signature: str


class Topic(Told):
    """What a holder's data are about."""

    code: str
    text: str


class HolderData(Told):
    """What a holder tells of a customer."""

    party: str
    name: str
    consented: bool
    told: bool
    missing: str | None
    as_of: str | None
    points: int | None
    topics: list[Topic]


class DataUsed(Told):
    """Everything that is used or kept of a customer, holder by holder."""

    customer_id: str
    as_of: str
    language: Language
    holders: list[HolderData]
    evidence: list[dict[str, Any]]
    bureau: dict[str, Any] | None
    consents: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    never_used: list[str]
