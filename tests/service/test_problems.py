"""One shape for every error, and one test module that owns it."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from fastapi.testclient import TestClient

from server.api import app as module
from server.api import schemas
from server.api.service import LimitService, load_policy
from tests.service.kit import NOW, name_of

MEMBERS = {"type", "title", "status", "detail", "code", "instance"}


def problem(answer, status, code):
    """Check the shape of an error; return it."""
    value = answer.json()
    assert answer.status_code == value["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert value["code"] == code
    assert value["type"] == f"urn:confide:error:{code}"
    assert value["instance"].startswith("urn:uuid:")
    assert value.keys() >= MEMBERS
    assert set(value) <= MEMBERS | {"hint", "party", "check", "findings"}
    schemas.ProblemShape(**value)
    return value


def test_unknown_address(running):
    problem(running.get("/v1/nothing"), 404, "not-found")


def test_unknown_customer(running):
    problem(running.get(f"/v1/customers/{name_of(9)}/score"), 404, "not-found")


def test_wrong_method(running):
    answer = running.http.post("/v1/feeds/bank", content=b"x")
    problem(answer, 405, "method-not-allowed")
    assert "PUT" in answer.headers["allow"]


@pytest.mark.parametrize("name", ["x", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "g"])
def test_malformed_pseudonym_is_not_repeated(running, name):
    value = problem(running.get(f"/v1/customers/{name}/score"), 422, "usage")
    assert value["findings"][0].startswith("path.pseudonym: ")
    assert len(name) < 10 or name not in json.dumps(value)


@pytest.mark.parametrize("amount", ["-1", "1.5", "much", str(10**16)])
def test_malformed_amount(running, amount):
    answer = running.get(f"/v1/customers/{name_of(1)}/limit", current_minor=amount)
    value = problem(answer, 422, "usage")
    assert value["findings"][0].startswith("query.current_minor: ")


def test_refused_feed_names_its_check_and_party(running):
    raw = running.kit.feeds(as_of="2026-02-01")["bank"]
    value = problem(running.put("bank", raw), 403, "feed-refused")
    assert (value["check"], value["party"]) == ("as-of", "bank")


@pytest.mark.parametrize("raw", [b"", b"\n", b"{}", b"\xff\xfe", b"[" * 5000, b'{"header":1}\n'])
def test_nonsense_as_a_feed(running, raw):
    assert problem(running.put("bank", raw), 403, "feed-refused")["check"] == "form"


def test_feed_put_under_another_party(running):
    raw = running.kit.feeds(as_of="2026-03-02")["bank"]
    assert problem(running.put("bureau", raw), 403, "feed-refused")["check"] == "party"
    assert problem(running.put("zebra", raw), 403, "feed-refused")["check"] == "party"


def test_too_long_a_feed_is_not_read(kit, start):
    kit.serve()
    world = start(kit, max_feed_bytes=1000)
    problem(world.put("bank", b"x" * 1001), 413, "too-large")

    def chunks():
        for _ in range(11):
            yield b"x" * 100

    problem(world.http.put("/v1/feeds/bank", content=chunks()), 413, "too-large")
    assert problem(world.put("bank", b"x" * 1000), 403, "feed-refused")["check"] == "form"


def test_feed_that_does_not_arrive_is_not_waited_for(kit, monkeypatch):
    monkeypatch.setattr(module, "UPLOAD_S", 0.05)
    sent = []

    async def silent():
        await asyncio.sleep(5)

    async def keep(message):
        sent.append(message)

    kit.serve()
    scope = {"type": "http", "method": "PUT", "path": "/v1/feeds/bank", "headers": []}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "app": None}
    service = LimitService(kit.folder, kit.federation, *load_policy(None), lambda: NOW)
    service.start()
    asyncio.run(module.create_app(service)(scope, silent, keep))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "too-slow"


def test_service_that_has_nothing_to_serve(kit, start):
    answer = start(kit).get("/v1/model")
    assert problem(answer, 503, "environment")["hint"]
    assert answer.headers["retry-after"] == "30"


def test_a_defect_tells_nothing_but_where_to_look(running, monkeypatch, caplog):
    secret = "customer 4711"

    def broken(*_):
        raise ValueError(secret)

    monkeypatch.setattr(module.views, "score_view", broken)
    with caplog.at_level(logging.ERROR, "server.api.problems"):
        answer = running.get(f"/v1/customers/{name_of(1)}/score")
    value = problem(answer, 500, "internal")
    assert secret not in answer.text
    ours = [one.getMessage() for one in caplog.records if one.name == "server.api.problems"]
    assert value["instance"] in ours[0]
    assert "ValueError" in ours[0]
    assert secret not in ours[0]


def test_openapi_describes_every_address_with_examples_and_errors(running):
    document = running.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/health",
        "/v1/customers/{pseudonym}/limit",
        "/v1/customers/{pseudonym}/score",
        "/v1/feeds",
        "/v1/feeds/{party}",
        "/v1/model",
    }
    known = document["components"]["schemas"]
    for name in ("Score", "Limit", "ProblemShape"):
        assert known[name]["example"]
    for path, methods in document["paths"].items():
        for method in methods.values():
            for status, answer in method["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
                else:
                    assert "$ref" in answer["content"]["application/json"]["schema"]


def test_no_page_loads_code_from_elsewhere(running):
    for path in ("/docs", "/redoc"):
        problem(running.get(path), 404, "not-found")


def test_answers_match_their_published_shape(running):
    path = f"/v1/customers/{name_of(0)}"
    schemas.Score(**running.get(f"{path}/score").json())
    schemas.Limit(**running.get(f"{path}/limit").json())
    schemas.Limit(**running.get(f"{path}/limit", current_minor=5).json())
    schemas.Model(**running.get("/v1/model").json())
    schemas.Feeds(**running.get("/v1/feeds").json())
    schemas.Health(**running.get("/health").json())
    raw = running.kit.feeds(as_of="2026-03-02")["bank"]
    schemas.Accepted(**running.put("bank", raw).json())
    for shape in (schemas.Score, schemas.Limit):
        shape(**shape.model_config["json_schema_extra"]["example"])


def test_defects_reach_the_log_of_a_real_client_as_well(running):
    # Control of the client: by default it raises what the application raised.
    client = TestClient(running.app)
    problem(client.get("/v1/nothing"), 404, "not-found")
