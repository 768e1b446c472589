"""The neural model over secure sums: the mean in the clear, and what the coordinator sees of it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from clients.data.datasets import embedded_contract
from clients.data.split import split_customers
from clients.neural import data as neural_data
from clients.neural import phases as neural
from clients.party import Party
from clients.store import Store
from server.neural import means as neural_means
from shared import metrics, trueness
from shared.errors import BadPeer, ConfigError, DataError, PartyLost, Refused, RunFailed
from shared.neural import average
from shared.neural.inputs import check_same_features
from shared.neural.layout import model_digest
from shared.protocols.sum import sum_coordinator, sum_party
from shared.protocols.sum_job import input_digests
from tests.neural_kit import (
    BANKS,
    bank_contract,
    build,
    in_the_clear,
    kept,
    model_of,
    one_table,
    train,
)
from tests.support import ROOT, MemoryJournal, run_parties
from tests.whole_runs import ThreadGrid, edit

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three banks after two rounds: the federation file, the outcome, what the coordinator saw."""
    path = build(tmp_path_factory.mktemp("banks"))
    seen = []
    opened = neural_means.sum_coordinator

    def watched(channel, job, **kept):
        total = opened(channel, job, **kept)
        seen.append(total)
        return total

    neural_means.sum_coordinator = watched
    try:
        outcome, frames = train(path)
    finally:
        neural_means.sum_coordinator = opened
    return path, outcome, seen, frames


@needs_torch
def test_the_weights_are_those_of_averaging_in_the_clear(trained):
    path, outcome, _, _ = trained
    assert outcome["best_round"] == 2
    encoding, layout, weights, _, _ = in_the_clear(path)
    for bank in BANKS:
        mine, about = kept(path, bank)
        assert np.abs(mine - weights).max() < 1e-6
        assert about["edges"] == encoding.to_mapping()
        assert about["digest"] == outcome["model"]["digest"] == model_digest(layout, encoding, mine)
    assert np.abs(weights - layout.initial(1)).max() > 1e-3  # the control: training moved them


@needs_torch
def test_the_coordinator_sees_the_mean_and_no_partys_update(trained):
    path, _, seen, frames = trained
    _, _, _, updates, sizes = in_the_clear(path)
    raw = b"".join(frame.payload for frame in frames if frame.recipient == "coordinator")
    assert len(updates) == 2 * len(BANKS)
    for update, size in zip(updates, [*sizes, *sizes], strict=True):
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
def test_replies_to_the_coordinator_carry_no_array_and_no_metric(tmp_path):
    replies = []

    class Watching(ThreadGrid):
        def pull_messages(self, message_ids):
            found = super().pull_messages(message_ids)
            replies.extend(found)
            return found

    train(build(tmp_path, customers=600, rounds=1), grid=Watching)
    told = {"party", "ok", "result"}
    # Join, features, edges, one round, evaluation, release of all; the builder's verdict.
    assert len(replies) == 6 * len(BANKS) + 1
    for reply in replies:
        assert set(reply.content) == {"reply"}
        value = json.loads(bytes(reply.content["reply"]["value"]))
        assert set(value) == told
        assert not set(value["result"]) & {"auc", "loss", "weights", "mean", "kept"}
        assert not any(isinstance(one, float) for one in value["result"].get("verdict", ""))


@needs_torch
def test_the_metrics_are_those_of_all_held_out_customers_together(tmp_path):
    path = build(tmp_path, customers=3000, rounds=3, local_epochs=4)
    outcome, _ = train(path)
    assert outcome["test"]["auc"] > 0.65
    default_prob = importlib.import_module("shared.neural.train").default_prob
    encoding, layout = model_of(path)
    for name, field in (("neural_weights", "test"), ("neural_kept", "test_kept")):
        label, prob = [], []
        for bank in BANKS:
            one = neural_data.testing(Party.load(path, bank))
            weights, _ = kept(path, bank, name=name)
            label.append(one.label)
            prob.append(default_prob(layout, weights, encoding.apply(one.values)))
        label, prob = np.concatenate(label), np.concatenate(prob)
        told = outcome[field]
        assert outcome["customers"]["test"] == len(label)
        # Ties within a bucket, of which none may hold fewer than the floor at a bank.
        assert told["auc"] == pytest.approx(metrics.roc_auc(label, prob), abs=0.02)
        assert told["log_loss"] == pytest.approx(trueness.log_loss(label, prob), abs=1e-6)
        assert told["brier"] == pytest.approx(trueness.brier(label, prob), abs=1e-6)


@needs_torch
def test_every_opening_is_a_line_in_every_banks_ledger(trained):
    path, outcome, _, _ = trained
    rounds = ["neural_edges", "neural_1", "neural_2", "neural_evaluate"]
    checked = ["neural_edges", "neural_1", "neural_check_1", "neural_2", "neural_check_2"]
    for bank in BANKS:
        lines = [line.entry for line in Store(path.parent / bank).ledger()]
        builder = Party.load(path, bank).is_builder
        ended = ["neural_mean", "neural_points", "release", "release"]
        figures = [*ended[:2], "neural_release", *ended[2:]]
        told = [*checked, rounds[-1], *figures] if builder else [*rounds, *ended]
        assert [line.phase for line in lines] == told
        update = next(line for line in lines if line.phase == "neural_1")
        assert update.values == outcome["model"]["parameters"] + 2
        assert len({line.binding for line in lines}) == len(lines)


@needs_torch
@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_model_and_another_seed_another(trained, tmp_path):
    path, outcome, _, _ = trained
    again, _ = train(path, "again")
    assert again["model"] == outcome["model"]
    other, _ = train(build(tmp_path, seed=2))
    assert other["model"]["digest"] != outcome["model"]["digest"]


PHASES = ["query.neural_edges", "train.neural", "evaluate.neural"]


@needs_torch
@pytest.mark.parametrize("phase", PHASES)
def test_a_bank_that_dies_ends_the_round_by_name_and_nobody_reveals(tmp_path, phase):
    path = build(tmp_path, customers=600, rounds=1)
    with pytest.raises(PartyLost) as caught:
        train(path, dies=lambda party, kind: (party, kind) == ("south", phase))
    assert caught.value.party == "south"
    journals = [path.parent / bank / "journal.jsonl" for bank in BANKS]
    lines = [line for file in journals if file.exists() for line in file.read_text().splitlines()]
    jobs = {line["job"] for line in map(json.loads, lines) if line["kind"] == "reveal"}
    assert len(jobs) == PHASES.index(phase)


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
    with pytest.raises(BadPeer, match="encoding"):  # the control: the agreed one goes on
        neural.train_round(party, None, None, {"round": 1})


def model_of_first_round(path):
    encoding, layout = model_of(path)
    return model_digest(layout, encoding, layout.initial(1))


@needs_torch
def test_a_training_that_diverges_is_refused_before_anything_of_it_leaves(tmp_path, monkeypatch):
    path = build(tmp_path, customers=600, rounds=1)
    edit(path.parent / "north" / "train.parquet", lambda columns: columns)  # the control: it reads
    local = importlib.import_module("shared.neural.train")
    monkeypatch.setattr(local, "train", lambda layout, weights, *_: (weights * np.nan, 0.0))
    with pytest.raises(RunFailed, match="diverged") as caught:
        train(path)
    assert caught.value.exit_status == 4


# Without torch.


def test_two_banks_are_refused_before_anything_is_exchanged(tmp_path):
    path = build(tmp_path, banks=BANKS[:2], customers=600)
    with pytest.raises(Refused, match="fewer than 3"):
        train(path)
    assert not list(path.parent.rglob("ledger.jsonl"))


def test_a_party_without_torch_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("clients.neural.phases.importlib.util.find_spec", lambda name: None)
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
