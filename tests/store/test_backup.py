"""A backup is one state, whole or not there; what comes back is the same, or is refused by name."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import threading
import time
from datetime import timedelta
from multiprocessing import get_context

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from server.accounts import proving
from server.prooflog.heads import sign_head
from server.store import backup as backups
from server.store import backup_manifest, decisions, idempotency
from server.store.backup import backup, restore
from server.store.backup_manifest import MANIFEST, Backup, Part, read_backup
from server.store.engine import open_store
from server.store.idempotency import Answer, Request
from server.store.log import APPEND_ONLY
from server.store.log_checks import check_log
from server.store.schema import METADATA
from server.store.tables import APPEND_ONLY as WRITTEN_ONCE
from server.store.tables import Instant, Mapped
from shared.errors import DataError, EnvironmentFault, LogBroken, UsageError
from tests.store.kit import START, World
from tests.store.log_kit import KEY, PIN, Log, filled, same, tamper


@pytest.fixture
def new_url(request, tmp_path):
    """Make the URL of a fresh database of a kind."""
    made = []

    def make(kind):
        if kind == "postgresql":
            server = request.getfixturevalue("server")
            return server.new_database(server.template)
        file = tmp_path / f"fresh-{len(made)}.db"
        shutil.copy(request.getfixturevalue("empty_file"), file)
        made.append(file)
        return f"sqlite:///{file}"

    return make


def lived(store, home):
    """Return the log of a store in which everything happened once."""
    world = World(store)
    world.fund()
    line, other = world.line(100_000), world.line(5_000, budget="bank")
    world.draw(line, 700, bank=300)
    world.hold(line, 200)
    world.repay(line, 150)
    world.change(line, domain={"note": "naïve ¥ “quoted” \n 额度", "deep": {"b": [1, None, 0.1]}})
    world.draw(other, 50)
    with store.write() as db:
        claim = idempotency.claim(db, Request("k", "POST /x", "kim", "a" * 64), START)
        idempotency.finish(db, claim, Answer(201, {"etag": '"2"'}, b"\x00\xff{}"))
    log = filled(store, home)
    with store.write() as db:
        decisions.erase_records(db, "line-2")
    log.decide(3)
    return log


@pytest.fixture(scope="module")
def once(tmp_path_factory, empty_file):
    """A store in a file in which everything happened, to be copied."""
    folder = tmp_path_factory.mktemp("lived")
    shutil.copy(empty_file, folder / "limits.db")
    log = lived(open_store(f"sqlite:///{folder}/limits.db"), folder / "limits")
    log.store.close()
    return log


@pytest.fixture
def log(once, tmp_path):
    shutil.copy(once.store.engine.url.database, tmp_path / "lived.db")
    log = Log(open_store(f"sqlite:///{tmp_path}/lived.db"), tmp_path / "limits")
    log.at, log.numbers = once.at, dict(once.numbers)
    yield log
    log.store.close()


@pytest.fixture
def log_on_both(store, tmp_path):
    return lived(store, tmp_path / "limits")


@pytest.fixture
def empty(new_url):
    store = open_store(new_url("sqlite"))
    yield store
    store.close()


def rows_of(store):
    with store.read() as db:
        count = sa.func.count()
        return sum(
            db.execute(sa.select(count).select_from(table)).scalar()
            for table in METADATA.sorted_tables
        )


def test_a_backup_goes_from_either_database_to_either_and_is_the_same(
    log_on_both, new_url, tmp_path
):
    log = log_on_both
    made = backup(log.store, tmp_path / "first", log.at)
    assert made.rows == rows_of(log.store)
    assert made.head.head.size == 13
    for number, kind in enumerate(["sqlite", "postgresql"]):
        other = open_store(new_url(kind))
        assert restore(other, tmp_path / "first", pin=PIN) == made
        assert same(log.store, other)
        again = tmp_path / f"again-{number}"
        assert backup(other, again, log.at) == made  # byte for byte the same files
        # Life goes on: what waited comes in, and the next head extends the old one.
        went_on = Log(other, log.home)
        went_on.at, went_on.numbers = log.at, dict(log.numbers)
        went_on.decide(2)
        assert went_on.settle().head.size == 18
        assert went_on.check().findings == ()
        other.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_restored_is_append_only_as_before(log, new_url, tmp_path, kind):
    backup(log.store, tmp_path / "b", log.at)
    other = open_store(new_url(kind))
    restore(other, tmp_path / "b")
    for table in (*WRITTEN_ONCE, *APPEND_ONLY):
        column = METADATA.tables[table].c.keys()[-1]
        for way in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(exc.DBAPIError, match="append-only"), other.write() as db:
                db.exec_driver_sql(way)
    other.close()


def test_a_backup_is_one_state_while_others_write(log_on_both, tmp_path):
    log = log_on_both
    stop, counts = threading.Event(), []

    def write():
        while not stop.is_set():
            log.decide()
            log.integrate(most=1)
            counts.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(log.store, tmp_path / f"b{number}", log.at) for number in range(3)]
    finally:
        stop.set()
        writer.join()
    assert counts
    for one in made:
        tables = one.tables
        logged = tables["log_leaves"].rows + tables["log_pending"].rows
        assert logged == tables["decisions"].rows
        assert tables["decision_records"].rows == tables["decisions"].rows - 3


def test_only_the_owner_can_read_a_backup(log, tmp_path):
    backup(log.store, tmp_path / "b", log.at)
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "b").iterdir())


def test_a_backup_replaces_nothing(log, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        backup(log.store, tmp_path / "b", log.at)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine"]


def test_a_restore_replaces_nothing(log, tmp_path):
    backup(log.store, tmp_path / "b", log.at)
    before = rows_of(log.store)
    with pytest.raises(UsageError, match="not empty"):
        restore(log.store, tmp_path / "b")
    assert rows_of(log.store) == before


def refused(empty, folder, kind, text, **how):
    with pytest.raises(kind, match=text) as caught:
        restore(empty, folder, **how)
    assert rows_of(empty) == 0
    return caught.value


def test_files_that_are_not_those_of_the_manifest_are_all_named(log, tmp_path, empty):
    folder = tmp_path / "b"
    backup(log.store, folder, log.at)
    (folder / "lines.jsonl").write_bytes((folder / "lines.jsonl").read_bytes()[:-1])
    (folder / "holds.jsonl").unlink()
    (folder / "more.jsonl").touch()
    found = refused(empty, folder, DataError, "use another backup").findings
    assert list(found) == [
        "holds.jsonl is missing",
        "more.jsonl is not in the manifest",
        "lines.jsonl is not the file of the manifest",
    ]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind":"x"}', '{"kind":"confide/store-backup/1","tables":[]}']
)
def test_what_is_no_manifest_is_named(tmp_path, empty, text):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / MANIFEST).write_text(text)
    refused(empty, tmp_path / "b", DataError, "no manifest")
    refused(empty, tmp_path / "nowhere", EnvironmentFault, "name the folder of a backup")


def forged(folder, change):
    """Change a backup and give it a manifest that fits, as who made it could."""
    change(folder)
    made = backup_manifest._manifest(folder)
    tables = {}
    for name in made.tables:
        raw = (folder / f"{name}.jsonl").read_bytes()
        digest = backup_manifest.digest_of(folder / f"{name}.jsonl")
        tables[name] = Part(raw.count(b"\n") - 1, len(raw), digest)
    new = Backup(made.schema, made.created, tables, made.head)
    (folder / MANIFEST).write_bytes(new.to_bytes())


def without(table, keep):
    """Return a change that leaves out rows of a table."""

    def change(folder):
        path = folder / f"{table}.jsonl"
        head, *rows = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(head + b"".join(row for row in rows if keep(json.loads(row))))

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without("repayments", lambda row: False), "the database refuses"),
        (without("line_events", lambda row: row[1] != 1), "line is not the sum of its events"),
        (without("log_leaves", lambda row: row[0] < 10), "shrunk: 13 leaves were signed"),
        (without("log_nodes", lambda row: row[0] != 2), "node: 3 at level 2 are missing"),
        (without("log_heads", lambda row: row[0] == 0), "not the one of the manifest"),
    ],
)
def test_a_backup_whose_content_does_not_hold_is_refused(log, tmp_path, empty, change, named):
    folder = tmp_path / "b"
    backup(log.store, folder, log.at)
    forged(folder, change)
    refused(empty, folder, DataError, named)


def test_an_older_backup_is_refused_by_a_newer_head(log, tmp_path, empty):
    folder = tmp_path / "b"
    backup(log.store, folder, log.at)
    old = log.settle()  # 16 leaves, 13 of them in the backup's tree
    error = refused(empty, folder, LogBroken, "16 leaves was signed, and 13 are here", known=old)
    assert error.check == "shrunk"
    assert "3 decisions are missing" in error.hint
    backup(log.store, tmp_path / "newer", log.at)
    restore(empty, tmp_path / "newer", known=old, pin=PIN)


def test_a_backup_of_another_log_is_refused_by_the_head_that_was_kept(log, tmp_path, empty):
    folder = tmp_path / "b"
    backup(log.store, folder, log.at)
    later = f"{log.at + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    for size, check in ((13, "fork"), (5, "root")):
        known = sign_head(KEY, size, bytes(32), later)
        assert refused(empty, folder, LogBroken, check, known=known).check == check
    stranger = type(KEY)("log", bytes(32))
    known = sign_head(stranger, 13, bytes(32), later)
    assert refused(empty, folder, LogBroken, "key", known=known).check == "key"
    refused(empty, folder, DataError, "key", pin="0" * 64)


def test_another_schema_is_refused(log, tmp_path, empty):
    folder = tmp_path / "b"
    made = backup(log.store, folder, log.at)
    old = Backup("0001", made.created, made.tables, made.head)
    (folder / MANIFEST).write_bytes(old.to_bytes())
    refused(empty, folder, EnvironmentFault, "schema 0001")


def test_every_column_is_of_a_kind_that_a_backup_carries_exactly():
    kinds = (sa.String, sa.Integer, sa.Boolean, sa.LargeBinary, Instant, Mapped)
    others = [
        str(column)
        for table in METADATA.sorted_tables
        for column in table.columns
        if not isinstance(column.type, kinds)
    ]
    assert others == []


def limited(url, folder, size):
    """Back up where no file may be larger than so many bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        backup(open_store(url), folder, START)
    except EnvironmentFault:
        os._exit(3)
    os._exit(0)


def killed(url, folder):
    """Be killed in mid-backup."""
    write = backups.write_table

    def write_and_die(db, table, fresh):
        if table.name == "log_leaves":
            os.kill(os.getpid(), signal.SIGKILL)
        return write(db, table, fresh)

    backups.write_table = write_and_die
    backup(open_store(url), folder, START)


def in_child(work, *args):
    child = get_context("fork").Process(target=work, args=args)
    child.start()
    child.join(60)
    return child.exitcode


@pytest.mark.slow
def test_a_full_disk_or_a_kill_in_mid_backup_leaves_no_backup(new_url, tmp_path):
    url = new_url("sqlite")
    store = open_store(url)
    log = lived(store, tmp_path / "limits")
    store.close()
    home = tmp_path / "backups"
    home.mkdir()
    assert in_child(limited, url, home / "b", 2_000) == 3
    assert list(home.iterdir()) == []
    assert in_child(killed, url, home / "b") == -signal.SIGKILL
    assert not (home / "b").exists()
    assert all(path.name.endswith(".part") for path in home.iterdir())
    assert in_child(limited, url, home / "b", 1 << 20) == 0  # control: there was room
    assert read_backup(home / "b").head.head.size == 13
    assert log.check().findings == ()


def die_in_restore(url, folder):
    store = open_store(url)

    @sa.event.listens_for(store.engine, "after_cursor_execute")
    def die(_db, _cursor, statement, *_):
        if statement.startswith("INSERT INTO log_leaves"):
            os.kill(os.getpid(), signal.SIGKILL)

    restore(store, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_in_mid_restore_leaves_an_empty_database(log, new_url, tmp_path, kind):
    backup(log.store, tmp_path / "b", log.at)
    url = new_url(kind)
    log.store.close()  # nothing of it is shared with the child
    assert in_child(die_in_restore, url, tmp_path / "b") == -signal.SIGKILL
    other = open_store(url)
    deadline = time.monotonic() + 20
    while rows_of(other) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rows_of(other) == 0
    restore(other, tmp_path / "b")
    with other.read() as db:
        assert check_log(db, PIN).findings == ()
    other.close()


def test_a_tampered_store_makes_a_backup_that_nobody_restores(log, tmp_path, empty):
    """A backup does not judge what it copies: it must be possible to keep the evidence."""
    tamper(log.store, "UPDATE decisions SET policy_ref = 'lie' WHERE id = 'line-1.2'")
    backup(log.store, tmp_path / "b", log.at)
    refused(empty, tmp_path / "b", DataError, "decision 2 was altered")


def test_the_key_stays_out_of_a_backup(log, tmp_path):
    backup(log.store, tmp_path / "b", log.at)
    secret = (log.home / proving.KEY).read_text().encode()
    assert all(secret not in path.read_bytes() for path in (tmp_path / "b").iterdir())
