"""`confide config`: what the federation agreed on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

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
from shared.sections import SECTIONS

config = typer.Typer(no_args_is_help=True, help="What the federation agreed on.")


@config.command()
def show(
    federation: FederationOption = DEFAULT_FEDERATION,
    settings: SetOption = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value is from.")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print every setting of the federation."""
    agreed, origins = load_federation(federation, parse_settings(settings or []))
    rows = {
        f"{section}.{name}": value
        for section in SECTIONS
        for name, value in asdict(getattr(agreed, section)).items()
    }
    if form is Format.JSON:
        emit({path: {"value": value, "origin": origins[path]} for path, value in rows.items()})
        return
    for path, value in rows.items():
        typer.echo(f"{path} = {json.dumps(value)}" + (f"  # {origins[path]}" if origin else ""))
