"""`confide report`: one HTML file with what a training came to, which needs nothing beside it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    emit,
)
from server.report.page import report_of
from server.report.sources import find
from shared.edge.clock import utc_now
from shared.edge.files import write_atomic


class Tongue(StrEnum):
    """Language of a report."""

    EN = "en"
    ZH = "zh"


def report(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[RUN|RELEASE]",
            help="Name of a run or of a release; without one, the release that serves.",
        ),
    ] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "report.html"
    ),
    federation: FederationOption = DEFAULT_FEDERATION,
    lang: Annotated[Tongue, typer.Option(help="Language of the report.")] = Tongue.EN,
    form: FormatOption = Format.TEXT,
) -> None:
    """Write the results of a training as one HTML file: pictures, tables, provenance."""
    now = utc_now()
    source = find(federation, name, now)
    written = report_of(source, lang.value, now)
    raw = written.html.encode()
    write_atomic(output, raw)
    told = {
        "report": str(output.absolute()),
        "bytes": len(raw),
        "release": source.entry.name,
        "digest": source.entry.digest,
        "run": source.release.manifest.run,
        "pictures": {one.key: one.state for one in written.pictures},
    }
    if form is Format.JSON:
        emit(told)
        return
    typer.echo(
        f"{output}: {source.entry.name} ({source.entry.digest[:12]}), "
        f"{len(written.pictures)} pictures, {len(raw):,} bytes"
    )
