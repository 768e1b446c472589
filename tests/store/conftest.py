"""Every test of the store runs over SQLite and PostgreSQL alike."""

from __future__ import annotations

import shutil
import tempfile

import pytest
from sqlalchemy import make_url

from server.store.engine import open_store
from tests import postgres
from tests.store.kit import World


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server, or a loud skip."""
    why = postgres.missing()
    if why:
        pytest.skip(why)
    with postgres.running() as running:
        url = running.new_database()
        open_store(url, create=True).close()
        running.template = make_url(url).database
        yield running


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """A file of SQLite with an empty schema, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "limits.db"
    open_store(f"sqlite:///{file}", create=True).close()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/limits.db"
    return request.getfixturevalue("server").new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """The URL of a database with an empty schema."""
    if request.param == "postgresql":
        server = request.getfixturevalue("server")
        yield server.new_database(server.template)
        return
    with tempfile.TemporaryDirectory(prefix="confide-", dir=postgres.scratch()) as folder:
        shutil.copy(request.getfixturevalue("empty_file"), f"{folder}/limits.db")
        yield f"sqlite:///{folder}/limits.db"


@pytest.fixture
def store(url):
    opened = open_store(url, pool=12)
    yield opened
    opened.close()


@pytest.fixture
def world(store):
    """A store and short ways to ask it for things; at the end every balance equals its events."""
    made = World(store)
    yield made
    assert made.findings() == []
