"""Federations of several banks over the simulated world, trained in threads, and the oracle."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace

import numpy as np
from flwr.supercore.task_identity import TaskIdentity

from clients.data.datasets import embedded_contract, write_parties
from clients.data.split import same_features, split_customers
from clients.data.world import make_world
from clients.keys.setup import init_federation
from clients.neural.data import learning
from clients.party import Party
from server.coordinator import Coordinator
from server.engines.run_files import coordinator_home, run_folder
from server.neural.phases import train_neural
from shared import transport
from shared.channel import queue_channels
from shared.neural import average
from shared.neural.inputs import Encoding, own_counts
from shared.neural.layout import Layout
from tests.whole_runs import LIGHT, ThreadGrid, change, column

BANKS = ("north", "south", "west")
_OWNERS = ("bank", "bureau")
#: A training of a second.
SMALL = {"rounds": 2, "local_epochs": 1, "batch": 64, "hidden": 6, "pieces": 6}


def one_table(customers, seed=1):
    """Join what the world's bank and bureau know of their common customers into one table."""
    world = make_world(customers, seed)
    bank, bureau = (world[name] for name in _OWNERS)
    _, left, right = np.intersect1d(
        bank["ID"].astype(str), bureau["ID"].astype(str), return_indices=True
    )
    joined = {name: values[right] for name, values in bureau.items()}
    return joined | {name: values[left] for name, values in bank.items()}


def bank_contract():
    _, content = embedded_contract("world")
    head, *features = content.decode().split("[[features]]")
    kept = [text for text in features if re.search(rf'owner = "({"|".join(_OWNERS)})"', text)]
    return same_features("[[features]]".join([head, *kept]).encode(), "banks.toml")


def build(folder, *, banks=BANKS, customers=1200, **settings):
    """Write a federation of several banks over the simulated world; return its file."""
    contract, content = bank_contract()
    parts = split_customers(one_table(customers), contract, banks, source="world", test_share=0.3)
    write_parties(folder, parts, content)
    path = init_federation(folder, folder / "contract.toml", name="banks", parties=banks)
    change(path, **({"deadline_s": LIGHT["deadline_s"], "rows": LIGHT["rows"]} | SMALL | settings))
    for bank in banks:
        consent_of_few(path.parent / bank)
    return path


def consent_of_few(home, people=20):
    """Let a few customers of a bank consent to a score: reasons of all of them take seconds."""
    ids = column(home / "test.parquet", "ID")[:people]
    (home / "consents.txt").write_text("\n".join(map(str, ids)))
    change(home / "party.toml", consents="consents.txt")


def folder_of(path, run="first"):
    """Return where the coordinator keeps a run."""
    return run_folder(coordinator_home(Coordinator.load(path, run).federation, path), run)


def train(
    path,
    run="first",
    *,
    dies=lambda party, kind: False,
    tamper=None,
    grid=ThreadGrid,
    resume=False,
    champion="",
):
    """Train in threads, as `tests.whole_runs.train` does; return the outcome and all frames."""
    coordinator = Coordinator.load(path, run)
    holders = coordinator.federation.holders
    channels = queue_channels([*holders, "coordinator"], deadline=60.0)
    frames = []
    for channel in channels.values():

        def carry(frame, onward=channel._carry):
            frames.append(frame)
            onward(frame if tamper is None else tamper(frame))

        channel._carry = carry
    transport.use(channels["coordinator"].scoped)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    made = grid(channels, dict.fromkeys(holders, path), dies)
    folder = folder_of(path, run)
    outcome = train_neural(made, coordinator, folder, resume=resume, champion=champion)
    return outcome, frames


def in_the_clear(path):
    """Federated averaging with every update in plain sight, on the same seeds: the oracle."""
    local = importlib.import_module("shared.neural.train")
    agreed = Coordinator.load(path, "clear").federation.neural
    parties = {bank: Party.load(path, bank) for bank in BANKS}
    features = parties[BANKS[0]].contract.of(BANKS[0])
    own = {bank: learning(party)[0] for bank, party in parties.items()}
    sizes = np.array([len(one) for one in own.values()], dtype=float)
    counts = sum(own_counts(features, one.values, LIGHT["rows"]) for one in own.values())
    encoding = Encoding.from_counts(features, counts, agreed.pieces)
    layout = Layout(encoding.monotone, agreed.hidden, agreed.blocks)
    recipe = local.Recipe(
        agreed.local_epochs, agreed.batch, agreed.learning_rate, agreed.seed, "", agreed.decay
    )
    weights, updates = layout.initial(agreed.seed), []
    for number in range(1, agreed.rounds + 1):
        moved = []
        for bank, one in own.items():
            labelled = replace(recipe, label=f"{bank}/{number}")
            inputs = encoding.apply(one.values)
            trained = local.train(layout, weights, inputs, one.label, labelled)[0]
            moved.append(average.clipped(trained - weights, agreed.clip))
        updates += moved
        weights = layout.project(weights + np.average(moved, axis=0, weights=sizes))
    return encoding, layout, weights, updates, sizes


def kept(path, bank, run="first", name="neural_weights"):
    """Return what a bank keeps of a run: weights, and what is written beside them."""
    folder = path.parent / bank / "runs" / run
    return np.load(folder / f"{name}.npy"), json.loads((folder / "neural.json").read_text())


def model_of(path, bank="north"):
    """Return encoding and layout of the model that a bank keeps."""
    _, about = kept(path, bank)
    party = Party.load(path, bank)
    encoding = Encoding.from_mapping(party.contract.of(bank), about["edges"], "test")
    return encoding, Layout(encoding.monotone, **about["network"])
