"""Figures of watching: months, swaps, complaints, overrides, restorations, inclusion, counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from server.api.shapes.common import Told

Withheld = Annotated[
    int | None, Field(description="null: fewer people stand behind it than the floor")
]


class Spanned(Told):
    """Figures of a span of local days."""

    since: str
    until: str


class Moved(Told):
    """Whether a population moved against the first month."""

    name: str
    index: float
    band: str
    noise: float
    before: int
    now: int


class MonthOfScores(Told):
    """A month of scores."""

    month: str
    people: Withheld
    score_counts: list[int | None]
    grades: dict[str, int | None]
    score: Moved | None
    holders: list[Moved]


class Drift(Spanned):
    """Scores and each holder's points by month."""

    floor: int
    models: dict[str, int]
    months: list[MonthOfScores]


class SwapCell(Told):
    """Lines on one side."""

    people: int
    known: int
    bads: int
    old_minor: int
    new_minor: int


class Swap(Spanned):
    """What the rules in force now would allow on the grounds of each line's last decision."""

    floor: int
    policy: str
    lines: int
    higher: int
    lower: int
    cells: dict[str, SwapCell | None]


class ComplaintsOfCode(Told):
    """Complaints about decisions with a reason."""

    code: str
    decisions: int
    complaints: int
    upheld: int
    per_thousand: float | None


class Complaints(Spanned):
    """Complaints and appeals by the reasons of the decisions they are about."""

    due_days: int
    kinds: dict[str, int]
    total: int
    open: int
    late: int
    upheld: int
    median_days: float | None
    by_code: list[ComplaintsOfCode]


class OverrideSide(Told):
    """Overrides one way."""

    count: int
    moved_minor: int
    known: int
    bads: int
    bad_rate: float | None


class Overrides(Spanned):
    """The override log in figures."""

    decisions: int
    rate: float
    raised: OverrideSide
    lowered: OverrideSide
    unchanged: int
    by_reason: dict[str, int]
    by_officer: dict[str, int]


class Funnel(Told):
    """From a cut to the whole limit."""

    cut: int
    observed: int
    rising: int
    restored: int
    waiting: int
    median_days_to_rise: float | None
    median_days_to_restored: float | None


class Shock(Told):
    """What cuts did to people's own figures."""

    cuts: int
    with_debt: int
    median_use_before: float | None
    median_use_after: float | None
    pushed_high: int | None
    scored: int
    mean_score_change: float | None


class Restorations(Spanned):
    """How limits that fell come back."""

    floor: int
    all: Funnel
    by_reason: dict[str, Funnel]
    utilisation_shock: Shock
    memory_days: int


class Openings(Told):
    """Who asked for a line, and who got one."""

    product: str
    thin_file: bool
    asked: Withheld
    opened: Withheld
    rate: float | None
    mean_limit_minor: int | None


class Compared(Told):
    """A figure of a group beside the reference group's."""

    value: float | None
    people: int | None
    flagged: bool


class Group(Told):
    """A group beside the reference group."""

    group: str
    impact_ratio: Compared
    mean_difference: Compared
    limit_ratio: Compared
    restoration_ratio: Compared
    override_ratio: Compared


class Inclusion(Spanned):
    """Who is left out; groups come from a file that no decision reads."""

    floor: int
    openings: list[Openings]
    groups: list[Group] | None
    reference: str | None = None


class ShadowLimits(Told):
    """What both models would allow under the rules in force now."""

    same: Withheld
    higher: Withheld
    lower: Withheld
    champion_minor: int
    challenger_minor: int


class ShadowReasons(Told):
    """Shares of people with the same reasons, the same first one, and the mean overlap."""

    same: float
    same_first: float
    overlap: float


class Interval(Told):
    """An estimate and its interval."""

    value: float
    low: float
    high: float
    level: float


class Paired(Told):
    """A figure of both models, and the challenger's less the champion's."""

    champion: float
    challenger: float
    difference: Interval


class Outcomes(Told):
    """Both models on the people whose outcome is known."""

    customers: int
    bads: int
    auc: Paired
    ks: Paired
    brier: Paired
    p_value: float


class Challenger(Spanned):
    """The challenger beside the champion; it decides nothing."""

    floor: int
    champion: str | None
    challenger: str | None
    people: Withheld
    limits: ShadowLimits | None
    swap: dict[str, SwapCell | None] | None
    grades: dict[str, dict[str, int | None]] | None
    reasons: ShadowReasons | None
    outcomes: Outcomes | None
    slots: int = Field(description="Of 10,000 customers, those for whom the challenger decides")
    refused: str = Field(description="Why the newest challenger is not scored; empty if it is")


class LinesNow(Told):
    """The lines there are."""

    open: int
    by_state: dict[str, int]
    limits_minor: int
    outstanding_minor: int
    held_minor: int


class MoneyMoved(Told):
    """Money that moved."""

    count: int
    amount_minor: int


class CasesOpen(Told):
    """Cases that wait for an answer."""

    total: int
    late: int
    by_kind: dict[str, int]


class Operations(Spanned):
    """What there is and what was done."""

    lines: LinesNow
    decisions: dict[str, int]
    records_deleted: int
    holds: dict[str, int]
    draws: MoneyMoved
    repayments: MoneyMoved
    cases_open: CasesOpen
    reviews_overdue: int
