"""`confide train`: align customers, exchange moments once, fit and sign one scorecard together."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from server.coordinator import Coordinator, load_federation
from server.releases.registry import FOLDER, Registry
from shared.config import Federation
from shared.edge.clock import utc_now
from shared.errors import (
    BadPeer,
    ConfideError,
    NotFound,
    Refused,
    RunFailed,
    UsageError,
    codes,
)
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
        str, typer.Option(metavar="RUN", help="Go on with this run from its last round or phase.")
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
    if dry_run:
        screen.dry_run(agreed, federation, as_json=form is Format.JSON)
        return
    train_on = trainer(engine, superlink=superlink, relay=relay)
    from server.engines.launcher import new_run  # noqa: PLC0415

    run = resume or new_run()
    options = [*_given(federation, engine, model, settings or [])]
    options += ["--superlink", superlink, "--relay", relay] if superlink else []
    screen.watch(_link(federation, agreed, run))
    with way_back(federation, run, options):
        if model is Model.NEURAL:
            train_neural(federation, flags, form, train_on, run, resume=bool(resume))
            return
        summary = run_training(federation, train_on, flags, run, resume=bool(resume))
    if form is Format.JSON:
        emit(summary)
    else:
        screen.table(summary)


def run_training(
    federation_path: Path,
    train_on: Callable[..., dict[str, Any]],
    flags: dict[str, Any],
    run: str,
    *,
    resume: bool = False,
    at: str = "",
) -> dict[str, Any]:
    """Train, take the release into the registry, and return the result.

    Parameters
    ----------
    federation_path : Path
    train_on : callable
        See `trainer`.
    flags : dict
        Settings from the command line, by path.
    run : str
    resume : bool
        Whether to go on with it from its last phase.
    at : str
        The instant of the registry's clock, in a simulation; by default the present one.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    agreed, _ = load_federation(federation_path, flags)
    if resume:  # before anything is started
        from server.checkpoint import Checkpoint  # noqa: PLC0415

        Checkpoint.load(Coordinator.load(federation_path, run))
    progress = screen.Progress(agreed, run)
    outcome = train_on(federation_path, run, flags, progress, resume=resume)
    release = unpack_release(outcome["release"][agreed.builder]["release"])
    registry = Registry(federation_path.parent / FOLDER)
    registry.take(release, agreed, at or utc_now(), contract=outcome["contract"])
    return screen.summary(outcome, agreed, federation_path.parent)


def _link(path: Path, agreed: Federation, run: str) -> str:
    """Return where the run can be watched; empty where no service shows it."""
    from server.accounts.scores import HOME  # noqa: PLC0415 - it loads numpy
    from server.engines.run_files import coordinator_home  # noqa: PLC0415
    from server.runs.link import link_to  # noqa: PLC0415

    return link_to(path.absolute().parent / HOME, coordinator_home(agreed, path), run)


def _given(path: Path, engine: Engine, model: Model, settings: list[str]) -> Iterator[str]:
    """Yield the options that a run goes on with: those that are not what they are by default."""
    if path != DEFAULT_FEDERATION:
        yield from ("--federation", str(path))
    if engine is not Engine.LOCAL:
        yield from ("--engine", engine)
    if model is not Model.SCORECARD:
        yield from ("--model", model)
    for one in settings:
        yield from ("--set", one)


@contextmanager
def way_back(path: Path, run: str, options: Sequence[str]) -> Iterator[None]:
    """Say, on stderr, by which command a run that failed goes on, where it may.

    A run that was refused would be refused again; what to do, its error says.

    Parameters
    ----------
    path : Path
        The federation file.
    run : str
    options : sequence of str
        Of the command, beside the run.
    """
    try:
        yield
    except (ConfideError, KeyboardInterrupt) as error:
        if not _refused(error) and _goes_on(path, run):
            command = shlex.join(["confide", "train", "--resume", run, *options])
            typer.echo(f"go on with it: {command}", err=True)
        raise


def _goes_on(path: Path, run: str) -> bool:
    """Return whether a run has left what it goes on with, undamaged."""
    from server.checkpoint import Checkpoint  # noqa: PLC0415
    from server.engines.run_files import coordinator_home, run_folder  # noqa: PLC0415
    from server.neural.checkpoint import FILE as NEURAL_FILE  # noqa: PLC0415

    with suppress(ConfideError):
        coordinator = Coordinator.load(path, run)
        home = coordinator_home(coordinator.federation, path)
        if not (run_folder(home, run) / NEURAL_FILE).exists():
            Checkpoint.load(coordinator)
        return True
    return False


def _refused(error: BaseException) -> bool:
    kind = codes()[error.reported] if isinstance(error, RunFailed) else type(error)
    return issubclass(kind, Refused | NotFound) and not issubclass(kind, BadPeer)


def trainer(engine: Engine, *, superlink: str = "", relay: str = "") -> Callable[..., Any]:
    """Return what trains on an engine; see `server.engines.launcher.train_local`."""
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    # Flower takes a second to import; only here.
    if engine is Engine.LOCAL:
        from server.engines.launcher import train_local  # noqa: PLC0415

        return train_local
    from server.engines.flower import train_flower  # noqa: PLC0415

    return partial(train_flower, superlink=superlink, relay=relay)
