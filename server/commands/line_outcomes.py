"""`confide line outcomes`: what became of lines, as labels of the next training."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from server.accounts.learning import outcomes_of
from server.accounts.proving import log_key
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    day_if,
    emit,
)
from server.commands.desks import opened_desk
from shared.edge.files import write_atomic
from shared.errors import UsageError
from shared.outcomes import pack_outcomes


def outcomes(
    since: Annotated[str, typer.Option(help="The day of the data that are learned from.")],
    until: Annotated[str, typer.Option(help="The day by which a default counts: past.")],
    out: Annotated[Path, typer.Option(help="File for the party with the label.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Write what became of the lines of those who let the lender learn from it, signed."""
    first, last = day_if(since), day_if(until)
    if first is None or last is None:
        raise UsageError("--since and --until must be days", hint="write them as 2026-01-31")
    with opened_desk(federation, store) as desk:
        now = datetime.now(UTC)
        with desk.store.read() as db:
            found = outcomes_of(desk, db, first, last, now)
        identity = log_key(desk.home)
    write_atomic(out, pack_outcomes(identity, found), mode=0o600)
    bad = sum(found.bad.values())
    if form is Format.JSON:
        told = {"customers": len(found.bad), "bad": bad, "key": identity.fingerprint}
        emit({"file": str(out), **told})
        return
    typer.echo(f"{out}: {len(found.bad):,} customers, {bad:,} bad")
    typer.echo(f"signed by {identity.fingerprint}")
