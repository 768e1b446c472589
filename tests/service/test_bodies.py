"""What comes in as JSON means one thing, is bounded, and is refused before a route sees it."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from server.api import bodies
from server.api.bodies import DEPTH, MOST_BYTES, Bodies, parse

JSON = {"content-type": "application/json"}
BAD = {
    "no json": b"{",
    "two values": b"{} {}",
    "name twice": b'{"a":1,"a":2}',
    "name twice inside": b'{"a":{"b":1,"b":1}}',
    "name twice, spelt apart": b'{"a":1,"\\u0061":2}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "huge whole number": b'{"a":' + b"9" * 21 + b"}",
    "huge exponent": b'{"a":1e999}',
    "deep arrays": b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1),
    "very deep": b"[" * 60_000,
    "deep objects": b'{"a":' * 20 + b"1" + b"}" * 20,
    "no utf-8": b'{"a":"\xff"}',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "bom": b'\xef\xbb\xbf{"a":1}',
    "control character": b'{"a":"\x01"}',
    "lone surrogate escaped as bytes": b'{"a":"\xed\xa0\x80"}',
}


def ask(raw, *, headers=None, method="POST", path="/x", parts=None, most=MOST_BYTES):
    """Return what an application reads behind the guard, or the refusal it meets."""
    got = {}

    async def app(scope, receive, send):
        got["raw"] = scope.get("confide.body")
        got["read"] = (await receive())["body"]

    messages = [
        {"type": "http.request", "body": one, "more_body": True} for one in (parts or [raw])
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    given_headers = JSON if headers is None else headers
    scope = {"type": "http", "method": method, "path": path}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in given_headers.items()]

    async def play():
        await Bodies(app, own=("/own/",), most_bytes=most)(scope, receive, None)

    try:
        asyncio.run(play())
    except HTTPException as error:
        return error.status_code
    return got


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_two_readers_may_read_differently_is_refused(name):
    assert ask(BAD[name]) == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"a":1,"b":{"a":1}}',
        b'{"a":"[[[[[[[[[[[[[[[[[[[[[["}',
        b'{"a":"\\"[[[[[[[[[[[[[[[[[[[[[["}',
        '{"名":"张"}'.encode(),
        b'{"a":1.5e3}',
        b"[" * DEPTH + b"]" * DEPTH,
    ],
)
def test_a_body_that_means_one_thing_comes_through_as_it_was(raw):
    assert ask(raw) == {"raw": raw, "read": raw}


def test_a_body_of_another_type_is_refused():
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"):
        assert ask(b"{}", headers={"content-type": kind}) == 415
    assert ask(b"{}", headers={}) == 415
    assert ask(b"{}", headers={"content-type": "Application/JSON; charset=utf-8"})["read"] == b"{}"
    assert ask(b"", headers={})["read"] == b""  # no body needs no type


def test_a_body_is_bounded_whether_or_not_it_says_its_length():
    assert ask(b"x" * 101, most=100) == 413
    assert ask(b"", parts=[b"x" * 60, b"x" * 60], most=100) == 413
    assert ask(b"", headers={**JSON, "content-length": "101"}, most=100) == 413
    assert ask(b"", headers={**JSON, "content-length": "9" * 5000}, most=100) == 413
    assert ask(b"[1]" + b" " * 97, most=100)["read"] == b"[1]" + b" " * 97


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(bodies, "READ_S", 0.05)

    async def app(_, receive, __):
        await receive()

    async def never():
        await asyncio.sleep(30)

    async def play():
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
        await Bodies(app)(scope, never, None)

    with pytest.raises(HTTPException) as caught:
        asyncio.run(play())
    assert caught.value.status_code == 408


def test_routes_that_read_themselves_and_requests_without_a_body_are_left_alone():
    assert ask(b"\xff", path="/own/x")["read"] == b"\xff"
    assert ask(b"\xff", method="GET")["read"] == b"\xff"


def test_who_goes_in_the_middle_is_no_defect():
    async def app(*_):
        raise AssertionError

    async def gone():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    asyncio.run(Bodies(app)(scope, gone, None))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def _deep(value):
    if isinstance(value, dict):
        return 1 + max(map(_deep, value.values()), default=0)
    return 1 + max(map(_deep, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=60, deadline=None)
@given(value=_VALUES)
def test_what_python_writes_is_read_as_it_was_meant(value):
    assume(_deep(value) <= DEPTH)
    assert parse(json.dumps(value).encode()) == value


@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(raw):
    assert ask(raw) == 400 or ask(raw)["read"] == raw


def test_wrong_bodies_over_http_have_the_one_shape(running):
    headers = {**running.bearer(), **JSON, "Idempotency-Key": "k"}
    for raw, status, code in ((b"{", 400, "usage"), (b"x" * 70_000, 413, "too-large")):
        answer = running.http.post("/v1/repayments", content=raw, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
    headers["content-type"] = "text/plain"
    answer = running.http.post("/v1/repayments", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "media-type")
    # What is not there is not there, whatever is sent to it.
    assert running.http.post("/v1/nothing", content=b"{", headers=headers).status_code == 404
    assert running.http.post("/v1/model", content=b"{", headers=headers).status_code == 405
