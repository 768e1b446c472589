"""Whether the process is up and the service can answer; what every answer has in its headers."""

from __future__ import annotations

from fastapi.testclient import TestClient

from server.api.headers import ALWAYS
from shared.errors import EnvironmentFault
from tests.service.kit import NOW


def test_a_process_is_up_whatever_is_missing(kit, start):
    world = start(kit)
    world.desk.store.close()
    answer = world.http.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_the_service_is_ready_once_a_release_serves(kit, start):
    world = start(kit)
    answer = world.http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "environment")
    assert [one.partition(":")[0] for one in answer.json()["findings"]] == ["release"]
    assert answer.headers["retry-after"] == "5"
    kit.serve()
    answer = world.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "release": "scorecard-0001",
        "missing": list(kit.federation.holders),
    }


def test_feeds_that_another_process_took_are_not_missing(kit, start):
    kit.serve()
    one, other = start(kit), start(kit)
    assert other.http.get("/readyz").json()["missing"] == list(kit.federation.holders)  # control
    for party, raw in kit.feeds().items():
        one.service.feeds.accept(raw, NOW, party=party)
    assert other.http.get("/readyz").json()["missing"] == []


def test_a_store_that_is_away_is_named(running, monkeypatch):
    assert running.http.get("/readyz").status_code == 200  # control

    def away(*_, **__):
        raise EnvironmentFault("sqlite: the database is away")

    monkeypatch.setattr(type(running.desk.store), "read", away)
    answer = running.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["findings"] == ["store: sqlite: the database is away"]


def test_every_answer_has_the_headers(kit, start):
    world = start(kit)
    secure = TestClient(world.app, base_url="https://x", raise_server_exceptions=False)
    paths = {"/healthz": 200, "/v1/nothing": 404, "/v1/model": 503, "/v1/lines/x": 401}
    for path, status in paths.items():
        answer = world.http.get(path)
        assert answer.status_code == status
        for name, value in ALWAYS.items():
            assert answer.headers[name] == value
        assert "strict-transport-security" not in answer.headers
        assert "strict-transport-security" in secure.get(path).headers


def test_a_defect_has_the_headers_too(running, monkeypatch):
    def broken(*_):
        raise ValueError

    monkeypatch.setattr("server.api.views.model_view", broken)
    answer = running.http.get("/v1/model")
    assert answer.status_code == 500
    for name, value in ALWAYS.items():
        assert answer.headers[name] == value
