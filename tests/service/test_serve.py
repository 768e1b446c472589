"""`confide serve` with several workers: asked, killed and told to stop as processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from server.api.tokens import make_keys
from server.store import access
from server.store.engine import open_store
from server.supervisor import Supervisor
from server.worker import Task
from tests.service.kit import Kit, name_of, real_now
from tests.service.live import LONG_S, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def a_kit(folder):
    kit = Kit(folder)
    now = real_now()
    kit.live = kit.serve(created=now, now=now)
    kit.raw = kit.feeds(manifest=kit.live.manifest, as_of=now[:10], created=now)
    return kit


@pytest.fixture
def live(tmp_path):
    return a_kit(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One service for the tests that leave it as it was; its store's URL has a secret in it."""
    kit = a_kit(tmp_path_factory.mktemp("shared"))
    kit.url = f"sqlite:///{kit.folder}/hunter2.db"
    with serving(kit, env={"CONFIDE_STORE_URL": kit.url}) as service:
        yield service


def test_workers_share_a_socket_follow_feeds_and_are_replaced_and_drained(live):
    with serving(live) as service:
        assert len(service.workers()) == 2
        # A feed that one worker took is served by all of them.
        for party, raw in live.raw.items():
            assert service.ask(f"/v1/feeds/{party}", "PUT", raw, {})[0] == 201
        path = f"/v1/customers/{name_of(2)}/limit"
        answers = [service.ask(path) for _ in range(20)]
        assert {status for status, _ in answers} == {200}
        limits = {json.loads(body)["limit_minor"] for _, body in answers}
        assert limits == {4_000_000}
        # Whichever worker is asked tells the sum of all.
        text = service.ask("/metrics", headers={})[1].decode()
        labels = 'method="GET",route="/v1/customers/{pseudonym}/limit",status="200"'
        assert f"confide_requests_total{{{labels}}} 20.0" in text
        # One that is killed is replaced, and nobody is turned away meanwhile.
        first = service.workers()
        assert first[0] > 1
        os.kill(first[0], signal.SIGKILL)
        for _ in range(10):
            assert service.ask(path)[0] == 200
        service.until(lambda: len(set(service.workers()) - {first[0]}) == 2)
        assert service.ask(path)[0] == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(LONG_S) == 0
    assert "another takes its place" in service.log.read_text()
    assert service.log.read_text().count("WARNING") == 1


def test_requests_at_hand_are_answered_before_the_end(live):
    with serving(live) as service:
        # A slow one: its first half before the signal, its second half after.
        slow = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LONG_S)
        raw = live.raw["bank"]
        slow.putrequest("PUT", "/v1/feeds/bank")
        slow.putheader("Content-Length", str(len(raw)))
        slow.endheaders(raw[: len(raw) // 2])
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        slow.send(raw[len(raw) // 2 :])
        assert slow.getresponse().status == 201
        slow.close()
        assert service.process.wait(LONG_S) == 0


def test_workers_end_when_their_supervisor_is_killed(live):
    with serving(live) as service:
        workers = service.workers()
        service.process.kill()
        service.process.wait()
        service.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_the_password_of_the_store_is_in_no_command_line_and_in_no_log(shared):
    """Control: what is on the command line is seen there."""
    shared.until(lambda: len(shared.workers()) == 2)
    lines = [
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (shared.process.pid, *shared.workers())
    ]
    assert (shared.kit.folder / "hunter2.db").exists()
    assert not any(b"hunter2" in line for line in lines)
    assert any(b"--workers" in line for line in lines)
    assert "hunter2" not in shared.log.read_text()


def test_no_personal_data_reaches_the_log_of_real_requests(shared):
    """Control: the log is written to, and what is written is found."""
    replaced = "another takes its place"
    before = shared.log.read_text().count(replaced)
    for party, raw in shared.kit.raw.items():
        shared.ask(f"/v1/feeds/{party}", "PUT", raw, {})
    store = open_store(shared.kit.url)
    with store.write() as db:
        secret = access.add_client(db, "app", "customer", datetime.now(UTC), any_subject=True)
    store.close()
    form = f"grant_type=client_credentials&client_id=app&client_secret={secret}"
    form += f"&subject={name_of(2)}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, body = shared.ask("/v1/token", "POST", form, kind)
    token = json.loads(body)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert status == 200
    for path in (f"/v1/customers/{name_of(2)}/limit", f"/v1/customers/{name_of(1)}/limit"):
        for headers in (bearer, {}, {"Authorization": f"Bearer {token}x"}):
            shared.ask(path, headers=headers)
    shared.ask("/v1/token", "POST", form + "x", kind)
    shared.ask("/v1/lines", "POST", "{", {**bearer, "Content-Type": "application/json"})
    os.kill(shared.workers()[0], signal.SIGKILL)
    shared.until(lambda: shared.log.read_text().count(replaced) > before)
    log = shared.log.read_text()
    for hidden in (name_of(1), name_of(2), token, token.partition(".")[2], secret):
        assert hidden not in log


def test_duties_are_done_by_one_worker_and_taken_over_by_the_other(shared):
    shared.until(lambda: _who_holds(shared) is not None)
    first = _who_holds(shared)
    assert first in shared.workers()  # a process of this test, and of nobody else
    os.kill(first, signal.SIGKILL)
    shared.until(lambda: _who_holds(shared) not in {None, first})


def _who_holds(service):
    """Return the worker that has the lock on the duties, or None."""
    path = service.home / "duties.lock"
    if not path.exists():
        return None
    inode, workers = str(path.stat().st_ino), service.workers()
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "->" not in words and words[5].endswith(f":{inode}") and int(words[4]) in workers:
            return int(words[4])
    return None


def test_a_worker_that_cannot_live_is_not_started_again_at_once(tmp_path, monkeypatch):
    made = []

    class Dead:
        stdin = None

        def __init__(self, *_, **__):
            made.append(time.monotonic())

        def poll(self):
            return 3

        def terminate(self):
            pass

        def wait(self, _=None):
            return 3

    monkeypatch.setattr("server.supervisor.subprocess.Popen", Dead)
    make_keys(tmp_path / "token.key")
    supervisor = Supervisor(Task("", "", "", "", "", 3), 1, tmp_path)
    threading.Timer(4.0, supervisor._stop.set).start()
    monkeypatch.setattr("server.supervisor.signal.signal", lambda *_: None)
    supervisor.run()
    gaps = [after - before for before, after in pairwise(made)]
    assert 2 <= len(made) <= 4
    assert gaps == sorted(gaps)
    assert gaps[0] >= 0.9
