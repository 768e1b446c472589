"""What lies above single lines: partners, their decisions, promises, switches, allocation runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)
_ID = sa.String(length=64)


def upgrade() -> None:
    """Make the tables."""
    _partners()
    _runs()
    # What was drawn lately on a line, however long its history.
    op.create_index("ix_holds_line_id_created_at", "holds", ["line_id", "created_at"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_holds_line_id_created_at", table_name="holds")
    op.drop_table("scales")
    op.drop_table("allocation_runs")
    op.drop_table("switches")
    op.drop_table("promises")
    op.drop_table("partner_decisions")
    op.drop_table("partners")


def _partners() -> None:
    op.create_table(
        "partners",
        sa.Column("id", _ID, nullable=False),
        sa.Column("tier1_minor", sa.BigInteger(), nullable=False),
        sa.Column("loans_minor", sa.BigInteger(), nullable=False),
        sa.Column("elsewhere_minor", sa.BigInteger(), nullable=False),
        sa.Column("agreed_minor", sa.BigInteger(), nullable=True),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.CheckConstraint("agreed_minor >= 0", name=op.f("ck_partners_agreed_minor")),
        sa.CheckConstraint("elsewhere_minor >= 0", name=op.f("ck_partners_elsewhere_minor")),
        sa.CheckConstraint("loans_minor >= 0", name=op.f("ck_partners_loans_minor")),
        sa.CheckConstraint("tier1_minor >= 0", name=op.f("ck_partners_tier1_minor")),
        sa.ForeignKeyConstraint(["id"], ["funds.id"], name="fk_partners_id"),
        sa.PrimaryKeyConstraint("id", name="pk_partners"),
    )
    op.create_table(
        "partner_decisions",
        sa.Column("draw_id", _ID, nullable=False),
        sa.Column("partner_id", _ID, nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("policy_ref", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("grade", sa.String(length=8), nullable=False),
        sa.Column("decided_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["draw_id"], ["holds.id"], name="fk_partner_decisions_draw_id"),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partners.id"], name="fk_partner_decisions_partner_id"
        ),
        sa.PrimaryKeyConstraint("draw_id", "partner_id", name="pk_partner_decisions"),
    )
    op.create_index(
        "ix_partner_decisions_partner_id_draw_id",
        "partner_decisions",
        ["partner_id", "draw_id"],
        unique=False,
    )
    op.create_table(
        "promises",
        sa.Column("hold_id", _ID, nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name="fk_promises_hold_id"),
        sa.PrimaryKeyConstraint("hold_id", name="pk_promises"),
    )


def _runs() -> None:
    op.create_table(
        "switches",
        sa.Column("name", _ID, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("set_by", _ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approval_id", _ID, nullable=True),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["approval_id"], ["approvals.id"], name="fk_switches_approval_id"),
        sa.PrimaryKeyConstraint("name", name="pk_switches"),
    )
    op.create_table(
        "allocation_runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("budget_id", _ID, nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("made_by", _ID, nullable=False),
        sa.Column("made_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["funds.id"], name="fk_allocation_runs_budget_id"),
        sa.PrimaryKeyConstraint("id", name="pk_allocation_runs"),
    )
    op.create_index(
        "ix_allocation_runs_budget_id_id", "allocation_runs", ["budget_id", "id"], unique=False
    )
    op.create_table(
        "scales",
        sa.Column("budget_id", _ID, nullable=False),
        sa.Column("product", _ID, nullable=False),
        sa.Column("grade", sa.String(length=8), nullable=False),
        sa.Column("scale", sa.String(length=16), nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["funds.id"], name="fk_scales_budget_id"),
        sa.ForeignKeyConstraint(["run_id"], ["allocation_runs.id"], name="fk_scales_run_id"),
        sa.PrimaryKeyConstraint("budget_id", "product", "grade", name="pk_scales"),
    )
