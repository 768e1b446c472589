"""The neural model over secure sums: the mean in the clear, and what the coordinator sees of it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from clients import neural
from clients.banks import same_features, split_customers
from clients.datasets import embedded_contract, write_parties
from clients.holdings import load_contract, load_holding
from clients.party import Party
from clients.setup import init_federation
from clients.store import Store
from clients.world import make_world
from server import neural as server_neural
from server.coordinator import Coordinator
from server.neural import train_neural
from shared import metrics, transport
from shared.channel import queue_channels
from shared.errors import BadPeer, ConfigError, DataError, PartyLost, Refused, RunFailed
from shared.neural import average
from shared.neural.inputs import Scaling, check_same_features, encode, own_means, width
from shared.neural.layout import Layout, model_digest
from shared.protocols.sum import sum_coordinator, sum_party
from shared.protocols.sum_job import input_digests
from tests.support import ROOT, MemoryJournal, run_parties
from tests.whole_runs import LIGHT, ThreadGrid, change, edit

BANKS = ("north", "south", "west")
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
_OWNERS = ("bank", "bureau")


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
    change(path, **({"deadline_s": LIGHT["deadline_s"], "rows": LIGHT["rows"]} | settings))
    return path


def train(path, run="first", *, dies=lambda party, kind: False, tamper=None, grid=ThreadGrid):
    """Train in threads, as `tests.whole_runs.train` does; return the outcome and all frames."""
    coordinator = Coordinator.load(path, run)
    holders = coordinator.federation.holders
    channels = queue_channels([*holders, "coordinator"], deadline=20.0)
    frames = []
    for channel in channels.values():

        def carry(frame, onward=channel._carry):
            frames.append(frame)
            onward(frame if tamper is None else tamper(frame))

        channel._carry = carry
    transport.use(channels["coordinator"].scoped)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    made = grid(channels, dict.fromkeys(holders, path), dies)
    return train_neural(made, coordinator), frames


def tables(path, name):
    contract = load_contract(path.parent / "contract.toml")
    folder = path.parent
    return contract, {
        bank: load_holding(folder / bank / f"{name}.parquet", contract, bank, with_label=True)
        for bank in BANKS
    }


def in_the_clear(path):
    """Federated averaging with every update in plain sight, on the same seeds: the oracle."""
    local = importlib.import_module("shared.neural.train")
    agreed = Coordinator.load(path, "clear").federation.neural
    contract, holdings = tables(path, "train")
    features = contract.of(BANKS[0])
    sizes = np.array([len(table.ids) for table in holdings.values()], dtype=float)
    means = [own_means(features, table.values) for table in holdings.values()]
    scaling = Scaling.from_means(np.average(means, axis=0, weights=sizes))
    layout = Layout(width(features), agreed.hidden)
    weights, updates = layout.initial(agreed.seed), []
    for number in range(1, agreed.rounds + 1):
        own = []
        for bank, table in holdings.items():
            recipe = local.Recipe(
                agreed.local_epochs,
                agreed.batch,
                agreed.learning_rate,
                agreed.seed,
                f"{bank}/{number}",
            )
            inputs = encode(features, table.values, scaling)
            own.append(
                local.train(layout, weights, inputs, table.label.astype(np.int64), recipe)[0]
            )
        updates += own
        weights = np.average(own, axis=0, weights=sizes)
    return layout, scaling, weights, updates


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three banks after two rounds: the federation file, the outcome, what the coordinator saw."""
    path = build(tmp_path_factory.mktemp("banks"), rounds=2)
    seen = []
    opened = server_neural.sum_coordinator

    def watched(channel, job):
        total = opened(channel, job)
        seen.append(total)
        return total

    server_neural.sum_coordinator = watched
    try:
        outcome, frames = train(path)
    finally:
        server_neural.sum_coordinator = opened
    return path, outcome, seen, frames


def kept(path, bank, run="first"):
    folder = path.parent / bank / "runs" / run
    return np.load(folder / "neural_weights.npy"), json.loads((folder / "neural.json").read_text())


@needs_torch
def test_the_weights_are_those_of_averaging_in_the_clear(trained):
    path, outcome, _, _ = trained
    layout, scaling, weights, _ = in_the_clear(path)
    for bank in BANKS:
        mine, about = kept(path, bank)
        assert np.abs(mine - weights).max() < 1e-6
        assert np.allclose(about["scaling"]["mean"], scaling.mean, atol=1e-6)
        assert about["digest"] == outcome["model"]["digest"]
        found = Scaling.from_mapping(about["scaling"], len(scaling.mean), "test")
        assert model_digest(layout, found, mine) == about["digest"]
    assert np.abs(weights - layout.initial(1)).max() > 1e-3  # the control: training moved them


@needs_torch
def test_the_coordinator_sees_the_mean_and_no_partys_update(trained):
    path, _, seen, frames = trained
    _, _, _, updates = in_the_clear(path)
    sizes = [len(table.ids) for table in tables(path, "train")[1].values()]
    raw = b"".join(frame.payload for frame in frames if frame.recipient == "coordinator")
    assert len(updates) == 2 * len(BANKS)
    for update, size in zip(updates, sizes * 2, strict=True):
        for form in (update, update * size, np.rint(update * size * 2**24)):
            assert not any(close(total, form) for total in seen)
            assert form.tobytes()[:64] not in raw
            assert form.astype(np.int64).tobytes()[:64] not in raw
    # The control: the sum of a round's updates is what it did see.
    first = sum(update * size for update, size in zip(updates[:3], sizes, strict=True))
    assert any(close(total, first) for total in seen)


def close(total, values):
    return len(total) >= len(values) and np.abs(total[: len(values)] - values).max() < 1e-3


@needs_torch
def test_replies_to_the_coordinator_carry_no_array_and_no_metric(trained, monkeypatch, tmp_path):
    replies = []

    class Watching(ThreadGrid):
        def pull_messages(self, message_ids):
            found = super().pull_messages(message_ids)
            replies.extend(found)
            return found

    train(build(tmp_path, customers=600, rounds=1), grid=Watching)
    told = {"party", "ok", "result"}
    assert len(replies) == 4 * len(BANKS)  # join, inputs, one round, evaluation
    for reply in replies:
        assert set(reply.content) == {"reply"}
        value = json.loads(bytes(reply.content["reply"]["value"]))
        assert set(value) == told
        assert not set(value["result"]) & {"auc", "loss", "weights", "mean"}


@needs_torch
def test_one_round_of_three_banks_learns_something(tmp_path):
    path = build(tmp_path, customers=3000, rounds=1, local_epochs=10, batch=32)
    outcome, _ = train(path)
    assert outcome["test"]["auc"] > 0.6
    # Held-out customers, and the model as every bank keeps it: the opened mean is the banks' own.
    contract, holdings = tables(path, "test")
    features = contract.of(BANKS[0])
    default_prob = importlib.import_module("shared.neural.train").default_prob
    aucs, sizes = [], []
    for bank, table in holdings.items():
        weights, about = kept(path, bank)
        scaling = Scaling.from_mapping(about["scaling"], len(features), "test")
        layout = Layout(about["width"], about["hidden"])
        prob = default_prob(layout, weights, encode(features, table.values, scaling))
        aucs.append(metrics.roc_auc(table.label, prob))
        sizes.append(len(table.ids))
    assert outcome["test"]["auc"] == pytest.approx(np.average(aucs, weights=sizes), abs=1e-6)
    assert outcome["customers"]["test"] == sum(sizes)


@needs_torch
def test_every_mean_is_a_line_in_every_banks_ledger(trained):
    path, outcome, _, _ = trained
    for bank in BANKS:
        lines = [line.entry for line in Store(path.parent / bank).ledger()]
        assert [line.phase for line in lines] == [
            "neural_scale",
            "neural_1",
            "neural_2",
            "neural_evaluate",
        ]
        assert lines[1].values == outcome["model"]["parameters"] + 2
        assert len({line.binding for line in lines}) == 4


@needs_torch
def test_the_same_data_and_seed_give_the_same_model_and_another_seed_another(trained, tmp_path):
    path, outcome, _, _ = trained
    again, _ = train(path, "again")
    assert again["model"] == outcome["model"]
    other, _ = train(build(tmp_path, rounds=2, seed=2))
    assert other["model"]["digest"] != outcome["model"]["digest"]


@needs_torch
@pytest.mark.parametrize("phase", ["query.neural_scale", "train.neural", "evaluate.neural"])
def test_a_bank_that_dies_ends_the_round_by_name_and_nobody_reveals(tmp_path, phase):
    path = build(tmp_path, customers=600, rounds=1)
    with pytest.raises(PartyLost) as caught:
        train(path, dies=lambda party, kind: (party, kind) == ("south", phase))
    assert caught.value.party == "south"
    journals = [path.parent / bank / "journal.jsonl" for bank in BANKS]
    lines = [line for file in journals if file.exists() for line in file.read_text().splitlines()]
    jobs = {json.loads(line)["job"] for line in lines}
    assert len(jobs) == ["query.neural_scale", "train.neural", "evaluate.neural"].index(phase)


@needs_torch
def test_a_coordinator_that_shows_two_models_is_found_out(tmp_path):
    class TwoFaced(ThreadGrid):
        def push_messages(self, messages):
            messages = list(messages)
            if messages[0].metadata.message_type == "train.neural":
                moved = messages[0].content["arrays"]["weights"].numpy() + 1.0
                other = RecordDict(dict(messages[0].content.items()))
                other["arrays"] = ArrayRecord({"weights": Array(moved)})
                messages[0] = Message(
                    other,
                    dst_node_id=messages[0].metadata.dst_node_id,
                    message_type="train.neural",
                )
            return super().push_messages(messages)

    with pytest.raises((RunFailed, BadPeer), match="another job"):
        train(build(tmp_path, customers=600, rounds=1), grid=TwoFaced)


@needs_torch
def test_an_update_of_one_model_is_summed_in_one_cohort_only(trained):
    path, outcome, _, _ = trained
    store = Store(path.parent / "north")
    job = average.mean_job(
        "other",
        "neural_1",
        ("east", "north", "west"),
        "coordinator",
        model=model_of_first_round(path),
        length=outcome["model"]["parameters"] + 1,
    )
    own = average.weigh(np.zeros(job.length - 1), 10)  # other values, the same model
    by_model, by_values = input_digests(own, job)
    with pytest.raises(Refused, match="already revealed"):
        store.journal.reveal(job.digest, by_model, job.cohort)
    # Nor by another number of the round: the weights that were sent are the same.
    again = average.mean_job(
        "other", "neural_2", job.cohort, "coordinator", model=job.model, length=job.length - 1
    )
    with pytest.raises(Refused, match="already revealed"):
        store.journal.reveal(again.digest, input_digests(own, again)[0], again.cohort)
    store.journal.reveal(job.digest, by_values, job.cohort)  # the control: new values, no model


@needs_torch
@pytest.mark.parametrize("number", [0, -1, 2, 10**9])
def test_a_round_that_was_not_agreed_on_is_refused(tmp_path, number):
    path = build(tmp_path, customers=600, rounds=1)
    party = Party.load(path, "north")
    with pytest.raises(BadPeer, match=f"it asks for round {number} of 1") as caught:
        neural.train_round(party, None, None, {"round": number})
    assert caught.value.party == "coordinator"
    with pytest.raises(BadPeer, match="scaling"):  # the control: the agreed one goes on
        neural.train_round(party, None, None, {"round": 1})


def model_of_first_round(path):
    _, about = kept(path, "north")
    layout = Layout(about["width"], about["hidden"])
    scaling = Scaling.from_mapping(about["scaling"], len(about["scaling"]["mean"]), "test")
    return model_digest(layout, scaling, layout.initial(1))


@needs_torch
def test_a_training_that_diverges_is_refused_before_anything_of_it_leaves(tmp_path):
    path = build(tmp_path, customers=600, rounds=3, learning_rate=10.0, local_epochs=50, batch=8)
    edit(path.parent / "north" / "train.parquet", lambda columns: columns)  # the control: it reads
    with pytest.raises(RunFailed, match="diverged") as caught:
        train(path)
    assert caught.value.exit_status == 4


# Without torch.


@pytest.mark.parametrize("present", [1, 14])
def test_a_feature_of_too_few_customers_is_refused_before_their_mean_leaves(
    tmp_path, monkeypatch, present
):
    """Where no other bank has it, the opened mean is theirs alone."""
    monkeypatch.setattr("clients.neural._check_torch", lambda: None)
    path = build(tmp_path, customers=600, rounds=1)
    names = [item.name for item in bank_contract()[0].features if not item.levels][:2]

    def sparse(columns, count):
        keep = np.arange(len(columns["ID"])) < count
        kept = {name: np.where(keep, columns[name].astype(float), np.nan) for name in names}
        return columns | kept

    table = path.parent / "north" / "train.parquet"
    edit(table, lambda columns: sparse(columns, present))
    with pytest.raises(RunFailed, match=r"2 of \d+ features are there for 1 to 14") as caught:
        train(path)
    assert (caught.value.party, caught.value.reported) == ("north", "floor")
    assert not any(name in str(caught.value) for name in names)
    assert not (path.parent / "north" / "ledger.jsonl").exists()
    # The control: exactly as many as the floor asks for, and none at all.
    for count in (15, 0):
        neural._check_present(np.array([count, 600.0]), LIGHT["rows"])


def test_two_banks_are_refused_before_anything_is_exchanged(tmp_path):
    path = build(tmp_path, banks=BANKS[:2], customers=600)
    with pytest.raises(Refused, match="fewer than 3"):
        train(path)
    assert not list(path.parent.rglob("ledger.jsonl"))


def test_a_party_without_torch_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("clients.neural.importlib.util.find_spec", lambda name: None)
    path = build(tmp_path, customers=600)
    with pytest.raises(RunFailed, match="needs torch") as caught:
        train(path)
    assert (caught.value.reported, caught.value.exit_status) == ("environment", 3)
    assert "confide[neural]" in caught.value.hint
    assert "whl/cpu" in caught.value.hint
    assert not list(path.parent.rglob("ledger.jsonl"))


def test_no_process_loads_torch_before_it_trains():
    code = "import sys, clients.app, server.app, server.cli; sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    assert subprocess.run(command, check=False, cwd=ROOT, timeout=60).returncode == 0


def test_holders_of_different_features_are_refused_with_every_such_feature():
    contract, _ = embedded_contract("world")
    with pytest.raises(ConfigError) as caught:
        check_same_features(contract)
    assert len(caught.value.findings) == len(contract.features) + 2
    check_same_features(bank_contract()[0])  # the control


def test_every_customer_is_at_one_bank_and_a_table_that_breaks_the_contract_is_refused():
    contract, _ = bank_contract()
    table = one_table(800)
    parts = split_customers(table, contract, BANKS, source="world")
    ids = [name for part in parts.values() for half in part.values() for name in half["ID"]]
    assert sorted(ids) == sorted(table["ID"])
    with pytest.raises(DataError, match="DEFAULT"):
        split_customers(table | {"DEFAULT": table["DEFAULT"] + 5}, contract, BANKS, source="world")


def means_by_sum(inputs, sizes, length):
    """Open a weighted mean of some parties by the protocol itself."""
    names = [f"p{number}" for number in range(len(inputs))]
    job = average.mean_job("run", "neural_1", names, "coordinator", model="", length=length)

    def party(values, size):
        return lambda channel: sum_party(
            channel, job, average.weigh(values, size), journal=MemoryJournalOfSums()
        )

    roles = {
        name: party(*pair)
        for name, pair in zip(names, zip(inputs, sizes, strict=True), strict=True)
    }
    roles["coordinator"] = lambda channel: sum_coordinator(channel, job)
    return average.mean_of(run_parties(roles).value("coordinator"))


class MemoryJournalOfSums(MemoryJournal):
    def reveal(self, job, digest, cohort):
        self.reveals.append((job, digest, cohort))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 37, 4_000_000), (5, 1, 2, 9, 3)])
def test_a_mean_is_weighted_by_customers_and_exact_to_a_tenth_of_a_millionth(sizes):
    rng = np.random.default_rng(len(sizes))
    inputs = [rng.normal(scale=3.0, size=50) for _ in sizes]
    inputs[0][0], inputs[1][0] = average.MAX_VALUE, -average.MAX_VALUE
    mean, count = means_by_sum(inputs, sizes, 50)
    assert count == sum(sizes)
    assert np.abs(mean - np.average(inputs, axis=0, weights=sizes)).max() < 1e-7


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0 * average.MAX_VALUE])
def test_a_value_out_of_range_is_refused(bad):
    with pytest.raises(Refused, match="diverged"):
        average.weigh(np.array([0.0, bad]), 10)
    for count in (0, average.MAX_EXAMPLES + 1):
        with pytest.raises(Refused, match="customers"):
            average.weigh(np.zeros(2), count)


def test_inputs_are_standardised_over_all_parties_and_missing_ones_are_flagged():
    contract, _ = bank_contract()
    features = [item for item in contract.features if item.special or item.dtype != "category"][:4]
    rng = np.random.default_rng(5)
    values = {item.name: rng.lognormal(3, 1, 400) for item in features}
    values[features[0].name][:50] = np.nan
    halves = [
        {name: column[part] for name, column in values.items()}
        for part in (slice(150), slice(150, 400))
    ]
    means = np.average([own_means(features, half) for half in halves], axis=0, weights=[150, 250])
    assert np.allclose(means, own_means(features, values))
    inputs = encode(features, values, Scaling.from_means(means))
    assert inputs.shape == (400, width(features))
    present = inputs[50:, 0]
    assert (abs(present.mean()), abs(present.std() - 1)) < (1e-9, 1e-9)
    assert inputs[:50, :2].tolist() == [[0.0, 1.0]] * 50
    assert inputs[50:, 1].sum() == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"mean": [0.0]},
        {"mean": [0.0], "spread": [0.0]},
        {"mean": ["a"], "spread": [1]},
        {"mean": [float("inf")], "spread": [1.0]},
        {"mean": [0.0, 1.0], "spread": [1.0, 1.0]},
    ],
)
def test_a_scaling_that_does_not_fit_is_refused_by_the_senders_name(value):
    Scaling.from_mapping({"mean": [0.0], "spread": [1.0]}, 1, "coordinator")  # the control
    with pytest.raises(BadPeer) as caught:
        Scaling.from_mapping(value, 1, "coordinator")
    assert caught.value.party == "coordinator"


def test_a_network_starts_alike_everywhere():
    layout = Layout(7, 5)
    start = layout.initial(3)
    assert start.shape == (7 * 5 + 5 + 5 + 1,)
    assert np.abs(start[:35]).max() <= 7**-0.5
    assert not np.array_equal(start, layout.initial(4))
    assert [part.shape for part in layout.split(start)] == [(5, 7), (5,), (1, 5), (1,)]
    assert start[:2].tolist() == pytest.approx(layout.initial(3)[:2].tolist(), abs=0)
