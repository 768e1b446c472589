"""One process at a time does a job: a lease that its end gives back, however it ends.

On PostgreSQL it is an advisory lock of a session, on SQLite a lock on a file beside the database. A
process that is killed loses either at once, so no lease has to run out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from server.store.engine import Store, translated
from shared.edge.files import exclusive
from shared.errors import Conflict, EnvironmentFault


@contextmanager
def lease(store: Store, job: str) -> Iterator[None]:
    """Hold a job, so that no second process does it over the same database.

    Parameters
    ----------
    store : Store
    job : str
        Its name.

    Raises
    ------
    Conflict
        With check `lease`, if another process holds it.
    """
    postgres = store.engine.dialect.name == "postgresql"
    with _session(store, job) if postgres else _file(store, job):
        yield


@contextmanager
def _file(store: Store, job: str) -> Iterator[None]:
    file = Path(str(store.engine.url.database))
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(file.with_name(f".{file.name}.{job}"), what=job))
        except EnvironmentFault as error:
            if isinstance(error.__cause__, BlockingIOError):
                raise _taken(job) from error
            raise
        yield


@contextmanager
def _session(store: Store, job: str) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(f"confide {job}".encode()).digest()[:8], signed=True)
    try:
        connection = store.engine.connect()
    except SQLAlchemyError as error:
        raise translated(error, store.name) from error
    # A session that waits in no transaction: the server ends those that do.
    with connection.execution_options(isolation_level="AUTOCOMMIT") as db:
        if not db.exec_driver_sql(f"SELECT pg_try_advisory_lock({number})").scalar():
            raise _taken(job)
        try:
            yield
        finally:
            db.invalidate()  # the session ends, and with it the lock, whatever became of it


def _taken(job: str) -> Conflict:
    hint = "wait for it: a run that ends early is taken up by the next"
    return Conflict(f"another process does the {job}", check="lease", hint=hint)
