"""What the relay's server does with a connection that takes nothing."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.relay.server import PatientProtocol


class Transport(asyncio.Transport):
    """A connection that notes what becomes of it."""

    def __init__(self):
        super().__init__()
        self.written, self.closed, self.aborted = [], False, False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True  # a real one waits until all is read

    def is_closing(self):
        return self.closed or self.aborted

    def abort(self):
        self.aborted = True


@pytest.fixture
def protocol():
    async def app(scope, receive, send):
        raise NotImplementedError

    async def make():
        made = PatientProtocol(uvicorn.Config(app, lifespan="off"), ServerState(), {})
        made.connection_made(Transport())
        return made

    return asyncio.run(make())


def test_a_ping_is_answered_while_its_sender_reads(protocol):
    protocol.handle_ping()
    assert len(protocol.transport.written) == 1
    assert not protocol.transport.aborted


def test_a_ping_of_a_sender_that_does_not_read_ends_its_connection(protocol):
    protocol.pause_writing()
    protocol.handle_ping()
    assert protocol.transport.written == []
    assert protocol.transport.aborted


def test_a_member_that_answers_no_ping_is_not_waited_for(protocol):
    protocol.keepalive_timeout()
    assert protocol.transport.aborted
