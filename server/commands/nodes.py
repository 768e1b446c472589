"""`confide nodes`: which nodes a SuperLink lets in, where it runs on a machine of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.common import DEFAULT_FEDERATION, FederationOption, Format, FormatOption, emit

nodes = typer.Typer(no_args_is_help=True, help="The parties' nodes at the SuperLink.")


@nodes.callback()
def group() -> None:
    """Say which nodes a SuperLink lets in."""


@nodes.command()
def register(
    superlink: Annotated[str, typer.Option(help="HOST:PORT of the SuperLink.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let every party's pinned node key in; before that, a node that starts is turned away."""
    # Flower takes a second to import; only here.
    from server.engines.flower import register_nodes  # noqa: PLC0415

    parties = register_nodes(federation, superlink)
    if form is Format.JSON:
        emit({"superlink": superlink, "parties": list(parties)})
    else:
        typer.echo(f"{superlink} lets in {', '.join(parties)}")
