"""The schema's version: up, down, and what it is; all of it in one transaction, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy import Connection

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0007"
"""The version that this code needs: Alembic's newest, which takes a quarter of a second to ask."""
_LOCK = 0x636F6E66696465  # the word confide: workers that start together upgrade one by one


def current(db: Connection) -> str | None:
    """Return the version of a database's schema; None for an empty one."""
    if not sa.inspect(db).has_table("alembic_version"):
        return None
    found = db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def upgrade(db: Connection, to: str = "head") -> None:
    """Bring the schema up, inside the caller's transaction; nothing to do is no error.

    Parameters
    ----------
    db : Connection
        In a transaction that writes.
    to : str
        A version.
    """
    from alembic import command  # noqa: PLC0415 - most never change a schema

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
    from alembic import command  # noqa: PLC0415 - as above

    _exclusive(db)
    command.downgrade(_config(db), to)


def _exclusive(db: Connection) -> None:
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _config(db: Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", "server.store:migrations")
    config.attributes["connection"] = db
    return config
