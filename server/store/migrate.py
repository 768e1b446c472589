"""The schema's version: up, down, and what it is; all of it in one transaction, or none."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_LOCK = 0x636F6E66696465  # the word confide: workers that start together upgrade one by one


def head() -> str:
    """Return the version that this code needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(db: Connection) -> str | None:
    """Return the version of a database's schema; None for an empty one."""
    return MigrationContext.configure(db).get_current_revision()


def upgrade(db: Connection, to: str = "head") -> None:
    """Bring the schema up, inside the caller's transaction; nothing to do is no error.

    Parameters
    ----------
    db : Connection
        In a transaction that writes.
    to : str
        A version.
    """
    _exclusive(db)
    command.upgrade(_config(db), to)


def downgrade(db: Connection, to: str) -> None:
    """Take the schema down, inside the caller's transaction; ``base`` drops everything.

    Parameters
    ----------
    db : Connection
        In a transaction that writes.
    to : str
        A version, or ``base``.
    """
    _exclusive(db)
    command.downgrade(_config(db), to)


def _exclusive(db: Connection) -> None:
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _config(db: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "server.store:migrations")
    config.attributes["connection"] = db
    return config
