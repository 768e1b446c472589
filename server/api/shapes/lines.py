"""Credit lines: what can be drawn, what binds, who lends, what comes next."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from server.accounts import lineview
from server.accounts.repaying import Due as NextDue
from server.accounts.reviewing import Decided
from server.api.shapes.common import PSEUDONYM, Asked, CustomerId, Day, Told, example
from server.api.shapes.decisions import LimitDecision
from server.limits.line.line import Offer as OpenOffer
from server.limits.line.line import Temporary as Passing
from server.store.lines import StoredLine


class LineAsked(Asked):
    """A line that is applied for."""

    model_config = example(customer_id=PSEUDONYM, product="revolving_consumer")

    customer_id: CustomerId
    product: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9_]{0,63}$",
            description="Of the catalogue",
            examples=["revolving_consumer"],
        ),
    ]


class LineRow(Told):
    """A line in a list."""

    line_id: str
    customer_id: str
    product: str
    currency: str
    state: str
    may_draw: bool
    limit_minor: int
    outstanding_minor: int
    held_minor: int
    opened_at: datetime
    closed_at: datetime | None
    version: int

    @classmethod
    def of(cls, line: StoredLine) -> Self:
        """Return the shape of a line in a list."""
        return cls(
            line_id=line.id,
            customer_id=line.customer_id,
            product=line.product,
            currency=line.currency,
            state=line.state,
            may_draw=line.may_draw,
            limit_minor=line.totals.limit_minor,
            outstanding_minor=line.totals.outstanding_minor,
            held_minor=line.totals.held_minor,
            opened_at=line.opened_at,
            closed_at=line.closed_at,
            version=line.version,
        )


class Term(Told):
    """A term of what is available: the smallest binds."""

    name: str
    amount_minor: int = Field(description="Below 0 for the limit, after a cut")
    code: str = Field(description="Reason code where it binds")
    binds: bool


class Due(Told):
    """What falls due next."""

    due_on: Day
    amount_minor: int

    @classmethod
    def of(cls, due: NextDue) -> Self:
        """Return the shape of what falls due."""
        return cls(due_on=due.due_on, amount_minor=due.amount_minor)


class Progress(Told):
    """What is watched, and how far it is from its end."""

    rule: str
    observes: bool = Field(description="false: it only keeps the limit from rising")
    progress: str
    clean: int
    needed: int
    earliest_exit: Day | None

    @classmethod
    def of(cls, one: lineview.Progress) -> Self:
        """Return the shape of an observation."""
        return cls(**{name: getattr(one, name) for name in cls.model_fields})


class Lender(Told):
    """Who lends, and how much of what is owed."""

    partner_id: str = Field(description="own: the lender itself")
    open_minor: int
    share: str

    @classmethod
    def of(cls, lender: lineview.Lender) -> Self:
        """Return the shape of a lender."""
        return cls(
            partner_id=lender.partner_id, open_minor=lender.open_minor, share=str(lender.share)
        )


class Temporary(Told):
    """An amount on top of the limit, for a time."""

    amount_minor: int
    purpose: str
    since: Day
    until: Day

    @classmethod
    def of(cls, passing: Passing) -> Self:
        """Return the shape of a temporary amount."""
        return cls(
            amount_minor=passing.amount_minor,
            purpose=passing.purpose,
            since=passing.since,
            until=passing.until,
        )


class Offer(Told):
    """A higher limit that waits for the customer's consent."""

    limit_minor: int
    made_on: Day
    until: Day

    @classmethod
    def of(cls, offer: OpenOffer) -> Self:
        """Return the shape of an offer."""
        return cls(limit_minor=offer.limit_minor, made_on=offer.made_on, until=offer.until)


class Line(LineRow):
    """A line: what can be drawn, which term binds, who lends, what comes next."""

    approved_limit_minor: int = Field(description="Where restoration ends")
    effective_limit_minor: int = Field(description="What may be drawn up to")
    advised_limit_minor: int = Field(description="Never below what is owed")
    available_minor: int
    waterfall: list[Term]
    next_review_on: Day | None
    next_due: Due | None
    days_past_due: int
    observation: list[Progress]
    lender_disclosure: list[Lender]
    temporary: Temporary | None
    offer: Offer | None

    @classmethod
    def seen(cls, view: lineview.LineView) -> Self:
        """Return the shape of a line as it is looked at."""
        told, domain = view.available.to_mapping(), view.domain
        row = LineRow.of(view.line).model_dump()
        return cls(
            **row | {"held_minor": told["parts"]["held"]},  # without holds whose time is over
            approved_limit_minor=domain.approved_limit_minor,
            effective_limit_minor=domain.effective_limit_minor,
            advised_limit_minor=view.advised_limit_minor,
            available_minor=view.available.amount_minor,
            waterfall=[Term(**one) for one in told["waterfall"]],
            next_review_on=view.next_review_on,
            next_due=Due.of(view.next_due) if view.next_due else None,
            days_past_due=view.days_past_due,
            observation=[Progress.of(one) for one in view.observation],
            lender_disclosure=[Lender.of(one) for one in view.lenders],
            temporary=Temporary.of(domain.temporary) if domain.temporary else None,
            offer=Offer.of(domain.offer) if domain.offer else None,
        )


class Opened(Told):
    """What came of an application: a line, or why there is none."""

    line_id: str | None = Field(description="null: declined")
    customer_id: str
    product: str
    state: str | None
    limit_minor: int
    available_minor: int
    decision: LimitDecision

    @classmethod
    def of(cls, made: Decided, asked: LineAsked) -> Self:
        """Return the shape of an application's outcome."""
        line = made.line
        return cls(
            line_id=line.id if line else None,
            customer_id=asked.customer_id,
            product=asked.product,
            state=line.state if line else None,
            limit_minor=line.totals.limit_minor if line else 0,
            available_minor=line.available_minor if line else 0,
            decision=LimitDecision.of(made),
        )
