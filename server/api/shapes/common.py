"""Types that requests and answers have in common."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from server.store.ids import MOST_MINOR

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
#: Begins with no space, and holds no control character but tab and line ends.
_TEXT: Final = (
    r"^[^\s\u0000-\u001f\u007f-\u009f\ufeff]"
    r"[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
)
PSEUDONYM: Final = "0f" * 32
ULID: Final = "01JNXK4T8Q6V3YB2M9WZ5RCE7D"


def _day(value: Any) -> Any:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day as YYYY-MM-DD")
    return date.fromisoformat(value)


Id = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$",
        description="1 to 64 letters, digits and ._:-",
        examples=[ULID],
    ),
]
CustomerId = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{64}$",
        description="The customer's pseudonym of the score feeds: 64 hex digits",
        examples=[PSEUDONYM],
    ),
]
Minor = Annotated[
    int,
    Field(ge=1, le=MOST_MINOR, description="Whole minor units of the currency", examples=[50_000]),
]
MinorOrNone = Annotated[
    int,
    Field(ge=0, le=MOST_MINOR, description="Whole minor units of the currency", examples=[50_000]),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217", examples=["CNY"])]
Months = Annotated[int, Field(ge=1, le=120, description="One instalment a month", examples=[3])]
Digest = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 in hex", examples=["5f" * 32]),
]
Words = Annotated[str, Field(min_length=1, max_length=2000, pattern=_TEXT)]
"""What a person writes."""
Day = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(description="A day where the lender is, YYYY-MM-DD", examples=["2026-03-02"]),
]
Language = Literal["en", "zh"]
Share = Annotated[float, Field(ge=0, le=1, description="Of 1; six decimals count")]
Count = Annotated[int, Field(ge=0, le=10_000)]
Amount = Annotated[int, Field(ge=0, le=10**15, description="Whole minor units of the currency")]


class Asked(BaseModel):
    """A request's body: strict, and nothing in it that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Told(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def body(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return self.model_dump(mode="json")


def example(**values: Any) -> ConfigDict:
    """Return the configuration of a request with an example."""
    return ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"example": values}
    )
