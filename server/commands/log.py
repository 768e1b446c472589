"""`confide log`: the decision log's key and heads; what else is done with it stands beside this.

The log is the store's (`--store`). Where there is no store, it is the log in files that
`server.prooflog.folder` keeps beside the federation file. `verify` needs neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.accounts import proving
from server.accounts.desk import utc_clock
from server.accounts.proving import Place
from server.accounts.scores import HOME
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
)
from server.commands.log_check import check, replay
from server.commands.log_export import consistency, export
from server.commands.log_source import FOLDER, OutOption, covering_head, opened_log, opened_store
from server.commands.log_verify import verify
from server.prooflog.export import to_bytes
from server.prooflog.folder import open_book
from server.store import log as store_log
from shared.edge.clock import utc_now
from shared.edge.files import load_identity, write_atomic
from shared.errors import NotFound

log = typer.Typer(no_args_is_help=True, help="The decision log: heads, exports, verification.")
log.command()(verify)


@log.command()
def init(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make the operator's log key where there is none, and show its fingerprint."""
    with opened_store(store, federation) as opened:
        if opened is None:
            raise NotFound("there is no store yet", hint="`confide store upgrade` makes one")
        identity = proving.make_log_key(Place(opened, federation.parent / HOME, utc_clock))
    _show_pin(identity.fingerprint, federation, form)


@log.command()
def pin(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show the fingerprint of the log key: what whoever verifies must have from the operator."""
    identity = proving.log_key(federation.parent / HOME)
    with opened_store(store, federation) as opened:
        if opened is not None:
            with opened.read() as db:
                proving.check_pin(db, identity)
    _show_pin(identity.fingerprint, federation, form)


@log.command()
def head(
    sign: Annotated[
        bool,
        typer.Option("--sign", help="Take in what waits, and sign a new head over all leaves."),
    ] = False,
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check the log against its newest head (in files: against every head), and show it."""
    if sign:
        _sign(store, federation)
    with opened_log(store, federation) as source:
        signed = covering_head(source)
        unsigned = source.book.leaves.size() - signed.head.size
        waiting = 0 if source.db is None else store_log.waiting(source.db)
    if out is not None:
        write_atomic(out, to_bytes(signed.to_mapping()))
    if form is Format.JSON:
        emit({**signed.to_mapping(), "unsigned": unsigned, "waiting": waiting})
        return
    newest = signed.head
    typer.echo(f"{newest.size} leaves, root {newest.root}")
    typer.echo(f"  signed {newest.time} by {newest.log}")
    typer.echo(f"  {unsigned} leaves since then are not signed yet")
    if waiting:
        typer.echo(f"  {waiting} decisions wait for their leaf")


for _more in (export, consistency, check, replay):  # in the order of the help
    log.command()(_more)


def _sign(url: str, federation: Path) -> None:
    home = federation.parent / HOME
    with opened_store(url, federation) as opened:
        if opened is None:
            identity = load_identity(home / proving.KEY, "log", None)
            with open_book(home / FOLDER) as book:
                book.sign(identity, utc_now())
            return
        place = Place(opened, home, utc_clock)
        proving.log_key(home)  # before anything is taken in
        proving.take_in(place)
        with opened.write() as db:
            proving.sign(place, db, place.clock())


def _show_pin(fingerprint: str, federation: Path, form: Format) -> None:
    path = federation.parent / HOME / proving.KEY
    if form is Format.JSON:
        emit({"pin": fingerprint, "key": str(path)})
        return
    typer.echo(fingerprint)
    typer.echo(
        f"  give it to whoever verifies; keep a copy of {path}, apart from backups", err=True
    )
