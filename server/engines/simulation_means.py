"""Weighted means over simulated holders: every one of them is drawn afresh, and summed in cohorts.

A secure sum takes three exchanges of Flower messages: keys, masked vectors, seeds. All cohorts of a
phase go through them side by side. What holders send each other travels with those messages.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from server.coordinator import Coordinator
from server.exchange import Replies
from server.neural.means import WEIGHTS, Mean, Means
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer, ConfideError, PartyLost, RunFailed
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.judging import UNCHECKED
from shared.protocols.sum import sum_coordinator
from shared.protocols.sum_job import SumJob
from shared.simulated import BEGIN, GO_ON, Simulation, deal, draw, holder_of
from shared.staged import Member, Post, pack_posts, play, unpack_posts

Floats = NDArray[np.float64]

# An exchange with a thousand holders takes about a minute.
_DEADLINE_S = 900.0
_POLL_S = 0.05


@dataclass(slots=True)
class _Cohort:
    """One secure sum under way."""

    job: SumJob
    member: Member
    arrived: list[Post] = field(default_factory=list)
    sent: int = 0
    total: Floats | None = None

    def advance(self) -> list[Post]:
        """Add what has arrived as far as it goes; return what the coordinator sends."""
        stage = play(
            self.member, self.arrived, self.sent, lambda channel: sum_coordinator(channel, self.job)
        )
        self.sent = stage.sent
        if stage.done:
            self.total = stage.value
        return stage.posts


class SampledMeans(Means):
    """Opens weighted means over holders that are drawn for each of them.

    A cohort in which a holder fails is left out of the mean, and told; it had no more to say than
    the others, all of them being drawn at random.

    Parameters
    ----------
    grid : Grid
    coordinator : Coordinator
    run : Run
    job : Simulation
    nodes : sequence of int
        Flower's node of every holder, by its place.
    """

    def __init__(
        self, grid: Grid, coordinator: Coordinator, run: Run, job: Simulation, nodes: Sequence[int]
    ) -> None:
        node_of = {holder_of(place): node for place, node in enumerate(nodes)}
        self._simulation = job
        super().__init__(grid, coordinator, run, node_of)

    def open(
        self,
        kind: str,
        phase: str,
        job: Mapping[str, Any],
        *,
        weights: Floats | None = None,
        model: str = "",
        length: int,
    ) -> tuple[Mean, Replies]:
        """Draw holders, add what they hand in, cohort by cohort, and open the mean; see `Means`.

        Raises
        ------
        ConfideError
            The first holder's error, if no cohort is left.
        """
        del kind  # what is asked follows from the phase; the messages are those of a sum
        started = time.perf_counter()
        place_of = {holder_of(place): place for place in draw(self._simulation, phase)}
        cohorts = self._cohorts(deal(place_of), phase, model, length)
        # Later rounds are of other holders: nobody counts on the customers of this one.
        self.run = replace(self.run, cohort=tuple(sorted(place_of)))
        exchange = _Exchange(self.grid, self._node_of)
        asked = {**job, "run": self.run.name, "phase": phase, "kind": _KIND_OF.get(phase, "update")}
        contents = {}
        for cohort in cohorts:
            for name in cohort.job.cohort:
                told = {**asked, "place": place_of[name], "cohort": list(cohort.job.cohort)}
                contents[name] = _content(told, weights if weights is not None else np.zeros(0))
        whole, errors = _sum(exchange, cohorts, contents)
        if not whole:
            raise next(iter(errors.values()))
        self._coordinator.tell(
            "summed",
            name=phase,
            holders=sum(len(one.job.cohort) for one in whole),
            cohorts=len(whole),
            failed={name: f"{error.code}: {error.message}" for name, error in errors.items()},
            exchanges=exchange.count,
            bytes_to=exchange.bytes_to,
            bytes_from=exchange.bytes_from,
            seconds=time.perf_counter() - started,
        )
        total = np.sum([one.total for one in whole if one.total is not None], axis=0)
        return Mean(*average.mean_of(total)), {}

    def ask_builder(self, kind: str, job: Mapping[str, Any], weights: Floats) -> dict[str, Any]:
        """Return that nobody checks a round: no simulated holder is the builder."""
        del kind, job, weights
        return {"verdict": UNCHECKED}

    def _tell_spare(self) -> None:
        """Say nothing: no holder has a process of its own."""

    def _cohorts(
        self, dealt: Iterable[tuple[str, ...]], phase: str, model: str, length: int
    ) -> list[_Cohort]:
        cohorts = []
        for names in dealt:
            job = average.mean_job(
                self.run.name, phase, names, COORDINATOR, model=model, length=length
            )
            cohorts.append(_Cohort(job, self._simulation.member(COORDINATOR, names, phase)))
        return cohorts


_KIND_OF = {average.EDGES_PHASE: "edges", average.EVALUATE_PHASE: "evaluate"}


def _sum(
    exchange: _Exchange, cohorts: Sequence[_Cohort], contents: Mapping[str, RecordDict]
) -> tuple[list[_Cohort], dict[str, ConfideError]]:
    """Play all sums to their end; return those that came there, and the errors of the rest."""
    left = list(cohorts)
    failures: dict[str, ConfideError] = {}
    kind = BEGIN
    while any(cohort.total is None for cohort in left):
        replies, errors = exchange.ask(kind, contents)
        failures |= errors
        left = [one for one in left if not errors.keys() & set(one.job.cohort)]
        boxes: defaultdict[str, list[Post]] = defaultdict(list)
        for cohort in list(left):
            for name in cohort.job.cohort:
                for post in replies.get(name, ()):
                    _sort(post, cohort, boxes)
            try:
                posts = cohort.advance()
            except ConfideError as error:
                failures[error.party or cohort.job.cohort[0]] = error
                left.remove(cohort)
                continue
            for post in posts:
                _sort(post, cohort, boxes)
        kind = GO_ON
        names = {name for cohort in left if cohort.total is None for name in cohort.job.cohort}
        contents = {name: _further(boxes[name]) for name in sorted(names)}
    return left, failures


def _sort(post: Post, cohort: _Cohort, boxes: Mapping[str, list[Post]]) -> None:
    """Put a post where its recipients find it."""
    for name in post.to:
        if name == COORDINATOR:
            cohort.arrived.append(post)
        elif name in cohort.job.cohort:
            boxes[name].append(replace(post, to=()))


class _Exchange:
    """Asks holders, and counts.

    Parameters
    ----------
    grid : Grid
    node_of : mapping of str to int
    """

    def __init__(self, grid: Grid, node_of: Mapping[str, int]) -> None:
        self._grid, self._node_of = grid, node_of
        self.count = self.bytes_to = self.bytes_from = 0

    def ask(
        self, kind: str, contents: Mapping[str, RecordDict]
    ) -> tuple[dict[str, list[Post]], dict[str, ConfideError]]:
        """Send every holder its message; return what each sends on, or its error."""
        self.count += 1
        name_of = {}
        messages = []
        for name, content in contents.items():
            self.bytes_to += _size(content)
            node = self._node_of[name]
            name_of[node] = name
            messages.append(Message(content, dst_node_id=node, message_type=kind))
        replies: dict[str, list[Post]] = {}
        errors: dict[str, ConfideError] = {}
        for message in answers(self._grid, messages):
            name = name_of[message.metadata.src_node_id]
            try:
                reply = result_of(message)
                self.bytes_from += _size(message.content)
                replies[name] = [replace(one, sender=name) for one in reply[1]]
            except ConfideError as error:
                error.party = name
                errors[name] = error
        for name in contents.keys() - replies.keys() - errors.keys():
            errors[name] = PartyLost(f"no answer within {_DEADLINE_S:g} s", party=name)
        return replies, errors


def answers(grid: Grid, messages: Iterable[Message]) -> list[Message]:
    """Send messages; return the replies that come before the deadline."""
    waiting = set(grid.push_messages(messages))
    end = time.monotonic() + _DEADLINE_S
    replies: list[Message] = []
    while waiting and time.monotonic() < end:
        arrived = list(grid.pull_messages(waiting))
        waiting -= {message.metadata.reply_to_message_id for message in arrived}
        replies += arrived
        if waiting:
            time.sleep(_POLL_S)
    return replies


def result_of(message: Message) -> tuple[dict[str, Any], list[Post]]:
    """Return what a simulated holder answers, and what it sends on.

    Raises
    ------
    RunFailed
        With the holder's error.
    """
    if message.has_error():
        raise RunFailed(
            f"the app of a simulated holder failed: {(message.error.reason or '')[:300]}",
            reported=ConfideError.code,
        )
    record = message.content["reply"]
    try:
        value = unpack_value(bytes(record["value"]))  # type: ignore[arg-type]
        posts = bytes(record["posts"])  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        raise BadPeer("a simulated holder's reply is malformed") from error
    if not value["ok"]:
        raise RunFailed(value["message"], hint=value["hint"], reported=value["code"])
    return value["result"], unpack_posts(posts) if posts else []


def _content(told: Mapping[str, Any], weights: Floats) -> RecordDict:
    return RecordDict(
        {
            "job": ConfigRecord({"value": pack_value(dict(told)), "posts": b""}),
            "arrays": ArrayRecord({WEIGHTS: Array(weights)}),
        }
    )


def _further(posts: Iterable[Post]) -> RecordDict:
    return RecordDict({"job": ConfigRecord({"value": b"", "posts": pack_posts(posts)})})


def _size(content: RecordDict) -> int:
    """Return the bytes of a message's content, without what Flower puts around it."""
    size = 0
    for record in content.values():
        if isinstance(record, ArrayRecord):
            size += sum(len(array.data) for array in record.values())
        elif isinstance(record, ConfigRecord):
            size += sum(len(one) for one in record.values() if isinstance(one, bytes))
    return size
