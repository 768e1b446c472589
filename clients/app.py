"""The party's Flower `ClientApp`: one handler a phase, the same under every engine."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients import phases
from clients.banks import bins as bank_bins
from clients.banks import phases as together
from clients.join import join as join_run
from clients.join import keep_beginning, keep_ended, refuse_older
from clients.neural import phases as neural
from clients.neural import release as neural_release
from clients.party import Party
from clients.releases import publish
from clients.steps import observed, party_of
from shared.arrays import pack_value, unpack_value
from shared.channel import QueueChannel
from shared.edge import logs
from shared.edge.stored_arrays import carried_array
from shared.errors import BadPeer, ConfideError
from shared.jobs import COORDINATOR, Run
from shared.neural.average import EDGES_PHASE, EVALUATE_PHASE, RELEASE_PHASE, round_phase
from shared.phases import TOGETHER
from shared.sealed import SealedChannel
from shared.transport import open_transport

app = ClientApp()

Phase = Callable[[Party, SealedChannel, Run, Mapping[str, Any]], dict[str, Any]]
Quiet = Callable[[Party, Run, Mapping[str, Any]], dict[str, Any]]


def _by_shape(one: Phase, banks: Phase) -> Phase:
    """Return a phase that is played in one of two ways: by holders of columns only, or by banks."""

    def play(
        party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
    ) -> dict[str, Any]:
        return (banks if party.shape.banks else one)(party, channel, run, job)

    return play


ALIGN = _by_shape(phases.align, together.align)
MOMENTS = _by_shape(phases.moments, together.moments)
SCORE = _by_shape(phases.score, together.score)


def _value(message: Message) -> dict[str, Any]:
    value: dict[str, Any] = unpack_value(bytes(message.content["job"]["value"]))  # type: ignore[arg-type]
    if "arrays" in message.content:  # the neural model
        record = message.content["arrays"]
        value["arrays"] = {name: carried_array(array) for name, array in record.items()}
    return value


def _run(message: Message, party: Party) -> tuple[Run, Mapping[str, Any]]:
    value = _value(message)
    logs.bind(run=str(value["run"]))
    digest = party.contract.digest()
    cohort = tuple(sorted(str(name) for name in value.get("cohort", ())))
    _check_cohort(cohort, party)
    return Run(value["run"], int(value["attempt"]), party.federation, digest, cohort), value


def _check_cohort(cohort: tuple[str, ...], party: Party) -> None:
    """Refuse survivors that are none, before anybody is talked to."""
    if cohort and not {party.name} <= set(cohort) <= set(party.federation.holders):
        raise BadPeer("names a cohort that is not of this federation", party=COORDINATOR)


@observed
def _play(message: Message, context: Context, name: str, phase: Phase) -> dict[str, Any]:
    """Run one phase over a sealed channel; tell the peers when it fails."""
    party = party_of(context)
    run, value = _run(message, party)
    started = time.perf_counter()
    with _transport(context, party, run, name) as transport:
        try:
            with party.store.exclusive():
                channel = SealedChannel.open(
                    transport, party.identity, party.federation.roster, run.session(name)
                )
                refuse_older(party, run)
                if name in TOGETHER:
                    keep_beginning(party, run)
                result = phase(party, channel, run, value)
                result |= _cost(transport, time.perf_counter() - started)
                if name in TOGETHER:
                    keep_ended(party, run, name, result)
        except ConfideError as error:
            transport.abort(f"{error.code}: {error}")
            raise
        except Exception:
            transport.abort("internal: an unexpected error")
            raise
    return result


@observed
def _alone(message: Message, context: Context, phase: Quiet) -> dict[str, Any]:
    """Run a phase in which the parties do not talk to each other."""
    party = party_of(context)
    run, value = _run(message, party)
    with party.store.exclusive():
        return phase(party, run, value)


@contextlib.contextmanager
def _transport(context: Context, party: Party, run: Run, phase: str) -> Iterator[QueueChannel]:
    """Give a phase its channel: over the relay that the node's configuration names, if it does."""
    relay = context.node_config.get("relay")
    peers = [name for name in (*run.parties, COORDINATOR) if name != party.name]
    scope = run.scope(phase)
    if not relay:
        yield open_transport(scope).among(peers)
        return
    from shared.edge.wire import relay_channel  # noqa: PLC0415 - other engines need no sockets

    federation = party.federation
    deadline = float(federation.protocol.deadline_s)
    home, identity, ca = party.store.home, party.identity, federation.ca
    with relay_channel(str(relay), home, identity, peers, scope, deadline, ca=ca) as channel:
        yield channel


def _cost(transport: QueueChannel, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "bytes_sent": transport.traffic.total_sent,
        "bytes_received": transport.traffic.total_received,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _answer(message: Message, context: Context, work: Callable[[], dict[str, Any]]) -> Message:
    """Reply with a result, or with the party's own error: its code and text, never a data row."""
    party = str(context.node_config.get("party", "?"))
    try:
        value = {"party": party, "ok": True, "result": work()}
    except ConfideError as error:
        value = {
            "party": party,
            "ok": False,
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "at": error.party or party,
        }
    except Exception as error:  # noqa: BLE001 - its text may hold data: only its class travels
        traceback.print_exc(file=sys.stderr)
        value = {
            "party": party,
            "ok": False,
            "code": "internal",
            "message": f"unexpected {type(error).__name__}; see this party's log",
            "hint": "",
            "at": party,
        }
    return Message(
        RecordDict({"reply": ConfigRecord({"value": pack_value(value)})}), reply_to=message
    )


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is, and whether its data keep the contract."""

    def work() -> dict[str, Any]:
        party = party_of(context)
        return join_run(party, *_run(message, party))

    return _answer(message, context, work)


@app.query("align")
def align(message: Message, context: Context) -> Message:
    """Find the common customers."""
    return _answer(message, context, lambda: _play(message, context, "align", ALIGN))


@app.train("cells")
def cells(message: Message, context: Context) -> Message:
    """Agree on pairs of several banks' features."""
    return _answer(message, context, lambda: _play(message, context, "cells", bank_bins.cells))


@app.train("bins")
def bins(message: Message, context: Context) -> Message:
    """Agree on the bins of several banks."""
    return _answer(message, context, lambda: _play(message, context, "bins", bank_bins.bins))


@app.train("moments")
def moments(message: Message, context: Context) -> Message:
    """Exchange moments once; fit at the builder."""
    return _answer(message, context, lambda: _play(message, context, "moments", MOMENTS))


@app.evaluate("score")
def score(message: Message, context: Context) -> Message:
    """Score the common customers; calibrate and evaluate at the builder."""
    return _answer(message, context, lambda: _play(message, context, "score", SCORE))


@app.query("release")
def release(message: Message, context: Context) -> Message:
    """Check the card, sign its release, and publish the own score feed."""
    return _answer(message, context, lambda: _play(message, context, "release", publish.release))


@app.query("neural_features")
def neural_features(message: Message, context: Context) -> Message:
    """Say what the features of the neural model are."""
    return _answer(message, context, lambda: _alone(message, context, neural.features))


@app.query("neural_edges")
def neural_edges(message: Message, context: Context) -> Message:
    """Agree on the edges of the neural model's inputs."""
    return _answer(message, context, lambda: _play(message, context, EDGES_PHASE, neural.edges))


@app.train("neural")
def neural_round(message: Message, context: Context) -> Message:
    """Train the neural model for one round."""

    def work() -> dict[str, Any]:
        name = round_phase(int(_value(message)["round"]))
        return _play(message, context, name, neural.train_round)

    return _answer(message, context, work)


@app.evaluate("neural_check")
def neural_check(message: Message, context: Context) -> Message:
    """Say whether a round of the neural model harmed."""
    return _answer(message, context, lambda: _alone(message, context, neural.check))


@app.evaluate("neural")
def neural_evaluate(message: Message, context: Context) -> Message:
    """Evaluate the neural model, and keep it."""
    return _answer(
        message, context, lambda: _play(message, context, EVALUATE_PHASE, neural.evaluate)
    )


@app.query("neural_release")
def network_release(message: Message, context: Context) -> Message:
    """Sign the release of the neural model, and publish the own score feed."""
    return _answer(
        message, context, lambda: _play(message, context, RELEASE_PHASE, neural_release.release)
    )
