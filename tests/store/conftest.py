"""Every test of the store runs over SQLite and PostgreSQL alike."""

from __future__ import annotations

import pytest

from server.store.engine import open_store
from tests.store.kit import World
from tests.stores import empty_file, server, url  # noqa: F401 - fixtures


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/limits.db"
    return request.getfixturevalue("server").new_database()


@pytest.fixture
def store(url):  # noqa: F811 - the fixture
    opened = open_store(url, pool=12)
    yield opened
    opened.close()


@pytest.fixture
def world(store):
    """A store and short ways to ask it for things; at the end every balance equals its events."""
    made = World(store)
    yield made
    assert made.findings() == []
