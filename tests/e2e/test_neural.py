"""`confide train --model neural` on the real command line, one process a bank."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal

import numpy as np
import pytest

from clients.data.world import make_world
from clients.store import Store
from server.coordinator import load_federation
from shared.privacy.audit import audit
from tests.three_banks import BANKS, NEEDS_TORCH, federation_of
from tests.whole_runs import assert_nothing_half_written, change

pytestmark = [pytest.mark.slow, pytest.mark.e2e, NEEDS_TORCH]


@pytest.fixture(scope="module")
def three_banks(tmp_path_factory):
    """Three banks out of one table, by commands alone; return their folder."""
    folder = tmp_path_factory.mktemp("banks")
    world = make_world(1000, 1)["bank"]
    rng = np.random.default_rng(1)
    label = world["DEFAULT"].astype(int)
    table = {
        "ID": world["ID"],
        "DEFAULT": label,
        "INCOME": rng.lognormal(10 - label, 0.7),
        "SCORE": rng.normal(size=len(label)),
    }
    path = federation_of(folder, table, INCOME="low = 0", SCORE="")
    change(path, rounds=1, rows=20)
    return path.parent


@pytest.fixture
def federation(three_banks, tmp_path):
    return shutil.copytree(three_banks, tmp_path / "out") / "federation.toml"


def test_banks_train_a_network_that_all_of_them_keep(confide, federation):
    status, out, err = confide(
        "train",
        "-f",
        federation,
        "--model",
        "neural",
        "--format",
        "json",
        "--set",
        "neural.batch=32",
    )
    assert status == 0, err
    result = json.loads(out)["data"]
    assert result["test"]["auc"] > 0.7
    assert [one["round"] for one in result["rounds"]] == [1]
    assert [line.split()[0] for line in err.splitlines() if "3/3 parties" in line] == [
        "neural_edges",
        "neural_1",
        "neural_evaluate",
        "neural_release",
    ]
    builder = load_federation(federation)[0].builder
    found = [
        np.load(federation.parent / bank / "runs" / result["run"] / "neural_weights.npy")
        for bank in BANKS
    ]
    assert all(np.array_equal(found[0], other) for other in found)
    assert len(found[0]) == result["model"]["parameters"]
    for bank in BANKS:
        # The builder's verdict is a line besides, and so is what it makes of the opened counts.
        lines = len(Store(federation.parent / bank).ledger())
        assert lines == 7 + 2 * (bank == builder)
        assert (federation.parent / bank / "feeds" / "neural-0001.feed").exists()
    assert result["release"]["name"] == "neural-0001"
    assert "no scorecard of this contract" in result["release"]["not_compared"]
    assert (federation.parent / "releases" / "neural-0001" / "weights.safetensors").exists()
    assert_nothing_half_written(federation.parent)


@pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None,
    reason="dp-accounting is not installed: pip install 'confide[privacy]'",
)
def test_banks_train_with_noise_and_a_budget_that_is_spent_ends_it(start, federation):
    settings = ("privacy.training_epsilon=2", "privacy.rate=0.2", "privacy.steps=4")
    settings = [word for one in (*settings, "neural.rounds=2") for word in ("--set", one)]
    command = ("train", "-f", federation, "--model", "neural", *settings)
    for bank in BANKS:
        change(federation.parent / bank / "party.toml", privacy_epsilon=2.5)
    running = start(*command, "--format", "json")
    # Every process solves for the noise.
    assert running.end(300) == 0, running.stderr
    result = json.loads(running.stdout)["data"]
    assert result["privacy"]["epsilon"] == 2.0
    assert result["test_kept"] is None
    for bank in BANKS:
        told = audit(Store(federation.parent / bank).ledger(), 1e-5)
        assert 1.9 < told.epsilon <= 2.0
        assert told.with_noise == 3
    again = start(*command)
    assert again.end(300) == 4
    assert "of 2.5 allowed" in again.stderr
    assert_nothing_half_written(federation.parent)


def test_a_bank_that_is_killed_is_named_and_nothing_is_left_running(start, federation):
    running = start("train", "-f", federation, "--model", "neural", "--set", "neural.rounds=100")
    running.said("neural_edges")
    os.kill(running.party("south"), signal.SIGKILL)
    assert running.end() == 3
    assert "south" in running.stderr
    assert running.left_behind() == []
    assert_nothing_half_written(federation.parent)


def test_a_run_whose_coordinator_is_killed_goes_on_from_its_last_round(confide, start, federation):
    settings = ("--set", "neural.rounds=4", "--set", "neural.batch=32")
    running = start("train", "-f", federation, "--model", "neural", *settings)
    running.said("neural_2 ")
    running.process.kill()
    running.process.wait()
    assert running.left_behind() == []
    run = running.stderr.split()[1]
    again = ("train", "-f", federation, "--model", "neural", "--resume", run, "--format", "json")
    status, out, err = confide(*again, *settings)
    assert status == 0, err
    result = json.loads(out)["data"]
    assert result["run"] == run
    assert [one["round"] for one in result["rounds"]] == [1, 2, 3, 4]
    assert "neural_1 " not in err
    assert_nothing_half_written(federation.parent)
    status, _, err = confide("train", "-f", federation, "--resume", run)
    assert status == 2
    assert "scorecard.json is not there" in err
