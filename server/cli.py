"""The `confide` command: its root, its errors, and where its commands come from.

Results go to stdout, progress and errors to stderr. Every error of `shared.errors` becomes one
message and its own exit status; anything else is a defect and exits with 5. The coordinator's and
the limit service's commands stand in `server/commands`; a party's own (`init`, `keys`, `data`) are
found through entry points, so that the coordinator's code never imports them.
"""

from __future__ import annotations

import json
import sys
import traceback
from functools import cache
from importlib.metadata import entry_points, version
from itertools import pairwise
from typing import Annotated

import click
import typer

from server import screen
from server.commands.common import SCHEMA_VERSION
from server.commands.config import config
from server.commands.demo import demo
from server.commands.log import log
from server.commands.model import model
from server.commands.nodes import nodes
from server.commands.replay import replay
from server.commands.score import score
from server.commands.serve import serve
from server.commands.train import train
from shared.errors import ConfideError, ConfigError, DataError, Interrupted, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Federated credit scoring: several data holders, one readable scorecard, no pooled rows.",
)
for _command in (train, demo, serve, score):
    app.command()(_command)
app.add_typer(model, name="model")
app.add_typer(nodes, name="nodes")
app.add_typer(config, name="config")
app.add_typer(replay, name="replay")
app.add_typer(log, name="log")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"confide {version('confide')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Federated credit scoring: several data holders, one readable scorecard, no pooled rows."""


@cache
def _command() -> click.Command:
    """Build the command line once, whatever number of times it is run in a process."""
    _add_party_commands()
    return typer.main.get_command(app)


def _add_party_commands() -> None:
    """Add the parties' own commands; one named `model.export` goes into the group `model`."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    for entry in sorted(entry_points(group="confide.commands"), key=lambda entry: entry.name):
        group, _, name = entry.name.rpartition(".")
        parent = groups[group] if group else app
        command = entry.load()
        if parent is None:
            raise TypeError(f"{entry.name}: {group} is no group of commands")
        if isinstance(command, typer.Typer):
            parent.add_typer(command, name=name)
        else:
            parent.command(name)(command)


def _wants_json() -> bool:
    """Return whether JSON was asked for; errors may come before the options are parsed."""
    return "--format=json" in sys.argv or ("--format", "json") in pairwise(sys.argv)


def report_error(error: ConfideError) -> None:
    """Tell of an error: text for people, one JSON object if `--format json` was asked for."""
    if _wants_json():
        findings = list(error.findings) if isinstance(error, ConfigError | DataError) else []
        problem = {
            "code": getattr(error, "reported", "") or error.code,
            "message": error.message,
            "hint": error.hint,
            "party": error.party,
            "findings": findings,
        }
        envelope = {"schema_version": SCHEMA_VERSION, "status": "error", "error": problem}
        typer.echo(json.dumps(envelope, indent=2))
        return
    screen.error(error)


def main() -> int:
    """Run the command line; return its exit status."""
    command = _command()
    try:
        result = command.main(standalone_mode=False)
    except ConfideError as error:
        report_error(error)
        return error.exit_status
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.ClickException as error:
        if _wants_json():
            report_error(UsageError(error.format_message()))
        else:
            error.show()
        return UsageError.exit_status
    except (KeyboardInterrupt, click.exceptions.Abort):
        report_error(Interrupted("stopped"))
        return Interrupted.exit_status
    except Exception:  # noqa: BLE001 - the last resort: a defect, told in full
        traceback.print_exc()
        return ConfideError.exit_status
    status = result if isinstance(result, int) else 0
    if status == Interrupted.exit_status:  # Typer has swallowed a Ctrl-C
        report_error(Interrupted("stopped"))
    return status


if __name__ == "__main__":
    sys.exit(main())
