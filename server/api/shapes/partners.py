"""Funding partners and their books, the budget and its allocation, the pause of increases."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field

from server.accounts import partner_books, partners, pausing
from server.accounts.funding import PartnerRules
from server.api.shapes.common import Asked, Id, Minor, MinorOrNone, Told, Words, example
from server.store.allocation_runs import AllocationRun
from server.store.funds import Fund
from server.store.partner_decisions import Verdict
from server.store.switches import Switch

Label = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$")]
Grade = Annotated[str, Field(pattern=r"^[A-Z]$")]
Product = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Share = Annotated[
    str, Field(pattern=r"^(1|0\.[1-9][0-9]{0,5})$", description="From 0.1 to 1, as text")
]
Risk = Annotated[str, Field(pattern=r"^(0|1|0\.[0-9]{1,6})$", description="From 0 to 1, as text")]
OwnFunds = Annotated[int, Field(ge=0, le=10**13, description="Whole minor units")]


class Rules(Asked):
    """By what a partner decides: its own policy on the shared score."""

    name: Label
    version: Label
    grades: Annotated[list[Grade], Field(min_length=1, max_length=26)]
    products: Annotated[list[Product], Field(min_length=1, max_length=64)]
    most_minor: Annotated[Minor | None, Field(description="Of one draw, in all")] = None
    most_default_prob: Risk | None = None

    @classmethod
    def of(cls, rules: PartnerRules) -> Self:
        """Return the shape of a partner's rules."""
        return cls(**rules.to_mapping())


class PartnerAsked(Asked):
    """What a partner bank tells of itself."""

    model_config = example(
        id="lake",
        tier1_minor=1_000_000_000_00,
        loans_minor=8_000_000_000_00,
        elsewhere_minor=0,
        agreed_minor=50_000_000_00,
        rules={
            "name": "lake",
            "version": "1",
            "grades": ["A", "B"],
            "products": ["revolving_consumer"],
            "most_minor": None,
            "most_default_prob": "0.05",
        },
    )

    id: Annotated[Id, Field(description="Also the name of its share in draws")]
    tier1_minor: Annotated[MinorOrNone, Field(description="Net tier-1 capital")]
    loans_minor: Annotated[MinorOrNone, Field(description="All its loans")]
    elsewhere_minor: Annotated[MinorOrNone, Field(description="Joint loans with others")] = 0
    agreed_minor: Annotated[MinorOrNone | None, Field(description="With this lender")] = None
    rules: Rules

    def request(self) -> partners.PartnerRequest:
        """Return what is asked for."""
        return partners.PartnerRequest(
            id=self.id,
            tier1_minor=self.tier1_minor,
            loans_minor=self.loans_minor,
            elsewhere_minor=self.elsewhere_minor,
            rules=self.rules.model_dump(),
            agreed_minor=self.agreed_minor,
        )


class Partner(Told):
    """A partner as it stands."""

    partner_id: str
    is_open: bool = Field(description="false: it has withdrawn; repayments still reach it")
    cap_minor: int
    used_minor: int
    room_minor: int = Field(description="What it may still add today")
    tier1_minor: int
    loans_minor: int
    elsewhere_minor: int
    agreed_minor: int | None
    rules: Rules
    version: int

    @classmethod
    def of(cls, view: partners.PartnerView) -> Self:
        """Return the shape of a partner."""
        names = [name for name in cls.model_fields if name not in {"partner_id", "rules"}]
        rest = {name: getattr(view, name) for name in names}
        return cls(partner_id=view.id, rules=Rules.of(view.rules), **rest)


class BookItem(Told):
    """One draw in a partner's book: its own part."""

    draw_id: str
    product: str
    purpose: str
    grade: str
    apr: str
    amount_minor: int
    open_minor: int
    months: int
    drawn_at: datetime

    @classmethod
    def of(cls, item: partner_books.BookItem) -> Self:
        """Return the shape of an item."""
        return cls(**{name: getattr(item, name) for name in cls.model_fields})


class Refusal(Told):
    """A draw that the partner refused and that was made without it."""

    draw_id: str
    policy_ref: str
    reason: str
    amount_minor: int = Field(description="Of the whole draw")
    grade: str
    decided_at: datetime

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return the shape of a refusal."""
        return cls(**{name: getattr(verdict, name) for name in cls.model_fields})


class Book(Told):
    """A partner's own book."""

    partner: Partner
    draws: int
    funded_minor: int
    open_minor: int
    decided: dict[str, int] = Field(description="How often it decided what: accepted, or why not")
    refused: list[Refusal] = Field(description="Where its policy and the platform's differ")
    items: list[BookItem]
    next: str | None = Field(description="The next page's `after`; null on the last one")

    @classmethod
    def of(cls, book: partner_books.Book, count: int) -> Self:
        """Return the shape of a book, of which one draw more than a page was read."""
        shown = book.items[:count]
        more = len(book.items) > count
        last = shown[-1].draw_id if more else None
        return cls(
            partner=Partner.of(book.partner),
            draws=book.draws,
            funded_minor=book.funded_minor,
            open_minor=book.open_minor,
            decided={code or "accepted": many for code, many in book.decided.items()},
            refused=[
                Refusal.of(one) for one in book.refused if last is None or one.draw_id <= last
            ],
            items=[BookItem.of(one) for one in shown],
            next=last,
        )


class BudgetAsked(Asked):
    """What the budget is made from."""

    model_config = example(own_funds_minor=100_000_000_00, own_share="0.3")

    own_funds_minor: OwnFunds
    own_share: Annotated[Share, Field(description="Of each loan that the lender funds itself")]

    def share(self) -> Decimal:
        """Return the own share."""
        return Decimal(self.own_share)


class Budget(Told):
    """What may be committed in all."""

    budget_id: str
    cap_minor: int
    used_minor: int
    room_minor: int
    version: int

    @classmethod
    def of(cls, fund: Fund) -> Self:
        """Return the shape of a budget."""
        return cls(
            budget_id=fund.id,
            cap_minor=fund.cap_minor,
            used_minor=fund.used_minor,
            room_minor=fund.room_minor,
            version=fund.version,
        )


class LendingAsked(Asked):
    """How the lender itself takes part where it has partners."""

    model_config = example(own_share="0.3", own_line_minor=None, reason="As agreed for the year.")

    own_share: Annotated[Share | None, Field(description="Of each draw; at least the law's")] = None
    own_line_minor: Annotated[MinorOrNone | None, Field(description="Out on one line at most")] = (
        None
    )
    reason: Words

    def share(self) -> Decimal | None:
        """Return the own share."""
        return None if self.own_share is None else Decimal(self.own_share)


class Lending(Told):
    """How the lender itself takes part."""

    own_share: str | None
    own_line_minor: int | None
    by: str
    reason: str
    since: datetime

    @classmethod
    def of(cls, switch: Switch) -> Self:
        """Return the shape of the lender's own part."""
        return cls(
            own_share=switch.value["own_share"],
            own_line_minor=switch.value["own_line_minor"],
            by=switch.set_by,
            reason=switch.reason,
            since=switch.changed_at,
        )


class AllocationAsked(Asked):
    """A budget to be shared out among segments."""

    model_config = example(budget_id="budget")

    budget_id: Id


class Allocation(Told):
    """What an allocation gave each segment; in force until the next one."""

    run_id: str
    budget_id: str
    made_by: str
    made_at: datetime
    limits_minor: dict[str, int] = Field(description="Of one customer of each segment")
    scales: dict[str, str] = Field(description="What the caps of each segment are multiplied by")
    shadow_prices: dict[str, float] = Field(description="Of one more unit of each bound")
    binding: list[str]
    objective_minor: int = Field(description="Margin of a year")
    inputs: dict[str, Any] = Field(description="Everything that it was reckoned from")

    @classmethod
    def of(cls, run: AllocationRun) -> Self:
        """Return the shape of an allocation."""
        return cls(
            run_id=run.id,
            budget_id=run.budget_id,
            made_by=run.made_by,
            made_at=run.made_at,
            inputs=dict(run.inputs),
            **run.result,
        )


class SwitchAsked(Asked):
    """Whether limits may rise at all."""

    model_config = example(paused=True, reason="The budget is nearly used up.")

    paused: bool
    reason: Words


class Pause(Told):
    """Whether increases are paused."""

    paused: bool
    by: str = Field(description="Empty where it never was")
    reason: str
    since: datetime | None

    @classmethod
    def of(cls, pause: pausing.Pause) -> Self:
        """Return the shape of the switch."""
        return cls(paused=pause.paused, by=pause.by, reason=pause.reason, since=pause.since)
