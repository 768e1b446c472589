"""What the commands share: options, the form of a result, settings on the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.errors import ConfigError, UsageError
from shared.sections import SECTIONS

SCHEMA_VERSION = 1
DEFAULT_FEDERATION = Path("federation.toml")


class Format(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


FederationOption = Annotated[
    Path, typer.Option("--federation", "-f", help="The federation file.", show_default=True)
]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the result on stdout.")]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="A limit policy; without one, the reference.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting for this run, such as scorecard.thresholds=12."),
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="CONFIDE_STORE_URL",
        help="URL of the limit service's store.  [default: limits/limits.db beside the federation]",
    ),
]
ByOption = Annotated[str, typer.Option("--by", help="Who decides: it is kept with what is done.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; it is kept with what is done.")]


def store_url(given: str, federation: Path) -> str:
    """Return the URL of the store: the one that was given, or SQLite beside the federation file.

    Parameters
    ----------
    given : str
        Of `StoreOption`; may be empty.
    federation : Path
        The federation file.
    """
    if given:
        return given
    return f"sqlite:///{federation.absolute().parent / 'limits' / 'limits.db'}"


def person(by: str) -> str:
    """Return who decides as the store names people: by role, as over HTTP."""
    return f"officer:{by}"


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Read `--set path=value` options.

    Raises
    ------
    ConfigError
        If one is no setting, or has no value.
    """
    known = {
        f"{section}.{item.name}": item
        for section, kind in SECTIONS.items()
        for item in fields(kind)
    }
    flags, findings = {}, []
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or path not in known:
            findings.append(f"{text}: must be one of {', '.join(known)}, then = and a value")
            continue
        try:
            flags[path] = value if known[path].type == "str" else json.loads(value)
        except ValueError:
            flags[path] = value
    if findings:
        raise ConfigError("--set", findings)
    return flags


def emit(data: Any) -> None:
    """Print a result as JSON."""
    envelope = {"schema_version": SCHEMA_VERSION, "status": "ok", "data": data}
    typer.echo(json.dumps(envelope, indent=2))


def day_if(text: str) -> date | None:
    """Return a day that was written; None where nothing was.

    Raises
    ------
    UsageError
        If it is no day.
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is no day", hint="write it as 2026-01-31") from error


def money(minor: int, digits: int, sign: str = "") -> str:
    """Return an amount in whole units, with its minor ones behind the point."""
    return f"{Decimal(minor).scaleb(-digits):{sign},.{digits}f}"
