"""Counts and times by route: right, without names of people, and not for everybody."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from server.api.access import Role
from server.api.metrics import Metrics
from tests.service.kit import Kit, name_of
from tests.support import ROOT

HERE = ("127.0.0.1", 50_000)


@pytest.fixture(scope="module")
def world(tmp_path_factory, begin):
    return begin(Kit(tmp_path_factory.mktemp("metrics")))


def counted(text, route, status, method="GET"):
    line = f'confide_requests_total{{method="{method}",route="{route}",status="{status}"}} '
    found = re.search(re.escape(line) + r"(\S+)", text)
    return float(found.group(1)) if found else 0.0


def text_of(world):
    return world.get("/metrics").text


def test_requests_are_counted_by_route_and_status_and_never_by_name(world):
    score = "/v1/customers/{pseudonym}/score"
    before = text_of(world)
    for number in range(3):
        world.get(f"/v1/customers/{name_of(number)}/score")
    world.http.get(f"/v1/customers/{name_of(1)}/score")
    world.get(f"/{name_of(5)}")
    world.http.request("BREW", "/v1/model")
    after = text_of(world)
    assert counted(after, score, 503) - counted(before, score, 503) == 3
    assert counted(after, score, 401) - counted(before, score, 401) == 1
    assert counted(after, "none", 404) == 1
    assert 'method="other"' in after
    assert f'confide_request_seconds_count{{method="GET",route="{score}"}} 4.0' in after
    for number in (0, 1, 2, 5):
        assert name_of(number) not in after
    assert "BREW" not in after


def test_metrics_are_for_operators_and_for_who_stands_at_this_machine(world):
    far = TestClient(world.app, raise_server_exceptions=False, client=("192.0.2.7", 50_000))
    near = TestClient(world.app, raise_server_exceptions=False, client=HERE)
    assert far.get("/metrics").status_code == 401
    assert far.get("/metrics", headers=world.bearer(Role.OFFICER)).status_code == 403
    assert far.get("/metrics", headers=world.bearer(Role.OPERATOR)).status_code == 200
    assert near.get("/metrics").status_code == 200
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        # Through a proxy on this machine everybody would stand here.
        assert near.get("/metrics", headers={name: "127.0.0.1"}).status_code == 401
    assert near.get("/metrics", headers=world.bearer(Role.OFFICER)).status_code == 403


def test_a_process_by_itself_counts_by_itself():
    first, second = Metrics(), Metrics()
    first.note("GET", "/x", 200, 0.01)
    assert counted(first.text().decode(), "/x", 200) == 1
    assert counted(second.text().decode(), "/x", 200) == 0


def test_workers_count_together(tmp_path):
    """The library looks at its variable when it is loaded, so each is a process of its own."""
    program = (
        "from server.api.metrics import Metrics\n"
        "one = Metrics()\n"
        "one.note('GET', '/x', 200, 0.01)\n"
        "print(one.text().decode())\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert counted(told[0], "/x", 200) == 1
    assert counted(told[1], "/x", 200) == 2
