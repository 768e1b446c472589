"""A full disk, a database that is away, a lock that is not had: named, and nothing half-done."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from server.store import engine as engines
from server.store.engine import open_store
from server.store.tables import HOLDS
from shared.errors import EnvironmentFault
from tests import postgres
from tests.store.kit import World

FILL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON shares EXECUTE FUNCTION full_disk()
"""


def fill(store, line, world):
    """Leave no room; return how to make some."""
    if store.engine.dialect.name == "postgresql":
        with store.write() as db:
            db.exec_driver_sql(FILL)
        return lambda: _drop(store)
    file = store.engine.url.database
    with sqlite3.connect(file) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()

    def cap(raw, _):
        raw.execute(f"PRAGMA max_page_count={pages}")

    engines.event.listen(store.engine, "connect", cap)
    store.close()

    def room():
        engines.event.remove(store.engine, "connect", cap)
        store.close()

    return room


def _drop(store):
    with store.write() as db:
        db.exec_driver_sql("DROP TRIGGER full_disk ON shares")


def test_a_full_disk_changes_nothing_and_says_so(world):
    line = world.line(10_000_000)
    world.draw(line, 100)
    before = world.get(line)
    room = fill(world.store, line, world)
    caught = None
    for _ in range(2_000):  # until the last page is full
        try:
            world.draw(line, 1)
        except EnvironmentFault as error:
            caught = error
            break
        before = world.get(line)
    assert "disk is full; nothing was changed" in str(caught)
    assert caught.http_status == 503
    assert world.get(line) == before
    assert world.findings() == []
    room()
    world.draw(line, 1)
    assert world.get(line).version == before.version + 1


def test_a_lock_that_is_not_had_in_time_is_named(url, monkeypatch):
    one = open_store(url)
    monkeypatch.setattr(engines, "PATIENCE", 0.5)
    two = open_store(url)
    first, second = World(one), World(two)
    line = first.line(1_000)
    held, let_go = threading.Event(), threading.Event()

    def hold_on():
        with one.write() as db:
            db.exec_driver_sql("UPDATE lines SET state = state")
            held.set()
            let_go.wait(20)

    other = threading.Thread(target=hold_on)
    other.start()
    assert held.wait(10)
    try:
        with pytest.raises(EnvironmentFault, match="locked"):
            second.draw(line, 1)
    finally:
        let_go.set()
        other.join()
    first.draw(line, 1)
    assert first.findings() == []
    one.close()
    two.close()


def test_too_many_at_once_are_told_to_come_again(url, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 0.1)
    store = open_store(url)
    if store.turn is None:
        store.close()
        pytest.skip("writers wait for each other on SQLite only")
    with store.turn, pytest.raises(EnvironmentFault, match="too many"), store.write():
        pass
    store.close()


def test_a_server_that_dies_is_away_and_comes_back_without_a_failed_request():
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as own:
        url = own.new_database()
        store = open_store(url, create=True)
        world = World(store)
        line = world.line(1_000)
        world.draw(line, 1)
        own.kill()
        with pytest.raises(EnvironmentFault, match="away"):
            world.draw(line, 1)
        own.start()
        world.draw(line, 1)
        own.kill()
        own.start()
        # Nobody asked while it was away: the dead connections are seen before they are used.
        world.draw(line, 1)
        assert world.get(line).totals.outstanding_minor == 3

        def cut_off():
            with store.write() as db:
                db.exec_driver_sql("UPDATE lines SET limit_minor = 0")
                own.kill()

        with pytest.raises(EnvironmentFault, match="away"):
            cut_off()
        own.start()
        assert world.get(line).totals.limit_minor == 1_000
        assert world.findings() == []
        store.close()


def test_what_an_error_says_holds_no_value_of_a_row(store):
    with pytest.raises(engines.exc.DBAPIError) as caught, store.write() as db:
        db.execute(HOLDS.insert(), {"id": "x", "line_id": "secret", "amount_minor": 77_777})
    assert "secret" not in str(caught.value).partition("DETAIL")[0]
