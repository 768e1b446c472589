"""`confide train --engine simulation`: one table dealt out to simulated holders."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from server.commands.common import Format, emit
from shared.errors import UsageError
from shared.sections import Neural
from shared.settings import Reader, overlay
from shared.simulated import Simulation

_PRIVATE = (
    "a simulation: all holders, their customers and their keys are on this machine; it studies the "
    "training and keeps nothing private"
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of a simulation.

    Parameters
    ----------
    table : Path or None
    contract : str
        Path of the table's contract, or the name of one that comes along.
    holders : int
    fraction : float
    concentration : float
    out : Path
        Folder for runs and logs.
    """

    table: Path | None
    contract: str
    holders: int
    fraction: float
    concentration: float
    out: Path


def train_simulation(options: Options, flags: Mapping[str, Any], form: Format) -> None:
    """Simulate a training; progress goes to stderr, the result to stdout.

    Parameters
    ----------
    options : Options
    flags : mapping of str to value
        Settings from the command line, by path: of the neural model alone.
    form : Format

    Raises
    ------
    UsageError
        If table or contract are missing, or another setting is given.
    ConfideError
        See `server.engines.simulation_engine.simulate`.
    """
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    from server.engines.launcher import new_run  # noqa: PLC0415 - Flower takes a second to import
    from server.engines.simulation_engine import check_ray, simulate  # noqa: PLC0415

    check_ray()
    started = time.perf_counter()
    job = simulation(options, flags, new_run())
    typer.echo(f"run {job.run}: {job.holders} holders, {job.sampled} of them a round", err=True)
    typer.echo(_PRIVATE, err=True)
    outcome = simulate(job, options.out.absolute(), _tell)
    outcome |= {"simulation": _PRIVATE, "seconds": time.perf_counter() - started}
    outcome["model"]["path"] = str(Path(job.folder) / "neural.npz")
    if form is Format.JSON:
        emit(outcome)
    else:
        _show(outcome)


def simulation(options: Options, flags: Mapping[str, Any], run: str) -> Simulation:
    """Return what is to be simulated.

    Raises
    ------
    UsageError
        If table or contract are missing, or a setting is none of the neural model's.
    ConfigError
        If a value is out of range.
    """
    if options.table is None or not options.contract:
        raise UsageError(
            "engine simulation deals one table out to its holders",
            hint="--table FILE --contract FILE",
        )
    others = sorted(path for path in flags if not path.startswith("neural."))
    if others:
        raise UsageError(
            f"{', '.join(others)}: a simulation knows settings of the neural model alone"
        )
    merged, _ = overlay({}, {"neural": Neural}, os.environ, flags)
    reader = Reader("--set")
    neural = reader.read(Neural, "neural", merged["neural"])
    reader.finish()
    contract = Path(options.contract)
    return Simulation(
        run=run,
        folder=str(options.out.absolute() / "runs" / run),
        table=str(options.table.absolute()),
        contract=str(contract.absolute()) if contract.exists() else options.contract,
        holders=options.holders,
        fraction=options.fraction,
        concentration=options.concentration,
        secret=secrets.token_hex(32),
        neural=neural,
    )


def _tell(event: str, details: dict[str, Any]) -> None:
    if event != "summed":
        return
    moved = details["bytes_to"] + details["bytes_from"]
    typer.echo(
        f"  {details['name']:<16} {details['holders']} holders in {details['cohorts']} sums  "
        f"{moved / 1e6:.1f} MB in {details['exchanges']} exchanges  {details['seconds']:.1f} s",
        err=True,
    )
    for holder, why in details["failed"].items():
        typer.echo(f"    {holder} failed, its sum is left out: {why}", err=True)


def _show(outcome: dict[str, Any]) -> None:
    model, test, customers = outcome["model"], outcome["test"], outcome["customers"]
    typer.echo(
        f"neural model {model['digest'][:12]}: {model['parameters']} weights, "
        f"{len(outcome['rounds'])} rounds of {outcome['sampled']} of {outcome['holders']} holders, "
        f"{outcome['seconds']:.1f} s; {model['path']}"
    )
    typer.echo(
        f"{customers['test']:,} customers to evaluate on: AUC {test['auc']:.4f}, "
        f"KS {test['ks']:.4f}, log loss {test['log_loss']:.4f}"
    )
    typer.echo(outcome["simulation"])
