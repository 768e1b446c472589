"""Rounds of the neural model: strategies, checkpoints, rounds undone, parties lost."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from clients.neural import phases as neural
from clients.neural.data import read_models
from clients.neural.judging import judged
from clients.party import Party
from server.coordinator import Coordinator
from server.neural import means as neural_means
from server.neural.checkpoint import FILE, Progress
from shared.errors import BadPeer, EnvironmentFault, NotFound, PartyLost, Refused, RunFailed
from shared.neural import average
from tests.neural_kit import BANKS, build, folder_of, in_the_clear, kept, train
from tests.whole_runs import change

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
FOUR = ("east", *BANKS)


class Killed(BaseException):
    """A process that is killed says nothing more."""


def kill(monkeypatch, path, number):
    """Train; kill the coordinator after a round's sum was opened, before it wrote any of it."""
    real = neural_means.sum_coordinator

    def dying(channel, job, **kept):
        total = real(channel, job, **kept)
        if job.label == average.round_phase(number):
            raise Killed
        return total

    with monkeypatch.context() as patch:
        patch.setattr(neural_means, "sum_coordinator", dying)
        with pytest.raises(Killed):
            train(path)


def progress_of(path, run="first"):
    with np.load(folder_of(path, run) / FILE) as stored:
        return json.loads(stored["head"].tobytes()) | {"weights": stored["weights"]}


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("fedavg", marks=pytest.mark.slow),
        pytest.param("fedprox", marks=pytest.mark.slow),
        "fedadam",
    ],
)
def test_a_run_that_is_resumed_ends_with_the_weights_of_one_that_never_stopped(
    tmp_path, monkeypatch, strategy
):
    settings = {"customers": 900, "rounds": 3, "strategy": strategy}
    whole = build(tmp_path / "whole", **settings)
    train(whole)
    path = build(tmp_path / "killed", **settings)
    kill(monkeypatch, path, 2)
    assert progress_of(path)["round"] == 1  # the opened sum of round 2 is forgotten
    outcome, _ = train(path, resume=True)
    assert [one["round"] for one in outcome["rounds"]] == [1, 2, 3]
    # Seeds are the same at both, so an update counted twice, or lost, shows. Fingerprints differ.
    assert np.abs(progress_of(path)["weights"] - progress_of(whole)["weights"]).max() < 1e-9
    assert np.array_equal(kept(path, "north")[0], kept(whole, "north")[0])


@pytest.mark.slow
def test_the_three_strategies_give_three_models_and_all_learn(tmp_path):
    found = {}
    for strategy in ("fedavg", "fedprox", "fedadam"):
        path = build(tmp_path / strategy, strategy=strategy, rounds=4, local_epochs=2, pull=1.0)
        outcome, _ = train(path)
        losses = [one["loss"] for one in outcome["rounds"]]
        assert losses[-1] < losses[0]
        found[strategy] = progress_of(path)["weights"]
    start = np.linalg.norm(found["fedavg"] - found["fedprox"])
    assert start > 1e-3
    assert np.linalg.norm(found["fedavg"] - found["fedadam"]) > 1e-3


def test_fedadam_is_flowers_own_on_the_summed_mean(tmp_path):
    path = build(tmp_path, customers=900, rounds=1, strategy="fedadam", server_rate=0.02)
    train(path)
    _, layout, _, updates, sizes = in_the_clear(path)
    update = np.average(updates, axis=0, weights=sizes)
    first, second = 0.1 * update, 0.01 * update**2
    rate = 0.02 * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    wanted = layout.initial(1) + rate * first / (np.sqrt(second) + 1e-3)
    assert np.abs(progress_of(path)["weights"] - layout.project(wanted)).max() < 1e-6


def test_there_is_nothing_to_resume_before_a_run_began(tmp_path):
    with pytest.raises(NotFound, match="nothing to go on with"):
        train(build(tmp_path, customers=600), resume=True)


def test_a_checkpoint_of_another_agreement_or_a_damaged_one_is_refused(tmp_path):
    path = build(tmp_path, customers=600, rounds=1)
    train(path)
    good = (folder_of(path) / FILE).read_bytes()
    (folder_of(path) / FILE).write_bytes(good[: len(good) // 2])
    with pytest.raises(EnvironmentFault, match="damaged"):
        train(path, resume=True)
    (folder_of(path) / FILE).write_bytes(good)
    train(path, resume=True)  # the control: a run that has ended is evaluated again
    change(path, rounds=2)
    with pytest.raises(Refused, match="were changed since"):
        train(path, resume=True)


def test_a_round_that_harms_is_undone_and_the_next_takes_smaller_steps(tmp_path, monkeypatch):
    path = build(tmp_path, customers=1600, rounds=3)
    local, shrinks = import_module("shared.neural.train"), []
    real = local.train

    def poisoned(layout, weights, inputs, label, recipe):
        shrinks.append(recipe.learning_rate / 0.002)
        if recipe.label.endswith("/2") and "personal" not in recipe.label:
            return weights - 3.0, 0.5
        return real(layout, weights, inputs, label, recipe)

    monkeypatch.setattr(local, "train", poisoned)
    weights = {}
    save = Progress.save

    def watched(self, folder):
        weights[self.round] = self.weights
        save(self, folder)

    monkeypatch.setattr(Progress, "save", watched)
    outcome, _ = train(path)
    assert [one["verdict"] for one in outcome["rounds"]] == ["better", "harm", "better"]
    assert np.array_equal(weights[2], weights[1])
    assert not np.array_equal(weights[3], weights[1])
    assert shrinks[: 3 * len(BANKS)] == [1.0] * 6 + [0.5] * 3


def test_training_ends_after_three_rounds_undone_in_a_row(tmp_path, monkeypatch):
    def harmed(party, run, job):
        model = read_models(party, job, 2)[0].digest
        return judged(party, run, job["round"], model, "harm", 200)

    monkeypatch.setattr(neural, "check", harmed)
    outcome, _ = train(build(tmp_path, customers=600, rounds=8))
    assert [one["verdict"] for one in outcome["rounds"]] == ["harm"] * 3
    assert outcome["best_round"] == 0


def test_only_the_builder_judges_and_only_with_enough_customers_held_out(tmp_path):
    path = build(tmp_path, customers=600, rounds=1)
    builder = Coordinator.load(path, "x").federation.builder
    for bank in BANKS:
        if bank != builder:
            assert (
                neural.check(Party.load(path, bank), None, {"round": 1})["verdict"] == "unchecked"
            )
    change(path, holdout=0.0)
    assert neural.check(Party.load(path, builder), None, {"round": 1})["verdict"] == "unchecked"


@pytest.mark.parametrize(
    ("update", "count", "message"),
    [
        (np.full(4, 6.0), 100, "longer than any"),
        (np.array([np.nan, 0, 0, 0]), 100, "not finite"),
        (np.array([2.0**61, 0, 0, 0]), 100, "longer than any"),
        (np.zeros(4), 99, "99 customers, not 100"),
        (np.zeros(4), 200, "200 customers, not 100"),
    ],
)
def test_an_opened_mean_that_no_clipped_updates_have_is_refused_by_name(update, count, message):
    average.check_mean(np.full(4, 5.0), 100, expected=100, length=10.0)  # the control
    with pytest.raises(BadPeer, match=message):
        average.check_mean(update, count, expected=100, length=10.0)


def test_an_update_is_cut_to_its_length_and_one_that_is_not_finite_never_leaves():
    long = np.array([30.0, 40.0])
    assert np.allclose(average.clipped(long, 10.0), [6.0, 8.0])
    assert np.array_equal(average.clipped(long, 50.0), long)
    assert not average.clipped(np.zeros(2), 1.0).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(Refused, match="diverged"):
            average.clipped(np.array([0.0, bad]), 10.0)


def test_a_party_that_hands_in_more_than_it_may_ends_the_round(tmp_path, monkeypatch):
    monkeypatch.setattr(average, "clipped", lambda update, length: update + 1000.0)
    with pytest.raises(BadPeer, match="longer than any"):
        train(build(tmp_path, customers=600, rounds=1))


@pytest.mark.parametrize(
    "kind", [pytest.param("query.neural_edges", marks=pytest.mark.slow), "train.neural"]
)
def test_survivors_go_on_without_a_bank_that_dies_before_anybody_reveals(tmp_path, kind):
    path = build(tmp_path, banks=FOUR, customers=1600, min_parties=3)
    outcome, _ = train(path, dies=lambda party, what: (party, what) == ("south", kind))
    assert outcome["parties"] == ["east", "north", "west"]
    assert [one["round"] for one in outcome["rounds"]] == [1, 2]
    assert outcome["rounds"][-1]["customers"] < 0.95 * in_all(path)


def in_all(path):
    from clients.neural.data import learning  # noqa: PLC0415

    return sum(len(learning(Party.load(path, bank))[0]) for bank in FOUR)


@pytest.mark.slow
def test_without_leave_to_go_on_a_lost_bank_ends_the_run_until_it_is_back(tmp_path):
    path = build(tmp_path, banks=FOUR, customers=1600)
    gone = [True]
    with pytest.raises(PartyLost) as caught:
        train(path, dies=lambda party, kind: gone[0] and (party, kind) == ("south", "train.neural"))
    assert caught.value.party == "south"
    gone[0] = False
    outcome, _ = train(path, resume=True)
    assert [one["round"] for one in outcome["rounds"]] == [1, 2]


@pytest.mark.slow
def test_a_smaller_cohort_is_refused_once_an_update_of_the_same_model_was_revealed(
    tmp_path, monkeypatch
):
    path = build(tmp_path, banks=FOUR, customers=1600, min_parties=3)
    kill(monkeypatch, path, 1)
    with pytest.raises(RunFailed, match="already revealed"):
        train(
            path,
            resume=True,
            dies=lambda party, kind: (party, kind) == ("south", "train.neural"),
        )
    outcome, _ = train(path, resume=True)  # the control: the same cohort may
    assert len(outcome["parties"]) == 4


def test_a_party_takes_no_part_in_a_cohort_smaller_than_agreed(tmp_path):
    path = build(tmp_path, banks=FOUR, customers=1600, min_parties=0)
    federation = Coordinator.load(path, "x").federation
    for cohort in (FOUR[:3], FOUR[:2], ("east", "north", "west", "nobody")):
        with pytest.raises(Refused, match="a round takes at least 4"):
            average.check_cohort(cohort, federation)
    average.check_cohort(FOUR, federation)
    loose = replace(federation, neural=replace(federation.neural, min_parties=3))
    average.check_cohort(FOUR[:3], loose)
    with pytest.raises(Refused):
        average.check_cohort(FOUR[:2], loose)


def test_steps_that_were_not_agreed_on_are_refused(tmp_path):
    path = build(tmp_path, customers=600)
    party = Party.load(path, "north")
    for job in ({"shrink": 2.0}, {"shrink": 0.0}, {"pull": 1.0}):
        with pytest.raises(BadPeer, match="not agreed on"):
            neural.train_round(party, None, None, {"round": 1, **job})


def test_a_bank_better_off_alone_is_told_so_in_its_own_folder_only(tmp_path, monkeypatch):
    personal = import_module("shared.neural.personal")
    path = build(tmp_path, customers=900, rounds=2)

    def better_alone(layout, common, start, own, held, recipe, rounds):
        kept = "alone" if recipe.label.startswith("south/") else "common"
        weights = common + 1.0 if kept == "alone" else common
        return personal.Choice(kept, weights, {"common": 0.5, "alone": 0.4})

    monkeypatch.setattr(personal, "choose", better_alone)
    outcome, _ = train(path)
    mine, about = kept(path, "south", name="neural_kept")
    common, _ = kept(path, "south")
    assert about["kept"] == "alone"
    assert "better off with its own model" in about["told"]
    assert np.allclose(mine, common + 1.0)
    assert kept(path, "north", name="neural_kept")[1]["kept"] == "common"
    assert "south" not in json.dumps(outcome["test_kept"])
    assert outcome["test_kept"] != outcome["test"]
