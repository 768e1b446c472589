"""Opening a database, and transactions over it.

SQLite (the default) runs in WAL mode with `synchronous=FULL`: what was committed outlives a power
cut. A transaction that writes begins with ``BEGIN IMMEDIATE``, so it never fails half-way because
another one wrote first. PostgreSQL runs at READ COMMITTED: each check stands in the WHERE of the
update that it guards, which PostgreSQL evaluates again when it had to wait for the row.

Whatever the database reports comes out as `EnvironmentFault` (it is away, full or locked) or
`Conflict` (a row was there before), and the transaction left nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from select import POLLIN, poll
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy import pool as pools

from server.store.migrate import HEAD, current, upgrade
from shared.errors import ConfideError, Conflict, EnvironmentFault, UsageError

PATIENCE: Final = 10.0  # seconds to wait for another's lock
POOL: Final = 10  # connections that a process keeps
_EXAMPLES: Final = "use sqlite:///limits.db or postgresql://user@host/name"
_SQLITE_AWAY: Final = ("disk I/O", "readonly database", "unable to open", "malformed", "not a dat")
# SQLSTATE classes: connection, resources (disk full), operator intervention, system error.
_POSTGRES_AWAY: Final = ("08", "53", "57", "58")
# Serialization failure, deadlock, a lock that was not had in time.
_POSTGRES_BUSY: Final = ("40001", "40P01", "55P03")


@dataclass(frozen=True, slots=True)
class Store:
    """A database and its transactions; may be shared by threads, not across a fork.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    name : str
        The URL without its password, for messages.
    turn : lock, optional
        On SQLite the writers of one process wait here, in turn, instead of polling the file.
    guards : sqlalchemy.Engine
        The same database, for `guard`.
    """

    engine: sa.Engine
    name: str
    turn: threading.Lock | None
    guards: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a transaction that writes; all of it is kept, or nothing.

        Raises
        ------
        EnvironmentFault
            If the database is away, full or locked. A commit that was cut off may have been kept:
            come again with the same ids and keys.
        Conflict
            With check `id`, if a row of that id came in at the same moment.
        """
        with self._in_turn(), self._transaction(self.engine, writes=True) as db:
            yield db

    @contextmanager
    def guard(self) -> Iterator[sa.Connection]:
        """Give a connection whose statements count one by one, for what guards a running request.

        A power cut may undo them, in order. PostgreSQL is asked once a statement, where a
        transaction would cost three times as much; SQLite takes all of them as one transaction.

        Raises
        ------
        EnvironmentFault, Conflict
            See `write`.
        """
        with self._in_turn(), self._transaction(self.guards, writes=True, durable=False) as db:
            yield db

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a transaction that reads; on both databases it sees one state throughout.

        Raises
        ------
        EnvironmentFault
            If the database is away.
        """
        with self._transaction(self.engine, writes=False) as db:
            yield db

    def close(self) -> None:
        """Let all connections go."""
        self.engine.dispose()
        self.guards.dispose()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self.turn is None:
            yield
            return
        if not self.turn.acquire(timeout=3 * PATIENCE):
            raise EnvironmentFault(f"{self.name}: too many wait to write", hint="try again")
        try:
            yield
        finally:
            self.turn.release()

    @contextmanager
    def _transaction(
        self, engine: sa.Engine, *, writes: bool, durable: bool = True
    ) -> Iterator[sa.Connection]:
        options: dict[str, Any] = {"confide_writes": writes, "confide_durable": durable}
        if engine.dialect.name == "postgresql" and not writes:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with engine.connect().execution_options(**options) as db, db.begin():
                yield db
                if not db.in_transaction():
                    raise ConfideError("a refusal was caught inside the transaction it ended")
        except exc.SQLAlchemyError as error:
            meant = translated(error, self.name)
            if meant is error:
                raise
            raise meant from error


def open_store(url: str, *, pool: int = POOL, create: bool = False) -> Store:
    """Open a database whose schema is this version's.

    Parameters
    ----------
    url : str
        ``sqlite:///file`` or ``postgresql://user@host/name``.
    pool : int
        Connections to keep; twice as many may be open.
    create : bool
        Whether to bring the schema up first; otherwise an older one is refused.

    Raises
    ------
    EnvironmentFault
        If the database, or the driver, is not there, or its schema is another version's.
    """
    parsed = _url(url)
    name = parsed.render_as_string(hide_password=True)
    try:
        if parsed.drivername == "sqlite":
            engine = guards = _sqlite(parsed, pool)
        else:
            engine = _postgres(parsed, pool)
            guards = _postgres(parsed, pool, isolation_level="AUTOCOMMIT", synchronous_commit="off")
    except ImportError as error:
        what = "PostgreSQL needs the driver psycopg"
        raise EnvironmentFault(what, hint="pip install 'confide[postgres]'") from error
    store = Store(engine, name, threading.Lock() if engine is guards else None, guards)
    try:
        if create:
            with store.write() as db:
                if current(db) != HEAD:
                    upgrade(db)
        with store.read() as db:
            _check_schema(db, name)
    except BaseException:
        store.close()
        raise
    return store


def translated(error: exc.SQLAlchemyError, name: str) -> Exception:
    """Return what a database's error means here; a defect comes back as it is."""
    if isinstance(error, exc.TimeoutError):
        return EnvironmentFault(f"{name}: every connection is in use", hint="try again")
    if not isinstance(error, exc.DBAPIError):
        return error
    state = str(getattr(error.orig, "sqlstate", None) or "")
    text = str(error.orig)
    if isinstance(error, exc.IntegrityError) and (state == "23505" or "UNIQUE" in text):
        why = "another request wrote the same id at the same moment"
        return Conflict(why, check="id", hint="repeat this one")
    again, what = "try again with the same ids and keys", ""
    if state in _POSTGRES_BUSY or "database is locked" in text:
        what = "a row stayed locked"
    elif state == "53100" or "disk is full" in text:
        what, again = "the disk is full; nothing was changed", "make room"
    elif _is_away(error, state, text):
        what = "the database is away"
    return EnvironmentFault(f"{name}: {what}", hint=again) if what else error


def _is_away(error: exc.DBAPIError, state: str, text: str) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return any(sign in text for sign in _SQLITE_AWAY)
    if error.connection_invalidated or state.startswith(_POSTGRES_AWAY):
        return True
    return not state and isinstance(error, exc.OperationalError | exc.InterfaceError)


def _url(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise UsageError("the store's URL is malformed", hint=_EXAMPLES) from error
    kind = parsed.drivername.partition("+")[0]
    if kind not in {"sqlite", "postgresql"} or (kind == "sqlite" and not parsed.database):
        raise UsageError("the store's URL names no database it can use", hint=_EXAMPLES)
    return parsed.set(drivername="sqlite" if kind == "sqlite" else "postgresql+psycopg")


def _for_us_alone(path: str) -> None:
    """Make a database's file where there is none; what SQLite puts beside it has the same mode."""
    if path.startswith((":", "file:")):
        return
    with contextlib.suppress(OSError):  # it is there, or SQLite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _sqlite(url: sa.URL, pool: int) -> sa.Engine:
    _for_us_alone(str(url.database))
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=pool,
        max_overflow=pool,
        hide_parameters=True,  # an error's text must not hold what a person's row holds
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(raw: sqlite3.Connection, _: object) -> None:
        raw.isolation_level = None  # transactions begin below, not where the driver guesses
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begun(db: sa.Connection) -> None:
        options = db.get_execution_options()
        if not options.get("confide_writes", True):
            db.exec_driver_sql("BEGIN")
            return
        level = "FULL" if options.get("confide_durable", True) else "NORMAL"
        db.exec_driver_sql(f"PRAGMA synchronous={level}")
        db.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(
    url: sa.URL,
    pool: int,
    *,
    isolation_level: Literal["READ COMMITTED", "AUTOCOMMIT"] = "READ COMMITTED",
    **settings: str,
) -> sa.Engine:
    wait = int(PATIENCE * 1000)
    # A worker that hangs in a transaction must not keep a line locked for ever.
    settings |= {
        "lock_timeout": f"{wait}",
        "statement_timeout": f"{3 * wait}",
        "idle_in_transaction_session_timeout": f"{6 * wait}",
    }
    engine = sa.create_engine(
        url,
        isolation_level=isolation_level,
        pool_size=pool,
        max_overflow=pool,
        hide_parameters=True,  # an error's text must not hold what a person's row holds
        connect_args={
            "connect_timeout": int(PATIENCE),
            "application_name": "confide",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )

    @event.listens_for(engine, "checkout")
    def taken(raw: Any, record: pools.ConnectionPoolEntry, _proxy: object) -> None:
        # A server that stopped has closed its sockets: seen here, it costs a new connection; seen
        # by the first statement, it would cost the request. No round trip, as a ping would need.
        if not record.info.setdefault("used", False):
            record.info["used"] = True  # made just now, and so open
            return
        try:
            for _ in range(3):
                if not _is_readable(raw.pgconn.socket):
                    return
                raw.pgconn.consume_input()
        except (OSError, ValueError, raw.Error) as error:
            raise exc.DisconnectionError from error

    return engine


def _is_readable(descriptor: int) -> bool:
    waits = poll()  # select() takes no descriptor beyond 1023
    waits.register(descriptor, POLLIN)
    return bool(waits.poll(0))


def _check_schema(db: sa.Connection, name: str) -> None:
    found, needed = current(db), HEAD
    if found != needed:
        why = f"{name}: its schema is {found or 'empty'}, this version needs {needed}"
        raise EnvironmentFault(why, hint="run: confide store upgrade")
