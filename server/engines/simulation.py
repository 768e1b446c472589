"""The `ServerApp` of a simulation: Flower's strategies over secure sums of simulated holders.

It is the training of `server.neural.phases` with two differences: the holders of every mean are
drawn afresh, and no round is undone, since none of them is the builder who would find that it
harmed.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.engines.run_files import recorded
from server.engines.simulation_means import SampledMeans, answers, result_of
from server.neural.checkpoint import Progress
from server.neural.strategy import make_strategy, record_of
from shared.arrays import pack_value
from shared.config import Federation
from shared.errors import EnvironmentFault, PartyLost
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import Encoding, counted, feature_from_mapping
from shared.neural.layout import Layout, model_digest
from shared.neural.scores import LENGTH, Quality
from shared.sections import Member
from shared.simulated import DESCRIBE, Simulation, draw

_START_S = 120.0
_POLL_S = 0.05

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Simulate what the run's configuration says; leave the outcome in the run's folder."""
    job = Simulation.from_text(str(context.run_config["simulation"]))
    home = Path(job.folder).parents[1]
    with recorded(home, job.run) as files:
        files.finish(train_simulated(grid, job))


def train_simulated(grid: Grid, job: Simulation) -> dict[str, Any]:
    """Train the neural model of simulated holders.

    Parameters
    ----------
    grid : Grid
        The Simulation Engine's; any other whose nodes run `clients.simulated.app` does as well.
    job : Simulation

    Returns
    -------
    dict
        What was simulated, the model's digest and size, each round's mean loss, and how good the
        model is on customers that the drawn holders held out. The model is in the run's folder.

    Raises
    ------
    ConfideError
        The first holder's error, if no cohort is left.
    """
    nodes = _nodes(grid, job.holders)
    about = _describe(grid, nodes[draw(job, "describe")[0]])
    features = tuple(feature_from_mapping(one) for one in about["features"])
    identity = job.identity(COORDINATOR)
    federation = Federation(
        name="simulation",
        builder="",
        contract=job.contract,
        coordinator=Member(identity.fingerprint),
        parties={},
        neural=job.neural,
    )
    run = Run(job.run, 1, federation, about["contract"])
    coordinator = Coordinator(federation, job.run, identity)
    means = SampledMeans(grid, coordinator, run, job, nodes)
    coordinator.tell("phase", name=average.EDGES_PHASE)
    opened, _ = means.open(
        "train.edges", average.EDGES_PHASE, {}, model="", length=counted(features)
    )
    encoding = Encoding.from_counts(features, opened.values * opened.n_examples, job.neural.pieces)
    layout = Layout(encoding.monotone, job.neural.hidden, job.neural.blocks)
    start = layout.initial(job.neural.seed)
    first = Progress(
        agreement=federation.agreement(about["contract"]),
        attempt=1,
        cohort=(),
        edges=encoding.to_mapping(),
        customers=opened.n_examples,
        round=0,
        harmed=0,
        weights=start,
        best=start,
    )
    coordinator.tell("phase", name=average.ROUND_PHASE)
    strategy = make_strategy(means, layout, encoding, first, lambda now: now.save(Path(job.folder)))
    strategy.start(
        grid=strategy.grid, initial_arrays=record_of(start), num_rounds=strategy.rounds_left
    )
    coordinator.tell("phase", name=average.EVALUATE_PHASE)
    return _outcome(job, about, means, layout, encoding, strategy.progress)


def _nodes(grid: Grid, count: int) -> list[int]:
    """Wait until all simulated nodes are there; return them in a fixed order."""
    end = time.monotonic() + _START_S
    while len(nodes := sorted(grid.get_node_ids())) < count:
        if time.monotonic() > end:
            raise EnvironmentFault(f"{len(nodes)} of {count} simulated holders are there")
        time.sleep(_POLL_S)
    return nodes


def _describe(grid: Grid, node: int) -> dict[str, Any]:
    """Ask one holder what the features are; it reads the table for the first time."""
    asked = RecordDict({"job": ConfigRecord({"value": pack_value({}), "posts": b""})})
    replies = answers(grid, [Message(asked, dst_node_id=node, message_type=DESCRIBE)])
    if not replies:
        raise PartyLost("a simulated holder does not answer")
    return result_of(replies[0])[0]


def _outcome(
    job: Simulation,
    about: dict[str, Any],
    means: SampledMeans,
    layout: Layout,
    encoding: Encoding,
    progress: Progress,
) -> dict[str, Any]:
    digest = model_digest(layout, encoding, progress.best)
    tested, _ = means.open(
        "evaluate.neural",
        average.EVALUATE_PHASE,
        {"edges": encoding.to_mapping()},
        weights=progress.best,
        model=digest,
        length=LENGTH,
    )
    return {
        "run": job.run,
        "contract": about["contract"],
        "holders": job.holders,
        "sampled": job.sampled,
        "concentration": job.concentration,
        "model": {"digest": digest, "parameters": layout.size, "inputs": layout.width},
        "customers": {
            "all": about["customers"],
            "edges": progress.customers,
            "test": tested.n_examples,
        },
        "rounds": progress.history,
        "test": asdict(Quality.from_mean(tested.values, tested.n_examples)),
    }
