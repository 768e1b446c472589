"""The coordinator's side of each phase where several banks hold the same features.

The phases are those of `server.phases` with two more, `bins` and `cells`, in which the banks agree
on their bins; `align` is left out where nobody holds further columns. A bank that is lost does not
end the run: the phase is started again with the survivors, under the next attempt, with fresh keys
and masks. The parties' journals decide whether that may be: an input that was revealed in one
cohort is never revealed in another, and then the run ends by the name of who refuses.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.serverapp import Grid

from server.coordinator import Coordinator
from server.local import DIED
from server.phases import Gathered, Replies, gather, messages_to, raise_first, same
from shared.arrays import unpack_value
from shared.channel import NO_ANSWER
from shared.errors import BadPeer, PartyLost, Refused, RunFailed
from shared.jobs import Run, align_job, score_job
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
    """What is known between phases."""

    shape: Shape
    attempt: int = 1
    job: Job = field(default_factory=lambda: {"attempts": {}, "done": []})
    lost: list[str] = field(default_factory=list)


def run_together(
    grid: Grid, coordinator: Coordinator, joined: Replies, shape: Shape, digest: str
) -> dict[str, Any]:
    """Run a whole training of several banks.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    joined : mapping
        Replies to phase `join`.
    shape : Shape
    digest : str
        Of the data contract.

    Returns
    -------
    dict
        Replies by phase and party, the seconds of each phase, and who was lost in which phase.

    Raises
    ------
    ConfideError
        The first party's error, under its name; `Refused` if too few banks are left.
    """
    outcome: dict[str, Any] = {
        "run": coordinator.run,
        "contract": digest,
        "join": joined,
        "seconds": {},
        "lost": {},
    }
    state = _State(shape)
    _tell_spare(coordinator, shape)
    parts: dict[str, Callable[[SealedChannel, Run, Shape, Job], None]] = {
        "align": _align,
        "bins": _bins,
        "cells": _cells,
        "moments": _moments,
        "score": _score,
        "release": _release,
    }
    if not shape.columns:
        del parts["align"]
    node_of = {name: reply["node"] for name, reply in joined.items()}
    for phase, part in parts.items():
        if phase == "cells" and not state.job["cells"]:
            continue
        started = time.perf_counter()
        coordinator.tell("phase", name=phase)
        replies = _until_whole(grid, coordinator, state, node_of, phase, part, digest)
        seconds = time.perf_counter() - started
        outcome[phase] = replies
        outcome["seconds"][phase] = seconds
        _take_in(state, phase, replies)
        coordinator.tell("done", name=phase, seconds=seconds, replies=replies)
        for name in state.lost:
            outcome["lost"].setdefault(name, phase)
    return outcome


def _until_whole(
    grid: Grid,
    coordinator: Coordinator,
    state: _State,
    node_of: Mapping[str, int],
    phase: str,
    part: Callable[[SealedChannel, Run, Shape, Job], None],
    digest: str,
) -> Replies:
    """Play a phase; start it again with the survivors for as long as banks are lost in it."""
    while True:
        shape = state.shape
        cohort = shape.banks if phase in {"bins", "cells"} else shape.everybody
        run = Run(coordinator.run, state.attempt, coordinator.federation, digest, cohort)
        state.job["attempts"][phase] = state.attempt
        value = {"run": run.name, "attempt": run.attempt, "cohort": list(cohort), **state.job}
        messages = messages_to({name: node_of[name] for name in cohort}, phase, value)
        got = gather(grid, coordinator, run, phase, messages, _bound(part, run, shape, state.job))
        try:
            raise_first(got.errors, got.failure, got.silent)
        except PartyLost as error:
            lost = _who(error, got, cohort)
            state.shape = _without(coordinator, shape, phase, lost)
            state.attempt += 1
            state.lost.append(lost.party)
            coordinator.tell("lost", name=phase, party=lost.party, left=list(state.shape.everybody))
            _tell_spare(coordinator, state.shape)
            if got.failure is None and set(got.replies) >= set(cohort) - {lost.party}:
                return got.replies  # it had done its part before it was lost
            continue
        return got.replies


def _who(error: PartyLost, got: Gathered, cohort: Collection[str]) -> PartyLost:
    """Return the loss behind the echoes: parties that stop because another did name each other."""
    if error.message.startswith(DIED) or error.party in got.silent:
        return error
    told = [(one["at"], one["message"]) for one in got.errors]
    if isinstance(got.failure, PartyLost):  # first, so that it decides between equals
        told.insert(0, (got.failure.party, got.failure.message))
    named = [at for at, why in told if at in cohort and why.startswith(NO_ANSWER)]
    return PartyLost(NO_ANSWER, party=max(named, key=named.count)) if named else error


def _bound(
    part: Callable[[SealedChannel, Run, Shape, Job], None], run: Run, shape: Shape, job: Job
) -> Callable[[SealedChannel], None]:
    return lambda channel: part(channel, run, shape, job)


def _without(coordinator: Coordinator, shape: Shape, phase: str, lost: PartyLost) -> Shape:
    """Return the survivors.

    Raises
    ------
    PartyLost
        If the lost party cannot be done without.
    Refused
        If too few banks are left, or too few to sign.
    """
    if lost.party not in shape.banks or lost.party == shape.builder:
        raise lost
    told = f"{lost.party} was lost in phase {phase}"
    try:
        left = shape.without(lost.party)
    except Refused as error:
        raise Refused(f"{told}: {error.message}", hint=error.hint, party=lost.party) from lost
    if len(left.everybody) < coordinator.federation.quorum:
        raise PartyLost(
            f"{lost.message}; without it {len(left.everybody)} can sign, and the quorum is "
            f"{coordinator.federation.quorum}",
            party=lost.party,
            hint="start it and train again, or agree on a smaller release.quorum",
        ) from lost
    return left


def _tell_spare(coordinator: Coordinator, shape: Shape) -> None:
    """Say which banks could be lost without the end of the run: an engine lets these die."""
    spare = []
    for bank in shape.banks:
        with contextlib.suppress(PartyLost, Refused):
            _without(coordinator, shape, "", PartyLost("", party=bank))
            spare.append(bank)
    coordinator.tell("spare", parties=spare)


def _take_in(state: _State, phase: str, replies: Replies) -> None:
    """Keep what later phases need to be told."""
    shape, job = state.shape, state.job
    job["done"].append(phase)
    if phase == "align":
        job["common"] = {bank: _common(shape, bank, replies) for bank in shape.banks}
    if phase == "bins":
        job["cells"] = same(replies, "cells", "agreed on other bins")
    if phase in {"bins", "cells"}:
        job["bins"] = same(replies, "bins", "agreed on other bins")
    if phase == "moments":
        job["card"] = replies[shape.builder]["card"]
    if state.lost and "common" in job:
        job["common"] = {bank: job["common"][bank] for bank in shape.banks}


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
