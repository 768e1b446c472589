"""The questions of the articles, each played: what a report on them is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from server.limits.rules.line_policy import Overlay
from server.replay.book import Rules, day_of
from server.replay.figures import Figures, Prices
from server.replay.play import Arm, Setting, learn, play
from server.replay.shares import alike
from shared.world.economy import ECONOMIES

#: Months in which the published cut of the played policy holds, and its multiplier.
MACRO_MONTHS: Final = (9, 12)
MACRO: Final = Decimal("0.7")
#: Share of the limits that a lender's own budget reaches for without a partner.
SCARCE: Final = Decimal("0.5")
_BANK: Final = frozenset({"bank"})
#: What is played: the rules as they are; the bank's card alone; a published cut for a time; a
#: budget that reaches for half; and the rules in a downturn.
SCENARIOS: Final = ("rules", "bank", "macro", "scarce", "downturn")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was played, and what came of it.

    Parameters
    ----------
    people, months, seed : int
    policy, line_policy : str
        Name and version of each.
    figures : mapping of str to Figures
        By scenario.
    """

    people: int
    months: int
    seed: int
    policy: str
    line_policy: str
    figures: Mapping[str, Figures]


def gather(
    rules: Rules,
    prices: Prices,
    *,
    people: int,
    months: int,
    seed: int,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Play every scenario on the same people.

    Parameters
    ----------
    rules : Rules
    prices : Prices
    people, months, seed : int
    processes : int
    tell : callable, optional
        See `server.replay.play.play`.
    """
    own = Arm(rules, learn(seed), prices)
    arms = (
        own,
        replace(own, card=learn(seed, _BANK)),
        replace(own, rules=with_macro_cut(rules)),
        replace(own, rules=replace(rules, shares=alike(SCARCE))),
    )
    setting = Setting(people, months, seed, ECONOMIES["calm"], arms)
    calm = play(setting, processes=processes, tell=tell).figures
    hard = replace(setting, economy=ECONOMIES["downturn"], arms=(own,))
    bad = play(hard, processes=processes, tell=tell).figures
    return Evidence(
        people=people,
        months=months,
        seed=seed,
        policy=rules.policy.name,
        line_policy=rules.line.name,
        figures=dict(zip(SCENARIOS, (*calm, *bad), strict=True)),
    )


def with_macro_cut(rules: Rules) -> Rules:
    """Return rules with a published downturn, and no other."""
    first, last = MACRO_MONTHS
    overlay = Overlay(
        scenario="replay",
        since=day_of(first - 1) + timedelta(days=1),
        until=day_of(last),
        multiplier=MACRO,
        approved_by=("replay", "evidence"),
        approved_on=day_of(0),
        note="a published cut, played in a replay",
    )
    return replace(rules, line=replace(rules.line, overlays=(overlay,)))
