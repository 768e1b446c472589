"""A simulation over a grid of plain calls: both apps are the product's own."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common import serde
from flwr.supercore.task_identity import TaskIdentity

from clients.holdings import write_table
from clients.simulated.app import app
from clients.simulated.table import customers_of, load, shares
from server.commands.common import Format
from server.commands.simulation import Options, simulation, train_simulation
from server.coordinator import Coordinator, report_to
from server.engines import simulation_engine
from server.engines.simulation import train_simulated
from server.engines.simulation_means import SampledMeans
from shared.config import Federation
from shared.errors import ConfigError, DataError, EnvironmentFault, RunFailed, UsageError
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import counted, own_counts
from shared.sections import Member, Neural
from shared.simulated import LEAST_CUSTOMERS, Simulation, draw, holder_of
from tests.neural_kit import bank_contract, one_table

torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
SMALL = Neural(rounds=2, local_epochs=1, batch=64, hidden=4, pieces=4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    write_table(folder / "table.parquet", one_table(1200))
    (folder / "contract.toml").write_bytes(bank_contract()[1])
    return folder


@pytest.fixture
def make(files, tmp_path):
    def make(holders=40, fraction=1.0, **more):
        folder = str(tmp_path / "runs" / "run")
        table, contract = str(files / "table.parquet"), str(files / "contract.toml")
        job = Simulation("run", folder, table, contract, holders, fraction, 5.0, "ab" * 32, SMALL)
        return replace(job, **more)

    return make


class Grid:
    """Calls the holders' app for every message, at once; state lives between calls as in Flower."""

    def __init__(self, job, fails=lambda place, kind: False):
        self._job, self._fails = job, fails
        self._states = {7 * place + 1: RecordDict() for place in range(job.holders)}
        self._arrived = {}
        self.asked = []
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    def get_node_ids(self):
        return list(self._states)

    def push_messages(self, messages):
        for pushed in messages:
            node, kind = pushed.metadata.dst_node_id, pushed.metadata.message_type
            name = str(len(self.asked))
            self.asked.append((node, kind))
            message = serde.message_from_proto(serde.message_to_proto(pushed))
            if self._fails((node - 1) // 7, kind):
                message = Message(RecordDict(), dst_node_id=node, message_type=kind)
            message.metadata.__dict__["_message_id"] = name
            context = Context(
                run_id=1,
                node_id=node,
                node_config={},
                state=self._states[node],
                run_config={"simulation": self._job.text()},
            )
            reply = app(message, context)
            reply.metadata.__dict__["_src_node_id"] = node
            self._arrived[name] = reply
            yield name

    def pull_messages(self, message_ids):
        return [self._arrived.pop(name) for name in message_ids if name in self._arrived]


def means_of(job, grid):
    identity = job.identity(COORDINATOR)
    federation = Federation("s", "", "", Member(identity.fingerprint), {}, neural=job.neural)
    coordinator = Coordinator(federation, job.run, identity)
    run = Run(job.run, 1, federation, "")
    return SampledMeans(grid, coordinator, run, job, sorted(grid.get_node_ids()))


@pytest.fixture
def told():
    events = []
    report_to(lambda event, details: events.append((event, details)))
    return events


def edges_in_clear(job, places):
    features = load(job.table, job.contract).features
    own = [customers_of(job, place)[0] for place in places]
    return sum(own_counts(features, one.values, 1) for one in own), sum(map(len, own)), features


def test_the_mean_over_cohorts_is_the_mean_over_all_drawn_customers(make, told):
    job = make(holders=50, fraction=0.7)  # 35 holders: two cohorts
    counts, customers, features = edges_in_clear(job, draw(job, average.EDGES_PHASE))
    opened, _ = means_of(job, Grid(job)).open("", average.EDGES_PHASE, {}, length=counted(features))
    assert opened.n_examples == customers
    np.testing.assert_allclose(opened.values * customers, counts, atol=1e-3)
    (about,) = [details for event, details in told if event == "summed"]
    assert (about["holders"], about["cohorts"], about["exchanges"]) == (35, 2, 3)
    assert about["failed"] == {}
    assert about["bytes_from"] > 35 * 8 * counted(features)


@pytest.mark.parametrize("kind", ["train.begin", "train.go_on"])
def test_a_cohort_with_a_holder_that_fails_is_left_out_and_told(make, told, kind):
    job = make()
    gone = draw(job, average.EDGES_PHASE)[5]
    grid = Grid(job, fails=lambda place, asked: place == gone and asked == kind)
    opened, _ = means_of(job, grid).open(
        "", average.EDGES_PHASE, {}, length=counted(load(job.table, job.contract).features)
    )
    (about,) = [details for event, details in told if event == "summed"]
    assert list(about["failed"]) == [holder_of(gone)]
    assert about["cohorts"] == 1
    # Its cohort is every second of those drawn.
    rest = draw(job, average.EDGES_PHASE)[0::2]
    assert gone not in rest
    counts, customers, _ = edges_in_clear(job, rest)
    assert opened.n_examples == customers
    np.testing.assert_allclose(opened.values * customers, counts, atol=1e-3)


def test_where_no_cohort_is_left_the_error_is_a_holders(make):
    job = make(holders=6)
    grid = Grid(job, fails=lambda place, asked: place == 2)
    with pytest.raises(RunFailed, match="KeyError") as caught:
        means_of(job, grid).open("", average.EDGES_PHASE, {}, length=8)
    assert caught.value.party == holder_of(2)


@torch
def test_a_simulated_training_is_repeatable_and_asks_a_fraction_each_round(make):
    job = make(holders=40, fraction=0.2)
    grid = Grid(job)
    outcome = train_simulated(grid, job)
    assert outcome["sampled"] == 8
    assert [one["verdict"] for one in outcome["rounds"]] == ["unchecked"] * 2
    assert outcome["customers"]["all"] == len(load(job.table, job.contract).columns.ids)
    assert 0.4 < outcome["test"]["auc"] < 1.0
    begun = [node for node, kind in grid.asked if kind == "train.begin"]
    assert len(begun) == 8 * 4  # edges, two rounds, evaluation
    assert len(set(begun)) > 8
    again = train_simulated(Grid(job), job)
    assert again["model"]["digest"] == outcome["model"]["digest"]


def test_every_customer_is_one_holders_and_every_holder_has_a_few():
    rows = shares(1000, 30, 0.1, 1)
    assert sorted(np.concatenate(rows)) == list(range(1000))
    assert min(map(len, rows)) >= LEAST_CUSTOMERS
    even, skewed = (max(map(len, shares(1000, 30, one, 1))) for one in (1000.0, 0.05))
    assert skewed > 2 * even
    with pytest.raises(DataError, match="fewer holders"):
        shares(100, 30, 1.0, 1)


def test_a_table_that_breaks_its_contract_ends_the_simulation_with_the_reason(make, tmp_path):
    table = one_table(300)
    del table["DEFAULT"]
    write_table(tmp_path / "broken.parquet", table)
    job = make(holders=5, table=str(tmp_path / "broken.parquet"))
    with pytest.raises(RunFailed, match="DEFAULT") as caught:
        train_simulated(Grid(job), job)
    assert caught.value.reported == "data"


def options(files, **more):
    given = {"table": files / "table.parquet", "contract": str(files / "contract.toml")}
    given |= {"holders": 10, "fraction": 0.5, "concentration": 5.0, "out": files / "out"}
    return Options(**given | more)


def test_the_command_reads_settings_of_the_network_alone(files, monkeypatch):
    job = simulation(options(files), {"neural.rounds": 5}, "first")
    assert (job.neural.rounds, job.sampled) == (5, 5)
    assert Simulation.from_text(job.text()) == job
    assert job.secret != simulation(options(files), {}, "first").secret
    with pytest.raises(UsageError, match=r"floors\.rows"):
        simulation(options(files), {"floors.rows": 5}, "first")
    with pytest.raises(UsageError, match="deals one table"):
        simulation(options(files, table=None), {}, "first")
    with pytest.raises(ConfigError, match=r"holders: must be 3"):
        simulation(options(files, holders=2, fraction=0.0), {}, "first")
    with pytest.raises(ConfigError, match=r"neural\.rounds"):
        simulation(options(files), {"neural.rounds": 0}, "first")


def test_without_ray_the_command_says_what_to_install(files, monkeypatch):
    monkeypatch.setattr(simulation_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="needs Ray") as caught:
        train_simulation(options(files), {}, Format.TEXT)
    assert "pip install 'confide[simulation,neural]'" in caught.value.hint
