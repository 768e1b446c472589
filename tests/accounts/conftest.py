"""The limit service at work, over SQLite and PostgreSQL alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.store.engine import open_store
from tests.accounts.kit import Office, Scene
from tests.accounts.till import Till, a_till
from tests.stores import empty_file, server, url  # noqa: F401 - fixtures

# What of these modules depends on the database is in the store's own tests and in the other modules
# here: over PostgreSQL they run under `make test-all`.
_LATER = ("test_casework", "test_customers", "test_desk", "test_recording", "test_reviewing")


def pytest_collection_modifyitems(items):
    """Leave the second database of some modules to the slow tests."""
    for item in items:
        ours = item.path.parent == Path(__file__).parent and item.path.stem in _LATER
        if ours and "[postgresql" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """A federation whose feeds have three customers."""
    return Scene(tmp_path_factory.mktemp("federation"))


@pytest.fixture
def store(url):  # noqa: F811 - the fixture
    opened = open_store(url, pool=8)
    yield opened
    opened.close()


@pytest.fixture
def office(scene, store):
    """A desk with a clock; at the end every balance equals its events."""
    made = Office(scene, store)
    yield made
    assert made.findings() == []


@pytest.fixture
def tills(office):
    """An office at which money is drawn and repaid, on either database."""
    return Till(office)


@pytest.fixture
def till(scene, empty_file):  # noqa: F811 - the fixture
    """The same on SQLite alone, where the database plays no part."""
    with a_till(scene, empty_file) as made:
        yield made
