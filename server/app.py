"""The coordinator's Flower `ServerApp`: phase after phase, the same under every engine."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator, load_federation, report_to
from server.flower_grid import NamedGrid
from server.neural import train_neural
from server.phases import run_phases
from server.run_files import RunFiles, coordinator_home, run_folder
from shared import transport
from shared.arrays import pack_value
from shared.errors import ConfideError, RunFailed

SCORECARD, NEURAL = "scorecard", "neural"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the model that the run's configuration names; leave the outcome in the state.

    Under engine `flower` (the configuration names a relay) progress and outcome go to files of the
    coordinator: Flower keeps no state of a `ServerApp`.
    """
    config = context.run_config
    path, run = Path(str(config["federation"])), str(config["run"])
    train = _neural(path, run, config) if config.get("model") == NEURAL else run_phases
    if not config.get("relay"):
        outcome = train(grid, Coordinator.load(path, run))
        context.state["outcome"] = ConfigRecord({"value": pack_value(outcome)})
        return
    federation, _ = load_federation(path)
    home = coordinator_home(federation, path)
    with _recorded(home, run) as files:
        coordinator = Coordinator.load(path, run)
        with _relayed(coordinator, home, str(config["relay"])):
            nodes = json.loads(str(config["nodes"]))
            named = NamedGrid(grid, nodes, float(federation.protocol.deadline_s))
            files.finish(train(named, coordinator))


def _neural(
    path: Path, run: str, config: Mapping[str, Any]
) -> Callable[[Grid, Coordinator], dict[str, Any]]:
    """Return the training of the neural model; its checkpoint lies in the run's folder."""
    federation, _ = load_federation(path)
    folder = run_folder(coordinator_home(federation, path), run)
    return partial(train_neural, folder=folder, resume=bool(config.get("resume", False)))


@contextlib.contextmanager
def _recorded(home: Path, run: str) -> Iterator[RunFiles]:
    """Write down how a run goes; an error is written down before it ends the app."""
    files = RunFiles(run_folder(home, run))
    report_to(files.tell)
    files.tell("began", {"process": os.getpid()})
    files.tell("joining", {})
    try:
        yield files
    except ConfideError as error:
        files.fail(error)
        raise
    except Exception as error:
        log = home / "logs" / f"{run}.serverapp.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        failed = f"the coordinator's app failed: unexpected {type(error).__name__}"
        files.fail(RunFailed(failed, hint=f"see {log}", reported=ConfideError.code))
        raise


@contextlib.contextmanager
def _relayed(coordinator: Coordinator, home: Path, relay: str) -> Iterator[None]:
    """Give every phase its channel over the relay; the one before is closed."""
    from shared.edge.wire import relay_channel  # noqa: PLC0415 - other engines need no sockets

    federation = coordinator.federation
    with contextlib.ExitStack() as stack:

        def connect(scope: str) -> Any:
            stack.close()
            deadline = float(federation.protocol.deadline_s)
            peers = federation.holders
            link = relay_channel(
                relay, home, coordinator.identity, peers, scope, deadline, ca=federation.ca
            )
            return stack.enter_context(link)

        transport.use(connect)
        yield
