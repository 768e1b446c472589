"""`confide model audit`: whether what a party opens is what it signed and had added."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.audits import audit as check
from server.audits import read_records
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    SetOption,
    emit,
    parse_settings,
)
from server.coordinator import load_federation
from server.engines.run_files import coordinator_home, run_folder
from shared.errors import NotFound


def audit(
    run: Annotated[str, typer.Argument(help="The run.")],
    openings: Annotated[
        list[Path], typer.Argument(help="Files of `confide model opening`, one a party.")
    ],
    federation: FederationOption = DEFAULT_FEDERATION,
    record: Annotated[
        list[Path] | None,
        typer.Option(
            help="What somebody else kept: another party's file, for one.  "
            "[default: the coordinator's]"
        ),
    ] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Every party must open; the sums are checked too.")
    ] = False,
    settings: SetOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check updates that parties open: signature, commitment, masks, clip bound, and the sum."""
    agreed, _ = load_federation(federation, parse_settings(settings or []))
    folder = run_folder(coordinator_home(agreed, federation), run)
    paths = record or sorted(folder.glob("audit-*.json"))
    if not paths:
        raise NotFound(
            f"{folder} keeps no commitments of run {run}",
            hint="--record takes what a party kept of it",
        )
    found = check(agreed, run, read_records(paths), read_records(openings), whole=everybody)
    if form is Format.JSON:
        emit({"run": run, **asdict(found)})
        return
    for one in found.in_order:
        length = "" if one.length is None else f"  length {one.length:.4f}"
        typer.echo(f"{one.phase:<18}{one.party:<14}{one.customers:>9,} customers{length}  in order")
    if found.not_opened:
        typer.echo(f"not opened by {', '.join(found.not_opened)}")
    typer.echo(f"{found.sums} sums are those of the updates; {found.sums_unchecked} not checked")
