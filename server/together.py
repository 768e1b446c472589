"""The coordinator's side of each phase where several banks hold the same features.

The phases are those of `server.phases` with two more, `bins` and `cells`, in which the banks agree
on their bins; `align` is left out where nobody holds further columns. A bank that is lost does not
end the run: the phase is started again with the survivors, under the next attempt, with fresh keys
and masks. The parties' journals decide whether that may be: an input that was revealed in one
cohort is never revealed in another, and then the run ends by the name of who refuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flwr.serverapp import Grid

from server.checkpoint import Checkpoint
from server.coordinator import Coordinator
from server.exchange import Replies, gather, messages_to, raise_first, same
from server.survivors import tell_spare, who_is_lost, without
from shared.arrays import unpack_value
from shared.errors import BadPeer, PartyLost, Refused, RunFailed
from shared.jobs import Run, align_job, score_job
from shared.phases import TOGETHER
from shared.protocols.align import align_coordinator
from shared.protocols.blocks import assist_blocks, hear_grain
from shared.protocols.score import MAX_POINTS, assist
from shared.protocols.sum import sum_coordinator
from shared.sealed import SealedChannel
from shared.shape import Shape

Job = dict[str, Any]

# More counts than any contract's buckets, or cells of pairs, come to.
_MOST_COUNTS = 1 << 26


@dataclass(slots=True)
class _State:
    """What is known between phases: who is left, and where the run stands."""

    shape: Shape
    kept: Checkpoint

    @property
    def job(self) -> Job:
        return self.kept.job

    def cohort(self, phase: str) -> tuple[str, ...]:
        """Return who takes part in a phase."""
        return self.shape.banks if phase in {"bins", "cells"} else self.shape.everybody

    def leave(self, shape: Shape, lost: str) -> None:
        """Go on with the survivors, under the next attempt."""
        self.shape = shape
        self.kept.parties = list(shape.everybody)
        self.kept.lost.append(lost)
        self.kept.attempt += 1
        self.kept.save()

    def take_back(self, shape: Shape, lost: list[str]) -> None:
        """Count on those again who were lost in a phase that the survivors may not play."""
        if self.kept.lost != lost:
            self.shape = shape
            self.kept.parties, self.kept.lost = list(shape.everybody), lost
            self.kept.save()


def run_together(
    grid: Grid,
    coordinator: Coordinator,
    joined: Replies,
    shape: Shape,
    digest: str,
    before: Checkpoint | None = None,
) -> dict[str, Any]:
    """Run a whole training of several banks, or the rest of one.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    joined : mapping
        Replies to phase `join`.
    shape : Shape
        Of all parties.
    digest : str
        Of the data contract.
    before : Checkpoint, optional
        Where the run stood when it was interrupted.

    Returns
    -------
    dict
        Replies by phase and party, the seconds of each phase, and who was lost in which phase.

    Raises
    ------
    ConfideError
        The first party's error, under its name; `Refused` if too few banks are left.
    """
    order = [phase for phase in TOGETHER if phase != "align" or shape.columns]
    kept = before or Checkpoint.begin(coordinator, digest, shape.everybody, order)
    for lost in kept.lost:
        shape = shape.without(lost)
    state = _State(shape, kept)
    kept.outcome |= {"join": joined, "lost": kept.outcome.get("lost", {})}
    tell_spare(coordinator, shape)
    if before:
        replies, attempt = kept.go_on(coordinator, joined, state.cohort(kept.next))
        if replies:
            _count(coordinator, state, kept.next, replies, attempt, 0.0)
    _play_on(grid, coordinator, state, digest)
    return kept.outcome


def _play_on(grid: Grid, coordinator: Coordinator, state: _State, digest: str) -> None:
    """Play the phases that have not ended, one after the other."""
    parts: dict[str, Callable[[SealedChannel, Run, Shape, Job], None]] = {
        "align": _align,
        "bins": _bins,
        "cells": _cells,
        "moments": _moments,
        "score": _score,
        "release": _release,
    }
    while phase := state.kept.next:
        started = time.perf_counter()
        coordinator.tell("phase", name=phase)
        shape, lost = state.shape, list(state.kept.lost)
        try:
            replies, attempt = _until_whole(grid, coordinator, state, phase, parts[phase], digest)
        except RunFailed as error:
            if error.reported == Refused.code:  # of a second cohort: the first may still come back
                state.take_back(shape, lost)
            raise
        _count(coordinator, state, phase, replies, attempt, time.perf_counter() - started)


def _until_whole(
    grid: Grid,
    coordinator: Coordinator,
    state: _State,
    phase: str,
    part: Callable[[SealedChannel, Run, Shape, Job], None],
    digest: str,
) -> tuple[Replies, int]:
    """Play a phase; start it again with the survivors for as long as banks are lost in it.

    Returns
    -------
    replies : mapping
    attempt : int
        Under which it ended.
    """
    node_of = {name: reply["node"] for name, reply in state.kept.outcome["join"].items()}
    while True:
        shape, attempt, cohort = state.shape, state.kept.attempt, state.cohort(phase)
        run = Run(coordinator.run, attempt, coordinator.federation, digest, cohort)
        value = {"run": run.name, "attempt": run.attempt, "cohort": list(cohort), **state.job}
        value["done"] = state.kept.done
        messages = messages_to({name: node_of[name] for name in cohort}, phase, value)
        got = gather(grid, coordinator, run, phase, messages, _bound(part, run, shape, state.job))
        try:
            raise_first(got.errors, got.failure, got.silent)
        except PartyLost as error:
            lost = who_is_lost(error, got, cohort)
            state.leave(without(coordinator, shape, phase, lost), lost.party)
            left = list(state.shape.everybody)
            coordinator.tell("lost", name=phase, party=lost.party, left=left)
            tell_spare(coordinator, state.shape)
            if got.failure is None and set(got.replies) >= set(cohort) - {lost.party}:
                return got.replies, attempt  # it had done its part before it was lost
            continue
        return got.replies, attempt


def _bound(
    part: Callable[[SealedChannel, Run, Shape, Job], None], run: Run, shape: Shape, job: Job
) -> Callable[[SealedChannel], None]:
    return lambda channel: part(channel, run, shape, job)


def _count(
    coordinator: Coordinator,
    state: _State,
    phase: str,
    replies: Replies,
    attempt: int,
    seconds: float,
) -> None:
    """Keep what later phases need to be told, and count the phase."""
    shape, kept = state.shape, state.kept
    learned: Job = {}
    if phase == "align":
        learned["common"] = {bank: _common(shape, bank, replies) for bank in shape.banks}
    if phase == "bins":
        learned["cells"] = same(replies, "cells", "agreed on other bins")
        if not learned["cells"]:
            kept.order.remove("cells")
    if phase in {"bins", "cells"}:
        learned["bins"] = same(replies, "bins", "agreed on other bins")
    if phase == "moments":
        learned["card"] = replies[shape.builder]["card"]
    if kept.lost and "common" in kept.job:
        learned["common"] = {bank: kept.job["common"][bank] for bank in shape.banks}
    for name in kept.lost:
        kept.outcome["lost"].setdefault(name, phase)
    kept.count(coordinator, phase, replies, attempt, seconds, learned)


def _common(shape: Shape, bank: str, replies: Replies) -> list[int]:
    """Return how many customers a bank has in common with all holders of columns."""
    told = [replies[name]["common"].get(bank) for name in shape.around(bank)]
    if any(one != told[0] for one in told) or told[0] is None:
        raise RunFailed("counts other common customers", party=bank, reported=BadPeer.code)
    return list(told[0])


def _align(channel: SealedChannel, run: Run, shape: Shape, _: Job) -> None:
    for bank in shape.banks:
        align_coordinator(channel, align_job(run, shape, bank))


def _bins(channel: SealedChannel, run: Run, shape: Shape, _: Job) -> None:
    length = _length(channel.receive(shape.builder, "bins/length"), shape.builder)
    grain = hear_grain(channel, shape.builder) if run.noisy else None
    sum_coordinator(channel, run.counts(shape, "bins", length, grain))


def _cells(channel: SealedChannel, run: Run, shape: Shape, job: Job) -> None:
    sum_coordinator(channel, run.counts(shape, "cells", job["cells"]))


def _length(raw: bytes, sender: str) -> int:
    value = unpack_value(raw, cap=1 << 10)
    length = value.get("length") if isinstance(value, dict) else None
    if type(length) is not int or not 1 <= length <= _MOST_COUNTS:
        raise BadPeer("says a length that no sum has", party=sender)
    return length


def _moments(channel: SealedChannel, run: Run, shape: Shape, job: Job) -> None:
    common = {bank: int(both[0]) for bank, both in job.get("common", {}).items()}
    assist_blocks(channel, run.blocks(shape, common))


def _score(channel: SealedChannel, run: Run, shape: Shape, job: Job) -> None:
    if shape.columns:
        for bank in shape.banks:
            n_rows = sum(job["common"][bank])
            assist(channel, score_job(run, shape, bank, n_rows, job["card"]))
    size = 2 * MAX_POINTS * len(shape.units) + 1
    sum_coordinator(channel, run.counts(shape, "points", 4 * size))


def _release(_: SealedChannel, __: Run, ___: Shape, ____: Job) -> None:
    """Take no part: pseudonyms and signatures are between the parties."""
