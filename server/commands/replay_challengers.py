"""`confide replay challengers`: how far the rules are from what optimisers would choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Annotated, Any

import typer

from server.commands.common import Format, FormatOption, emit
from server.commands.replay_common import (
    CYCLE,
    EconomyOption,
    LinePolicyOption,
    MonthsOption,
    PeopleOption,
    PolicyOption,
    SeedOption,
    arm_of,
    tell,
)
from server.commands.replay_text import NOBODY_IS_REAL, levels_of
from server.replay import told
from server.replay.challengers import Challengers, Choice, find
from server.replay.frontier import bearing
from server.replay.play import Arm, Setting, play
from server.replay.shares import BEHIND, HELD, USES, Shares, alike
from shared.edge.workers import cores
from shared.world.economy import ECONOMIES


def challengers(
    people: PeopleOption = 20_000,
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    economy: EconomyOption = CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    times: Annotated[
        float,
        typer.Option(min=0.01, help="Of the loss a line may cost, for all that are compared."),
    ] = 1.0,
    budget: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Share of the limits opened that may be committed."),
    ] = 0.5,
    form: FormatOption = Format.TEXT,
) -> None:
    """Try the best of a decision process and a linear programme against the rules.

    Both are found on other people of the same world, and say which share of what the caps allow a
    line keeps. They decide on nobody.
    """
    arm = bearing(arm_of("", policy, line_policy, [], seed), Decimal(str(times)))
    setting = Setting(people, months, seed, ECONOMIES[str(economy.value)], (arm,))
    part = Decimal(str(budget))
    found = find(setting, part, processes=cores(), tell=tell)
    arms = {
        "these rules": arm,
        "best by state": _keeping(arm, found.best),
        f"{part} for all": _keeping(arm, alike(part)),
        f"{part} allocated": _keeping(arm, found.allocated),
    }
    played = play(replace(setting, arms=tuple(arms.values())), processes=cores(), tell=tell)
    rows = dict(zip(arms, map(told.summary, played.figures), strict=True))
    if form is Format.JSON:
        emit(_mapping(found, rows))
        return
    for line in _lines(found, rows):
        typer.echo(line)


def _keeping(arm: Arm, shares: Shares) -> Arm:
    return replace(arm, rules=replace(arm.rules, shares=shares))


def _mapping(found: Challengers, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "states": [
            {**asdict(one), **asdict(one.state), "share": float(one.share)} for one in found.choices
        ],
        "programme": {
            "grades": {name: float(share) for name, share in found.by_grade.items()},
            "shadow_prices": dict(found.programme.shadow_prices),
        },
        "arms": rows,
    }


def _lines(found: Challengers, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    heads = [f"{behind}, {use}" for behind in BEHIND for use in USES]
    yield "share of what the caps allow that is best in a state"
    yield f"{'grade and share held':<24}" + "".join(f"{head:>22}" for head in heads)
    cells = {
        (one.state.grade, one.state.held, f"{one.state.behind}, {one.state.use}"): _cell(one)
        for one in found.choices
    }
    for grade in found.by_grade:
        for held in HELD:
            row = [cells[grade, held, head] for head in heads]
            if any(cell != "-" for cell in row):
                yield f"{f'{grade}  {held}':<24}" + "".join(f"{cell:>22}" for cell in row)
    yield "- nobody was seen there; (1) too few, so the rules stay"
    yield ""
    shares = ", ".join(f"{name} {share:.3f}" for name, share in found.by_grade.items())
    yield f"share that the programme lets each grade keep: {shares}"
    yield ""
    yield from levels_of(list(rows.values()), list(rows))
    yield ""
    yield NOBODY_IS_REAL


def _cell(choice: Choice) -> str:
    if not choice.months:
        return "-"
    return f"{choice.share:f}" if choice.free else f"({choice.share:f})"
