"""`confide world`: make the months of a simulated world, all at once or one after the other."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from clients.data.datasets import embedded_contract, split_holdings, write_parties
from clients.holdings import write_table
from clients.world.living import begin, last_month, live_on
from clients.world.making import World, make
from clients.world.tables import TABLES, learning_table, table_of_month
from shared.edge.workers import cores
from shared.world.economy import ECONOMIES

SCHEMA_VERSION = 1
_CONTRACT = "world_months"

world = typer.Typer(
    name="world", help="Make the months of a simulated world.", no_args_is_help=True
)
EconomyName = enum.StrEnum("EconomyName", {name.upper(): name for name in ECONOMIES})  # type: ignore[misc]


class Format(enum.StrEnum):
    """How the result is written to stdout."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Form of the result.")]
SeedOption = Annotated[
    int, typer.Option(min=0, max=2**64 - 1, help="The same seed, the same world.")
]
EconomyOption = Annotated[EconomyName, typer.Option(help="What falls to everybody at once.")]
WorldArgument = Annotated[Path, typer.Argument(help="Folder of a world that was begun.")]


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
    seed: SeedOption = 1,
    economy: EconomyOption = EconomyName.CYCLE,  # type: ignore[attr-defined]
    processes: Annotated[
        int, typer.Option(min=0, max=256, help="The files are the same for any number; 0: a core.")
    ] = 0,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write what each holder sees of the same people, month by month, as Parquet."""
    wanted = World(customers, months, seed, str(economy.value))
    rows = make(out, wanted, processes=processes or cores(), tell=_tell)
    lines = [f"{customers:,} people, {months} months, in {out}"]
    lines += [f"  {holder:<10} {count:>12,} rows" for holder, count in rows.items()]
    _emit(form, {"folder": str(out), "rows": rows}, lines)


@world.command("begin")
def begin_command(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    customers: Annotated[
        int, typer.Option(min=1_000, max=1_000_000, help="People in the world.")
    ] = 6_000,
    months: Annotated[
        int, typer.Option(min=1, max=240, help="Months that nobody has a line in yet.")
    ] = 18,
    seed: SeedOption = 1,
    economy: EconomyOption = EconomyName.CYCLE,  # type: ignore[attr-defined]
    form: FormatOption = Format.TEXT,
) -> None:
    """Begin a world that is lived month by month, and let it live the first ones."""
    month = begin(out, World(customers, months, seed, str(economy.value)))
    _emit(
        form,
        {"folder": str(out), "month": month},
        [f"{customers:,} people in {out}, at the end of month {month}"],
    )


@world.command("month")
def month_command(
    folder: WorldArgument,
    lines: Annotated[
        Path | None,
        typer.Option(help="Who has a line: ID, LIMIT, OWED in minor units; CSV or Parquet."),
    ] = None,
    number: Annotated[
        int, typer.Option(min=0, help="Of the month; where it is over, nothing is done.")
    ] = 0,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let one more month pass: what holders see of it, and what people do on their lines."""
    month = live_on(folder, lines, number)
    _emit(form, {"folder": str(folder), "month": month}, [f"{folder}: month {month} is over"])


@world.command("tables")
def tables_command(
    folder: WorldArgument,
    into: Annotated[Path, typer.Option(help="Folder with, or for, a folder a holder.")],
    learn: Annotated[
        bool,
        typer.Option(
            "--learn", help="Tables to learn from, a year ago, for outcomes that are over."
        ),
    ] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let each holder compute its columns from its own months, as of the last."""
    month = last_month(folder)
    if learn:
        agreed, content = embedded_contract(_CONTRACT)
        tables = {holder: learning_table(folder, holder, month) for holder in TABLES}
        write_parties(into, split_holdings(tables, agreed), content)
    else:
        tables = {holder: table_of_month(folder, holder, month) for holder in TABLES}
        for holder, table in tables.items():
            write_table(into / holder / "customers.parquet", table)
    rows = {holder: len(table["ID"]) for holder, table in tables.items()}
    lines = [f"{into}: month {month}"]
    lines += [f"  {holder:<10} {count:>12,} customers" for holder, count in rows.items()]
    _emit(form, {"folder": str(into), "month": month, "rows": rows}, lines)


def _emit(form: Format, data: dict[str, object], lines: list[str]) -> None:
    if form is Format.JSON:
        typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, "status": "ok", "data": data}))
    else:
        typer.echo("\n".join(lines))


def _tell(done: int, parts: int) -> None:
    if parts > 1:
        sys.stderr.write(f"part {done} of {parts}\n")
