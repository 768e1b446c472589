"""`confide client ...` and `confide token`: the programs that may call the limit service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.scores import HOME
from server.api.tokens import KEY_FILE, LIFE, OFFLINE, Caller, Role, check_subject, mint, read_keys
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
    store_url,
)
from server.store import access
from server.store.engine import Store, open_store
from shared.errors import EnvironmentFault, UsageError

client = typer.Typer(no_args_is_help=True, help="Programs that may ask for access tokens.")

NameArgument = Annotated[str, typer.Argument(help="Id of the client.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What it is to the service.")]
SubjectOption = Annotated[
    str, typer.Option("--subject", help="A customer's pseudonym, or a partner's id.")
]
_PAGE = 200


@client.command()
def add(
    name: NameArgument,
    role: RoleOption,
    subject: SubjectOption = "",
    any_subject: Annotated[
        bool, typer.Option("--any-subject", help="It may speak for every customer: the app.")
    ] = False,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Add a client and print its secret, this once."""
    if name == OFFLINE:
        raise UsageError(f"{OFFLINE} is what tokens of `confide token` are named by")
    if not any_subject:
        check_subject(role, subject)
    with _open(store, federation) as opened, opened.write() as db:
        secret = access.add_client(
            db, name, role, datetime.now(UTC), subject=subject, any_subject=any_subject
        )
    _tell_secret(name, secret, form)


@client.command()
def renew(
    name: NameArgument,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Give a client a new secret and print it, this once; the old one and its tokens are void."""
    with _open(store, federation) as opened, opened.write() as db:
        secret = access.renew_client(db, name, datetime.now(UTC))
    _tell_secret(name, secret, form)


@client.command()
def disable(
    name: NameArgument,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Take a client out for good; its tokens count no more within seconds."""
    with _open(store, federation) as opened, opened.write() as db:
        row = _row(access.disable_client(db, name, datetime.now(UTC)))
    if form is Format.JSON:
        emit(row)
    else:
        typer.echo(f"{name} is disabled")


@client.command("list")
def list_clients(
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """List the clients; nobody can list their secrets."""
    rows: list[dict[str, Any]] = []
    with _open(store, federation) as opened, opened.read() as db:
        while page := access.clients(db, after=rows[-1]["client"] if rows else "", count=_PAGE):
            rows += [_row(one) for one in page]
    if form is Format.JSON:
        emit(rows)
        return
    for row in rows:
        speaks = "any customer" if row["any_subject"] else row["subject"]
        state = f"disabled {row['disabled']}" if row["disabled"] else f"since {row['created']}"
        typer.echo(f"{row['client']:<24} {row['role']:<10} {state}  {speaks}".rstrip())
    if not rows:
        typer.echo("no client yet")


def token(
    role: RoleOption,
    subject: SubjectOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print an access token for a quarter of an hour, for whoever may read the service's key."""
    path = federation.parent / HOME / KEY_FILE
    if not path.exists():
        raise EnvironmentFault(f"there is no {path}", hint="`confide serve` makes it")
    made = mint(read_keys(path), Caller(OFFLINE, role, subject), datetime.now(UTC))
    if form is Format.JSON:
        emit({"access_token": made, "expires_in": int(LIFE.total_seconds()), "scope": str(role)})
    else:
        typer.echo(made)


def _tell_secret(name: str, secret: str, form: Format) -> None:
    if form is Format.JSON:
        emit({"client": name, "secret": secret})
    else:
        typer.echo(f"{secret}")
        typer.echo(f"This is the secret of {name}; it is kept nowhere.", err=True)


def _row(one: access.Client) -> dict[str, Any]:
    return {
        "client": one.id,
        "role": one.role,
        "subject": one.subject,
        "any_subject": one.any_subject,
        "created": f"{one.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "disabled": f"{one.disabled_at:%Y-%m-%dT%H:%M:%SZ}" if one.disabled_at else None,
    }


@contextmanager
def _open(store: str, federation: Path) -> Iterator[Store]:
    """Open the store; where it is ours beside the federation, its folder is made."""
    if not federation.exists():
        raise EnvironmentFault(f"cannot read {federation}: no such file")
    (federation.parent / HOME).mkdir(exist_ok=True)
    opened = open_store(store_url(store, federation), create=True)
    try:
        yield opened
    finally:
        opened.close()
