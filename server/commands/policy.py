"""`confide policy`: its group, and rule files linted without a store."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.rule_lint import RuleFile, lint
from server.commands.common import Format, FormatOption, day_if, emit
from shared.edge.clock import utc_now
from shared.edge.files import read_text

policy = typer.Typer(
    no_args_is_help=True,
    help="Rules: limit policy, line policy, packs, products and the rest of what is decided by.",
)

FilesArgument = Annotated[list[Path], typer.Argument(help="Rule files of any kind.")]
OnOption = Annotated[str, typer.Option("--on", help="A day, as 2026-01-31.  [default: today]")]


@policy.command("lint")
def lint_files(files: FilesArgument, on: OnOption = "", form: FormatOption = Format.TEXT) -> None:
    """Check rule files, alone, together, and against the law; tell all findings at once."""
    found = lint([(read_text(path), str(path)) for path in files], day_of(on))
    if form is Format.JSON:
        emit([file_view(one) for one in found])
        return
    for one in found:
        typer.echo(f"{one.rule.source}: {one.kind}, {one.title}, {one.rule.digest[:12]}, in order")


def day_of(text: str) -> date:
    """Return a day that was written, or today; see `server.commands.common.day_if`."""
    return day_if(text) or date.fromisoformat(utc_now()[:10])


def file_view(one: RuleFile) -> dict[str, Any]:
    """Return what is told of a rule file."""
    return {
        "file": one.rule.source,
        "kind": one.kind,
        "title": one.title,
        "digest": one.rule.digest,
    }
