"""Several banks on engine `flower`: a card and a network, and what happens when a bank dies."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal

import numpy as np
import pytest

from clients.store import Store
from tests import neural_kit
from tests.banks import BANKS, build
from tests.depth import in_depth
from tests.flower_runs import FlowerRun
from tests.whole_runs import assert_nothing_half_written

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(1200)]
torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)


class BankRun(FlowerRun):
    """A run of a dozen Flower messages, each of which takes seconds, on busy cores many."""

    limit = 420.0


@pytest.fixture
def flower(tmp_path_factory):
    runs = []

    def start(path, *arguments):
        runs.append(BankRun(path, tmp_path_factory.mktemp("output"), *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


@pytest.fixture(scope="module")
def four_banks(tmp_path_factory):
    return build(tmp_path_factory.mktemp("banks"), sizes=(1200, 1300, 1150, 1250))[0]


@pytest.fixture
def banks(four_banks, tmp_path):
    return shutil.copytree(four_banks.parent, tmp_path / "banks") / four_banks.name


def node(party):
    return f"clients.supernode.*party='{party}'"


def builder_of(path):
    return re.search(r'(?m)^builder = "(\w+)"', path.read_text())[1]


def other_than_builder(path, names):
    return next(name for name in names if name != builder_of(path))


@in_depth  # else: the run of `test_flower_faults` whose relay dies
def test_banks_train_one_card_that_all_of_them_sign(flower, banks):
    run = flower(banks, "--format", "json")
    assert run.end() == 0, run.stderr
    result = json.loads(run.stdout)["data"]
    assert sorted(result["release"]["signatures"]) == list(BANKS)
    assert result["lost"] == {}
    assert not run.left_behind()
    assert_nothing_half_written(banks.parent)


@in_depth  # else: the two below, which say exactly when
@pytest.mark.parametrize("phase", ["bins", "moments", "release"])
def test_the_rest_go_on_when_a_banks_node_dies(flower, banks, phase):
    gone = other_than_builder(banks, BANKS)
    run = flower(banks, "--format", "json")
    run.in_phase(phase)
    run.kill(node(gone))
    status = run.end()
    assert not run.left_behind()
    if status:
        # It had revealed its counts: the journals of the others refuse a second cohort, by name.
        assert status in {3, 4}, run.stderr
        assert "already revealed in the cohort" in run.stderr or gone in run.stderr
        return
    result = json.loads(run.stdout)["data"]
    assert set(result["lost"]) <= {gone}
    if result["lost"]:
        assert f"{gone} was lost in phase" in run.stderr
    for bank in BANKS:
        Store(banks.parent / bank).ledger()


def test_a_bank_that_dies_before_anything_is_revealed_is_left_behind(flower, banks):
    """Stopped first, it takes part in nothing; killed then, nobody waits for it for long."""
    gone = other_than_builder(banks, BANKS)
    run = flower(banks, "--format", "json")
    run.until(lambda: '"joining"' in run.progress())
    run.in_phase("bins")
    for pid in run.processes(node(gone)):
        os.kill(pid, signal.SIGSTOP)
    run.kill(node(gone))
    assert run.end() == 0, run.stderr
    assert f"{gone} was lost in phase bins" in run.stderr
    result = json.loads(run.stdout)["data"]
    assert set(result["lost"]) == {gone}
    assert gone not in result["release"]["signatures"]
    assert not run.left_behind()


def test_a_builder_that_dies_ends_the_run_by_name(flower, banks):
    run = flower(banks)
    run.in_phase("bins")
    run.kill(node(builder_of(banks)))
    assert run.end() == 3, run.stderr
    assert f"{builder_of(banks)}: its node died in phase bins" in run.stderr
    assert not run.left_behind()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    four = ("east", *neural_kit.BANKS)
    folder = tmp_path_factory.mktemp("network")
    return neural_kit.build(folder, banks=four, customers=2400, min_parties=3)


@pytest.fixture
def learners(network, tmp_path):
    return shutil.copytree(network.parent, tmp_path / "network") / network.name


def assert_all_keep_one(path, run, names):
    """Every bank has the very same weights."""
    found = [np.load(path.parent / bank / "runs" / run / "neural_weights.npy") for bank in names]
    assert all(np.array_equal(found[0], other) for other in found)


@torch
@in_depth  # else: the network below, which goes on from its last round
def test_banks_train_a_network_that_all_of_them_keep(flower, learners):
    run = flower(learners, "--model", "neural", "--format", "json")
    assert run.end() == 0, run.stderr
    result = json.loads(run.stdout)["data"]
    assert [one["round"] for one in result["rounds"]] == [1, 2]
    assert_all_keep_one(learners, result["run"], ("east", *neural_kit.BANKS))
    assert not run.left_behind()
    assert_nothing_half_written(learners.parent)


@torch
def test_a_network_is_trained_on_without_a_bank_that_died_and_goes_on_from_its_last_round(
    flower, learners
):
    settings = ("--set", "neural.rounds=3")
    gone = other_than_builder(learners, neural_kit.BANKS)
    run = flower(learners, "--model", "neural", *settings)
    run.in_phase("neural_edges")
    run.kill(node(gone))
    run.until(lambda: f"{gone} is lost" in run.stderr)
    run.in_phase("neural_2")
    began = run.progress().splitlines()[0]
    os.kill(int(began.split('"process": ')[1].split("}")[0]), signal.SIGKILL)
    assert run.end() == 3, run.stderr
    assert not run.left_behind()
    name = re.search(r"run (\S+)", run.stderr)[1]
    again = flower(learners, "--model", "neural", "--resume", name, "--format", "json", *settings)
    assert again.end() == 0, again.stderr
    result = json.loads(again.stdout)["data"]
    assert result["run"] == name
    assert [one["round"] for one in result["rounds"]] == [1, 2, 3]
    assert gone not in result["parties"]
    assert_all_keep_one(learners, name, result["parties"])
    assert "neural_1 " not in again.stderr
    assert not again.left_behind()
