"""What the commands share: options, the form of a result, settings on the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.config import SECTIONS
from shared.errors import ConfigError

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
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting for this run, such as scorecard.thresholds=12."),
]


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
