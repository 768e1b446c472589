"""Alembic's entry: runs the versions in the transaction that `server.store.migrate` hands in."""

from __future__ import annotations

from alembic import context

from server.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
