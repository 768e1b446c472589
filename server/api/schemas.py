"""What the service answers, as OpenAPI shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_HOLDERS: Any = [
    {"party": "bank", "points": 61, "as_of": "2026-03-01", "missing": None},
    {"party": "bureau", "points": 12, "as_of": "2026-02-01", "missing": "stale"},
]
_SCORE_REASON: Any = {
    "code": "S-UTILISATION",
    "family": "score",
    "text": "For utilisation, as the bank knows it, you have 14 points less than average.",
    "not_about_you": False,
    "amount_minor": None,
    "points_lost": 14,
    "holders": ["bank"],
}
_CAP_REASON: Any = {
    "code": "P-LOSS",
    "family": "policy",
    "text": "With your score, a line of up to 19,428.57 CNY keeps the expected loss within bounds.",
    "not_about_you": False,
    "amount_minor": 1942857,
    "points_lost": None,
    "holders": [],
}
_MODEL: Any = {"name": "scorecard-0001", "counter": 1, "digest": "5f" * 32}
_SCORE: Any = {
    "score": 662,
    "low": 350,
    "high": 950,
    "grade": "B",
    "default_prob": 0.02,
    "points": 73,
    "model": _MODEL,
    "as_of": "2026-03-01",
    "holders": _HOLDERS,
    "missing": ["bureau"],
    "baseline": "mean",
    "reasons": [_SCORE_REASON],
}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reason(_Answer):
    """Why a score or a limit is not higher."""

    code: str = Field(description="Stable: S- of the score, P- of the policy, others not about you")
    family: Literal["score", "policy", "outside"]
    text: str = Field(description="For the customer; words may change")
    not_about_you: bool
    amount_minor: int | None = Field(description="Of the cap that binds, in minor units")
    points_lost: int | None = Field(description="Below the baseline of the card")
    holders: list[str]


class ModelName(_Answer):
    """Which release answered."""

    name: str
    counter: int
    digest: str = Field(description="SHA-256 of the manifest")


class Holder(_Answer):
    """One party's part of the score."""

    party: str
    points: int = Field(description="Where the party is missing: the mean of its population")
    as_of: str | None = Field(description="Day of its data; null without a feed")
    missing: Literal["no feed", "stale", "unknown customer"] | None


class Score(_Answer):
    """A customer's score."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _SCORE})

    score: int
    low: int
    high: int
    grade: str
    default_prob: float = Field(description="Within the year after the data, in (0, 1)")
    points: int
    model: ModelName
    as_of: str = Field(description="Day of the oldest data in it")
    holders: list[Holder]
    missing: list[str] = Field(description="Parties whose part is the mean of their population")
    baseline: str = Field(description="What reasons are measured below")
    reasons: list[Reason]


class Blocked(_Answer):
    """A missing party: nothing is raised until it is back."""

    party: str
    why: Literal["no feed", "stale", "unknown customer"]
    text: str


class Limit(_Answer):
    """A customer's limit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "limit_minor": 1940000,
                "limit": "19,400.00 CNY",
                "currency": "CNY",
                "current_minor": None,
                "provisional": True,
                "caps": {"grade": 2500000, "expected_loss": 1942857, "product": 5000000},
                "binding": ["expected_loss"],
                "multiplier": "1.0",
                "reasons": [_CAP_REASON, _SCORE_REASON],
                "increases_blocked": [
                    {
                        "party": "bureau",
                        "why": "stale",
                        "text": "Until that changes no line is opened: "
                        "the scores of bureau are out of date.",
                    }
                ],
                "policy": "reference/2026.1",
                "jurisdiction": "cn/2026.11",
                "decided": "2026-03-02T08:00:00Z",
                "score": _SCORE,
            }
        },
    )

    limit_minor: int = Field(description="In minor units, a multiple of the policy's quantum")
    limit: str
    currency: str
    current_minor: int | None
    provisional: bool = Field(description="No line yet, and a party is missing: none is opened")
    caps: dict[str, int] = Field(description="Every cap that applied, in minor units")
    binding: list[str] = Field(description="The smallest caps; holder: kept, a party is missing")
    multiplier: str = Field(description="Of the scenario of the economy")
    reasons: list[Reason]
    increases_blocked: list[Blocked]
    policy: str
    jurisdiction: str
    decided: str
    score: Score


class Signer(_Answer):
    """A party as the release knows it."""

    party: str
    fingerprint: str
    worth: float = Field(description="Share of the label's variance that its columns explain")
    baseline_points: int


class Model(_Answer):
    """The release that serves."""

    name: str
    counter: int
    digest: str
    created: str
    expires: str
    federation: str
    run: str
    kind: str = Field(description="scorecard or neural")
    points_kept: int | None = Field(description="Of a scorecard")
    parameters: int | None = Field(description="Of a network")
    parties: list[Signer]
    evaluation: dict[str, Any] = Field(description="On customers that the card has not seen")


class Feed(_Answer):
    """A party's score feed."""

    party: str
    release: str | None
    as_of: str | None
    created: str | None
    expires: str | None
    customers: int
    stale: bool
    refused: str | None = Field(description="What is wrong with the feed that is kept")


class Feeds(_Answer):
    """Every party's score feed of the release that serves."""

    feeds: list[Feed]


class Accepted(_Answer):
    """A feed that was taken."""

    party: str
    release: str
    as_of: str
    expires: str
    customers: int
    in_use: bool = Field(description="It is of the release that serves")


class Alive(_Answer):
    """The process is up."""

    status: Literal["ok"]
    version: str


class Ready(_Answer):
    """The service can answer."""

    status: Literal["ready"]
    release: str
    missing: list[str] = Field(description="Parties without a feed in date")


class Token(_Answer):
    """An access token, RFC 6749 section 5.1."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds")
    scope: str = Field(description="The role that it stands for")


class TokenRefusal(_Answer):
    """Why there is no token, RFC 6749 section 5.2."""

    error: Literal[
        "invalid_request",
        "invalid_client",
        "unsupported_grant_type",
        "invalid_scope",
    ]
    error_description: str


class ProblemShape(BaseModel):
    """An error, RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:confide:error:not-found",
                "title": "Not found",
                "status": 404,
                "detail": "no score feed has this customer",
                "code": "not-found",
                "instance": "urn:uuid:6f6ad1f0-2f5c-4c58-9a41-8d0f3a3d7f0e",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    hint: str | None = None
    party: str | None = None
    check: str | None = Field(
        default=None, description="Which check failed, or what stood against it"
    )
    reason: str | None = Field(default=None, description="Code of the reason of a refused draw")
    findings: list[str] | None = None
