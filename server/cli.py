"""The `confide` command: its root, its errors, and where its commands come from.

Results go to stdout, progress and errors to stderr. Every error of `shared.errors` becomes one
message and its own exit status; anything else is a defect and exits with 5. The coordinator's and
the limit service's commands stand in `server/commands`; a party's own (`init`, `keys`, `data`) are
found through entry points, so that the coordinator's code never imports them. A command is loaded
when it is asked for: most need neither Flower nor a database, and all would take seconds.
"""

from __future__ import annotations

import json
import sys
import traceback
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from itertools import pairwise
from typing import Annotated, Any, Final

import click
import typer

from server import screen
from server.commands.common import SCHEMA_VERSION
from shared.edge import logs
from shared.errors import (
    ConfideError,
    ConfigError,
    DataError,
    EnvironmentFault,
    Interrupted,
    UsageError,
)

_ENTRIES: Final = "confide.commands"
_OWN: Final = (
    "train:train",
    "demo:demo",
    "logins:logins",
    "serve:serve",
    "score:score",
    "report:report",
    "doctor:doctor",
    "federation:federation",
    "client:token",
    "client:client",
    "model:model",
    "model_compare:compare>model",
    "model_audit:audit>model",
    "nodes:nodes",
    "config:config",
    "policy:policy",
    "policy_diff:diff>policy",
    "policy_show:show>policy",
    "policy_show:history>policy",
    "policy_acts:activate>policy",
    "policy_acts:approve>policy",
    "policy_acts:reject>policy",
    "policy_acts:pause>policy",
    "policy_acts:resume>policy",
    "line:line",
    "line_why:why>line",
    "line_outcomes:outcomes>line",
    "review:review",
    "replay:replay",
    "cycle:cycle",
    "log:log",
    "store:store",
)
"""Modules of `server.commands`, the function or group in each that bears the command's name, and
behind ``>`` the group that it is added to."""
NO_COMMAND: Final = "--version"
"""In place of a command's name: none is loaded."""


def _version(show: bool) -> None:
    if show:
        typer.echo(f"confide {version('confide')}")
        raise typer.Exit


def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Federated credit scoring: several data holders, one readable scorecard, no pooled rows."""


@cache
def command_line(word: str = "", inner: str = "") -> click.Command:
    """Return the command line.

    Parameters
    ----------
    word : str
        The command that is asked for: no other is loaded. Where there is none of that name, all
        are, so that help and errors know them; with `NO_COMMAND`, none.
    inner : str
        The command that is asked for within a group: of those that stand in modules of their own,
        no other is loaded. Where there is none of that name, all of the group are.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(root)
    if word == NO_COMMAND:
        return typer.main.get_command(app)
    entries = _entries()
    known = {name for group, name in entries if not group}
    groups: dict[str, typer.Typer] = {"": app}
    own: dict[str, set[str]] = {}
    for (group, name), entry in entries.items():
        if word in known and word not in (group, name if not group else ""):
            continue
        if group and name != inner and ((group, inner) in entries or inner in own[group]):
            continue
        command = _loaded(entry, wanted=word == (group or name))
        if command is None:
            continue
        if isinstance(command, typer.Typer):
            groups[name], own[name] = command, _names(command)
            groups[group].add_typer(command, name=name)
        else:
            groups[group].command(name)(command)
    return typer.main.get_command(app)


def _loaded(entry: EntryPoint, *, wanted: bool) -> Any:
    """Return a command, or none where it needs what this installation, an image, does without.

    Raises
    ------
    EnvironmentFault
        If it was asked for.
    """
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"server", "clients", "shared", ""}:
            raise
        if wanted:
            raise EnvironmentFault(
                f"{error.name} is not installed here, which this command needs",
                hint="the limit service's image has its own commands only",
            ) from error
        return None


def _names(group: typer.Typer) -> set[str]:
    """Return the names of the commands that a group has by itself."""
    named = ((one.name, one.callback) for one in group.registered_commands)
    return {str(name or getattr(function, "__name__", "")) for name, function in named}


def _entries() -> dict[tuple[str, str], EntryPoint]:
    """Return where each command is, by its group and name; one named `model.export` is in `model`.

    A group comes before what others add to it.
    """
    own = [_own(*one.partition(">")[::2]) for one in _OWN]
    others = sorted(entry_points(group=_ENTRIES), key=lambda entry: entry.name)
    named = {entry.name.rpartition(".")[::2]: entry for entry in [*own, *others]}
    return dict(sorted(named.items(), key=lambda item: bool(item[0][0])))


def _own(place: str, group: str) -> EntryPoint:
    name = place.partition(":")[2]
    return EntryPoint(f"{group}.{name}" if group else name, f"server.commands.{place}", _ENTRIES)


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
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    word, inner = [*words, "", ""][:2]
    logs.configure("coordinator")
    if not word and "--version" in sys.argv:
        word = NO_COMMAND
    try:
        result = command_line(word, inner).main(standalone_mode=False)
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
