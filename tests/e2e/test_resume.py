"""A scorecard's run, real processes: killed, and gone on with by the command that it told."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal

import pytest

from tests.commands import Running
from tests.flower_runs import FlowerRun
from tests.whole_runs import assert_nothing_half_written, build, cards

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
THREE = ("bank", "bureau", "payments")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return build(folder, parties=THREE, customers=420, deadline_s=120)


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / world.name


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The card of a run without a fault."""
    path = shutil.copytree(world.parent, tmp_path_factory.mktemp("calm") / "it") / world.name
    running = Running(tmp_path_factory.mktemp("output"), "train", "-f", path)
    assert running.end() == 0, running.stderr
    return card_of(path)


def card_of(path):
    """The card without its run and without what the order of a sum changes in a last digit."""
    (file,) = cards(path.parent)
    value = json.loads(file.read_text())
    return {name: inner for name, inner in value.items() if name not in {"run", "evaluation"}}


def the_run(path):
    (folder,) = (path.parent / "coordinator" / "runs").iterdir()
    return folder.name


def went_on(result, path, run, undisturbed):
    assert result["run"] == run
    assert sorted(result["release"]["signatures"]) == list(THREE)
    assert result["release"]["counter"] == 1
    assert card_of(path) == undisturbed
    assert_nothing_half_written(path.parent)


def test_a_party_that_dies_inside_a_phase_ends_the_run_which_tells_how_to_go_on(
    killed, confide, federation, undisturbed
):
    running = killed(federation, "payments", "record score", by="payments")
    assert running.process.returncode == 3, running.stderr
    assert json.loads(running.stdout)["error"]["party"] == "payments"
    (told,) = [line for line in running.stderr.splitlines() if line.startswith("go on with it: ")]
    program, *command = shlex.split(told.removeprefix("go on with it: "))
    run = the_run(federation)
    assert [program, *command] == [
        "confide",
        *("train", "--resume", run, "--federation", str(federation)),
    ]
    status, out, err = confide(*command, "--format", "json")
    assert status == 0, err
    assert "align, moments had ended; it goes on with score" in err
    assert "  moments " not in err
    went_on(json.loads(out)["data"], federation, run, undisturbed)


def test_a_coordinator_that_is_killed_inside_a_phase_goes_on_with_that_phase(
    killed, confide, federation, undisturbed
):
    running = killed(federation, "coordinator", "record moments", by="bureau")
    assert running.process.returncode == -signal.SIGKILL
    run = the_run(federation)
    status, out, err = confide("train", "-f", federation, "--resume", run, "--format", "json")
    assert status == 0, err
    assert "align had ended; it goes on with moments" in err
    went_on(json.loads(out)["data"], federation, run, undisturbed)


def test_engine_flower_goes_on_after_everything_was_killed_behind_the_moments(
    federation, tmp_path, undisturbed
):
    first = FlowerRun(federation, tmp_path / "first")
    again = None
    try:
        first.in_phase("score")
        os.kill(first.process.pid, signal.SIGKILL)
        assert first.end() == -signal.SIGKILL
        assert not first.left_behind()
        run = the_run(federation)
        again = FlowerRun(federation, tmp_path / "again", "--resume", run, "--format", "json")
        assert again.end() == 0, again.stderr
        assert not again.left_behind()
    finally:
        first.clean_up()
        if again:
            again.clean_up()
    assert "it goes on with" in again.stderr
    assert "  moments " not in again.stderr
    went_on(json.loads(again.stdout)["data"], federation, run, undisturbed)
