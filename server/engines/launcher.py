"""Start a whole federation on one machine, run it, and leave nothing behind.

The table of processes is the coordinator (this process) and one process a party. A party gets its
end of a pipe, its name and the path of the federation file, nothing else; its settings from flags
travel as environment variables, so that every party reads the same agreement.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from server.app import SCORECARD, app
from server.coordinator import Report, as_environment, load_federation
from server.engines.local import Hub, LocalGrid
from server.engines.run_files import written
from shared import transport
from shared.arrays import unpack_value
from shared.config import Federation
from shared.edge.files import exclusive
from shared.errors import EnvironmentFault
from shared.jobs import COORDINATOR

_START_S = 60.0
_STOP_S = 5.0


def new_run() -> str:
    """Return a fresh identifier: when, and a few random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def train_local(
    federation_path: Path,
    run: str,
    flags: Mapping[str, Any],
    report: Report,
    *,
    model: str = SCORECARD,
    resume: bool = False,
    at: str = "",
) -> dict[str, Any]:
    """Train with one process a party.

    Parameters
    ----------
    federation_path : Path
    run : str
        Identifier; see `new_run`.
    flags : mapping of str to value
        Settings from the command line, by path.
    report : callable
        Told of progress.
    model : {"scorecard", "neural"}
    resume : bool
        Whether to go on with a run from its last round (neural model) or phase.
    at : str
        The instant at which the parties' clocks stand, in a simulation; by default they go.

    Returns
    -------
    dict
        The outcome; see `server.phases.run_phases`.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    environment = as_environment(flags)
    os.environ.update(environment)
    federation, _ = load_federation(federation_path)
    home = federation_path.parent / federation.home(COORDINATOR)
    with (
        exclusive(home),
        written(home, run, report) as files,
        _parties(federation, federation_path, run, environment, at) as pipes,
    ):
        hub = Hub(pipes)
        try:
            grid = LocalGrid(hub, federation.holders)
            grid.wait_ready(_START_S)
            transport.use(hub.channel(float(federation.protocol.deadline_s)).scoped)
            context = Context(
                run_id=1,
                node_id=0,
                node_config={},
                state=RecordDict(),
                run_config={
                    "federation": str(federation_path),
                    "run": run,
                    "model": model,
                    "resume": resume,
                },
            )
            TaskIdentity.run_id = TaskIdentity.task_id = 1
            TaskIdentity.node_id = 0
            app(grid, context)
        finally:
            hub.close()
        outcome: dict[str, Any] = unpack_value(bytes(context.state["outcome"]["value"]))  # type: ignore[arg-type]
        files.finish(outcome)
    return outcome


@contextmanager
def _parties(
    federation: Federation,
    federation_path: Path,
    run: str,
    environment: Mapping[str, str],
    at: str,
) -> Iterator[dict[str, Connection]]:
    """Start one process a party; stop and reap all of them, whatever happens."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    pipes: dict[str, Connection] = {}
    try:
        for party in federation.holders:
            pipes[party], processes[party] = _start(
                federation, federation_path, run, party, environment, at
            )
        yield pipes
    finally:
        deadline = time.monotonic() + _STOP_S
        for process in processes.values():
            _reap(process, deadline)
        for pipe in pipes.values():
            pipe.close()


def _start(
    federation: Federation,
    federation_path: Path,
    run: str,
    party: str,
    environment: Mapping[str, str],
    at: str,
) -> tuple[Connection, subprocess.Popen[bytes]]:
    ours, theirs = Pipe(duplex=True)
    peers = [name for name in (*federation.holders, COORDINATOR) if name != party]
    command = [
        sys.executable,
        "-m",
        "clients.local",
        f"--federation={federation_path}",
        f"--party={party}",
        f"--peers={','.join(peers)}",
        f"--deadline={federation.protocol.deadline_s}",
        f"--fd={theirs.fileno()}",
        f"--at={at}",
    ]
    # Parties share this machine's cores: one BLAS thread each, or they get in each other's way.
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    quiet = {"PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore:Protobuf gencode")}
    with log_path(federation, federation_path, party, run).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **threads, **quiet, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    theirs.close()
    return ours, process


def log_path(federation: Federation, federation_path: Path, party: str, run: str) -> Path:
    """Return the path of a party's log of a run, in its own folder.

    Raises
    ------
    EnvironmentFault
        If the folder cannot be made.
    """
    home = federation_path.parent / federation.home(party)
    folder = home / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"cannot make {folder}: {error.strerror}", party=party) from error
    return folder / f"{run}.log"


def _reap(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
