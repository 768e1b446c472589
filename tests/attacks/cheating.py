"""A coordinator that says what it likes: its keys and its channels are real, its words need not be.

It speaks to the product's own `ClientApp` over party folders, journals and sealed channels. What it
asks of itself it leaves out: no check of `server` stands between it and the parties.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.supercore.task_identity import TaskIdentity

from clients.neural.data import learning
from clients.party import Party
from server.coordinator import Coordinator
from server.exchange import _read
from server.neural.means import Means
from shared import transport
from shared.channel import queue_channels
from shared.errors import ConfideError
from shared.jobs import Run
from shared.neural import average
from shared.neural.inputs import Encoding, own_counts
from shared.neural.layout import Layout, model_digest
from shared.neural.scores import LENGTH
from shared.protocols.sum import sum_coordinator
from shared.sealed import SealedChannel
from tests.neural_kit import BANKS, build
from tests.whole_runs import LIGHT, ThreadGrid

FOUR = ("east", *BANKS)
VICTIM = "south"
#: Seconds after which a machine, however busy, is taken to hang.
_PATIENCE = 200.0


@dataclass
class Answers:
    """What came of one request.

    Parameters
    ----------
    opened : ndarray or None
        The sum, if the coordinator got it open.
    results, refusals : dict
        By party: what it answered, or its error.
    failure : ConfideError or None
        What the coordinator's own code stumbled over.
    """

    opened: np.ndarray | None = None
    results: dict = field(default_factory=dict)
    refusals: dict = field(default_factory=dict)
    failure: ConfideError | None = None

    @property
    def told(self):
        """Every refusal: who, with which code, and why."""
        said = [f"{who} {one['code']}: {one['message']}" for who, one in self.refusals.items()]
        own = self.failure
        return said + ([f"{own.party} {own.code}: {own.message}"] if own else [])

    @property
    def mean(self):
        return average.mean_of(self.opened)[0]


def found(folder, **settings):
    """Write a federation of four banks that may go on with three; return its file."""
    plain = {"customers": 700, "rounds": 6, "min_parties": 3, "holdout": 0.3}
    return build(folder, banks=FOUR, **(plain | {"deadline_s": 300} | settings))


class Cheat:
    """A coordinator of the attacker's.

    Parameters
    ----------
    path : Path
        Its federation file.
    run : str
    """

    def __init__(self, path, run="first"):
        coordinator = Coordinator.load(path, run)
        names = coordinator.federation.holders
        self.path, self.people = path, coordinator
        self.channels = queue_channels([*names, "coordinator"], deadline=_PATIENCE)
        self.grid = ThreadGrid(self.channels, dict.fromkeys(names, path))
        self.encoding, self.layout = _agreed(path, names)
        party = Party.load(path, names[0])
        self.run = Run(run, 1, coordinator.federation, party.contract.digest())
        self.frames = []
        transport.use(self.channels["coordinator"].scoped)
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    @property
    def start(self):
        """The agreed first weights."""
        return self.layout.initial(self.run.federation.neural.seed)

    def carry(self, change):
        """Let a function see, replace or drop (None) every frame from now on."""
        for channel in self.channels.values():
            channel._carry = _through(change, channel._carry)

    def round(self, number=1, weights=None, *, to=(), part=sum_coordinator, **told):
        """Ask for a round.

        Parameters
        ----------
        number : int
        weights : ndarray, optional
            The agreed first ones by default.
        to : mapping of str to dict, optional
            What single parties are told otherwise: fields of the job, ``weights``, ``cohort``.
        part : callable or None
            The coordinator's side of the sum; takes its channel and the job.
        **told
            What all are told: fields of the job, ``cohort``, ``run``, ``attempt``.
        """
        weights = self.start if weights is None else weights
        run = replace(self.run, **{key: told.pop(key) for key in _OF_RUN & set(told)})
        if "run" in told:
            run = replace(run, name=told.pop("run"))
        job = {"round": number, "edges": self.encoding.to_mapping(), "shrink": 1.0, "pull": 0.0}
        messages = []
        for name in run.parties:
            own = job | told | dict(to).get(name, {})
            cohort = own.pop("cohort", run.cohort)
            given = own.pop("weights", weights)
            means = Means(self.grid, self.people, replace(run, cohort=cohort), _nodes(self.path))
            messages += means.messages("train.neural", own, given, to=(name,))
        digest = model_digest(self.layout, self.encoding, weights)
        return self.ask(messages, run, average.round_phase(number), digest, part)

    def ask(self, messages, run, phase, model="", part=sum_coordinator, length=None, talks=True):
        """Send messages, play the coordinator's part beside them, and wait for every answer."""
        answers = Answers()
        channel = self.channels["coordinator"].scoped(run.scope(phase)).among(run.parties)
        size = self.layout.size + 1 if length is None else length

        def play():
            try:
                roster, own = run.federation.roster, self.people.identity
                sealed = SealedChannel.open(channel, own, roster, run.session(phase))
                if part is not None:
                    job = average.mean_job(
                        run.name, phase, run.parties, "coordinator", model=model, length=size
                    )
                    answers.opened = part(sealed, job)
            except ConfideError as error:
                answers.failure = error
                channel.abort("done")

        waiting = set(self.grid.push_messages(messages))
        side = threading.Thread(target=play if talks else bool, daemon=True)
        side.start()
        end = time.monotonic() + _PATIENCE
        while waiting:
            assert time.monotonic() < end, f"no answer to {sorted(waiting)}"
            for message in self.grid.pull_messages(list(waiting)):
                waiting -= {message.metadata.reply_to_message_id}
                reply = _read(message)
                if reply["ok"]:
                    answers.results[reply["party"]] = reply["result"]
                else:
                    answers.refusals[reply["party"]] = reply
                    channel.abort("done")  # nobody need wait for who has left
            time.sleep(0.005)
        side.join(timeout=_PATIENCE)
        return answers

    def query(self, kind, job, weights, to):
        """Ask some parties what needs no channel, or has none."""
        means = Means(self.grid, self.people, self.run, _nodes(self.path))
        messages = means.messages(kind, job, weights, to=to)
        return self.ask(messages, replace(self.run, cohort=tuple(to)), "none", talks=False)

    def evaluate(self, job, weights):
        """Ask how good a model is."""
        means = Means(self.grid, self.people, self.run, _nodes(self.path))
        messages = means.messages("evaluate.neural", job, weights)
        digest = model_digest(self.layout, self.encoding, weights)
        return self.ask(messages, self.run, average.EVALUATE_PHASE, digest, length=2 * LENGTH)

    def train(self, rounds):
        """Play rounds as agreed; return every round's weights, the first ones first."""
        weights = [self.start]
        for number in range(1, rounds + 1):
            answers = self.round(number, weights[-1])
            assert answers.opened is not None, answers.told
            moved = weights[-1] + answers.mean[:-1]
            weights.append(self.layout.project(moved))
        return weights


_OF_RUN = {"cohort", "attempt"}


def _nodes(path):
    return {name: place for place, name in enumerate(FOUR, start=1)}


def _through(change, onward):
    def carry(frame):
        kept = change(frame)
        if kept is not None:
            onward(kept)

    return carry


def _agreed(path, names):
    """Return encoding and layout, as an honest sum of counts would give them."""
    parties = [Party.load(path, name) for name in names]
    features = parties[0].contract.of(names[0])
    counts = sum(
        own_counts(features, learning(party)[0].values, LIGHT["rows"]) for party in parties
    )
    agreed = parties[0].federation.neural
    encoding = Encoding.from_counts(features, counts, agreed.pieces)
    return encoding, Layout(encoding.monotone, agreed.hidden, agreed.blocks)


def copy(path, folder):
    """Return the federation file of a copy of all folders: what one attack leaves, no other has."""
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    return folder / path.name


def revealed(path):
    """Return every note of a reveal in all parties' journals."""
    lines = [
        {"home": journal.parent.name, **json.loads(line)}
        for journal in sorted(path.parent.glob("*/journal.jsonl"))
        for line in journal.read_text().splitlines()
    ]
    return [line for line in lines if line["kind"] == "reveal"]
