"""`confide model opening`: what an auditor needs of a party, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clients.audits.openings import hand_out
from clients.party import Party
from shared.edge.files import write_atomic


def opening(
    run: Annotated[str, typer.Argument(help="The run.")],
    party: Annotated[str, typer.Option("--party", "-p", help="Whose updates are opened.")],
    federation: Annotated[
        Path, typer.Option("--federation", "-f", help="The federation file.")
    ] = Path("federation.toml"),
    phase: Annotated[
        str, typer.Option(help="Only this sum's, such as neural_1.  [default: all]")
    ] = "",
    to: Annotated[str, typer.Option(help="Who gets it; it stands in the ledger.")] = "an auditor",
    out: Annotated[Path | None, typer.Option(help="File.  [default: stdout]")] = None,
) -> None:
    """Open this party's updates of a run to an auditor, who checks them by `confide model audit`.

    The file says all of the updates: it is for the auditor alone.
    """
    own = Party.load(federation, party)
    with own.store.exclusive():
        text = json.dumps(hand_out(own, run, phase, to=to), indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_atomic(out, text.encode(), mode=0o600)
