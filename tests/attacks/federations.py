"""Real parties over real folders, run in threads: what an attacker at any place sees of them.

Every phase is the product's own (`clients.phases`), and so is the coordinator's side. A wrapped
channel writes down what each member was sent, after decryption, and what it sent, before
encryption; the queues underneath write down the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from clients import phases
from clients.card.parts import encode, plans_from_value
from clients.data.datasets import (
    embedded_contract,
    fetch_uci_default,
    split_holdings,
    write_parties,
)
from clients.data.world import make_world
from clients.keys.setup import init_federation
from clients.party import Party
from server import phases as coordinator_phases
from shared.channel import Frame
from shared.jobs import Run
from tests.support import COORDINATOR, run_parties

RUN = "attack"
_TOLD = ("n_train", "n_test", "both_classes", "card")  # what the coordinator passes on
_CHECK = "5a" * 32  # stands for an alignment where a test starts behind it


@dataclass(frozen=True)
class Opened:
    """One payload in clear: who sent it to whom, in which phase, under which tag."""

    phase: str
    sender: str
    recipient: str
    tag: str
    payload: bytes


@dataclass
class Transcript:
    """Everything that moved in some phases."""

    frames: list[Frame] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    results: dict = field(default_factory=dict)

    def seen_by(self, name):
        """Return the payloads that a member could read."""
        return [item for item in self.opened if item.recipient == name]


class Recorder:
    """A channel that writes down what it opens for its owner."""

    def __init__(self, channel, phase, run, log):
        self._channel, self._phase, self._log = channel, phase, log
        self.session = run.session(phase)

    def __getattr__(self, name):
        return getattr(self._channel, name)

    def receive(self, frm, tag):
        payload = self._channel.receive(frm, tag)
        self._log.append(Opened(self._phase, frm, self._channel.me, tag, payload))
        return payload


class Unsealed(Recorder):
    """The positive control: the same channel without its envelopes."""

    def sign(self, purpose, message):
        return bytes(64)

    def verify(self, name, purpose, message, signature):
        pass


@dataclass(frozen=True)
class Federation:
    """Parties by name, their run, and where they live."""

    parties: dict[str, Party]
    run: Run

    @property
    def builder(self):
        return self.run.federation.builder

    @property
    def others(self):
        return tuple(name for name in self.run.federation.holders if name != self.builder)

    def plans(self, name):
        """Return the bins that a party planned in the moments phase."""
        store = self.parties[name].store
        return plans_from_value(store.load_value(RUN, "plans"), "plans.json")

    def codes(self, name, *, rows=None):
        """Return a party's bin of each row and block: its own view, shape (n, blocks)."""
        if rows is None:
            rows = self.parties[name].store.load_array(RUN, "train_rows")
        return encode(self.plans(name), self.parties[name].train, rows).astype(np.int64)


def found(folder, contract, tables, **settings):
    """Write party folders and a federation file, and load every party from them.

    Parameters
    ----------
    contract : str
        Name of an embedded contract.
    tables : mapping
        Party to part (`train`, `test`) to raw columns.
    settings : values
        Of the federation file, such as ``rows=2``; each stands there under one name only.
    """
    agreed, content = embedded_contract(contract)
    write_parties(folder, tables, content)
    path = init_federation(folder, folder / "contract.toml", name="attacked")
    text = path.read_text()
    for name, value in settings.items():
        text, count = re.subn(rf"(?m)^(# )?{name} = .*$", f"{name} = {value}", text)
        assert count == 1, f"{name} is not a setting"
    path.write_text(text)
    parties = {name: Party.load(path, name) for name in agreed.parties}
    first = next(iter(parties.values()))
    return Federation(parties, Run(RUN, 1, first.federation, agreed.digest()))


def play(federation, phase, job, *, sealed=True):
    """Run one phase of all parties and the coordinator; return its transcript."""
    run = federation.run
    log: list[Opened] = []
    wrap = Recorder if sealed else Unsealed
    roles = {
        name: partial(_party_role, getattr(phases, phase), party, run, job, wrap, phase, log)
        for name, party in federation.parties.items()
    }
    roles[COORDINATOR] = partial(_coordinator_role, phase, run, job, wrap, log)
    done = run_parties(roles, deadline=100.0, session=run.session(phase), sealed=sealed)
    if done.errors:
        raise next(iter(done.errors.values()))
    return Transcript(done.frames, log, done.results)


def _party_role(phase, party, run, job, wrap, name, log, channel):
    return phase(party, wrap(channel, name, run, log), run, job)


def _coordinator_role(phase, run, job, wrap, log, channel):
    getattr(coordinator_phases, f"_{phase}")(wrap(channel, phase, run, log), run, job)


def play_all(federation, *, sealed=True):
    """Run align, moments and score; return one transcript of the three."""
    whole = Transcript()
    job = {}
    for phase in ("align", "moments", "score"):
        part = play(federation, phase, job, sealed=sealed)
        whole.frames += part.frames
        whole.opened += part.opened
        whole.results[phase] = part.results
        mine = part.results[federation.builder]
        job |= {key: mine[key] for key in _TOLD if key in mine}
    return whole


def play_moments(federation, n_rows):
    """Run the moments phase alone, over tables that stand in common order already."""
    for party in federation.parties.values():
        party.store.save_array(RUN, "train_rows", np.arange(n_rows))
        party.store.save_value(RUN, "alignment", {"check": _CHECK})
    return play(federation, "moments", {"n_train": n_rows})


def small_world(folder, *, seed=1, **settings):
    """Found a federation of four over a world that aligns in seconds; floors fit its size."""
    agreed, _ = embedded_contract("world")
    parts = split_holdings(make_world(3_500, seed), agreed)
    light = {"rows": 25, "builder_rank": 0.05, "thresholds": 8}
    return found(folder, "world", parts, **(light | settings))


def world_common(customers, seed):
    """Return the simulated holders' tables of the customers that all share, in one order."""
    tables = make_world(customers, seed)
    common = sorted(set.intersection(*(set(table["ID"].tolist()) for table in tables.values())))
    out = {}
    for name, table in tables.items():
        place = {key: row for row, key in enumerate(table["ID"].tolist())}
        rows = np.array([place[key] for key in common])
        out[name] = {column: values[rows] for column, values in table.items()}
    return out


def uci_common(path):
    """Return the UCI customers as tables of the contract's holders, in one order."""
    table = fetch_uci_default(path)
    agreed, _ = embedded_contract("uci_default")
    out = {}
    for party in agreed.parties:
        names = [agreed.id_column, *(feature.name for feature in agreed.of(party))]
        names += [agreed.label_column] * agreed.holds_label(party)
        out[party] = {name: table[name] for name in names}
    return out


def strangers(tables, seed):
    """Return part tables: every customer in one random order, the same at all holders.

    `play_moments` runs on the first of them alone; the others are other people in the same bins.
    """
    order = np.random.default_rng(seed).permutation(len(next(iter(tables.values()))["ID"]))
    parts = {}
    for name, table in tables.items():
        train = {column: values[order] for column, values in table.items()}
        parts[name] = {"train": train, "test": {key: one[:1] for key, one in train.items()}}
    return parts
