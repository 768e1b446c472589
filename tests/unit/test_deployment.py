"""The table of processes: what dies is started again, or named; nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from server.engines import guardian
from server.engines.deployment import (
    HOST,
    MAX_RESTARTS,
    Died,
    PortTaken,
    Service,
    answers,
    demand_port,
    deployed,
    free_ports,
    tail,
    wait_for,
)
from shared.errors import EnvironmentFault
from tests.support import ROOT

SLEEP = "import time; time.sleep(300)"
#: Starts a process in a session of its own and does not wait for it, as Flower does.
DETACHED = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(300)
"""


@pytest.fixture
def said():
    return []


@pytest.fixture
def service(tmp_path):
    def make(code, name="it", **more):
        return Service(name, ("-c", code), tmp_path / name, tmp_path / f"{name}.log", **more)

    return make


def until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)


def grown(marker, count):
    return lambda: len(guardian.marked(marker)) >= count


def the_death(fleet):
    """Check until something is reported dead."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        fleet.check()
        time.sleep(0.02)
    pytest.fail("nothing died")


def test_everything_ends_with_the_block_even_what_went_into_a_session_of_its_own(service, said):
    with deployed({}, said.append) as fleet:
        fleet.start([service(DETACHED, "a"), service(SLEEP, "b")])
        until(grown(fleet.marker, 3))
        folders = (fleet.scratch, fleet.memory)
        assert all(folder.is_dir() for folder in folders)
    assert not guardian.marked(fleet.marker)
    assert not any(folder.exists() for folder in folders)


def test_what_ignores_the_request_is_killed(service, said):
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
    with deployed({}, said.append) as fleet:
        fleet.start([service(f"{stubborn}")])
        until(grown(fleet.marker, 1))
        time.sleep(0.3)  # until it ignores
    assert not guardian.marked(fleet.marker)


def test_an_error_in_the_block_ends_everything_too(service, said):
    markers = []

    def fail():
        with deployed({}, said.append) as fleet:
            fleet.start([service(SLEEP)])
            until(grown(fleet.marker, 1))
            markers.append(fleet.marker)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not guardian.marked(*markers)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_launcher_is_killed_the_guardian_ends_the_rest(tmp_path, sign):
    script = f"""
import sys, time
from pathlib import Path
from server.engines.deployment import Service, deployed
with deployed({{}}, print) as fleet:
    home = Path({str(tmp_path)!r})
    fleet.start([Service("a", ("-c", {DETACHED!r}), home, home / "log")])
    print(fleet.marker, fleet.scratch, flush=True)
    time.sleep(300)
"""
    launcher = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    marker, scratch = launcher.stdout.readline().split()
    until(grown(marker, 2))
    os.kill(launcher.pid, sign)
    launcher.wait()
    launcher.stdout.close()
    until(lambda: not guardian.marked(marker))
    until(lambda: not Path(scratch).exists())


def test_when_the_guardian_is_killed_the_launcher_does_its_work(service, said):
    with deployed({}, said.append) as fleet:
        fleet.start([service(DETACHED)])
        until(grown(fleet.marker, 2))
        fleet._guard.kill()
        fleet._guard.wait()
    assert not guardian.marked(fleet.marker)


def test_a_sweep_leaves_processes_without_the_marker_alone(service, said):
    with deployed({}, said.append) as ours, deployed({}, said.append) as theirs:
        ours.start([service(SLEEP, "a")])
        theirs.start([service(SLEEP, "b")])
        until(lambda: guardian.marked(ours.marker) and guardian.marked(theirs.marker))
        assert guardian.sweep(ours.marker) == set()
        assert not guardian.marked(ours.marker)
        assert guardian.marked(theirs.marker)


def test_a_process_that_shows_its_environment_a_moment_later_is_not_left_behind():
    marker = "a-moment-later"
    late = f"""
import os, sys, time
print("here", flush=True)
time.sleep(0.2)
os.environ[{guardian.MARKER!r}] = {marker!r}
os.execv(sys.executable, [sys.executable, "-c", {SLEEP!r}])
"""
    popen = subprocess.Popen([sys.executable, "-c", late], stdout=subprocess.PIPE)
    try:
        assert popen.stdout.readline() == b"here\n"
        assert guardian.sweep(marker, grace=0.0) == set()
        assert popen.wait(20) == -signal.SIGKILL
    finally:
        popen.kill()
        popen.communicate()


def test_what_may_be_started_again_is_and_the_user_is_told(service, said):
    with deployed({}, said.append) as fleet:
        fleet.start([service("print('here')", "relay", again=True)])
        with pytest.raises(EnvironmentFault, match="the relay died for the 4th time"):
            the_death(fleet)
        log = tail(fleet._processes["relay"].service.log)
    assert len(said) == MAX_RESTARTS
    assert "the relay died; it is started again" in said[0]
    assert log.count(b"here") == MAX_RESTARTS + 1


def test_a_dead_process_that_was_replaced_is_still_there_for_those_who_look_for_it(service, said):
    """Flower's SuperExec, and so the `ServerApp`, stop when their SuperLink's process is gone."""
    with deployed({}, said.append) as fleet:
        fleet.start([service(SLEEP, "superlink", again=True)])
        first = fleet._processes["superlink"].popen.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: fleet.check() or said)
        os.kill(first, 0)  # raises if nothing of it is left
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_what_a_dead_party_left_is_ended_and_nothing_else(service, said):
    with deployed({}, said.append) as fleet:
        fleet.start([service(DETACHED, "a"), service(DETACHED, "b")])
        until(grown(fleet.marker, 4))
        fleet._processes["a"].popen.kill()
        with pytest.raises(Died):
            the_death(fleet)
        fleet.bury("a")
        assert len(guardian.marked(fleet.marker)) == 2
        fleet.check()  # it was told once, and the other lives
    assert not guardian.marked(fleet.marker)


def test_what_may_not_be_started_again_is_named_once(service, said):
    with deployed({}, said.append) as fleet:
        fleet.start([service("raise SystemExit(3)", "bank")])
        with pytest.raises(Died) as death:
            the_death(fleet)
        assert death.value.service.name == "bank"
        fleet.check()
    assert not said


def test_a_port_that_was_taken_meanwhile_is_told_apart_from_a_crash(service, said):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = f"import socket; socket.socket().bind({other.getsockname()!r})"
        # The words are the system's own, as Flower's servers print them.
        shown = f"import errno, os; print(os.strerror(errno.EADDRINUSE)); {taken}"
        with deployed({}, said.append) as fleet:
            fleet.start([service(shown, "superlink", again=True)])
            with pytest.raises(PortTaken):
                the_death(fleet)


def test_an_old_line_in_the_log_does_not_count(service, said):
    crash = service("raise SystemExit(3)", "bank")
    crash.log.write_text("address already in use\n")
    with deployed({}, said.append) as fleet:
        fleet.start([crash])
        with pytest.raises(Died):
            the_death(fleet)


def test_held_processes_begin_when_they_are_let_go(service, said, tmp_path):
    mark = tmp_path / "mark"
    wait = (
        f"import sys, pathlib; sys.stdin.readline(); pathlib.Path({str(mark)!r}).touch(); {SLEEP}"
    )
    with deployed({}, said.append) as fleet:
        fleet.start([service(wait, held=True)])
        until(grown(fleet.marker, 1))
        time.sleep(0.3)
        assert not mark.exists()
        fleet.release()
        until(mark.exists)


def test_every_process_finds_flowers_commands_and_calls_nobody(service, said, tmp_path):
    shown = tmp_path / "environment"
    code = (
        f"import os; open({str(shown)!r}, 'w').write('\\n'.join(map('='.join, os.environ.items())))"
    )
    with deployed({"CONFIDE_PROTOCOL_DEADLINE_S": "7"}, said.append) as fleet:
        fleet.start([service(code, "bank")])
        with pytest.raises(Died):
            the_death(fleet)
    lines = shown.read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert variables["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert variables["FLWR_HOME"] == str(tmp_path / "bank" / "flower")
    assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
    assert variables["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert "127.0.0.1" in variables["NO_PROXY"]
    assert variables["OPENBLAS_NUM_THREADS"] == "1"
    assert variables["CONFIDE_PROTOCOL_DEADLINE_S"] == "7"


def test_ports_are_free_and_differ_and_a_taken_one_is_named():
    ports = free_ports(7)
    assert len(set(ports)) == 7
    assert not any(answers(port) for port in ports)
    demand_port(ports[0], "relay")
    with socket.socket() as other:
        other.bind((HOST, ports[0]))
        other.listen()
        assert answers(ports[0])
        with pytest.raises(
            EnvironmentFault, match=f"port {ports[0]}, asked for the relay, is taken"
        ):
            demand_port(ports[0], "relay")


def test_waiting_ends_with_the_time_or_with_a_death(service, said):
    with deployed({}, said.append) as fleet:
        assert not wait_for(lambda: False, 0.1, fleet)
        assert wait_for(lambda: True, 0.1, fleet)
        fleet.start([service("raise SystemExit(3)", "bank")])
        with pytest.raises(Died):
            wait_for(lambda: False, 20.0, fleet)


def test_without_proc_process_groups_are_ended(service, said, monkeypatch):
    monkeypatch.setattr(guardian, "_PROC", Path("/nowhere"))
    with deployed({}, said.append) as fleet:
        fleet.start([service(SLEEP)])
        popen = fleet._processes["it"].popen
        # A group knows its dead until they are reaped.
        threading.Thread(target=popen.wait, daemon=True).start()
        assert guardian.sweep(fleet.marker, [popen.pid]) == set()
        assert popen.wait(5) == -signal.SIGTERM


def test_whoever_shows_no_environment_is_waited_for_a_while_and_left_alone(monkeypatch):
    """A process that is being replaced by another program shows none until that is loaded."""
    monkeypatch.setattr(guardian, "_UNSURE_S", 1.5)
    with subprocess.Popen(["sleep", "60"], env={}) as nobodys:
        try:
            until(guardian.unsure, 10)
            began = time.monotonic()
            assert guardian.sweep("a marker that nobody has") == set()
            assert time.monotonic() - began > 1.5
            assert nobodys.poll() is None
        finally:
            nobodys.kill()
