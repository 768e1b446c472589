"""`confide cycle`: a world, its holders and the limit service, lived month after month."""

from __future__ import annotations

import enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.scores import load_policy
from server.commands.common import Format, FormatOption, emit, money
from server.cycle.setting import Setting
from shared.world.economy import ECONOMIES

EconomyName = enum.StrEnum("EconomyName", {name.upper(): name for name in ECONOMIES})  # type: ignore[misc]


def cycle(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one to go on with.")],
    people: Annotated[int, typer.Option(min=4_000, max=100_000, help="In the world.")] = 6_000,
    applicants: Annotated[
        int, typer.Option(min=10, max=20_000, help="Of them, those who ask for a line.")
    ] = 600,
    months: Annotated[int, typer.Option(min=1, max=60, help="With lines.")] = 12,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Of the world.")] = 1,
    economy: Annotated[
        EconomyName, typer.Option(help="What falls to everybody at once.")
    ] = EconomyName.CYCLE,  # type: ignore[attr-defined]
    refresh: Annotated[
        int, typer.Option(min=1, max=12, help="Months from one training to the next.")
    ] = 3,
    night_days: Annotated[
        int, typer.Option(min=1, max=15, help="Days from one nightly run to the next.")
    ] = 5,
    form: FormatOption = Format.TEXT,
) -> None:
    """Live months: events, features, feeds, draws, repayments, reviews, models that are refreshed.

    Stopped at any time, it goes on where it was.
    """
    from server.cycle.months import Cycle  # noqa: PLC0415 - other commands need no cycle

    wanted = Setting(people, applicants, months, seed, str(economy.value), refresh, night_days)
    digits = load_policy(None)[0].minor_digits
    tell = partial(_tell, digits=digits)
    rows = Cycle(folder, wanted, train_at, tell).live()
    if form is Format.JSON:
        emit(rows)
        return
    typer.echo("\n".join(_line(row, digits) for row in rows))


def train_at(federation: Path, at: str) -> str:
    """Train a release on engine `local`, with all clocks at an instant; return its name.

    Parameters
    ----------
    federation : Path
        The federation file.
    at : str
        Instant.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    from server.commands.train import run_training  # noqa: PLC0415 - Flower takes a second
    from server.engines.launcher import new_run, train_local  # noqa: PLC0415

    result = run_training(federation, partial(train_local, at=at), {}, new_run(), at=at)
    return str(result["release"]["name"])


def _tell(row: dict[str, Any], digits: int) -> None:
    typer.echo(_line(row, digits), err=True)


def _line(row: dict[str, Any], digits: int) -> str:
    """Return a month in one line."""
    limits, owed = money(row["limit_minor"], digits), money(row["owed_minor"], digits)
    text = (
        f"month {row['month']:>2}  {row['day']}  {row['lines']:>5} lines  limits {limits:>15}"
        f"  owed {owed:>15}  late {row['late']:>3}  {row['model']}"
    )
    if "judged" in row:
        text += f"  challenger {row['judged']['outcome']}; next {row['challenger']}"
    return text
