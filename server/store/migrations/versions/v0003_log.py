"""The tree over all decisions: leaves, nodes, signed heads, and the decisions that still wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("log_leaves", "log_nodes", "log_heads")


def upgrade() -> None:
    """Make the tables and their triggers; every decision of before waits for its place."""
    _tables()
    op.execute("INSERT INTO log_pending (decision_id) SELECT id FROM decisions")
    for table in _APPEND_ONLY:
        _guard(table)


def downgrade() -> None:
    """Drop them; the triggers go with their tables."""
    for table in ("log_heads", "log_nodes", "log_leaves", "log_pending"):
        op.drop_table(table)


def _guard(table: str) -> None:
    for what in ("UPDATE", "DELETE"):
        name = f"{table}_no_{what.lower()}"
        if op.get_bind().dialect.name == "postgresql":
            also = " OR TRUNCATE" if what == "DELETE" else ""
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {what}{also} ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION confide_append_only()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _tables() -> None:
    op.create_table(
        "log_pending",
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_log_pending_decision_id"
        ),
        sa.PrimaryKeyConstraint("decision_id", name="pk_log_pending"),
    )
    op.create_table(
        "log_leaves",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_log_leaves_decision_id"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_log_leaves"),
        sa.UniqueConstraint("decision_id", name="uq_log_leaves_decision_id"),
    )
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_log_nodes"),
    )
    op.create_table(
        "log_heads",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("time", sa.String(length=20), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_log_heads"),
    )
