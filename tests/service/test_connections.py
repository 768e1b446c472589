"""Slow and endless heads against a real server: let go, while others are answered."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from server.hosting import connections
from server.hosting.connections import PatientH11, PatientHttptools, protocol

QUICK_S = 0.4


async def app(scope, receive, send):
    """Answer with the length of the body."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    text = str(size).encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture(params=[PatientH11, PatientHttptools])
def port(request, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", QUICK_S)
    config = uvicorn.Config(app, http=request.param, lifespan="off", log_config=None, port=0)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def call(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as made:
        yield made


def answer(call, length=1):
    """Read an answer whose body has so many bytes; return the body."""
    found = b""
    while b"\r\n\r\n" not in found or len(found.partition(b"\r\n\r\n")[2]) < length:
        part = call.recv(4096)
        assert part, found
        found += part
    assert found.startswith(b"HTTP/1.1 200")
    return found.partition(b"\r\n\r\n")[2]


def let_go(call):
    """Return after how many seconds the other side hung up."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while call.recv(4096):
            pass
    return time.monotonic() - began


def test_a_connection_that_says_nothing_is_let_go(call):
    assert QUICK_S / 2 < let_go(call) < 3


def test_a_head_that_drips_is_let_go(call):
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1000:
            call.sendall(bytes([byte]))
            time.sleep(0.02)
    assert time.monotonic() - began < 4


def test_a_second_head_that_drips_is_let_go_too(call):
    call.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer(call) == b"0"
    time.sleep(QUICK_S * 1.5)  # between two requests is uvicorn's own time
    call.sendall(b"GET / HTTP/1.1\r\nHo")
    assert QUICK_S / 2 < let_go(call) < 3


def test_requests_on_one_connection_and_a_slow_body_are_answered(call):
    for _ in range(3):
        call.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(call) == b"0"
    call.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
    for _ in range(4):
        time.sleep(QUICK_S / 2)
        call.sendall(b"x")
    assert answer(call) == b"4"


def test_a_long_body_is_no_head(call):
    body = b"x" * 300_000
    call.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + body)
    assert answer(call, 6) == b"300000"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_a_head_without_end_is_let_go_before_it_fills_the_memory(call, head):
    sent = 0
    with contextlib.suppress(ConnectionError):
        call.sendall(head)
        while sent < 1 << 26:
            call.sendall(b"a" * 65536)
            sent += 65536
    assert sent < 1 << 24  # what the sockets of both sides hold


def test_the_faster_protocol_is_taken_where_it_is_installed():
    assert protocol() is PatientHttptools
