"""The coordinator's side of the neural model, from who is there to how good the model is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid

from server.coordinator import Coordinator
from server.exchange import join, same
from server.neural.checkpoint import Progress
from server.neural.means import Means
from server.neural.noise import NoisyRounds, statement
from server.neural.release import release_network
from server.neural.rounds import PlainRounds, Rounds
from server.neural.strategy import make_strategy, record_of
from shared.config import Federation
from shared.contract import Feature
from shared.errors import Refused
from shared.jobs import Run
from shared.neural import average
from shared.neural.inputs import Encoding, feature_from_mapping
from shared.neural.judging import BETTER, UNCHECKED
from shared.neural.layout import Layout, model_digest
from shared.neural.noisy import Plan, is_noisy
from shared.neural.scores import LENGTH, Quality
from shared.protocols.sum_job import MIN_COHORT


def train_neural(
    grid: Grid,
    coordinator: Coordinator,
    folder: Path,
    *,
    resume: bool = False,
    champion: str = "",
) -> dict[str, Any]:
    """Train the neural model of parties that hold the same features of other customers.

    Parameters
    ----------
    grid : Grid
        Any of Flower's grids, or the local one.
    coordinator : Coordinator
    folder : Path
        Where the run's checkpoint lies; see `server.neural.checkpoint`.
    resume : bool
        Whether to go on from there.
    champion : str
        Digest of the scorecard that serves, for the parties to compare with; empty where none does.

    Returns
    -------
    dict
        The model's digest and size, each round's mean loss and verdict, what a noisy training
        agreed on, how good the model is on all customers that the parties held out, and its
        release. The parties keep the model.

    Raises
    ------
    Refused
        With fewer than 3 parties, or a checkpoint of another agreement.
    NotFound
        If there is nothing to go on from.
    ConfideError
        The first party's error, under its name.
    """
    federation = coordinator.federation
    if len(federation.holders) < MIN_COHORT:
        raise Refused(
            f"{len(federation.holders)} parties: with fewer than {MIN_COHORT} each would learn the "
            "others' weights",
            hint="the neural model needs a third party",
        )
    joined = join(grid, coordinator)
    rounds: Rounds = NoisyRounds(Plan.of(federation)) if is_noisy(federation) else PlainRounds()
    digest = same(joined, "contract", "works on another contract")
    agreement = federation.agreement(digest)
    known = Progress.load(folder, agreement) if resume else None
    cohort, attempt = (known.cohort, known.attempt) if known else ((), 1)
    run = Run(coordinator.run, attempt, federation, digest, cohort)
    means = Means(grid, coordinator, run, {name: reply["node"] for name, reply in joined.items()})
    means.folder = folder
    replies = means.ask("query.neural_features", {})
    described = same(replies, "features", "holds other features")
    features = tuple(feature_from_mapping(one) for one in described)
    progress = known or _begin(means, rounds, features, agreement, folder)
    encoding = Encoding.from_mapping(features, progress.edges, "checkpoint")
    layout = _layout(encoding, federation)
    strategy = make_strategy(
        means, layout, encoding, progress, lambda now: now.save(folder), rounds
    )
    with _quiet_flower():
        strategy.start(
            grid=strategy.grid,
            initial_arrays=record_of(progress.weights),
            num_rounds=strategy.rounds_left,
        )
    outcome = _finish(means, layout, encoding, strategy.progress)
    told = release_network(means, coordinator, layout.width, outcome, champion)
    return outcome | {"release": told}


def _begin(
    means: Means, rounds: Rounds, features: Sequence[Feature], agreement: str, folder: Path
) -> Progress:
    """Agree on edges and first weights, and write them down."""
    federation = means.run.federation
    encoding, customers = rounds.agree(means, features)
    start = _layout(encoding, federation).initial(federation.neural.seed)
    progress = Progress(
        agreement=agreement,
        attempt=means.run.attempt,
        cohort=means.run.cohort,
        edges=encoding.to_mapping(),
        customers=customers,
        round=0,
        harmed=0,
        weights=start,
        best=start,
    )
    progress.save(folder)
    return progress


def _finish(means: Means, layout: Layout, encoding: Encoding, progress: Progress) -> dict[str, Any]:
    """Have the best model evaluated and kept; return the outcome of the run."""
    digest = model_digest(layout, encoding, progress.best)
    # What a party keeps may be trained without noise; in a noisy training it tells nothing of it.
    told = 1 if is_noisy(means.run.federation) else 2
    tested, _ = means.open(
        "evaluate.neural",
        average.EVALUATE_PHASE,
        {"edges": encoding.to_mapping()},
        weights=progress.best,
        model=digest,
        length=told * LENGTH,
    )
    common, *kept = (
        asdict(Quality.from_mean(one, tested.n_examples)) for one in tested.values.reshape(told, -1)
    )
    best = [one["round"] for one in progress.history if one["verdict"] in {BETTER, UNCHECKED}]
    return {
        "run": means.run.name,
        "contract": means.run.contract_digest,
        "parties": list(means.run.parties),
        "model": {"digest": digest, "parameters": layout.size, "inputs": layout.width},
        "customers": {"train": progress.customers, "test": tested.n_examples},
        "rounds": progress.history,
        "best_round": best[-1] if best else 0,
        "privacy": statement(means.run.federation),
        "test": common,
        "test_kept": kept[0] if kept else None,
    }


def _layout(encoding: Encoding, federation: Federation) -> Layout:
    agreed = federation.neural
    return Layout(encoding.monotone, agreed.hidden, agreed.blocks)


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """Keep Flower's own account of its rounds off the terminal: progress is told elsewhere."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
