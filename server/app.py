"""The coordinator's Flower `ServerApp`: phase after phase, the same under every engine."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator, load_federation
from server.engines.flower_grid import NamedGrid
from server.engines.local import DIED
from server.engines.run_files import RunFiles, coordinator_home, recorded, run_folder
from server.neural.phases import train_neural
from server.phases import run_phases
from server.releases.registry import FOLDER, Registry
from server.steps import whole_run
from shared import transport
from shared.arrays import pack_value
from shared.channel import QueueChannel
from shared.edge import logs
from shared.errors import PartyLost
from shared.jobs import COORDINATOR

SCORECARD, NEURAL = "scorecard", "neural"

_HEAR_S = 0.2

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the model that the run's configuration names; leave the outcome in the state.

    Under engine `flower` (the configuration names a relay) progress and outcome go to files of the
    coordinator: Flower keeps no state of a `ServerApp`.
    """
    config = context.run_config
    path, run = Path(str(config["federation"])), str(config["run"])
    resume = bool(config.get("resume", False))
    train = partial(run_phases, resume=resume)
    if config.get("model") == NEURAL:
        train = _neural(path, run, resume=resume)
    if not config.get("relay"):
        coordinator = Coordinator.load(path, run)
        with whole_run(coordinator_home(coordinator.federation, path), run):
            outcome = train(grid, coordinator)
        context.state["outcome"] = ConfigRecord({"value": pack_value(outcome)})
        return
    federation, _ = load_federation(path)
    home = coordinator_home(federation, path)
    logs.configure(COORDINATOR, takeover=("flwr",))
    with whole_run(home, run), recorded(home, run) as files:
        coordinator = Coordinator.load(path, run)
        with _relayed(coordinator, home, str(config["relay"]), files):
            nodes = json.loads(str(config["nodes"]))
            deadline = float(federation.protocol.deadline_s)
            named = NamedGrid(grid, nodes, deadline, files.dead)
            files.finish(train(named, coordinator))


def _neural(path: Path, run: str, *, resume: bool) -> partial[dict[str, Any]]:
    """Return the training of the neural model; its checkpoint lies in the run's folder."""
    federation, _ = load_federation(path)
    folder = run_folder(coordinator_home(federation, path), run)
    return partial(train_neural, folder=folder, resume=resume, champion=_champion(path))


def _champion(path: Path) -> str:
    """Return the digest of the scorecard that serves, or nothing."""
    champion = Registry(path.parent / FOLDER).book().champion
    serves = champion is not None and champion.name.startswith(f"{SCORECARD}-")
    return champion.digest if champion is not None and serves else ""


@contextlib.contextmanager
def _relayed(coordinator: Coordinator, home: Path, relay: str, files: RunFiles) -> Iterator[None]:
    """Give every phase its channel over the relay; the one before is closed.

    A channel hears at once of a party whose process died; the relay would wait for it to come back.
    """
    from shared.edge.wire import relay_channel  # noqa: PLC0415 - other engines need no sockets

    federation = coordinator.federation
    with contextlib.ExitStack() as stack:

        def connect(scope: str) -> Any:
            with _without(files.dead()):
                stack.close()
            deadline = float(federation.protocol.deadline_s)
            peers = federation.holders
            link = relay_channel(
                relay, home, coordinator.identity, peers, scope, deadline, ca=federation.ca
            )
            channel = stack.enter_context(link)
            stack.enter_context(_hearing(channel, files.dead))
            return channel

        transport.use(connect)
        yield


@contextlib.contextmanager
def _without(dead: Collection[str]) -> Iterator[None]:
    """Go on where a channel could not bring its last words to who is dead."""
    try:
        yield
    except PartyLost as lost:
        if lost.party not in dead:
            raise


@contextlib.contextmanager
def _hearing(channel: QueueChannel, dead: Callable[[], Collection[str]]) -> Iterator[None]:
    """Tell a channel, while the block runs, of each party whose process died."""
    ended = threading.Event()

    def listen() -> None:
        known: set[str] = set()
        while not ended.wait(_HEAR_S):
            for party in set(dead()) - known:
                known.add(party)
                channel.bury(party, DIED)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
