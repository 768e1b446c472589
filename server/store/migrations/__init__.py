"""The versions of the schema, as Alembic's scripts."""
