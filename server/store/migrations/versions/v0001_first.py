"""The first schema: lines and their money, keys, approvals, decisions.

Beside the tables stand the triggers that keep the append-only ones as they were written.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INSTANT = sa.DateTime(timezone=True)
_APPEND_ONLY = ("line_events", "repayments", "allocations", "decisions")
# A record may be deleted, with its person's data; it is never changed.
_UNCHANGED = (*_APPEND_ONLY, "decision_records")
_REFUSE = """
CREATE FUNCTION confide_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""


def upgrade() -> None:
    """Make the tables and their triggers."""
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_REFUSE)
    for table in _UNCHANGED:
        _guard(table, "UPDATE")
    for table in _APPEND_ONLY:
        _guard(table, "DELETE")


def downgrade() -> None:
    """Drop everything; the triggers go with their tables."""
    op.drop_table("shares")
    op.drop_table("allocations")
    op.drop_table("drawdowns")
    op.drop_table("repayments")
    op.drop_table("line_events")
    op.drop_table("holds")
    op.drop_table("lines")
    op.drop_table("decision_records")
    op.drop_table("idempotency_keys")
    op.drop_table("funds")
    op.drop_table("decisions")
    op.drop_table("approvals")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION confide_append_only()")


def _guard(table: str, what: str) -> None:
    name = f"{table}_no_{what.lower()}"
    if op.get_bind().dialect.name == "postgresql":
        also = " OR TRUNCATE" if what == "DELETE" else ""
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {what}{also} ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION confide_append_only()"
        )
        return
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {what} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _tables() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("proposer", sa.String(length=64), nullable=False),
        sa.Column("approver", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("decided_at", _INSTANT, nullable=True),
        sa.Column("used_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "(state = 'proposed') = (approver IS NULL)", name=op.f("ck_approvals_approver")
        ),
        sa.CheckConstraint(
            "state IN ('proposed', 'approved', 'rejected', 'used')", name=op.f("ck_approvals_state")
        ),
        sa.CheckConstraint("proposer <> approver", name=op.f("ck_approvals_four_eyes")),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_state_id", "approvals", ["state", "id"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("occasion", sa.String(length=64), nullable=False),
        sa.Column("policy_ref", sa.String(length=128), nullable=False),
        sa.Column("model_ref", sa.String(length=128), nullable=False),
        sa.Column("pack_ref", sa.String(length=128), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("decided_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("chain", "number", name="uq_decisions_chain_number"),
        sa.UniqueConstraint(
            "chain", "purpose", "occasion", name="uq_decisions_chain_purpose_occasion"
        ),
    )
    op.create_index("ix_decisions_decided_at_id", "decisions", ["decided_at", "id"], unique=False)
    op.create_table(
        "funds",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cap_minor", sa.BigInteger(), nullable=False),
        sa.Column("used_minor", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.CheckConstraint("cap_minor >= 0", name=op.f("ck_funds_cap_minor")),
        sa.CheckConstraint("used_minor >= 0", name=op.f("ck_funds_used_minor")),
        sa.PrimaryKeyConstraint("id", name="pk_funds"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=128), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("lease_until", _INSTANT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.CheckConstraint(
            "(status IS NULL) = (body IS NULL)", name=op.f("ck_idempotency_keys_answer")
        ),
        sa.PrimaryKeyConstraint("key", "route", "caller", name="pk_idempotency_keys"),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "decision_records",
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_decision_records_decision_id"
        ),
        sa.PrimaryKeyConstraint("decision_id", name="pk_decision_records"),
    )
    op.create_table(
        "lines",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("budget_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("may_draw", sa.Boolean(), nullable=False),
        sa.Column("limit_minor", sa.BigInteger(), nullable=False),
        sa.Column("outstanding_minor", sa.BigInteger(), nullable=False),
        sa.Column("held_minor", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("policy_ref", sa.String(length=128), nullable=False),
        sa.Column("model_ref", sa.String(length=128), nullable=False),
        sa.Column("opened_at", _INSTANT, nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        sa.Column("closed_at", _INSTANT, nullable=True),
        sa.CheckConstraint("held_minor >= 0", name=op.f("ck_lines_held_minor")),
        sa.CheckConstraint("limit_minor >= 0", name=op.f("ck_lines_limit_minor")),
        sa.CheckConstraint("outstanding_minor >= 0", name=op.f("ck_lines_outstanding_minor")),
        sa.ForeignKeyConstraint(["budget_id"], ["funds.id"], name="fk_lines_budget_id"),
        sa.PrimaryKeyConstraint("id", name="pk_lines"),
    )
    op.create_index("ix_lines_customer_id_id", "lines", ["customer_id", "id"], unique=False)
    op.create_index(
        "ix_lines_one_open",
        "lines",
        ["customer_id", "product"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("line_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("resolved_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "(state = 'pending') = (resolved_at IS NULL)", name=op.f("ck_holds_resolved")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'posted', 'voided', 'expired')", name=op.f("ck_holds_state")
        ),
        sa.CheckConstraint("amount_minor >= 1", name=op.f("ck_holds_amount_minor")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_holds_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
    op.create_index("ix_holds_line_id_id", "holds", ["line_id", "id"], unique=False)
    op.create_index(
        "ix_holds_pending",
        "holds",
        ["expires_at", "line_id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "line_events",
        sa.Column("line_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("outstanding_delta", sa.BigInteger(), nullable=False),
        sa.Column("held_delta", sa.BigInteger(), nullable=False),
        sa.Column("limit_minor", sa.BigInteger(), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=True),
        sa.Column("may_draw", sa.Boolean(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_line_events_line_id"),
        sa.PrimaryKeyConstraint("line_id", "version", name="pk_line_events"),
    )
    op.create_table(
        "repayments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("external_ref", sa.String(length=64), nullable=False),
        sa.Column("line_id", sa.String(length=64), nullable=False),
        sa.Column("line_version", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.String(length=64), nullable=False),
        sa.Column("value_date", sa.String(length=10), nullable=False),
        sa.Column("outstanding_minor", sa.BigInteger(), nullable=False),
        sa.Column("available_minor", sa.BigInteger(), nullable=False),
        sa.Column("repaid_at", _INSTANT, nullable=False),
        sa.CheckConstraint("amount_minor >= 1", name=op.f("ck_repayments_amount_minor")),
        sa.CheckConstraint("available_minor >= 0", name=op.f("ck_repayments_available_minor")),
        sa.CheckConstraint("outstanding_minor >= 0", name=op.f("ck_repayments_outstanding_minor")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_repayments_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_repayments"),
        sa.UniqueConstraint("external_ref", name="uq_repayments_external_ref"),
        sa.UniqueConstraint("line_id", "line_version", name="uq_repayments_line_id_line_version"),
    )
    op.create_table(
        "drawdowns",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("line_id", sa.String(length=64), nullable=False),
        sa.Column("hold_id", sa.String(length=64), nullable=False),
        sa.Column("line_version", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("open_minor", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("policy_ref", sa.String(length=128), nullable=False),
        sa.Column("model_ref", sa.String(length=128), nullable=False),
        sa.Column("drawn_at", _INSTANT, nullable=False),
        sa.CheckConstraint("amount_minor >= 1", name=op.f("ck_drawdowns_amount_minor")),
        sa.CheckConstraint("open_minor <= amount_minor", name=op.f("ck_drawdowns_open")),
        sa.CheckConstraint("open_minor >= 0", name=op.f("ck_drawdowns_open_minor")),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name="fk_drawdowns_hold_id"),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_drawdowns_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_drawdowns"),
        sa.UniqueConstraint("hold_id", name="uq_drawdowns_hold_id"),
        sa.UniqueConstraint("line_id", "line_version", name="uq_drawdowns_line_id_line_version"),
    )
    op.create_index(
        "ix_drawdowns_open",
        "drawdowns",
        ["line_id", "line_version"],
        unique=False,
        sqlite_where=sa.text("open_minor > 0"),
        postgresql_where=sa.text("open_minor > 0"),
    )
    op.create_table(
        "allocations",
        sa.Column("repayment_id", sa.String(length=64), nullable=False),
        sa.Column("drawdown_id", sa.String(length=64), nullable=False),
        sa.Column("partner_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor >= 1", name=op.f("ck_allocations_amount_minor")),
        sa.ForeignKeyConstraint(
            ["drawdown_id"], ["drawdowns.id"], name="fk_allocations_drawdown_id"
        ),
        sa.ForeignKeyConstraint(
            ["repayment_id"], ["repayments.id"], name="fk_allocations_repayment_id"
        ),
        sa.PrimaryKeyConstraint("repayment_id", "drawdown_id", "partner_id", name="pk_allocations"),
    )
    op.create_index("ix_allocations_drawdown_id", "allocations", ["drawdown_id"], unique=False)
    op.create_table(
        "shares",
        sa.Column("drawdown_id", sa.String(length=64), nullable=False),
        sa.Column("partner_id", sa.String(length=64), nullable=False),
        sa.Column("fund_id", sa.String(length=64), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("open_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_shares_amount_minor")),
        sa.CheckConstraint("open_minor <= amount_minor", name=op.f("ck_shares_open")),
        sa.CheckConstraint("open_minor >= 0", name=op.f("ck_shares_open_minor")),
        sa.ForeignKeyConstraint(["drawdown_id"], ["drawdowns.id"], name="fk_shares_drawdown_id"),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.id"], name="fk_shares_fund_id"),
        sa.PrimaryKeyConstraint("drawdown_id", "partner_id", name="pk_shares"),
    )
