"""`confide log check` and `replay`: the decision log held against itself, and made again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from server.accounts import proving
from server.accounts.replaying import replay_store
from server.accounts.scores import HOME
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
)
from server.commands.log_source import checked_head, opened_log
from server.store.log_checks import check_log
from shared.edge.files import load_identity
from shared.errors import DataError, UsageError

PinOption = Annotated[
    str, typer.Option("--pin", help="Fingerprint of the log key; without it, that of log.key.")
]


def check(
    pin: PinOption = "",
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Recompute chains, commitments, leaves, nodes and heads; name everything that is wrong."""
    key = federation.parent / HOME / proving.KEY
    pin = pin or (load_identity(key, "log", None).fingerprint if key.exists() else "")
    with opened_log(store, federation) as source:
        if source.db is None:
            checked_head(source.book)
            raise UsageError("a log in files is checked by `confide log head`: it is in order")
        found = check_log(source.db, pin)
    if found.findings:
        raise DataError("the decision log", found.findings)
    told = {
        "decisions": found.decisions,
        "records": found.records,
        "leaves": found.leaves,
        "waiting": found.pending,
        "heads": found.heads,
        "head": None if found.newest is None else found.newest.to_mapping(),
    }
    if form is Format.JSON:
        emit(told)
        return
    deleted = found.decisions - found.records
    typer.echo(f"in order: {found.decisions} decisions, the records of {deleted} deleted")
    typer.echo(f"  {found.leaves} leaves under {found.heads} signed heads, {found.pending} wait")


def replay(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make every decision of the store again from its record, and compare bit for bit."""
    with opened_log(store, federation) as source:
        if source.db is None:
            raise UsageError("a log in files is replayed by `confide log verify --replay`")
        began = time.perf_counter()
        found = replay_store(source.db)
        seconds = time.perf_counter() - began
    if found.failed:
        more = found.failed - len(found.findings)
        findings = [*found.findings, *([f"and {more} more"] if more else [])]
        raise DataError("the decision log", findings)
    rate = round(found.same / seconds) if seconds else 0
    told = {"same": found.same, "deleted": found.deleted, "other": found.other}
    if form is Format.JSON:
        emit({**told, "seconds": round(seconds, 3), "per_second": rate})
        return
    typer.echo(f"{found.same} decisions made again, bit for bit: {rate} a second")
    typer.echo(f"  {found.deleted} were deleted, {found.other} records are no decisions")
