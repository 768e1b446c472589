"""One phase as the coordinator plays it: messages out, its own part, one reply of each party.

A party's own error wins over the silence it causes elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from server.coordinator import Coordinator
from server.engines.local import DIED, PARTY_FORGED
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer, ConfideError, PartyLost, RunFailed, codes
from shared.jobs import Run
from shared.sealed import SealedChannel
from shared.transport import open_transport

Replies = dict[str, dict[str, Any]]

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


def join(
    grid: Grid,
    coordinator: Coordinator,
    told: Mapping[str, Any] | None = None,
    wanted: Iterable[str] | None = None,
) -> Replies:
    """Ask every node who it is; all parties of the federation must be there.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    told : mapping, optional
        What the parties are told besides the run's name.
    wanted : iterable of str, optional
        Who must be there, where that is not everybody.

    Returns
    -------
    dict
        Replies by party.

    Raises
    ------
    PartyLost
        If a party is not there, by name.
    ConfideError
        The first party's error, under its name.
    """
    value = {"run": coordinator.run, "attempt": 1} | dict(told or {})
    replies, errors = _joined(grid, value, float(coordinator.federation.protocol.deadline_s))
    raise_first(errors, None, [])
    must = coordinator.federation.holders if wanted is None else wanted
    missing = sorted(set(must) - set(replies))
    if missing:
        raise PartyLost("is not there", party=missing[0], hint="start it, then train again")
    return replies


def _joined(
    grid: Grid, value: Mapping[str, Any], wait: float
) -> tuple[Replies, list[dict[str, Any]]]:
    """Ask every node who it is, and those that were lost over it once more.

    A node that has just come back may have been asked in its former life, whose end Flower notices
    late: the question is lost with that life, and nothing else is.
    """
    replies: Replies = {}
    errors: list[dict[str, Any]] = []
    for _ in range(2):
        answered = {reply["node"] for reply in replies.values()}
        nodes = [node for node in grid.get_node_ids() if node not in answered]
        if not nodes:
            break
        messages = messages_to({str(node): node for node in nodes}, "join", value)
        got, errors = _collect(grid, set(grid.push_messages(messages)), wait)
        replies |= got
        if not errors or any(error["code"] != PartyLost.code for error in errors):
            break
    return replies, errors


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
