"""Explanations, what-ifs, records, linkage, data used, and the published rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.api.shapes.common import Amount, Asked, Count, Language, Share, Told, example


class ReasonTold(Told):
    """A reason with its sentence."""

    code: str
    family: Literal["score", "policy", "behaviour", "outside"]
    text: str
    not_about_you: bool
    amount_minor: int | None
    points_lost: int | None
    holders: list[str]


class Cap(Told):
    """A bound on the limit."""

    name: str
    amount_minor: int
    code: str
    text: str
    not_about_you: bool
    binds: bool


class PlannedStep(Told):
    """A coming change, if every review is clean."""

    on: str
    state: str
    limit_minor: int
    text: str


class OpenRule(Told):
    """A rule that a limit waits for."""

    code: str
    clean: int
    needed: int
    not_before: str | None
    earliest: str | None
    each_review: list[str]


class Restoration(Told):
    """What a limit that fell still needs, how far it is, and when it comes back."""

    rule: str
    needs: str
    progress: str
    earliest: str | None
    then: str
    missing_minor: int
    lost_to_behaviour_minor: int
    lost_to_rules_minor: int
    cut_on: str | None
    cool_down_until: str | None
    next_review_on: str | None
    rises_on: str | None
    restored_on: str | None
    downturn_until: str | None
    rules: list[OpenRule]
    steps: list[PlannedStep]
    waits_for: list[ReasonTold]
    held_by: list[ReasonTold]
    text: list[str]


class AdviceTold(Told):
    """Something to do, and what the policy would do then: proved by running it."""

    code: str
    codes: list[str]
    action: str
    result: str
    expected_limit_minor: int
    otherwise_limit_minor: int
    by: str
    offered: bool


class ScoreTold(Told):
    """A score, its range, its day and its model."""

    value: int
    low: int | None
    high: int | None
    grade: str
    default_prob: float
    date: str
    model: str
    missing: list[str]


class Change(Told):
    """What a decision changed."""

    state_from: str
    state_to: str
    limit_from_minor: int
    limit_to_minor: int
    agreed_minor: int


class _Answer(Told):
    """What both answers have in common."""

    language: Language
    headline: str
    family: Annotated[list[str], Field(description="First letters of the codes, as `B` or `C`")]
    reasons: list[ReasonTold]
    not_about_you: list[ReasonTold]
    advice: list[AdviceTold]
    avoid: str
    notes: list[str]
    does_not_help: list[str]
    actions: str
    score: ScoreTold | None
    policy: str
    rules: dict[str, str]


class Explained(_Answer):
    """A decision, as it was made."""

    decision_id: str
    line_id: str | None
    purpose: str
    decided_on: str
    change: Change
    binding_caps: list[str]
    caps: list[Cap]
    restoration: Restoration | None
    jurisdiction: str


class StateTold(Told):
    """Where a line stands."""

    code: str
    text: str


class WayDown(Told):
    """A step from the bound that binds to what can be drawn."""

    step: str
    amount_minor: int
    text: str


class LastCut(Told):
    """The last time that the limit went down, while that still counts."""

    decision_id: str
    on: str
    limit_from_minor: int
    limit_to_minor: int
    reasons: list[ReasonTold]
    text: str


class WhyLow(Told):
    """Why the limit is what it is."""

    component: Literal["closed", "frozen", "consent", "behaviour", "cooling", "agreed", "caps"]
    path: list[WayDown]
    caps: list[Cap]
    last_cut: LastCut | None


class AtOnce(Told):
    """What the last repayment gave back at once."""

    repaid_minor: int | None
    repaid_on: str | None
    back_minor: int | None
    available_minor: int
    text: list[str]


class EachReview(Told):
    """What happens at each review, in its fixed order."""

    every_days: int
    next_on: str | None
    then_on: str | None
    steps: list[str]


class WhyNotBack(Told):
    """What came back, what did not, and how it will."""

    at_once: AtOnce
    restoration: Restoration | None
    each_review: EachReview


class Why(_Answer):
    """Both questions about a line, answered as of today."""

    line_id: str
    as_of: str
    state: StateTold
    limit_minor: int
    agreed_minor: int
    available_minor: int
    why_low: WhyLow
    why_not_back: WhyNotBack


class Changes(Asked):
    """Facts that take another value; null or left out: as today."""

    model_config = example(draws=2, utilisation=0.4)

    income_minor: Amount | None = None
    income_source: Annotated[
        str | None, Field(pattern=r"^[a-z_]{1,32}$", description="As the policy names it")
    ] = None
    income_proven_minor: Amount | None = None
    obligations_minor: Amount | None = None
    drawn_minor: Amount | None = None
    own_minor: Amount | None = None
    others_minor: Amount | None = None
    draws: Annotated[Count | None, Field(description="Within the policy's window")] = None
    enquiries: Count | None = None
    days_past_due: Count | None = None
    utilisation: Annotated[Share | None, Field(description="Owed, of the agreed limit")] = None


class WhatIfAsked(Asked):
    """What is to be tried."""

    model_config = example(changes={"draws": 2, "utilisation": 0.4}, horizon_days=180)

    changes: Changes
    horizon_days: Annotated[int, Field(ge=1, le=720)] = 360


class Reviewed(Told):
    """A coming review."""

    day: str
    limit_minor: int


class WhatIf(Told):
    """What the coming reviews would do; nothing is kept of it."""

    line_id: str
    as_of: str
    seen_from: Annotated[dict[str, str], Field(description="Day from which a change can be seen")]
    limit_minor: int
    otherwise_limit_minor: int
    by: str
    binding: list[str]
    path: list[Reviewed]
    score: int
    default_prob: float
    score_held_by: list[str]
