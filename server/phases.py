"""The coordinator's side of each phase: open it, take part, collect the replies.

One Flower message to every party opens a phase; inside it the parties talk over channels, and the
coordinator does its own part: it intersects masked lists, deals randomness, adds masked points. It
then collects one reply a party (`server.exchange`), and writes down that the phase has ended
(`server.checkpoint`): a run that is interrupted goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from flwr.serverapp import Grid

from server.checkpoint import Checkpoint
from server.coordinator import Coordinator
from server.exchange import Replies, exchange, join, messages_to, same
from shared.jobs import Run
from shared.phases import PHASES
from shared.protocols.align import align_coordinator
from shared.protocols.products import deal
from shared.protocols.score import assist
from shared.sealed import SealedChannel
from shared.shape import Shape

Part = Callable[[SealedChannel, Run, Mapping[str, Any]], None]


def run_phases(grid: Grid, coordinator: Coordinator, *, resume: bool = False) -> dict[str, Any]:
    """Run a whole training, or the rest of one.

    Parameters
    ----------
    grid : Grid
        Any of Flower's grids, or the local one.
    coordinator : Coordinator
    resume : bool
        Whether to go on with the run from its last phase that ended.

    Returns
    -------
    dict
        Replies by phase and party, and the seconds of each phase.

    Raises
    ------
    NotFound
        If there is nothing to go on from.
    Refused
        If what was agreed on, or a party's key, is another one since; or the phase that was under
        way may not be played again.
    ConfideError
        The first party's error, under its name.
    """
    before = Checkpoint.load(coordinator) if resume else None
    told = before.told if before else {}
    joined = join(grid, coordinator, told, before.parties if before else None)
    digest = same(joined, "contract", "works on another contract")
    banks = same(joined, "banks", "reads other banks off the contract")
    if before:
        before.check_agreement(coordinator, digest)
    if banks:
        from server.together import run_together  # noqa: PLC0415 - it is made of what is here

        columns = tuple(name for name in coordinator.federation.holders if name not in banks)
        shape = Shape(tuple(banks), columns, coordinator.federation.builder)
        return run_together(grid, coordinator, joined, shape, digest, before)
    holders = coordinator.federation.holders
    state = before or Checkpoint.begin(coordinator, digest, holders, list(PHASES))
    state.outcome["join"] = joined
    if before:
        replies, attempt = state.go_on(coordinator, joined, holders)
        if replies:
            _count(coordinator, state, state.next, replies, attempt, 0.0)
    _play_on(grid, coordinator, state, digest)
    return state.outcome


def _play_on(grid: Grid, coordinator: Coordinator, state: Checkpoint, digest: str) -> None:
    """Play the phases that have not ended, one after the other."""
    run = Run(coordinator.run, state.attempt, coordinator.federation, digest)
    node_of = {name: reply["node"] for name, reply in state.outcome["join"].items()}
    parts: Mapping[str, Part] = {
        "align": _align,
        "moments": _moments,
        "score": _score,
        "release": _release,
    }
    while phase := state.next:
        started = time.perf_counter()
        coordinator.tell("phase", name=phase)
        replies = _phase(grid, coordinator, run, node_of, phase, parts[phase], state.job)
        seconds = time.perf_counter() - started
        _count(coordinator, state, phase, replies, state.attempt, seconds)


def _count(
    coordinator: Coordinator,
    state: Checkpoint,
    phase: str,
    replies: Replies,
    attempt: int,
    seconds: float,
) -> None:
    """Keep what later phases need to be told, and count the phase."""
    builder = coordinator.federation.builder
    learned: dict[str, Any] = {}
    if phase == "align":
        learned["n_train"] = same(replies, "n_train", "counts other common customers")
        learned["n_test"] = same(replies, "n_test", "counts other common customers")
        learned["both_classes"] = replies[builder]["both_classes"]
    if phase == "moments":
        learned["card"] = replies[builder]["card"]
    state.count(coordinator, phase, replies, attempt, seconds, learned)


def _align(channel: SealedChannel, run: Run, _: Mapping[str, Any]) -> None:
    align_coordinator(channel, run.align())


def _moments(channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> None:
    deal(channel, run.moments(job["n_train"]))


def _score(channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> None:
    n_rows = job["n_train"] + job["n_test"]
    assist(channel, run.score(n_rows, job["card"]))
    alone = run.alone(job["n_test"], both_classes=job["both_classes"])
    if alone is not None:
        deal(channel, alone)


def _release(_: SealedChannel, __: Run, ___: Mapping[str, Any]) -> None:
    """Take no part: pseudonyms and signatures are between the parties."""


def _phase(
    grid: Grid,
    coordinator: Coordinator,
    run: Run,
    node_of: Mapping[str, int],
    phase: str,
    part: Part,
    job: Mapping[str, Any],
) -> Replies:
    value = {"run": run.name, "attempt": run.attempt, **job}
    messages = messages_to(node_of, phase, value)
    return exchange(
        grid, coordinator, run, phase, messages, lambda channel: part(channel, run, job)
    )
