"""`confide store`: the schema, what is kept twice, backups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts import proving
from server.accounts.desk import utc_clock
from server.accounts.scores import HOME
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
    store_url,
)
from server.prooflog.heads import SignedHead, read_head
from server.store import backup as backups
from server.store import checks
from server.store.backup import check_reaches
from server.store.backup_manifest import Backup, read_backup
from server.store.engine import open_store
from server.store.log_checks import check_log
from shared.edge.files import load_identity
from shared.errors import DataError, EnvironmentFault, LogBroken

store = typer.Typer(no_args_is_help=True, help="The limit service's store: schema, checks, backup.")

PinOption = Annotated[
    str, typer.Option("--pin", help="Fingerprint of the log key; without it, that of log.key.")
]
HeadOption = Annotated[
    Path | None,
    typer.Option("--head", help="The newest signed head that was kept elsewhere."),
]


@store.command()
def upgrade(
    url: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make the store, or bring its schema to this version."""
    where = store_url(url, federation)
    if not url:
        (federation.absolute().parent / HOME).mkdir(parents=True, exist_ok=True)
    opened = open_store(where, pool=1, create=True)
    name = opened.name
    opened.close()
    if form is Format.JSON:
        emit({"store": name})
    else:
        typer.echo(f"{name} is of this version's schema")


@store.command()
def check(
    url: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    head: HeadOption = None,
    pin: PinOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Recompute every total from its events, and the decision log; name what does not hold."""
    pin = _pin(pin, federation)
    known = None if head is None else _head(head)
    opened = open_store(store_url(url, federation), pool=1)
    try:
        with opened.read() as db:
            looked = check_log(db, pin)
            findings = [*checks.findings(db), *looked.findings]
            if known is not None:
                try:
                    check_reaches(db, known, pin)
                except LogBroken as error:
                    findings.append(error.message)
    finally:
        opened.close()
    if findings:
        raise DataError(opened.name, findings)
    told = {"decisions": looked.decisions, "leaves": looked.leaves, "heads": looked.heads}
    if form is Format.JSON:
        emit({"store": opened.name, **told})
    else:
        typer.echo(f"{opened.name} is in order: " + ", ".join(f"{n} {k}" for k, n in told.items()))


@store.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    url: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write one state of every table to a folder; it appears whole or not at all."""
    opened = open_store(store_url(url, federation), pool=1)
    try:
        made = backups.backup(opened, folder, utc_clock())
    finally:
        opened.close()
    _tell(made, folder, form, "holds")
    if form is Format.TEXT:
        note = (
            "it holds personal data and their salts; the log key and the token keys are not in it"
        )
        typer.echo(note, err=True)


@store.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="The folder of a backup.")],
    url: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    head: HeadOption = None,
    pin: PinOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Fill a new database from a backup, once everything in it was recomputed."""
    pin = _pin(pin, federation)
    known = None if head is None else _head(head)
    read_backup(folder)  # before a database is made for it
    if not url:
        (federation.absolute().parent / HOME).mkdir(parents=True, exist_ok=True)
    opened = open_store(store_url(url, federation), pool=1, create=True)
    try:
        made = backups.restore(opened, folder, pin=pin, known=known)
    finally:
        opened.close()
    _tell(made, folder, form, "was restored:")
    if form is Format.TEXT:
        typer.echo("what was deleted since the backup is back: delete it again", err=True)
        if known is None:
            note = "no --head was given: decisions after the backup may be missing unseen"
            typer.echo(note, err=True)


def _tell(made: Backup, folder: Path, form: Format, what: str) -> None:
    head: dict[str, Any] | None = None if made.head is None else made.head.to_mapping()
    if form is Format.JSON:
        told = {"folder": str(folder), "created": made.created, "schema": made.schema}
        emit({**told, "rows": made.rows, "head": head})
        return
    leaves = "no signed head" if made.head is None else f"a head of {made.head.head.size} leaves"
    typer.echo(f"{folder} {what} {made.rows} rows of {len(made.tables)} tables, {leaves}")


def _pin(given: str, federation: Path) -> str:
    """Return the pin: the one that was given, or that of the log key, if it is here."""
    path = federation.parent / HOME / proving.KEY
    if given or not path.exists():
        return given
    return load_identity(path, "log", None).fingerprint


def _head(path: Path) -> SignedHead:
    try:
        return read_head(json.loads(path.read_bytes()))
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise LogBroken(f"form: {path} is not JSON", check="form") from error
