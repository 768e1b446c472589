from __future__ import annotations

import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from server.accounts.desk import desk_over, rule_texts, rulebook_of
from server.accounts.scores import LimitService
from server.api.access import Caller, Role
from server.api.app import create_app
from server.api.tokens import OFFLINE
from server.store.engine import open_store
from tests.service.desk_kit import Office
from tests.service.kit import NOW, Kit


class Watch:
    """A clock that a test sets."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def instant(self):
        return datetime.fromisoformat(self.now)


@cache
def empty_store():
    """Return the bytes of a database with an empty schema: making one takes longer than a test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.db"
        store = open_store(f"sqlite:///{path}", create=True)
        store.close()
        return path.read_bytes()


@cache
def rules():
    return rulebook_of(rule_texts())


class Running:
    """A service with its federation, its clock and a client."""

    def __init__(self, kit, *, start=True, known_s=0.0, **options):
        self.kit = kit
        self.clock = Watch(NOW)
        home = kit.folder / "limits"
        home.mkdir(exist_ok=True)
        if not (home / "limits.db").exists():
            (home / "limits.db").write_bytes(empty_store())
        self.url = f"sqlite:///{home}/limits.db"
        book = rules()
        self.service = LimitService(kit.folder, kit.federation, book.policy, book.pack, self.clock)
        if start:
            self.service.start()
        store = open_store(self.url)
        self.desk = desk_over(store, self.service, book, self.clock.instant, home)
        self.app = create_app(self.desk, known_s=known_s, **options)
        self.http = TestClient(self.app, raise_server_exceptions=False)

    def token(self, role=Role.OPERATOR, subject="", client=OFFLINE):
        return self.app.state.door.mint(Caller(client, role, subject))

    def bearer(self, role=Role.OPERATOR, subject="", client=OFFLINE):
        return {"Authorization": f"Bearer {self.token(role, subject, client)}"}

    def put(self, party, raw):
        return self.http.put(f"/v1/feeds/{party}", content=raw)

    def get(self, path, **query):
        """Ask as an operator."""
        return self.http.get(path, params=query, headers=self.bearer())


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


@pytest.fixture
def running(kit):
    """Return a service with a champion and the feeds of every party."""
    kit.serve()
    world = Running(kit)
    for party, raw in kit.feeds().items():
        world.service.feeds.accept(raw, NOW, party=party)
    yield world
    world.desk.store.close()


@pytest.fixture
def start():
    """Return `Running`, for tests that set their own scene."""
    return Running


@pytest.fixture(scope="session")
def begin():
    """Return `Running`, for fixtures that many tests share."""
    return Running


@pytest.fixture(scope="session")
def whole_office(tmp_path_factory):
    folder = tmp_path_factory.mktemp("office")
    path = folder / "office.db"
    path.write_bytes(empty_store())
    made = Office(folder / "federation", f"sqlite:///{path}")
    made.keep(path)
    yield made
    made.close()


@pytest.fixture
def office(whole_office):
    """Return the whole service over SQLite as it was at first; see `tests.service.desk_kit`."""
    whole_office.back()
    return whole_office
