"""`confide world`: make the months of a simulated world."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from clients.world.making import World, make
from shared.edge.workers import cores
from shared.world.economy import ECONOMIES

SCHEMA_VERSION = 1

world = typer.Typer(
    name="world", help="Make the months of a simulated world.", no_args_is_help=True
)
EconomyName = enum.StrEnum("EconomyName", {name.upper(): name for name in ECONOMIES})  # type: ignore[misc]


class Format(enum.StrEnum):
    """How the result is written to stdout."""

    TEXT = "text"
    JSON = "json"


@world.callback()
def root() -> None:
    """Make the months of a simulated world: nobody in it is real."""


@world.command("make")
def make_command(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    customers: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="People in the world.")
    ] = 12_000,
    months: Annotated[int, typer.Option(min=1, max=240, help="Months that are written.")] = 24,
    seed: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, help="The same seed, the same world.")
    ] = 1,
    economy: Annotated[
        EconomyName, typer.Option(help="What falls to everybody at once.")
    ] = EconomyName.CYCLE,  # type: ignore[attr-defined]
    processes: Annotated[
        int, typer.Option(min=0, max=256, help="The files are the same for any number; 0: a core.")
    ] = 0,
    form: Annotated[Format, typer.Option("--format", help="Form of the result.")] = Format.TEXT,
) -> None:
    """Write what each holder sees of the same people, month by month, as Parquet."""
    wanted = World(customers, months, seed, str(economy.value))
    rows = make(out, wanted, processes=processes or cores(), tell=_tell)
    if form is Format.JSON:
        data = {"folder": str(out), "rows": rows}
        typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, "status": "ok", "data": data}))
        return
    typer.echo(f"{customers:,} people, {months} months, in {out}")
    for holder, count in rows.items():
        typer.echo(f"  {holder:<10} {count:>12,} rows")


def _tell(done: int, parts: int) -> None:
    if parts > 1:
        sys.stderr.write(f"part {done} of {parts}\n")
