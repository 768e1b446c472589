"""Which rule texts are in force from which day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and its triggers."""
    op.create_table(
        "activations",
        sa.Column("approval_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=10), nullable=False),
        sa.Column("title", sa.String(length=128), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approvals.id"], name="fk_activations_approval_id"
        ),
        sa.ForeignKeyConstraint(["digest"], ["rule_texts.digest"], name="fk_activations_digest"),
        sa.PrimaryKeyConstraint("approval_id", "place", name="pk_activations"),
    )
    op.create_index("ix_activations_kind_since", "activations", ["kind", "since"], unique=False)
    for what in ("UPDATE", "DELETE"):
        _guard(what)


def downgrade() -> None:
    """Drop it; the triggers go with it."""
    op.drop_table("activations")


def _guard(what: str) -> None:
    name = f"activations_no_{what.lower()}"
    if op.get_bind().dialect.name == "postgresql":
        also = " OR TRUNCATE" if what == "DELETE" else ""
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {what}{also} ON activations "
            "FOR EACH STATEMENT EXECUTE FUNCTION confide_append_only()"
        )
        return
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {what} ON activations "
        "BEGIN SELECT RAISE(ABORT, 'activations is append-only'); END"
    )
