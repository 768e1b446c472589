"""A process that dies, hangs or is interrupted: the rest stop, and the folder is fit for more."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from clients.store import Store
from tests.depth import depth
from tests.whole_runs import HOLDERS, assert_nothing_half_written, build, cards, change

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

THERE = "are there after"
# What the command has said when a phase begins, and who is killed then. The builder has most to do
# in the last phase, so it cannot have answered already.
KILLS = {
    "start": ("", "payments"),
    "align": (THERE, "payments"),
    "moments": ("  align ", "bureau"),
    "score": ("  moments ", "bank"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world whose phases last long enough to be hit."""
    folder = tmp_path_factory.mktemp("world")
    return build(folder, customers=2000, thresholds=24, pair_thresholds=2)


@pytest.fixture
def federation(world, tmp_path):
    return shutil.copytree(world.parent, tmp_path / "federation") / world.name


def works_again(confide, path):
    # Other rows may have been opened before the end, but never other bins.
    status, _, err = confide("train", "-f", path)
    assert status == 0, err
    assert len(cards(path.parent)) == 1
    assert_nothing_half_written(path.parent)


def is_sound(path, *, killed=""):
    """Nothing half-written at any party; a killed process may leave its temporary file."""
    assert not cards(path.parent)
    for party in HOLDERS:
        Store(path.parent / party).ledger()
        if party != killed:
            assert not list((path.parent / party).rglob("*.part"))


# In every phase: `test_phases`, in one process.
@pytest.mark.parametrize("phase", depth(["score"], list(KILLS)))
def test_a_killed_party_is_named_and_the_others_stop(start, confide, federation, phase):
    said, victim = KILLS[phase]
    running = start("train", "-f", federation)
    pid = running.party(victim)
    if said:
        running.said(said)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    assert running.end() == 3, running.stderr
    # Nobody waits out the deadline of 60 s.
    assert time.monotonic() - killed < 40
    assert f"{victim}: its process died" in running.stderr
    assert f"  {phase} " not in running.stderr
    assert not running.left_behind()
    assert running.stdout == ""
    is_sound(federation, killed=victim)
    works_again(confide, federation)


def test_ctrl_c_stops_every_process_and_the_folder_stays_usable(start, confide, federation):
    running = start("train", "-f", federation)
    running.said(THERE)
    assert len(running.processes("--party=")) == len(HOLDERS)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.end() == 130
    assert "stopped" in running.stderr
    assert "Traceback" not in running.stderr
    assert not running.left_behind()
    is_sound(federation)
    works_again(confide, federation)


@pytest.mark.parametrize("sign", depth([signal.SIGKILL], [signal.SIGKILL, signal.SIGTERM]))
def test_when_the_command_itself_is_killed_the_parties_end_by_themselves(start, federation, sign):
    running = start("train", "-f", federation)
    running.said(THERE)
    os.kill(running.process.pid, sign)
    assert running.end() == -sign
    assert not running.left_behind()
    is_sound(federation)


def test_the_workers_of_a_killed_party_end_with_it(start, federation):
    change(federation, workers=2)
    running = start("train", "-f", federation)
    running.until(lambda: len(running.processes("multiprocessing.spawn")) >= len(HOLDERS))
    os.kill(running.party("payments"), signal.SIGKILL)
    assert running.end() == 3, running.stderr
    assert not running.left_behind()
    is_sound(federation, killed="payments")


def test_a_party_that_hangs_is_lost_after_the_deadline_and_named(start, federation):
    change(federation, deadline_s=4)
    running = start("train", "-f", federation)
    pid = running.party("payments")
    running.said(THERE)
    os.kill(pid, signal.SIGSTOP)
    assert running.end() == 3
    assert "payments: does not answer" in running.stderr
    assert not running.left_behind()
    is_sound(federation, killed="payments")
