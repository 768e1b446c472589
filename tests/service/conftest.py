from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from server.api.app import create_app
from server.api.service import LimitService, load_policy
from tests.service.kit import NOW, Kit


class Watch:
    """A clock that a test sets."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Running:
    """A service with its federation, its clock and a client."""

    def __init__(self, kit, *, start=True, **options):
        self.kit = kit
        self.clock = Watch(NOW)
        policy, pack = load_policy(None)
        self.service = LimitService(kit.folder, kit.federation, policy, pack, self.clock)
        if start:
            self.service.start()
        self.app = create_app(self.service, **options)
        self.http = TestClient(self.app, raise_server_exceptions=False)

    def put(self, party, raw):
        return self.http.put(f"/v1/feeds/{party}", content=raw)

    def get(self, path, **query):
        return self.http.get(path, params=query)


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


@pytest.fixture
def running(kit):
    """Return a service with a champion and the feeds of every party."""
    kit.serve()
    world = Running(kit)
    for party, raw in kit.feeds().items():
        assert world.put(party, raw).status_code == 201
    return world


@pytest.fixture
def start():
    """Return `Running`, for tests that set their own scene."""
    return Running
