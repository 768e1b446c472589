"""Work in several processes: in order, named when one is killed, and gone with who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.edge.workers import cores, shared_out
from shared.errors import DataError, EnvironmentFault
from tests.support import ROOT


def slower_first(number):
    time.sleep(0.3 if number == 0 else 0.0)
    return number * number, os.getpid()


def dies(number):
    os._exit(9)


def refuses(number):
    raise DataError("world", [f"part {number}"])


def test_results_come_in_the_order_of_the_items_from_other_processes():
    found = list(shared_out(slower_first, range(6), 2))
    assert [result for result, _ in found] == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in {pid for _, pid in found}
    assert {pid for _, pid in shared_out(slower_first, range(3), 1)} == {os.getpid()}
    assert {pid for _, pid in shared_out(slower_first, [2], 4)} == {os.getpid()}
    assert cores() >= 1


def test_a_process_that_is_killed_is_said_so_and_an_error_comes_through_whole():
    with pytest.raises(EnvironmentFault, match="was killed") as told:
        list(shared_out(dies, range(3), 2))
    assert "memory" in told.value.hint
    with pytest.raises(DataError, match="part 0"):
        list(shared_out(refuses, range(3), 2))


PARENT = """
import sys, time
from pathlib import Path
from functools import partial
from shared.edge.workers import shared_out
from tests.unit.test_workers import mark
if __name__ == "__main__":
    list(shared_out(partial(mark, sys.argv[1]), range(4), 2))
"""


def mark(folder, number):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_whoever_asked(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    marks = tmp_path / "marks"
    marks.mkdir()
    command = [sys.executable, script, marks]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as parent:
        end = time.monotonic() + 60
        while len(pids := [int(path.name) for path in marks.iterdir()]) < 2:
            assert time.monotonic() < end, "the workers did not begin"
            time.sleep(0.05)
        assert all(alive(pid) for pid in pids)
        parent.send_signal(how)
    end = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, "a worker outlived whoever asked"
        time.sleep(0.05)
