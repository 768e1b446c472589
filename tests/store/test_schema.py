"""The schema goes up and down on both databases and is what the code thinks it is."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from server.store import engine as engines
from server.store import migrate
from server.store.engine import open_store
from server.store.tables import METADATA
from shared.errors import EnvironmentFault, UsageError

VERSION = "alembic_version"


@pytest.fixture
def raw(empty_url):
    """A store over a database with nothing in it."""
    parsed = engines._url(empty_url)
    make = engines._sqlite if parsed.drivername == "sqlite" else engines._postgres
    engine = make(parsed, 4)
    store = engines.Store(engine, "test", threading.Lock(), engine)
    yield store
    store.close()


def spelt(index):
    """An index as text, its condition too."""
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def described(db):
    """Everything a database says about its tables, by table."""
    look = sa.inspect(db)
    return {
        table: {
            "columns": [
                (one["name"], str(one["type"]), one["nullable"]) for one in look.get_columns(table)
            ],
            "key": look.get_pk_constraint(table),
            "unique": sorted(look.get_unique_constraints(table), key=str),
            "checks": sorted(look.get_check_constraints(table), key=str),
            "foreign": sorted(look.get_foreign_keys(table), key=str),
            "indexes": sorted(spelt(one) for one in look.get_indexes(table)),
        }
        for table in sorted(look.get_table_names())
        if table != VERSION
    }


def test_the_migrated_schema_is_the_one_of_the_tables(raw):
    with raw.write() as db:
        migrate.upgrade(db)
        assert compare_metadata(MigrationContext.configure(db), METADATA) == []
        migrated = described(db)
        migrate.downgrade(db, "base")
    with raw.write() as db:
        METADATA.create_all(db)
        assert described(db) == migrated
    assert set(migrated) == set(METADATA.tables)


def test_the_schema_goes_up_down_and_up_and_leaves_nothing_below(raw):
    with raw.write() as db:
        assert migrate.current(db) is None
        migrate.upgrade(db)
        assert migrate.current(db) == migrate.HEAD
        migrate.upgrade(db)
    with raw.write() as db:
        migrate.downgrade(db, "base")
        assert sa.inspect(db).get_table_names() == [VERSION]
        assert migrate.current(db) is None
        if db.dialect.name == "postgresql":
            left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'confide%%'"
            assert db.exec_driver_sql(left).scalar() == 0
    with raw.write() as db:
        migrate.upgrade(db)
        assert migrate.current(db) == migrate.HEAD


def test_an_upgrade_that_fails_leaves_nothing(raw):
    class Stop(Exception):
        pass

    def upgrade_and_stop():
        with raw.write() as db:
            migrate.upgrade(db)
            raise Stop

    with pytest.raises(Stop):
        upgrade_and_stop()
    with raw.read() as db:
        assert sa.inspect(db).get_table_names() == []


def test_workers_that_start_together_upgrade_once(empty_url):
    errors = []

    def start():
        try:
            open_store(empty_url, create=True).close()
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []


def test_another_schema_is_refused_with_what_to_do(empty_url):
    with pytest.raises(EnvironmentFault, match=r"empty, this version needs .*confide store up"):
        open_store(empty_url)


@pytest.mark.parametrize(
    "url", ["", "limits.db", "mysql://a/b", "sqlite://", "sqlite:///", "postgresql://a:x/b"]
)
def test_a_url_that_names_no_database_is_refused(url):
    with pytest.raises(UsageError, match=r"sqlite:///limits\.db"):
        open_store(url)


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path, request):
    with pytest.raises(EnvironmentFault, match="away"):
        open_store(f"sqlite:///{tmp_path}/no/such/folder/limits.db")
    request.getfixturevalue("server")
    with pytest.raises(EnvironmentFault, match="away") as caught:
        open_store(f"postgresql://me:hunter2@/db?host={tmp_path}&port=1")
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_sqlite_keeps_what_was_committed_through_a_power_cut(tmp_path):
    """WAL with synchronous=FULL (2) for money; NORMAL (1) only for guards."""
    store = open_store(f"sqlite:///{tmp_path}/limits.db", create=True)
    for transaction, level in ((store.write, 2), (store.guard, 1), (store.write, 2)):
        with transaction() as db:
            assert db.exec_driver_sql("PRAGMA synchronous").scalar() == level
            assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert db.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert db.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
    store.close()


def test_postgresql_waits_for_the_disk_except_for_guards(server):
    store = open_store(server.new_database(), create=True)
    for transaction, level in ((store.write, "on"), (store.guard, "off"), (store.write, "on")):
        with transaction() as db:
            assert db.exec_driver_sql("SHOW synchronous_commit").scalar() == level
    store.close()


def test_the_version_that_the_code_needs_is_the_newest_there_is():
    config = Config()
    config.set_main_option("script_location", "server.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]
