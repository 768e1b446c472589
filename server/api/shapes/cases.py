"""Disputes, appeals, complaints and calls for help."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from server.accounts.dossier import Case as KeptCase
from server.api.shapes.common import (
    PSEUDONYM,
    ULID,
    Asked,
    CustomerId,
    Day,
    Id,
    Told,
    Words,
    example,
)

About = Annotated[Id, Field(description="A reason's code, a holder, or a word such as price")]


class CaseAsked(Asked):
    """What a customer says is wrong."""

    model_config = example(
        customer_id=PSEUDONYM,
        about="S-UTILISATION",
        text="The balance that you hold against me was repaid in January.",
    )

    customer_id: CustomerId
    about: About
    text: Words
    decision_id: Annotated[Id | None, Field(description="The decision it is about")] = None


class HelpAsked(Asked):
    """What has become hard, and what would help."""

    model_config = example(
        customer_id=PSEUDONYM,
        text="I have lost my work and cannot pay the full instalments until summer.",
    )

    customer_id: CustomerId
    text: Words


class AppealAsked(Asked):
    """A decision that a person is asked to look at again."""

    model_config = example(
        customer_id=PSEUDONYM,
        decision_id=ULID,
        about="P-INCOME",
        text="My income has doubled since.",
    )

    customer_id: CustomerId
    about: About
    text: Words
    decision_id: Annotated[Id, Field(description="The decision it is about")]


class ResolveAsked(Asked):
    """How a case ends."""

    model_config = example(outcome="upheld", note="The holder has corrected its record.")

    outcome: Annotated[
        Literal["upheld", "partly", "rejected", "withdrawn", "granted", "declined"],
        Field(description="A call for help is granted, declined or withdrawn; no other case is"),
    ]
    note: Words


class Case(Told):
    """A dispute, an appeal, a complaint or a call for help."""

    case_id: str
    kind: Literal["dispute", "appeal", "complaint", "hardship"]
    customer_id: str
    decision_id: str | None
    about: str
    text: str
    state: Literal["open", "resolved"]
    outcome: str | None
    resolved_by: str | None
    note: str | None
    opened_at: datetime
    due_on: Day = Field(description="Last day for an answer")
    resolved_at: datetime | None

    @classmethod
    def of(cls, kept: KeptCase) -> Self:
        """Return the shape of a case."""
        rest = {name: getattr(kept, name) for name in cls.model_fields if name != "case_id"}
        return cls(case_id=kept.id, **rest)
