"""`confide train`: align customers, exchange moments once, fit and sign one scorecard together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from server import screen
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    SetOption,
    emit,
    parse_settings,
)
from server.commands.neural import train_neural
from server.commands.simulation import Options, train_simulation
from server.coordinator import load_federation
from server.registry import FOLDER, Registry
from shared.edge.clock import utc_now
from shared.errors import UsageError
from shared.release import unpack_release


class Engine(StrEnum):
    """Where parties run."""

    LOCAL = "local"
    FLOWER = "flower"
    SIMULATION = "simulation"


class Model(StrEnum):
    """What is trained."""

    SCORECARD = "scorecard"
    NEURAL = "neural"


EngineOption = Annotated[
    Engine,
    typer.Option(
        help="Where parties run: one process each, or Flower nodes with TLS and their own keys; "
        "or simulated holders of one table (neural, needs Ray)."
    ),
]


def train(
    federation: FederationOption = DEFAULT_FEDERATION,
    engine: EngineOption = Engine.LOCAL,
    model: Annotated[
        Model,
        typer.Option(help="neural: of holders of the same features (needs torch)."),
    ] = Model.SCORECARD,
    settings: SetOption = None,
    form: FormatOption = Format.TEXT,
    superlink: Annotated[
        str, typer.Option(help="HOST:PORT of a SuperLink that runs already (engine flower).")
    ] = "",
    relay: Annotated[
        str, typer.Option(help="HOST:PORT of a relay that runs already (engine flower).")
    ] = "",
    resume: Annotated[
        str, typer.Option(metavar="RUN", help="Go on with this run from its last round (neural).")
    ] = "",
    table: Annotated[
        Path | None,
        typer.Option(help="CSV, CSV.gz or Parquet with the customers (engine simulation)."),
    ] = None,
    contract: Annotated[
        str, typer.Option(help="Its contract, a file or the name of one (engine simulation).")
    ] = "",
    holders: Annotated[
        int, typer.Option(help="How many holders share the customers (engine simulation).")
    ] = 10,
    fraction: Annotated[
        float, typer.Option(help="Share of the holders drawn for a round (engine simulation).")
    ] = 1.0,
    concentration: Annotated[
        float,
        typer.Option(help="Of the Dirichlet draw of the holders' sizes (engine simulation)."),
    ] = 5.0,
    out: Annotated[Path, typer.Option(help="Folder for runs and logs (engine simulation).")] = Path(
        "simulation"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the federation file; start nothing.")
    ] = False,
) -> None:
    """Align customers, exchange moments once, and fit and sign one scorecard together."""
    flags = parse_settings(settings or [])
    if engine is Engine.SIMULATION:
        if model is not Model.NEURAL or resume or superlink or relay or dry_run:
            raise UsageError(
                "engine simulation trains the neural model, from its start",
                hint="--engine simulation --model neural --table FILE --contract FILE",
            )
        asked = Options(table, contract, holders, fraction, concentration, out)
        train_simulation(asked, flags, form)
        return
    agreed, _ = load_federation(federation, flags)
    if bool(superlink) != bool(relay) or (superlink and engine is not Engine.FLOWER):
        raise UsageError(
            "--superlink and --relay go together, and with --engine flower",
            hint="without them, confide starts both on this machine",
        )
    if resume and model is not Model.NEURAL:
        raise UsageError("only the neural model is trained in rounds", hint="--model neural")
    if dry_run:
        screen.dry_run(agreed, federation, as_json=form is Format.JSON)
        return
    if model is Model.NEURAL:
        engine_of = trainer(engine, superlink=superlink, relay=relay)
        train_neural(federation, flags, form, engine_of, resume=resume)
        return
    summary = run_training(federation, engine, flags, superlink=superlink, relay=relay)
    if form is Format.JSON:
        emit(summary)
    else:
        screen.table(summary)


def run_training(
    federation_path: Path,
    engine: Engine,
    flags: dict[str, Any],
    *,
    superlink: str = "",
    relay: str = "",
) -> dict[str, Any]:
    """Train, take the release into the registry, and return the result.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    train_on = trainer(engine, superlink=superlink, relay=relay)
    from server.launcher import new_run  # noqa: PLC0415

    agreed, _ = load_federation(federation_path, flags)
    run = new_run()
    progress = screen.Progress(agreed, run)
    outcome = train_on(federation_path, run, flags, progress)
    release = unpack_release(outcome["release"][agreed.builder]["release"])
    registry = Registry(federation_path.parent / FOLDER)
    registry.take(release, agreed, utc_now(), contract=outcome["contract"])
    return screen.summary(outcome, agreed, federation_path.parent)


def trainer(engine: Engine, *, superlink: str = "", relay: str = "") -> Callable[..., Any]:
    """Return what trains on an engine; see `server.launcher.train_local`."""
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    # Flower takes a second to import; only here.
    if engine is Engine.LOCAL:
        from server.launcher import train_local  # noqa: PLC0415

        return train_local
    from server.flower_engine import train_flower  # noqa: PLC0415

    return partial(train_flower, superlink=superlink, relay=relay)
