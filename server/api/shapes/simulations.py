"""Rules tried on simulated people: what is asked, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.accounts import playing
from server.api.shapes.common import Asked, Digest, Told, example

Economy = Annotated[
    Literal["cycle", "calm", "downturn"], Field(description="What falls to everybody at once")
]
People = Annotated[int, Field(ge=1, le=playing.MOST_PEOPLE, description="In the world")]
Months = Annotated[int, Field(ge=1, le=playing.MOST_MONTHS, description="With a line")]
Seed = Annotated[
    int, Field(ge=0, le=playing.MOST_SEED, description="The same seed, the same people and luck")
]
Share = Annotated[float, Field(description="Of 1")]
Amount = Annotated[float, Field(description="Minor units, a mean or a sum of many")]


class SimulationAsked(Asked):
    """Rules by the SHA-256 of their texts, and who is to live with them."""

    model_config = example(people=2000, months=12, seed=1, economy="cycle", frontier=False)

    policy_a: Digest | None = Field(None, description="null: the limit policy in force")
    line_policy_a: Digest | None = Field(None, description="null: the line policy in force")
    policy_b: Digest | None = Field(None, description="null: as the first rules")
    line_policy_b: Digest | None = Field(
        None, description="null: as the first rules; without policy_b either, nothing is compared"
    )
    people: People = playing.PEOPLE
    months: Months = playing.MONTHS
    seed: Seed = playing.SEED
    economy: Economy = "cycle"
    frontier: bool = Field(
        default=False, description="Also what bearing 0.25 to 4 times the expected loss would bring"
    )


class RuleTried(Told):
    """A rule text that was tried."""

    digest: Digest
    title: str
    standing: Literal["in_force", "coming", "waiting", "past"]


class Summary(Told):
    """What rules come to over all months: borrowers, lender, market."""

    people: int
    lines: int
    approved: Share
    limit_minor: Amount
    utilisation: Share
    unmet_minor: Amount
    lowered: Share
    lowered_punctual: Share
    raised: Share
    restored: Share
    median_months: int | None
    defaults: Share
    loss_rate: Share
    expected_loss_rate: Share
    profit_minor: Amount
    profit_total_minor: Amount
    in_use: Share
    late: Share
    elsewhere_minor: Amount


class MonthTried(Told):
    """A month under some rules: means and rates of the lines that are alive."""

    month: int
    lines: int
    limit_minor: Amount
    utilisation: Share
    unmet_minor: Amount
    late: Share
    score: float
    defaults: Share
    lowered: Share
    raised: Share
    profit_minor: Amount


class FrontierPoint(Told):
    """The same rules with another bound on expected loss."""

    times: float = Field(description="Of the bound that the rules have")
    summary: Summary
    efficient: bool = Field(description="No other point has less loss and more profit at once")


class ArmTried(Told):
    """What came of one set of rules."""

    policy: RuleTried
    line_policy: RuleTried
    summary: Summary
    months: list[MonthTried]
    frontier: list[FrontierPoint] | None


class SwapTried(Told):
    """People on one side, and what they come to under each of the rules."""

    people: int
    bad_first: int
    bad_second: int
    limit_minor_first: Amount
    limit_minor_second: Amount
    profit_minor_first: Amount
    profit_minor_second: Amount


class SwapCells(Told):
    """Whom both, one or none of the rules give a line."""

    both: SwapTried
    only_first: SwapTried
    only_second: SwapTried
    neither: SwapTried


class Simulation(Told):
    """Rules tried on simulated people: nobody in it is real."""

    simulated: Literal[True] = True
    notice: str
    people: int
    months: int
    seed: int
    economy: Economy
    rules: list[ArmTried]
    swap: SwapCells | None
