"""Holds, drawdowns, quotes and repayments."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from server.api.shapes.common import (
    ULID,
    Asked,
    Currency,
    Day,
    Id,
    Minor,
    Months,
    Told,
    example,
)
from server.limits.rules import pricing
from server.store import draws, holds, repayments

Purpose = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,63}$",
        description="What the money is for; what the law forbids freezes the line",
        examples=["daily"],
    ),
]


class HoldAsked(Asked):
    """Money to be set aside until it is drawn."""

    model_config = example(amount_minor=50_000, currency="CNY", purpose="daily", ttl_s=600)

    amount_minor: Minor
    currency: Currency
    purpose: Purpose
    ttl_s: Annotated[int, Field(ge=10, le=604_800, description="Seconds until it falls away")] = 600

    @property
    def ttl(self) -> timedelta:
        """How long it lasts."""
        return timedelta(seconds=self.ttl_s)


class DrawAsked(Asked):
    """Money to be drawn in one step."""

    model_config = example(amount_minor=50_000, currency="CNY", purpose="daily", months=3)

    amount_minor: Minor
    currency: Currency
    purpose: Purpose
    months: Months


class PostAsked(Asked):
    """How a hold that is drawn is repaid."""

    model_config = example(months=3)

    months: Months


class QuoteAsked(Asked):
    """A draw to be priced, and nothing else."""

    model_config = example(amount_minor=50_000, currency="CNY", months=3)

    amount_minor: Minor
    currency: Currency
    months: Months


class PartAsked(Asked):
    """What one drawdown gets of a payment."""

    drawdown_id: Id
    amount_minor: Minor


class RepaymentAsked(Asked):
    """A payment of principal that has come in."""

    model_config = example(
        external_ref="transfer-20260302-0001",
        line_id=ULID,
        amount_minor=20_000,
        currency="CNY",
        value_date="2026-03-02",
    )

    external_ref: Annotated[Id, Field(description="The payer's name of it; applied once")]
    line_id: Id
    amount_minor: Minor
    currency: Currency
    value_date: Day
    to: Annotated[
        list[PartAsked] | None,
        Field(
            min_length=1,
            max_length=256,
            description="What each drawdown gets; without it what falls due first is repaid first",
        ),
    ] = None

    @model_validator(mode="after")
    def adds_up(self) -> Self:
        """Refuse parts that are not the whole, and a drawdown that is named twice."""
        if self.to is not None:
            if len({one.drawdown_id for one in self.to}) != len(self.to):
                raise ValueError("to must name each drawdown once")
            if sum(one.amount_minor for one in self.to) != self.amount_minor:
                raise ValueError("what each drawdown gets must add up to amount_minor")
        return self

    def parts(self) -> dict[str, int] | None:
        """Return minor units by drawdown."""
        return None if self.to is None else {one.drawdown_id: one.amount_minor for one in self.to}


class Hold(Told):
    """Money set aside."""

    hold_id: str
    line_id: str
    amount_minor: int
    purpose: str
    state: Literal["pending", "posted", "voided", "expired"]
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, hold: holds.Hold) -> Self:
        """Return the shape of a hold."""
        rest = {name: getattr(hold, name) for name in cls.model_fields if name != "hold_id"}
        return cls(hold_id=hold.id, **rest)


class Cap(Told):
    """The most that a draw may cost a year, by law."""

    rate: str
    rule: str
    source: str


class Cost(Told):
    """The all-in cost of a draw, as it must be shown before it is taken."""

    currency: str
    amount_minor: int = Field(description="Owed on the first day")
    received_minor: int = Field(description="In the customer's hand")
    total_minor: int = Field(description="All that is paid, less what is received")
    items_minor: dict[str, int] = Field(description="By kind: interest, guarantee, upfront")
    instalments_minor: list[int] = Field(description="At the end of each month, fees included")
    nominal_annual: str = Field(description="12 times the monthly charge on the amount drawn")
    apr: str = Field(description="12 times the monthly internal rate of return")
    ear: str = Field(description="The same, compounded")
    cap: Cap | None
    within_cap: bool
    forced_read: bool = Field(description="The law wants it read before the draw")

    @classmethod
    def of(cls, sheet: pricing.Sheet, currency: str) -> Self:
        """Return the shape of a price sheet."""
        cap = sheet.cap
        return cls(
            currency=currency,
            amount_minor=sheet.plan.amount_minor,
            received_minor=sheet.plan.received_minor,
            total_minor=sheet.total_minor,
            items_minor=dict(sheet.plan.items_minor),
            instalments_minor=list(sheet.plan.instalments_minor),
            nominal_annual=str(sheet.nominal_annual),
            apr=str(sheet.apr),
            ear=str(sheet.ear),
            cap=Cap(rate=str(cap.rate), rule=cap.rule, source=cap.source) if cap else None,
            within_cap=sheet.within_cap,
            forced_read=sheet.forced_read,
        )


class Share(Told):
    """One lender's part of a drawdown."""

    partner_id: str = Field(description="own: the lender itself")
    amount_minor: int
    open_minor: int


class Drawdown(Told):
    """Money drawn."""

    drawdown_id: str
    line_id: str
    hold_id: str
    amount_minor: int
    open_minor: int
    purpose: str
    drawn_at: datetime
    shares: list[Share]
    terms: dict[str, Any] = Field(description="Price sheet and schedule as agreed")
    policy_ref: str
    model_ref: str

    @classmethod
    def of(cls, draw: draws.Drawdown) -> Self:
        """Return the shape of a drawdown."""
        return cls(
            drawdown_id=draw.id,
            line_id=draw.line_id,
            hold_id=draw.hold_id,
            amount_minor=draw.amount_minor,
            open_minor=draw.open_minor,
            purpose=draw.purpose,
            drawn_at=draw.drawn_at,
            shares=[
                Share(
                    partner_id=one.partner_id,
                    amount_minor=one.amount_minor,
                    open_minor=one.open_minor,
                )
                for one in draw.shares
            ],
            terms=dict(draw.terms),
            policy_ref=draw.policy_ref,
            model_ref=draw.model_ref,
        )


class Part(Told):
    """What one lender of one drawdown got of a repayment."""

    drawdown_id: str
    partner_id: str
    amount_minor: int


class Repayment(Told):
    """A payment that was applied."""

    repayment_id: str
    external_ref: str
    line_id: str
    amount_minor: int
    value_date: Day
    repaid_at: datetime
    allocations: list[Part]
    outstanding_minor: int = Field(description="Of the line, right after it")
    available_minor: int

    @classmethod
    def of(cls, paid: repayments.Repayment) -> Self:
        """Return the shape of a repayment."""
        return cls(
            repayment_id=paid.id,
            external_ref=paid.external_ref,
            line_id=paid.line_id,
            amount_minor=paid.amount_minor,
            value_date=paid.value_date,
            repaid_at=paid.repaid_at,
            allocations=[
                Part(
                    drawdown_id=one.drawdown_id,
                    partner_id=one.partner_id,
                    amount_minor=one.amount_minor,
                )
                for one in paid.allocations
            ],
            outstanding_minor=paid.outstanding_minor,
            available_minor=paid.available_minor,
        )
