"""What the commands of a replay share: their options, and what decides in it."""

from __future__ import annotations

import enum
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from server.accounts.scores import load_policy
from server.limits.rules.line_lint import parse_line_policy
from server.limits.rules.line_policy import LinePolicy
from server.policies import embedded
from server.replay.book import Rules
from server.replay.card import FEATURES
from server.replay.figures import Prices, prices_of
from server.replay.play import Arm, learn
from server.replay.shares import alike
from shared.errors import EnvironmentFault, UsageError
from shared.world.economy import ECONOMIES

EconomyName = enum.StrEnum("EconomyName", {name.upper(): name for name in ECONOMIES})  # type: ignore[misc]
HOLDERS = tuple(dict.fromkeys(one.owner for one in FEATURES))

PeopleOption = Annotated[int, typer.Option(min=1, max=100_000_000, help="People in the world.")]
MonthsOption = Annotated[int, typer.Option(min=1, max=240, help="Months with a line.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**64 - 1, help="The same seed, the same.")]
EconomyOption = Annotated[EconomyName, typer.Option(help="What falls to everybody at once.")]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="A limit policy; without one, the reference.")
]
LinePolicyOption = Annotated[
    Path | None,
    typer.Option("--line-policy", help="A policy of a line's life; without one, the reference."),
]
HoldersOption = Annotated[
    list[str] | None,
    typer.Option("--holder", help="The card learns from these alone; again for more."),
]
AllocatedOption = Annotated[
    float,
    typer.Option(
        min=0.01, max=1.0, help="Share of what the caps allow that the own budget reaches for."
    ),
]
AgainstPolicyOption = Annotated[
    Path | None, typer.Option(help="Another limit policy, on the same people.")
]
AgainstLinePolicyOption = Annotated[
    Path | None, typer.Option(help="Another policy of a line's life.")
]
CYCLE = EconomyName.CYCLE  # type: ignore[attr-defined]


def arm_of(
    name: str, policy: Path | None, line_policy: Path | None, holders: list[str], seed: int
) -> Arm:
    """Return what decides.

    Raises
    ------
    UsageError
        If a holder is none.
    ConfigError, EnvironmentFault
        Of a file.
    """
    unknown = sorted(set(holders) - set(HOLDERS))
    if unknown:
        raise UsageError(f"no holder {unknown[0]!r}", hint=f"there are {', '.join(HOLDERS)}")
    rules, prices = rules_of(name, policy, line_policy)
    return Arm(rules, learn(seed, frozenset(holders)), prices)


def rules_of(name: str, policy: Path | None, line_policy: Path | None) -> tuple[Rules, Prices]:
    """Return the rules of two files, or the reference's, and what money costs under them."""
    limits, pack = load_policy(policy)
    rules = Rules(name, limits, pack, load_line_policy(line_policy))
    return rules, prices_of(limits)


def reaching(arm: Arm, allocated: float) -> Arm:
    """Return an arm whose budget reaches for a share of what the caps allow."""
    return replace(arm, rules=replace(arm.rules, shares=alike(Decimal(str(allocated)))))


def load_line_policy(path: Path | None) -> LinePolicy:
    """Return the policy of a file, or the reference.

    Raises
    ------
    ConfigError
        With all that is wrong in it.
    EnvironmentFault
        If the file cannot be read.
    """
    if path is None:
        return parse_line_policy(*embedded("line_reference"))
    try:
        return parse_line_policy(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise EnvironmentFault(f"cannot read {path}: it is no text in UTF-8") from error


def tell(done: int, blocks: int) -> None:
    """Say how far a long replay is, where a person looks on."""
    if blocks > 1:
        sys.stderr.write(f"\r{done} of {blocks} parts" + ("\n" if done == blocks else ""))
        sys.stderr.flush()
