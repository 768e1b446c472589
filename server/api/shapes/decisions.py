"""Decisions on lines, overrides, and what another person has to approve."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from server.accounts.reviewing import Decided
from server.api.shapes.common import Asked, Day, Id, Minor, MinorOrNone, Told, Words, example
from server.limits.basis import reasons
from server.store import approvals
from server.store.decisions import StoredDecision

Note = Annotated[Words | None, Field(description="Why, for the record")]


class PlainAsked(Asked):
    """A decision that needs no amount."""

    model_config = example(purpose="review")

    purpose: Literal[
        "review",
        "increase",
        "restore",
        "accept_offer",
        "decline_offer",
        "freeze_fraud",
        "freeze_purpose",
        "release",
        "close",
    ]
    note: Note = None


class LowerAsked(Asked):
    """A lower limit, because the customer wants it."""

    model_config = example(purpose="self_lower", limit_minor=500_000)

    purpose: Literal["self_lower"]
    limit_minor: MinorOrNone
    note: Note = None


class PassingAsked(Asked):
    """An amount on top of the limit, for a time."""

    model_config = example(purpose="temporary", limit_minor=100_000, note="Hospital bill seen.")

    purpose: Literal["temporary"]
    limit_minor: Minor
    until: Annotated[Day | None, Field(description="Last day; null: as long as allowed")] = None
    note: Note = None


DecisionAsked = Annotated[PlainAsked | LowerAsked | PassingAsked, Field(discriminator="purpose")]


class OverrideAsked(Asked):
    """Another limit than the one that was decided; a second person must approve it."""

    model_config = example(
        limit_minor=1_000_000, reason="income-proven", note="Payslips seen in the branch."
    )

    limit_minor: MinorOrNone
    reason: Annotated[Id, Field(description="Code of the reason, for the override log")]
    note: Words


class AnswerAsked(Asked):
    """What the second person says to a proposal."""

    model_config = example(note="Agreed.")

    note: Words


class Reason(Told):
    """Why a limit is not higher; `explain` gives the sentences."""

    code: str
    family: Literal["score", "policy", "behaviour", "outside"]
    not_about_you: bool
    amount_minor: int | None
    points_lost: int | None
    holders: list[str]
    params: dict[str, int | str]

    @classmethod
    def of(cls, reason: reasons.Reason) -> Self:
        """Return the shape of a reason."""
        return cls(
            code=reason.code,
            family=reason.family,
            not_about_you=reason.family == "outside",
            amount_minor=reason.amount_minor,
            points_lost=reason.points_lost,
            holders=list(reason.holders),
            params=dict(reason.params),
        )


class Header(Told):
    """A decision as its chain has it."""

    decision_id: str
    chain: str = Field(description="The line, or the customer who got none")
    number: int
    purpose: str
    occasion: str
    policy_ref: str
    model_ref: str
    pack_ref: str
    commitment: str = Field(description="HMAC-SHA256 of the record under its salt")
    prev_hash: str
    hash: str
    decided_at: datetime

    @classmethod
    def of(cls, kept: StoredDecision) -> Self:
        """Return the shape of a decision's header."""
        rest = {name: getattr(kept, name) for name in cls.model_fields if name != "decision_id"}
        return cls(decision_id=kept.id, **rest)


class LimitDecision(Told):
    """What was decided on a line, and why."""

    decision_id: str
    line_id: str | None = Field(description="null: no line was opened")
    purpose: str
    decided_at: datetime
    state: str | None = Field(description="Of the line, right after it")
    version: int | None
    old_limit_minor: int
    new_limit_minor: int
    caps: dict[str, int] = Field(description="Every cap that applied, in minor units")
    binding: list[str] = Field(description="The smallest caps")
    reasons: list[Reason]
    earliest: Day | None = Field(description="Of the first rise, if nothing else is against it")
    policy_ref: str
    model_ref: str
    pack_ref: str
    explain_url: str
    proof_url: str

    @classmethod
    def of(cls, made: Decided) -> Self:
        """Return the shape of a decision."""
        kept, outcome = made.decision, made.record.outcome
        caps = outcome.caps
        return cls(
            decision_id=kept.id,
            line_id=made.line.id if made.line else None,
            purpose=kept.purpose,
            decided_at=kept.decided_at,
            state=made.line.state if made.line else None,
            version=made.line.version if made.line else None,
            old_limit_minor=made.old_minor,
            new_limit_minor=made.new_minor,
            caps=dict(caps.caps) if caps else {},
            binding=list(caps.binding) if caps else [],
            reasons=[Reason.of(one) for one in made.reasons],
            earliest=outcome.earliest,
            policy_ref=kept.policy_ref,
            model_ref=kept.model_ref,
            pack_ref=kept.pack_ref,
            explain_url=f"/v1/decisions/{kept.id}/explain",
            proof_url=f"/v1/log/proof?decision={kept.id}",
        )


class FullDecision(Told):
    """A decision with its record: everything that it was made from."""

    decision: Header
    record: dict[str, Any] | None = Field(description="null: it was deleted with the customer")


class Approval(Told):
    """A proposal that needs a second person."""

    approval_id: str
    kind: str
    subject: str
    payload: dict[str, Any] = Field(description="Exactly what is proposed")
    state: Literal["proposed", "approved", "rejected", "used"]
    proposer: str
    approver: str | None
    reason: str
    answer: str | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    used_at: datetime | None

    @classmethod
    def of(cls, found: approvals.Approval) -> Self:
        """Return the shape of a proposal."""
        names = [name for name in cls.model_fields if name not in {"approval_id", "payload"}]
        rest = {name: getattr(found, name) for name in names}
        return cls(approval_id=found.id, payload=dict(found.payload), **rest)


class Answered(Told):
    """A proposal that was answered, and what it did."""

    approval: Approval
    decision: LimitDecision | None = Field(description="Of an override that was approved")
