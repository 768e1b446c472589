"""Who can read a store's files, and which rows a change leaves to others."""

from __future__ import annotations

import os
import stat

import pytest

from server.store.engine import open_store


@pytest.fixture
def open_to_all():
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_files_of_a_database_are_for_their_owner_alone(tmp_path, open_to_all):
    (tmp_path / "control").touch()
    store = open_store(f"sqlite:///{tmp_path}/limits.db", create=True)
    with store.write() as db:
        db.exec_driver_sql("SELECT 1")
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert found.pop("control") == 0o666
    assert set(found) == {"limits.db", "limits.db-wal", "limits.db-shm"}
    assert set(found.values()) == {0o600}


def test_a_change_that_moves_no_limit_leaves_the_budget_to_others(world):
    world.fund("budget", kind="budget")
    line = world.line(budget="budget")
    version = world.get_fund("budget").version
    world.change(line, state="watched")
    assert world.get_fund("budget").version == version
    world.change(line, limit_minor=5_000)  # the control
    assert world.get_fund("budget").version > version
