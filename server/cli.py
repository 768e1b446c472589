"""The `confide` command: its root, `train`, `demo` and `config`.

Results go to stdout, progress and errors to stderr. Every error of `shared.errors` becomes one
message and its own exit status; anything else is a defect and exits with 5. A party's own commands
(`init`, `data`) are found through entry points, so that the coordinator's code never imports them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
import warnings
from dataclasses import asdict, fields
from enum import StrEnum
from importlib.metadata import entry_points, version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from server import screen
from server.coordinator import load_federation
from shared.config import SECTIONS
from shared.errors import ConfideError, ConfigError, DataError, Interrupted, UsageError

SCHEMA_VERSION = 1

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Federated credit scoring: several data holders, one readable scorecard, no pooled rows.",
)
config = typer.Typer(no_args_is_help=True, help="What the federation agreed on.")
app.add_typer(config, name="config")


class Format(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


class Engine(StrEnum):
    """Where parties run."""

    LOCAL = "local"


FederationOption = Annotated[
    Path, typer.Option("--federation", "-f", help="The federation file.", show_default=True)
]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the result on stdout.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting for this run, such as scorecard.thresholds=12."),
]
_DEFAULT = Path("federation.toml")


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


@app.command()
def train(
    federation: FederationOption = _DEFAULT,
    engine: Annotated[Engine, typer.Option(help="Where parties run.")] = Engine.LOCAL,
    settings: SetOption = None,
    form: FormatOption = Format.TEXT,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the federation file; start nothing.")
    ] = False,
) -> None:
    """Align customers, exchange moments once, and fit one scorecard together."""
    del engine  # one so far
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    from server import launcher  # noqa: PLC0415 - Flower takes a second to import; only here

    flags = parse_settings(settings or [])
    agreed, _ = load_federation(federation, flags)
    if dry_run:
        screen.dry_run(agreed, federation, as_json=form is Format.JSON)
        return
    run = launcher.new_run()
    progress = screen.Progress(agreed, run)
    outcome = launcher.train_local(federation, run, flags, progress)
    summary = screen.summary(outcome, agreed)
    if form is Format.JSON:
        emit(summary)
    else:
        screen.table(summary)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="A new folder for the demo.")] = Path("demo"),
    customers: Annotated[
        int, typer.Option(help="People in the simulated world.", min=4000)
    ] = 12000,
    seed: Annotated[int, typer.Option(help="Of the simulated world.")] = 1,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a simulated world of four holders, and train their scorecard."""
    federation = folder / "federation.toml"
    if not federation.exists():
        _own("data", "make", str(folder), "--customers", str(customers), "--seed", str(seed))
        _own("init", str(folder))
    train(federation, form=form)


@config.command()
def show(
    federation: FederationOption = _DEFAULT,
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


def _own(*arguments: str) -> None:
    """Run another of confide's commands in a process of its own."""
    command = [sys.executable, "-m", "server.cli", *arguments]
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise typer.Exit(done.returncode)


def _add_party_commands() -> None:
    for entry in sorted(entry_points(group="confide.commands"), key=lambda entry: entry.name):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)


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
    _add_party_commands()
    command = typer.main.get_command(app)
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
