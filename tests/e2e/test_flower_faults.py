"""Engine `flower` when its processes die: it goes on, or names the party and the phase.

Each run is a dozen processes. What a party or the relay does in each phase when another dies is
walked in one process (`test_phases`, `test_steps`, `test_link`); here one of each kind of process
is killed early and one late, and every one in every phase where there is time (`tests/depth.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import pytest

from clients.store import Store
from tests import banks
from tests.depth import depth, in_depth
from tests.flower_runs import FlowerRun
from tests.whole_runs import HOLDERS, assert_nothing_half_written, build, cards

pytestmark = pytest.mark.e2e

PHASES = ("join", "align", "moments", "score", "release")
SUPERLINK, RELAY = "server.superlink --host", "server.relay --federation"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A federation whose phases last long enough to be hit."""
    return build(tmp_path_factory.mktemp("world"), customers=2000, thresholds=12)


@pytest.fixture
def federation(world, tmp_path):
    shutil.copytree(world.parent, tmp_path / "federation")
    return tmp_path / "federation" / "federation.toml"


@pytest.fixture
def flower(tmp_path_factory):
    runs = []

    def start(path, *arguments):
        runs.append(FlowerRun(path, tmp_path_factory.mktemp("output"), *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


def node(party):
    return f"clients.supernode.*party='{party}'"


def is_sound(path, *, killed=""):
    """Nothing half-written at any party; a killed process may leave its temporary file."""
    assert not cards(path.parent)
    for party in HOLDERS:
        Store(path.parent / party).ledger()
        if party != killed:
            assert not list((path.parent / party).rglob("*.part"))


def ended_well(run, path):
    assert run.end() == 0, run.stderr
    assert not run.left_behind()
    assert len(cards(path.parent)) == 1
    assert_nothing_half_written(path.parent)


@pytest.mark.slow
def test_a_run_goes_on_when_relay_and_superlink_die_on_the_way(flower, federation):
    run = flower(federation)
    run.in_phase("align")
    run.kill(RELAY)
    run.in_phase("moments")
    # While a phase is opened Flower may lose a message (a test below says which); who has chosen
    # its bins was reached.
    run.until(lambda: len(list(federation.parent.glob("*/runs/*/plans.json"))) == len(HOLDERS))
    run.kill(SUPERLINK)
    for phase in ("score", "release"):  # a relay that dies a fourth time is given up
        run.in_phase(phase)
        run.kill(RELAY)
    ended_well(run, federation)
    assert run.stderr.count("the relay died; it is started again") == 3
    assert run.stderr.count("the superlink died; it is started again") == 1


def named(run, party, phase):
    assert run.end() == 3, run.stderr
    assert f"{party}: its node died in phase {phase}" in run.stderr
    assert not run.left_behind()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "party"),
    [
        ("join", "bureau"),
        ("moments", "bank"),
        *depth([], [("align", "payments"), ("score", "ecommerce"), ("release", "payments")]),
    ],
)
def test_a_killed_node_is_named_with_the_phase_at_once(flower, federation, phase, party):
    run = flower(federation)
    run.in_phase(phase)
    run.kill(node(party))
    killed = time.monotonic()
    named(run, party, phase)
    assert time.monotonic() - killed < 45  # by itself Flower notices after a minute
    if phase in {"join", "align"}:
        is_sound(federation, killed=party)


@pytest.mark.slow
def test_a_killed_app_of_a_party_is_named_too(flower, federation):
    """Flower itself notices after a minute; the process that started the app, at once."""
    run = flower(federation)
    run.in_phase("align")
    nodes = run.processes(node("payments"))
    time.sleep(1.0)
    (app,) = set(run.processes(node("payments"))) - set(nodes) or {nodes[-1]}
    os.kill(app, signal.SIGKILL)
    named(run, "payments", "align")


@pytest.mark.slow
@in_depth
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_survives_its_relay_in_every_phase(flower, federation, phase):
    run = flower(federation)
    run.in_phase(phase)
    run.kill(RELAY)
    ended_well(run, federation)
    assert "the relay died; it is started again" in run.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "phases",
    depth([("cells", "moments", "score")], [("bins", "cells"), ("moments", "score", "release")]),
)
def test_a_run_of_several_banks_survives_its_relay_in_every_phase(flower, tmp_path, phases):
    path, _ = banks.build(tmp_path / "banks", sizes=(160, 170, 180, 175), deadline_s=300)
    run = flower(path, "--format", "json")
    run.limit = 600.0
    for phase in phases:  # a relay that dies a fourth time is given up, by name
        run.in_phase(phase)
        run.kill(RELAY)
    ended_well(run, path)
    assert run.stderr.count("the relay died; it is started again") == len(phases)
    result = json.loads(run.stdout)["data"]
    assert sorted(result["release"]["signatures"]) == list(banks.BANKS)
    assert result["lost"] == {}
    assert "lost" not in run.progress()
    for bank in banks.BANKS:
        inputs = [line["input"] for line in Store(path.parent / bank).journal._lines("reveal")]
        assert len(inputs) == len(set(inputs)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "after"),
    depth(
        [("moments", 0.0)],  # the first test has one a moment later
        [(phase, after) for phase in PHASES for after in (0.0, 1.0)],
    ),
)
def test_a_run_survives_its_superlink_or_ends_with_the_phase_named(
    flower, federation, phase, after
):
    run = flower(federation)
    run.in_phase(phase)
    time.sleep(after)
    run.kill(SUPERLINK)
    status = run.end()
    assert not run.left_behind()
    assert "the superlink died; it is started again" in run.stderr
    if status:
        assert status == 3, run.stderr
        assert f"phase {phase}" in run.stderr
    else:
        assert len(cards(federation.parent)) == 1


@pytest.mark.slow
def test_a_killed_coordinators_app_fails_the_run_with_its_log(flower, federation):
    run = flower(federation)
    run.in_phase("align")
    began = run.progress().splitlines()[0]
    os.kill(int(began.split('"process": ')[1].split("}")[0]), signal.SIGKILL)
    assert run.end() == 3, run.stderr
    assert "the coordinator's app failed in phase align" in run.stderr
    assert ".log" in run.stderr
    assert not run.left_behind()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "sign"),
    [
        ("align", signal.SIGINT),
        ("moments", signal.SIGTERM),
        *depth([], [("score", signal.SIGINT), ("align", signal.SIGKILL)]),
    ],
)
def test_nothing_is_left_when_the_command_is_stopped(flower, federation, phase, sign):
    run = flower(federation)
    run.in_phase(phase)
    assert len(run.processes()) > 2 + len(HOLDERS)  # the control: they are found by the mark
    if sign == signal.SIGINT:
        os.killpg(run.process.pid, sign)
        assert run.end() == 130, run.stderr
        assert "stopped" in run.stderr
        assert "Traceback" not in run.stderr
    else:
        os.kill(run.process.pid, sign)
        assert run.end() == -sign
    assert not run.left_behind()
    is_sound(federation)


def test_nothing_is_left_when_the_command_is_killed_while_it_starts(flower, federation):
    run = flower(federation)
    run.until(lambda: len(run.processes(r"clients\.supernode")) >= len(HOLDERS))
    os.kill(run.process.pid, signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    assert not run.left_behind()
