"""Databases to test with, SQLite and PostgreSQL alike: fixtures for a conftest to import.

from tests.stores import empty_file, server, url  # noqa: F401
"""

from __future__ import annotations

import shutil
import tempfile

import pytest
from sqlalchemy import make_url

from server.store.engine import open_store
from tests import postgres


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
def url(request):
    """The URL of a database with an empty schema."""
    if request.param == "postgresql":
        server = request.getfixturevalue("server")
        yield server.new_database(server.template)
        return
    with tempfile.TemporaryDirectory(prefix="confide-", dir=postgres.scratch()) as folder:
        shutil.copy(request.getfixturevalue("empty_file"), f"{folder}/limits.db")
        yield f"sqlite:///{folder}/limits.db"
