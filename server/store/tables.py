"""The tables. Money is integer minor units, times are UTC, ids are text made by the caller.

`migrations/` builds the same tables, and the triggers that keep the append-only ones as they are;
a test holds the two against each other.

A line's row carries its totals, because one conditional update of that row is what decides a draw.
Beside it stands one row of `line_events` for each version of it, from which they can be recomputed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from server.store.ids import utc

Row = Mapping[str, Any]


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: `timestamptz` on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse an instant without a time zone."""
        if value is None:
            return None
        value = utc(value)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give it its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Mapped(TypeDecorator[dict[str, Any]]):
    """A JSON object that the store does not look into, with sorted keys: the same on every base."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, _: Dialect) -> str | None:
        """Spell it."""
        if value is None:
            return None
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    def process_result_value(self, value: str | None, _: Dialect) -> dict[str, Any] | None:
        """Read it."""
        return None if value is None else json.loads(value)


METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ID: Final = String(64)
"""What an id is kept as."""
# Rows of these are written once; triggers refuse the rest.
APPEND_ONLY: Final = ("line_events", "repayments", "allocations", "decisions")


def _money(name: str, least: int = 0, **options: Any) -> tuple[Column[int], CheckConstraint]:
    """Return a column of minor units and the check of its least value."""
    held = CheckConstraint(f"{name} >= {least}", name=name)
    return Column(name, BigInteger, nullable=False, **options), held


FUNDS = Table(
    "funds",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    *_money("cap_minor"),
    *_money("used_minor"),
    Column("is_open", Boolean(create_constraint=False), nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

LINES = Table(
    "lines",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False),
    Column("product", ID, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("budget_id", ID, ForeignKey("funds.id")),
    Column("state", String(32), nullable=False),
    Column("may_draw", Boolean(create_constraint=False), nullable=False),
    *_money("limit_minor"),
    *_money("outstanding_minor"),
    *_money("held_minor"),
    Column("domain", Mapped, nullable=False),
    Column("version", Integer, nullable=False),
    Column("policy_ref", String(128), nullable=False),
    Column("model_ref", String(128), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Index(None, "customer_id", "id"),
    Index(
        "ix_lines_one_open",
        "customer_id",
        "product",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

LINE_EVENTS = Table(
    "line_events",
    METADATA,
    Column("line_id", ID, ForeignKey("lines.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("outstanding_delta", BigInteger, nullable=False),
    Column("held_delta", BigInteger, nullable=False),
    Column("limit_minor", BigInteger, nullable=False),
    Column("ref", ID, nullable=False),
    Column("state", String(32)),
    Column("may_draw", Boolean(create_constraint=False)),
    Column("domain", Mapped),
    Column("at", Instant, nullable=False),
)

HOLDS = Table(
    "holds",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("line_id", ID, ForeignKey("lines.id"), nullable=False),
    *_money("amount_minor", 1),
    Column("purpose", ID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    CheckConstraint("state IN ('pending', 'posted', 'voided', 'expired')", name="state"),
    CheckConstraint("(state = 'pending') = (resolved_at IS NULL)", name="resolved"),
    Index(
        "ix_holds_pending",
        "expires_at",
        "line_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(None, "line_id", "id"),
    Index(None, "line_id", "created_at"),
)

DRAWDOWNS = Table(
    "drawdowns",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("line_id", ID, ForeignKey("lines.id"), nullable=False),
    Column("hold_id", ID, ForeignKey("holds.id"), nullable=False),
    Column("line_version", Integer, nullable=False),
    *_money("amount_minor", 1),
    *_money("open_minor"),
    Column("purpose", ID, nullable=False),
    Column("terms", Mapped, nullable=False),
    Column("policy_ref", String(128), nullable=False),
    Column("model_ref", String(128), nullable=False),
    Column("drawn_at", Instant, nullable=False),
    UniqueConstraint("hold_id"),
    UniqueConstraint("line_id", "line_version"),
    CheckConstraint("open_minor <= amount_minor", name="open"),
    Index(
        "ix_drawdowns_open",
        "line_id",
        "line_version",
        sqlite_where=text("open_minor > 0"),
        postgresql_where=text("open_minor > 0"),
    ),
)

SHARES = Table(
    "shares",
    METADATA,
    Column("drawdown_id", ID, ForeignKey("drawdowns.id"), primary_key=True),
    Column("partner_id", ID, primary_key=True),
    Column("fund_id", ID, ForeignKey("funds.id")),
    *_money("amount_minor"),
    *_money("open_minor"),
    CheckConstraint("open_minor <= amount_minor", name="open"),
)

REPAYMENTS = Table(
    "repayments",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("external_ref", ID, nullable=False),
    Column("line_id", ID, ForeignKey("lines.id"), nullable=False),
    Column("line_version", Integer, nullable=False),
    *_money("amount_minor", 1),
    Column("asked", String(64), nullable=False),
    Column("value_date", String(10), nullable=False),
    *_money("outstanding_minor"),
    *_money("available_minor"),
    Column("repaid_at", Instant, nullable=False),
    UniqueConstraint("external_ref"),
    UniqueConstraint("line_id", "line_version"),
)

ALLOCATIONS = Table(
    "allocations",
    METADATA,
    Column("repayment_id", ID, ForeignKey("repayments.id"), primary_key=True),
    Column("drawdown_id", ID, ForeignKey("drawdowns.id"), primary_key=True),
    Column("partner_id", ID, primary_key=True),
    Column("place", Integer, nullable=False),
    *_money("amount_minor", 1),
    Index(None, "drawdown_id"),
)

KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("key", String(128), primary_key=True),
    Column("route", String(128), primary_key=True),
    Column("caller", ID, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("token", ID, nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("status", Integer),
    Column("headers", Mapped),
    Column("body", LargeBinary),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="answer"),
    Index(None, "created_at"),
)

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("kind", ID, nullable=False),
    Column("subject", ID, nullable=False),
    Column("payload", Mapped, nullable=False),
    Column("state", String(16), nullable=False),
    Column("proposer", ID, nullable=False),
    Column("approver", ID),
    Column("reason", Text, nullable=False),
    Column("answer", Text),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("used_at", Instant),
    CheckConstraint("state IN ('proposed', 'approved', 'rejected', 'used')", name="state"),
    CheckConstraint("proposer <> approver", name="four_eyes"),
    CheckConstraint("(state = 'proposed') = (approver IS NULL)", name="approver"),
    Index(None, "state", "id"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("chain", ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("purpose", ID, nullable=False),
    Column("occasion", ID, nullable=False),
    Column("policy_ref", String(128), nullable=False),
    Column("model_ref", String(128), nullable=False),
    Column("pack_ref", String(128), nullable=False),
    Column("commitment", String(64), nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("decided_at", Instant, nullable=False),
    UniqueConstraint("chain", "number"),
    UniqueConstraint("chain", "purpose", "occasion"),
    Index(None, "decided_at", "id"),
)

# Apart from `decisions`, so that a person's data can be deleted while the chain stays whole.
RECORDS = Table(
    "decision_records",
    METADATA,
    Column("decision_id", ID, ForeignKey("decisions.id"), primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
