"""Engine `simulation` on the real command line: Flower's Simulation Engine, with Ray."""

from __future__ import annotations

import importlib.util
import json
import secrets
import signal
from pathlib import Path

import pytest

from clients.holdings import write_table
from server.engines import guardian
from shared.errors import DataError
from tests.commands import Running
from tests.flower_runs import MARK, FlowerRun
from tests.neural_kit import bank_contract, one_table

missing = [name for name in ("ray", "torch") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        bool(missing),
        reason=f"{' and '.join(missing)} not installed: pip install 'confide[simulation,neural]'",
    ),
]


class Simulated(FlowerRun):
    """`confide train --engine simulation` under way."""

    limit = 600.0

    def __init__(self, folder, *arguments):
        self.out_folder = folder / "out_of_it"
        self.mark = secrets.token_hex(8)
        command = (
            "train", "--engine", "simulation", "--model", "neural",
            "--table", folder / "table.parquet", "--contract", folder / "contract.toml",
            "--out", self.out_folder, *arguments,
        )  # fmt: skip
        Running.__init__(self, folder / "output", *command, env={MARK: self.mark})


@pytest.fixture
def start(tmp_path):
    write_table(tmp_path / "table.parquet", one_table(900))
    (tmp_path / "contract.toml").write_bytes(bank_contract()[1])
    runs = []

    def start(*arguments):
        runs.append(Simulated(tmp_path, *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


SMALL = ("--set", "neural.rounds=2", "--set", "neural.local_epochs=1", "--set", "neural.hidden=6")


def test_ten_holders_train_two_rounds_and_nothing_is_left_running(start):
    run = start("--holders", "10", "--fraction", "0.4", "--format", "json", *SMALL)
    assert run.end() == 0, run.stderr
    result = json.loads(run.stdout)["data"]
    assert (result["holders"], result["sampled"]) == (10, 4)
    assert [one["round"] for one in result["rounds"]] == [1, 2]
    assert 0.3 < result["test"]["auc"] < 1.0
    assert "keeps nothing private" in run.stderr
    assert "keeps nothing private" in result["simulation"]
    assert "4 holders in 1 sums" in run.stderr
    assert not run.left_behind()
    (progress,) = run.out_folder.glob("runs/*/progress.jsonl")
    events = [json.loads(line) for line in progress.read_text().splitlines()]
    rounds = [one["details"] for one in events if one["event"] == "summed"]
    assert [one["exchanges"] for one in rounds] == [3, 3, 3, 3]
    assert not any(one["failed"] for one in rounds)


def test_nothing_is_left_when_the_command_is_killed(start):
    run = start("--holders", "5", *SMALL, "--set", "neural.rounds=500")
    run.until(lambda: "neural_edges" in run.stderr)
    run.until(lambda: len(run.processes("ray::.*Agent")) == 2)
    for agent in run.processes("ray::.*Agent"):  # their titles left the marker where it was
        environment = Path(f"/proc/{agent}/environ").read_bytes()
        assert not environment.startswith(b"\0")
        assert guardian.MARKER.encode() in environment
    run.process.send_signal(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    assert not run.left_behind()


def test_a_broken_table_ends_it_by_name(start, tmp_path):
    run = start("--holders", "150", *SMALL)
    assert run.end() == DataError.exit_status, run.stderr
    assert "fewer holders" in run.stderr
    assert not run.left_behind()
