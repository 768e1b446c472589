"""One shape for every error, and one test module that owns it."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from fastapi.testclient import TestClient

from server.api import problems, schemas, upload, views
from server.api.routes import feeds as routes
from shared.feed_lines import LINE_BYTES
from tests.service.kit import name_of

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
    assert answer.headers["allow"] == "PUT"
    answer = running.http.put("/v1/switches/increases", json={})
    assert answer.headers["allow"] == "GET, POST"  # two routes of one address


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


def app_of(kit, start):
    kit.serve()
    return start(kit).app


async def put(app, party, parts):
    """Put the parts that an asynchronous iterator gives; return status and answer."""
    sent = []

    async def receive():
        async for part in parts:
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": f"/v1/feeds/{party}", "headers": []}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "app": None}
    await app(scope, receive, keep)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(("limit", "first"), [("HEADER_S", False), ("UPLOAD_S", True)])
def test_feed_that_does_not_arrive_is_not_waited_for(kit, start, monkeypatch, limit, first):
    monkeypatch.setattr(upload, limit, 0.05)
    line = kit.feeds()["bank"].partition(b"\n")[0] + b"\n"

    async def silent():
        if first:
            yield line
        await asyncio.sleep(5)

    status, answer = asyncio.run(put(app_of(kit, start), "bank", silent()))
    assert (status, answer["code"]) == (408, "too-slow")


def test_whoever_is_not_let_in_holds_no_place_and_is_not_read(kit, start):
    """Slow bodies without a signature, far more than there are places, hold up no party."""
    strange = b'{"header":{}}\n'
    forged = kit.feeds()["bank"].replace(b'"customers":3', b'"customers":4').partition(b"\n")[0]
    old = kit.feeds(as_of="2026-01-01")["bank"].partition(b"\n")[0]
    read = []

    async def slow(first):
        yield first + b"\n"
        for _ in range(50):
            read.append(1)
            yield b"x" * 65_536
            await asyncio.sleep(0.1)

    async def silent():
        await asyncio.sleep(30)
        yield b""

    async def whole(raw):
        yield raw

    async def play():
        app = app_of(kit, start)
        waiting = [asyncio.ensure_future(put(app, "bank", silent())) for _ in range(5)]
        answers = await asyncio.gather(
            *(put(app, "bank", slow(one)) for one in (strange, forged, old) for _ in range(3))
        )
        async with asyncio.timeout(5):
            good = await put(app, "bureau", whole(kit.feeds()["bureau"]))
        for one in waiting:
            one.cancel()
        return answers, good

    answers, good = asyncio.run(play())
    assert good[0] == 201
    assert read == []
    assert [status for status, _ in answers] == [403] * 9
    checks = [answer["check"] for _, answer in answers]
    assert checks == ["form"] * 3 + ["signature"] * 3 + ["expiry"] * 3


def test_one_party_that_is_slow_holds_one_place(kit, start):
    raw = kit.feeds()["bank"]

    async def slow():
        yield raw[:-5]
        await asyncio.sleep(30)

    async def whole(raw):
        yield raw

    async def play():
        app = app_of(kit, start)
        waiting = [asyncio.ensure_future(put(app, "bank", slow())) for _ in range(routes.UPLOADS)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            good = await put(app, "bureau", whole(kit.feeds()["bureau"]))
        for one in waiting:
            one.cancel()
        return good

    assert asyncio.run(play())[0] == 201


def test_no_more_is_read_than_the_signed_header_allows(kit, start):
    raw, read = kit.feeds()["bank"], []

    async def endless():
        yield raw
        while True:
            read.append(4096)
            yield b"x" * 4096

    status, answer = asyncio.run(put(app_of(kit, start), "bank", endless()))
    assert (status, answer["check"]) == (403, "form")
    assert "longer than its header allows" in answer["detail"]
    assert sum(read) < 3 * LINE_BYTES + 2 * 4096  # of three customers


def test_sender_that_goes_in_the_middle_is_no_defect(kit, start, caplog):
    gone = {"type": "http.disconnect"}
    raw, sent = kit.feeds()["bank"], []
    messages = [{"type": "http.request", "body": raw[:-5], "more_body": True}, gone]

    async def receive():
        return messages.pop(0) if messages else gone

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/v1/feeds/bank", "headers": []}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "app": None}
    asyncio.run(app_of(kit, start)(scope, receive, keep))
    assert sent[0]["status"] == 400
    assert not caplog.records


def test_service_that_has_nothing_to_serve(kit, start):
    answer = start(kit).get("/v1/model")
    assert problem(answer, 503, "environment")["hint"]
    assert answer.headers["retry-after"] == "30"


def test_a_defect_tells_nothing_but_where_to_look(running, monkeypatch, caplog):
    secret = "customer 4711"

    def broken(*_):
        raise ValueError(secret)

    monkeypatch.setattr(views, "score_view", broken)
    with caplog.at_level(logging.ERROR, "server.api.problems"):
        answer = running.get(f"/v1/customers/{name_of(1)}/score")
    value = problem(answer, 500, "internal")
    assert secret not in answer.text
    ours = [one.getMessage() for one in caplog.records if one.name == "server.api.problems"]
    assert value["instance"] in ours[0]
    assert "ValueError" in ours[0]
    assert secret not in ours[0]


def test_a_defect_goes_no_further_than_the_application(running, monkeypatch):
    def broken(*_):
        raise ValueError("customer 4711")

    monkeypatch.setattr(views, "score_view", broken)
    path = f"/v1/customers/{name_of(1)}/score"
    headers = running.bearer()
    with pytest.raises(ValueError, match="4711"):  # control: the application alone raises it again
        TestClient(running.app).get(path, headers=headers)
    problem(TestClient(problems.Quiet(running.app)).get(path, headers=headers), 500, "internal")


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
    schemas.Ready(**running.get("/readyz").json())
    schemas.Alive(**running.get("/healthz").json())
    raw = running.kit.feeds(as_of="2026-03-02")["bank"]
    schemas.Accepted(**running.put("bank", raw).json())
    for shape in (schemas.Score, schemas.Limit):
        shape(**shape.model_config["json_schema_extra"]["example"])


def test_defects_reach_the_log_of_a_real_client_as_well(running):
    # Control of the client: by default it raises what the application raised.
    client = TestClient(running.app)
    problem(client.get("/v1/nothing"), 404, "not-found")
