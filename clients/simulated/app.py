"""The `ClientApp` of simulated holders: one secure sum in three Flower messages.

`train.begin` has a holder compute what it hands in and start the sum; `train.go_on` brings what the
others sent, until the sum is done. Between two messages nothing of a holder lives but Flower's
`context.state`: its input, the seed of its random bytes, what has arrived, and its journal.

It is no party: it keeps no ledger, since nothing leaves the machine that holds all customers.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from os import urandom
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from clients.neural.data import layout_of
from clients.simulated.table import customers_of, load
from shared.arrays import pack_value, unpack_value
from shared.edge.stored_arrays import carried_array
from shared.errors import BadPeer, ConfideError
from shared.jobs import COORDINATOR
from shared.masks import SEED_BYTES
from shared.neural import average
from shared.neural.inputs import Encoding, describe, own_counts
from shared.neural.layout import model_digest
from shared.neural.scores import tally
from shared.protocols.sum import sum_party
from shared.protocols.sum_job import SumJob, check_reveal
from shared.simulated import BEGIN, DESCRIBE, GO_ON, Simulation, holder_of
from shared.staged import Played, entropy_of, pack_posts, play, unpack_posts

app = ClientApp()

Floats = NDArray[np.float64]

# A loss is at most -log of the least probability that a logit in float64 gives.
_WORST_LOSS = 1000.0
_SUM, _INPUT, _JOURNAL = "sum", "input", "journal"


class _Journal:
    """What a simulated holder remembers of its reveals, for as long as the run lasts."""

    def __init__(self, state: RecordDict) -> None:
        self._state = state

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """Note a reveal; see `shared.protocols.sum_job.SumJournal`."""
        known = _value(self._state, _JOURNAL) or []
        records = [(job, own, tuple(names)) for job, own, names in known]
        check_reveal(records, job_digest, input_digest, cohort)
        _keep(self._state, _JOURNAL, [*known, [job_digest, input_digest, list(cohort)]])


@app.query(DESCRIBE.partition(".")[2])
def describe_table(message: Message, context: Context) -> Message:
    """Say what the features are, and how many customers there are."""

    def work() -> tuple[Any, bytes]:
        job = _simulation(context)
        table = load(job.table, job.contract)
        customers_of(job, 0)
        about = {"features": describe(table.features), "contract": table.contract.digest()}
        return about | {"customers": len(table.columns.ids)}, b""

    return _answer(message, work)


@app.train(BEGIN.partition(".")[2])
def begin(message: Message, context: Context) -> Message:
    """Compute an input and start its sum."""

    def work() -> tuple[Any, bytes]:
        asked = _value(message.content, "job")
        weights = carried_array(message.content["arrays"]["weights"])
        values, n_examples, model = _values(_simulation(context), asked, weights)
        own = average.weigh(values, n_examples)
        context.state[_INPUT] = ArrayRecord({_INPUT: Array(own)})
        asked |= {"seed": urandom(SEED_BYTES).hex(), "sent": 0, "model": model}
        _keep(context.state, _SUM, asked, b"")
        return _advance(context, b"")

    return _answer(message, work)


@app.train(GO_ON.partition(".")[2])
def go_on(message: Message, context: Context) -> Message:
    """Go on with the sum, over what the others sent."""

    def work() -> tuple[Any, bytes]:
        return _advance(context, bytes(message.content["job"]["posts"]))  # type: ignore[arg-type]

    return _answer(message, work)


def _advance(context: Context, fresh: bytes) -> tuple[Any, bytes]:
    """Play the sum as far as it goes; return whether it is done, and what is to be sent."""
    state = context.state
    known = _value(state, _SUM)
    if known is None:
        raise BadPeer("it goes on with a sum that was not begun", party=COORDINATOR)
    posts = bytes(state[_SUM]["posts"])  # type: ignore[arg-type]
    arrived = [*_read(posts), *_read(fresh)]
    own: Floats = carried_array(state[_INPUT][_INPUT])
    job = _sum_job(known, len(own) - 1)
    member = _simulation(context).member(holder_of(known["place"]), job.cohort, job.label)
    entropy = entropy_of(bytes.fromhex(known["seed"]))
    journal = _Journal(state)
    played: Played[Any] = play(
        member,
        arrived,
        known["sent"],
        lambda channel: sum_party(channel, job, own, journal=journal, entropy=entropy),
    )
    if played.done:
        del state[_SUM], state[_INPUT]
    else:
        _keep(state, _SUM, known | {"sent": played.sent}, pack_posts(arrived))
    return {"done": played.done}, pack_posts(played.posts)


def _sum_job(asked: Mapping[str, Any], length: int) -> SumJob:
    return average.mean_job(
        str(asked["run"]),
        str(asked["phase"]),
        [str(name) for name in asked["cohort"]],
        COORDINATOR,
        model=str(asked["model"]),
        length=length,
    )


def _values(job: Simulation, asked: Mapping[str, Any], weights: Floats) -> tuple[Floats, int, str]:
    """Return what a holder hands in, the customers behind it, and the digest of its model."""
    train, test = customers_of(job, int(asked["place"]))
    features = load(job.table, job.contract).features
    if asked["kind"] == "edges":
        # A simulation has no floors: most of its holders would stay below them.
        return own_counts(features, train.values, 1) / len(train), len(train), ""
    encoding = Encoding.from_mapping(features, asked["edges"], COORDINATOR)
    layout = layout_of(encoding, job.neural)
    if weights.shape != (layout.size,) or not np.isfinite(weights).all():
        raise BadPeer("the weights do not fit the agreed network", party=COORDINATOR)
    digest = model_digest(layout, encoding, weights)
    from shared.neural.train import Recipe, default_prob  # noqa: PLC0415 - torch takes seconds
    from shared.neural.train import train as train_from  # noqa: PLC0415

    if asked["kind"] == "evaluate":
        prob = default_prob(layout, weights, encoding.apply(test.values))
        return tally(test.label, prob, 1), len(test), digest
    agreed = job.neural
    recipe = Recipe(
        epochs=agreed.local_epochs,
        batch=agreed.batch,
        learning_rate=agreed.learning_rate * float(asked["shrink"]),
        seed=agreed.seed,
        label=f"{holder_of(asked['place'])}/{asked['round']}",
        decay=agreed.decay,
        pull=float(asked["pull"]),
    )
    inputs = encoding.apply(train.values)
    trained, loss = train_from(layout, weights, inputs, train.label, recipe)
    update = average.clipped(trained - weights, agreed.clip)
    return np.append(update, min(loss, _WORST_LOSS)), len(train), digest


def _simulation(context: Context) -> Simulation:
    return Simulation.from_text(str(context.run_config["simulation"]))


def _read(posts: bytes) -> list[Any]:
    return unpack_posts(posts) if posts else []


def _value(records: RecordDict, name: str) -> Any:
    if name not in records:
        return None
    return unpack_value(bytes(records[name]["value"]))  # type: ignore[arg-type]


def _keep(records: RecordDict, name: str, value: Any, posts: bytes = b"") -> None:
    records[name] = ConfigRecord({"value": pack_value(value), "posts": posts})


def _answer(message: Message, work: Callable[[], tuple[Any, bytes]]) -> Message:
    """Reply with a result, or with the holder's error: never with a row."""
    posts = b""
    try:
        result, posts = work()
        value = {"ok": True, "result": result}
    except ConfideError as error:
        said = {"code": error.code, "message": error.message, "hint": error.hint}
        value = {"ok": False} | said
    except Exception as error:  # noqa: BLE001 - its text may hold data: only its class travels
        traceback.print_exc(file=sys.stderr)
        value = {"ok": False, "code": "internal", "message": type(error).__name__, "hint": ""}
    record = ConfigRecord({"value": pack_value(value), "posts": posts})
    return Message(RecordDict({"reply": record}), reply_to=message)
