"""Partner banks: what each tells of itself, beside its fund.

A partner's room is a fund (`server.store.funds`), taken from by one conditional update; here stands
what its cap follows from, and the rules by which it decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    bindparam,
)

from server.store.funds import Fund
from server.store.ids import minor, name, utc
from server.store.switches import SWITCHES
from server.store.tables import FUNDS, ID, METADATA, Instant, Mapped, Row
from server.store.whole import whole
from shared.errors import NotFound

LENDING: Final = "lending"
"""The switch that holds how the lender itself takes part in joint loans."""

PARTNERS = Table(
    "partners",
    METADATA,
    Column("id", ID, ForeignKey("funds.id"), primary_key=True),
    Column("tier1_minor", BigInteger, nullable=False),
    Column("loans_minor", BigInteger, nullable=False),
    Column("elsewhere_minor", BigInteger, nullable=False),
    Column("agreed_minor", BigInteger),
    Column("rules", Mapped, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    CheckConstraint("tier1_minor >= 0", name="tier1_minor"),
    CheckConstraint("loans_minor >= 0", name="loans_minor"),
    CheckConstraint("elsewhere_minor >= 0", name="elsewhere_minor"),
    CheckConstraint("agreed_minor >= 0", name="agreed_minor"),
)

_P: Final = PARTNERS.c
_F: Final = FUNDS.c
_W: Final = SWITCHES.c
_PARTNER: Final = (
    _P.id,
    _P.tier1_minor,
    _P.loans_minor,
    _P.elsewhere_minor,
    _P.agreed_minor,
    _P.rules,
)
_FUND: Final = (_F.id, _F.kind, _F.cap_minor, _F.used_minor, _F.is_open, _F.version)
# Everything that a draw needs to know of others, in one look.
_SUPPLY: Final = (
    sa.select(sa.select(_W.value).where(_W.name == LENDING).scalar_subquery(), *_FUND, *_PARTNER)
    .outerjoin(PARTNERS, _P.id == _F.id)
    .where(sa.or_(_P.id.is_not(None), _F.id == bindparam("p_budget", type_=String)))
    .order_by(_F.id)
)


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """What a partner bank tells of itself.

    Parameters
    ----------
    id : str
        Also of its fund.
    tier1_minor, loans_minor : int
        Net tier-1 capital and all its loans.
    elsewhere_minor : int
        Its outstanding joint loans with other lenders.
    agreed_minor : int, optional
        What it lends with this lender, at most.
    rules : mapping
        Its own policy, as `server.accounts.funding` reads it.
    """

    id: str
    tier1_minor: int
    loans_minor: int
    elsewhere_minor: int
    agreed_minor: int | None
    rules: Mapping[str, Any]


@whole
def set_partner(db: Connection, row: PartnerRow, at: datetime) -> None:
    """Keep what a partner tells of itself, in place of what it told before; its fund is there.

    Raises
    ------
    UsageError
        If an amount is malformed.
    """
    for field in ("tier1_minor", "loans_minor", "elsewhere_minor"):
        minor(getattr(row, field), field, least=0)
    if row.agreed_minor is not None:
        minor(row.agreed_minor, "agreed_minor", least=0)
    values: Row = {
        "tier1_minor": row.tier1_minor,
        "loans_minor": row.loans_minor,
        "elsewhere_minor": row.elsewhere_minor,
        "agreed_minor": row.agreed_minor,
        "rules": row.rules,
        "changed_at": utc(at),
    }
    same = sa.update(PARTNERS).where(_P.id == name(row.id, "partner_id"))
    if db.execute(same.values(version=_P.version + 1, **values)).rowcount == 0:
        db.execute(sa.insert(PARTNERS), {"id": row.id, "version": 1, **values})


def get_partner(db: Connection, partner_id: str) -> tuple[Fund, PartnerRow]:
    """Return a partner with its fund.

    Raises
    ------
    NotFound
    """
    query = sa.select(*_FUND, *_PARTNER).join(PARTNERS, _P.id == _F.id).where(_P.id == partner_id)
    row = db.execute(query).first()
    if row is None:
        raise NotFound("there is no partner of that id")
    return _fund(row), _partner(row)


def supply(
    db: Connection, budget_id: str | None = None
) -> tuple[Fund | None, list[tuple[Fund, PartnerRow]], Mapping[str, Any]]:
    """Return a budget, all partners in order of their ids, and the lending switch, as they are now.

    Parameters
    ----------
    db : Connection
    budget_id : str, optional
    """
    budget, partners, lending = None, [], None
    for switch, *row in db.execute(_SUPPLY, {"p_budget": budget_id}):
        lending = switch  # the same in every row
        if row[6] is None:
            budget = _fund(row)
        else:
            partners.append((_fund(row), _partner(row)))
    return budget, partners, lending or {}


def _fund(row: Sequence[Any]) -> Fund:
    id_, kind, cap, used, is_open, version, *_ = row
    return Fund(id_, kind, cap, used, is_open, version)


def _partner(row: Sequence[Any]) -> PartnerRow:
    *_, id_, tier1, loans, elsewhere, agreed, rules = row
    return PartnerRow(id_, tier1, loans, elsewhere, agreed, rules)
