"""`confide federation`: processes that stay, are looked after, train, and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request

import pytest

from server.engines.deployment import answers, free_ports
from server.federation.state import read_state
from tests.whole_runs import HOLDERS, build, cards

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ALL = {"superlink", "gate", "relay", *HOLDERS}


@pytest.fixture
def confide(start):
    """Run `confide ...` to its end: a whole stack of processes starts, on whatever machine."""

    def run(*arguments):
        running = start(*arguments)
        return running.end(400), running.stdout, running.stderr

    return run


@pytest.fixture
def path(tmp_path, confide):
    made = build(tmp_path / "federation")
    yield made
    confide("federation", "down", "-f", made)


@pytest.fixture
def free_base():
    """Return the first of a row of free ports."""
    for _ in range(100):
        (first,) = free_ports(1)
        if first < 65_000 and not any(answers(first + at) for at in range(8)):
            return first
    raise AssertionError("no row of ports is free")


def services(value):
    return {one["name"]: one for one in value["services"]}


def until(condition, limit):
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
    return found


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.timeout(1200)
def test_up_train_status_and_down(confide, path, free_base):
    status, out, err = confide(
        "federation", "up", "-f", path, "--metrics", free_base, "--format", "json"
    )
    assert status == 0, err
    value = json.loads(out)["data"]
    assert services(value).keys() == ALL
    status, _, err = confide("federation", "up", "-f", path)
    assert status == 3
    assert "it is up already" in err
    where = ("--superlink", value["superlink"], "--relay", value["relay"])
    status, out, err = confide("train", "-f", path, "--engine", "flower", *where)
    assert status == 0, err
    assert len(cards(path.parent)) == 1
    # What died is started again: the relay at once, and the next training finds it.
    os.kill(services(value)["relay"]["pid"], signal.SIGKILL)
    home = path.parent / "coordinator"
    after = until(
        lambda: [
            one
            for one in (read_state(home).services if read_state(home) else ())
            if one.name == "relay" and one.restarts == 1
        ],
        60,
    )
    assert after[0].port == services(value)["relay"]["port"]
    until(lambda: answers(after[0].port), 60)
    status, out, _ = confide("doctor", "-f", path, "--format", "json")
    assert status == 0, out
    said = [one["said"] for one in json.loads(out)["data"]["findings"]]
    assert any("the relay answers" in one for one in said)
    assert any("the SuperLink answers" in one for one in said)
    status, out, _ = confide("doctor", "-f", path, "--party", "bank")
    assert status == 0, out
    # A party's numbers and the relay's, each at its own port.
    for offset, name in ((0, "confide_runs_total"), (2, "confide_relay"), (3, "confide_phases")):
        page = f"http://127.0.0.1:{free_base + offset}/metrics"
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert name.encode() in answer.read()
    pids = [one["pid"] for one in value["services"]]
    assert confide("federation", "down", "-f", path)[0] == 0
    assert all(gone(pid) for pid in pids)
    assert confide("federation", "status", "-f", path)[0] == 1
    assert confide("federation", "down", "-f", path)[0] == 0  # twice is once
    assert "FAIL" not in confide("doctor", "-f", path)[1]


@pytest.mark.timeout(1200)
def test_a_partys_node_that_is_killed_rejoins_and_a_killed_supervisor_leaves_nothing(confide, path):
    status, out, err = confide("federation", "up", "-f", path, "--format", "json")
    assert status == 0, err
    value = json.loads(out)["data"]
    first = services(value)["bank"]["pid"]
    os.kill(first, signal.SIGKILL)
    home = path.parent / "coordinator"

    def node():
        state = read_state(home)
        found = [one for one in (state.services if state else ()) if one.name == "bank"]
        return found[0] if found and found[0].pid != first else None

    assert until(node, 90).restarts >= 1
    where = ("--superlink", value["superlink"], "--relay", value["relay"])
    # Flower takes a node's last life as over after some 50 s, and lets it in then.
    status, _, err = confide("train", "-f", path, "--engine", "flower", *where)
    assert status == 0, err
    pids = [one.pid for one in read_state(home).services]
    supervisor = int((home / "federation" / "pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: all(gone(pid) for pid in pids), 60)
    assert read_state(home) is None
    assert confide("federation", "status", "-f", path)[0] == 1


def test_what_cannot_start_is_named_and_nothing_is_left(confide, path):
    (path.parent / "coordinator" / "tls.key").chmod(0o644)
    status, _, err = confide("federation", "up", "-f", path)
    assert status == 3
    assert "tls.key can be read by others" in err or "died" in err
    assert confide("federation", "status", "-f", path)[0] == 1
    left = subprocess.run(["pgrep", "-f", str(path.parent)], capture_output=True, check=False)
    assert left.stdout == b""
