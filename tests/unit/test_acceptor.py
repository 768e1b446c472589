"""Accepting: who is beyond a bound is closed at once, and who keeps within them is not touched."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter

import pytest

from clients.keys.commands import make_keys
from server.hosting.acceptor import Acceptor, Bounds, Bucket
from server.relay.members import Member, Pace
from shared.edge.tls import tls_context
from shared.proof import Proof


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    base = tmp_path_factory.mktemp("keys")
    make_keys(base, "test", {"bank": "bank", "coordinator": "coordinator"}, hosts=(), force=False)
    return base


def context(home, name, *, server):
    place = home / name
    return tls_context(place / "tls.crt", place / "tls.key", place / "ca.crt", server=server)


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def play(home, bounds, scene, clock=None):
    """Run a scene against a listener; return why connections were refused."""
    refused = Counter()

    async def run():
        acceptor = Acceptor(bounds, lambda reason: refused.update([reason]), clock or Clock())
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        work = acceptor.accept(
            listener, asyncio.Protocol, context(home, "coordinator", server=True)
        )
        task = asyncio.create_task(work)
        try:
            await scene(port, acceptor)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            listener.close()

    asyncio.run(run())
    return dict(refused)


async def dial(home, port):
    """Connect as the bank; return what closes the connection, or None if it was refused."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context(home, "bank", server=False), server_hostname="localhost"
        )
        await asyncio.sleep(0.05)
        return writer
    return None


async def until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def test_as_many_as_are_allowed_and_one_more(home):
    async def scene(port, acceptor):
        writers = [await dial(home, port) for _ in range(3)]
        await until(lambda: acceptor.open == 3)
        assert await dial(home, port) is None
        writers[0].close()
        await until(lambda: acceptor.open == 2)
        assert await dial(home, port) is not None

    assert play(home, Bounds(connections=3), scene) == {"full": 1}
    assert play(home, Bounds(of_one_address=3), scene) == {"address": 1}


def test_connections_that_come_too_fast_wait_for_their_turn(home):
    clock = Clock()

    async def scene(port, acceptor):
        assert await dial(home, port) is not None
        assert await dial(home, port) is not None
        assert await dial(home, port) is None
        clock.now += 1.0
        assert await dial(home, port) is not None

    assert play(home, Bounds(rate=1.0, burst=2), scene, clock) == {"rate": 1}


def test_who_says_nothing_is_closed_and_holds_up_nobody(home):
    async def scene(port, acceptor):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        await until(lambda: len(acceptor._shaking) == 2)
        assert await dial(home, port) is None  # no handshake is free
        await until(lambda: not acceptor._shaking)
        assert await dial(home, port) is not None
        for one in silent:
            one.settimeout(2)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
            one.close()

    came = play(home, Bounds(handshakes=2, handshake_s=0.5), scene)
    assert came == {"handshakes": 1, "slow": 2}


def test_what_is_no_tls_is_closed(home):
    async def scene(port, acceptor):
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: not acceptor._shaking)
        plain = ssl.create_default_context(cafile=home / "bank" / "ca.crt")
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=plain, server_hostname="localhost"
            )
            await reader.read(1)
            writer.close()

    assert play(home, Bounds(), scene) == {"tls": 2}


def test_tokens_come_back_with_time_and_debts_are_paid():
    bucket = Bucket(rate=10.0, size=5.0)
    assert bucket.take(5, 0.0) == 0.0
    assert bucket.take(10, 0.0) == pytest.approx(1.0)
    assert not bucket.has(0.5)
    assert bucket.has(1.2)
    assert bucket.take(0, 100.0) == 0.0


def test_a_member_that_sends_too_much_is_slowed_and_another_is_not():
    pace = Pace(bytes_s=1000.0, messages_s=10.0)
    loud, quiet = (Member(Proof(name, "s", b"e"), None, pace, None) for name in ("bank", "shop"))
    assert loud.owes(500) == 0.0
    assert loud.owes(1500) == pytest.approx(1.0, abs=0.1)
    assert quiet.owes(500) == 0.0
    for _ in range(9):
        assert quiet.owes(1) == 0.0
    assert quiet.owes(1) > 0.05
