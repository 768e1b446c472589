"""The coordinator's side of each phase: open it, take part, collect the replies.

One Flower message to every party opens a phase; inside it the parties talk over channels, and the
coordinator does its own part: it intersects masked lists, deals randomness, adds masked points. It
then collects one reply a party. A party's own error wins over the silence it causes elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from server.coordinator import Coordinator
from server.local import DIED, PARTY_FORGED
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer, ConfideError, PartyLost, RunFailed, codes
from shared.jobs import Run
from shared.protocols.align import align_coordinator
from shared.protocols.products import deal
from shared.protocols.score import assist
from shared.sealed import SealedChannel
from shared.shape import Shape
from shared.transport import open_transport

Replies = dict[str, dict[str, Any]]
Part = Callable[[SealedChannel, Run, Mapping[str, Any]], None]

_KINDS = {
    "join": "query",
    "align": "query",
    "bins": "train",
    "cells": "train",
    "moments": "train",
    "score": "evaluate",
    "release": "query",
}
# After the coordinator's part failed the parties need only a moment to say why.
_GRACE_S = 10.0
_POLL_S = 0.002


def run_phases(grid: Grid, coordinator: Coordinator) -> dict[str, Any]:
    """Run a whole training.

    Parameters
    ----------
    grid : Grid
        Any of Flower's grids, or the local one.
    coordinator : Coordinator

    Returns
    -------
    dict
        Replies by phase and party, and the seconds of each phase.

    Raises
    ------
    ConfideError
        The first party's error, under its name.
    """
    joined = join(grid, coordinator)
    node_of = {name: reply["node"] for name, reply in joined.items()}
    digest = same(joined, "contract", "works on another contract")
    banks = same(joined, "banks", "reads other banks off the contract")
    if banks:
        from server.together import run_together  # noqa: PLC0415 - it is made of what is here

        columns = tuple(name for name in coordinator.federation.holders if name not in banks)
        shape = Shape(tuple(banks), columns, coordinator.federation.builder)
        return run_together(grid, coordinator, joined, shape, digest)
    run = Run(coordinator.run, 1, coordinator.federation, digest)
    outcome: dict[str, Any] = {"run": run.name, "contract": digest, "join": joined, "seconds": {}}
    job: dict[str, Any] = {}
    builder = run.federation.builder
    parts: Mapping[str, Part] = {
        "align": _align,
        "moments": _moments,
        "score": _score,
        "release": _release,
    }
    for phase, part in parts.items():
        started = time.perf_counter()
        coordinator.tell("phase", name=phase)
        replies = _phase(grid, coordinator, run, node_of, phase, part, job)
        seconds = time.perf_counter() - started
        outcome[phase] = replies
        outcome["seconds"][phase] = seconds
        coordinator.tell("done", name=phase, seconds=seconds, replies=replies)
        if phase == "align":
            job["n_train"] = same(replies, "n_train", "counts other common customers")
            job["n_test"] = same(replies, "n_test", "counts other common customers")
            job["both_classes"] = replies[builder]["both_classes"]
        if phase == "moments":
            job["card"] = replies[builder]["card"]
    return outcome


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


def exchange(
    grid: Grid,
    coordinator: Coordinator,
    run: Run,
    phase: str,
    messages: Iterable[Message],
    part: Callable[[SealedChannel], None],
) -> Replies:
    """Open a phase with one message to every party, take part, and collect one reply of each.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    run : Run
    phase : str
        Names the session of the channel.
    messages : iterable of Message
        One to every party.
    part : callable
        What the coordinator does over the channel meanwhile.

    Returns
    -------
    dict
        Results by party.

    Raises
    ------
    ConfideError
        The first party's error, under its name.
    """
    got = gather(grid, coordinator, run, phase, messages, part)
    raise_first(got.errors, got.failure, got.silent)
    return got.replies


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came of a phase.

    Parameters
    ----------
    replies : dict
        Results by party.
    errors : list of dict
        Of the parties that failed.
    failure : ConfideError or None
        Of the coordinator's own part.
    silent : list of str
        Parties that did not answer at all.
    """

    replies: Replies
    errors: list[dict[str, Any]]
    failure: ConfideError | None
    silent: list[str]


def gather(
    grid: Grid,
    coordinator: Coordinator,
    run: Run,
    phase: str,
    messages: Iterable[Message],
    part: Callable[[SealedChannel], None],
) -> Gathered:
    """Play a phase as `exchange` does, and return whatever came of it."""
    pending = set(grid.push_messages(messages))
    failure: ConfideError | None = None
    transport = open_transport(run.scope(phase)).among(run.parties)
    try:
        roster = coordinator.federation.roster
        channel = SealedChannel.open(transport, coordinator.identity, roster, run.session(phase))
        part(channel)
    except ConfideError as error:
        failure = error
        transport.abort(f"{error.code}: {error}")
    # Whoever waits for a peer is given up by nobody before it has given up the peer.
    wait = _GRACE_S if failure else run.federation.protocol.deadline_s + _GRACE_S
    replies, errors = _collect(grid, pending, wait)
    answered = set(replies) | {error["party"] for error in errors}
    return Gathered(replies, errors, failure, sorted(set(run.parties) - answered))


def messages_to(node_of: Mapping[str, int], phase: str, value: Any) -> list[Message]:
    """Return one message that opens a phase to each node."""
    record = ConfigRecord({"value": pack_value(value)})
    kind = f"{_KINDS[phase]}.{phase}"
    return [
        Message(RecordDict({"job": record}), dst_node_id=node, message_type=kind)
        for node in node_of.values()
    ]


def _collect(grid: Grid, pending: set[str], wait: float) -> tuple[Replies, list[dict[str, Any]]]:
    """Pull replies until all are there, or nothing new came for `wait` seconds."""
    replies: Replies = {}
    errors: list[dict[str, Any]] = []
    waiting = set(pending)
    last = time.monotonic()
    while waiting and time.monotonic() - last < wait:
        arrived = list(grid.pull_messages(list(waiting)))
        if not arrived:
            time.sleep(_POLL_S)
            continue
        last = time.monotonic()
        for message in arrived:
            waiting -= {message.metadata.reply_to_message_id}
            reply = _read(message)
            if reply["ok"]:
                replies[reply["party"]] = reply["result"]
            else:
                errors.append(reply)
    return replies, errors


def _read(message: Message) -> dict[str, Any]:
    if message.has_error():
        party, _, why = (message.error.reason or "").partition(": ")
        kind = BadPeer if message.error.code == PARTY_FORGED else PartyLost
        lost = {"code": kind.code, "message": why, "hint": "see its log"}
        return {"party": party, "ok": False, "at": party, **lost}
    reply = unpack_value(bytes(message.content["reply"]["value"]))  # type: ignore[arg-type]
    if reply["ok"]:
        reply["result"]["node"] = message.metadata.src_node_id
    return dict(reply)


def raise_first(
    errors: list[dict[str, Any]], failure: ConfideError | None, silent: list[str]
) -> None:
    """Raise the cause: a party that stopped because another did is only an echo.

    Parties wait for each other in chains, so whoever was waited for need not be who is stuck: a
    party that does not even answer the coordinator is.
    """
    causes = [error for error in errors if error["code"] != PartyLost.code]
    died = [error for error in errors if error["message"].startswith(DIED)]
    if causes:
        first = min(causes, key=lambda error: error["party"])
        raise RunFailed(
            first["message"], hint=first["hint"], party=first["at"], reported=first["code"]
        )
    if failure is not None and not isinstance(failure, PartyLost) and not died:
        raise failure
    if silent and not died:
        raise PartyLost("does not answer", party=silent[0], hint="see its log")
    for error in (*died, *errors):
        kind = codes()[error["code"]]
        raise kind(error["message"], hint=error["hint"], party=error["at"])
    if failure is not None:
        raise failure


def join(grid: Grid, coordinator: Coordinator) -> Replies:
    """Ask every node who it is; all parties of the federation must be there."""
    nodes = list(grid.get_node_ids())
    value = {"run": coordinator.run, "attempt": 1}
    messages = messages_to({str(node): node for node in nodes}, "join", value)
    wait = float(coordinator.federation.protocol.deadline_s)
    replies, errors = _collect(grid, set(grid.push_messages(messages)), wait)
    raise_first(errors, None, [])
    missing = sorted(set(coordinator.federation.holders) - set(replies))
    if missing:
        raise PartyLost("is not there", party=missing[0], hint="start it, then train again")
    return replies


def ask(
    grid: Grid, coordinator: Coordinator, messages: Iterable[Message], parties: Iterable[str]
) -> Replies:
    """Send a message to each of some parties; they answer without any exchange among them.

    Raises
    ------
    PartyLost
        If one does not answer, by name.
    ConfideError
        The first party's error, under its name.
    """
    wait = float(coordinator.federation.protocol.deadline_s)
    replies, errors = _collect(grid, set(grid.push_messages(messages)), wait)
    answered = set(replies) | {error["party"] for error in errors}
    raise_first(errors, None, sorted(set(parties) - answered))
    return replies


def same(replies: Replies, field: str, complaint: str) -> Any:
    """Return what all parties agree on.

    Raises
    ------
    RunFailed
        Names the party that differs from the majority.
    """
    values = [reply[field] for reply in replies.values()]
    usual = max(values, key=values.count)
    for party, reply in replies.items():
        if reply[field] != usual:
            raise RunFailed(complaint, party=party, reported="contract-changed")
    return usual
