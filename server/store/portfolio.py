"""What lies above single lines: partner banks, their decisions, switches, allocation runs.

A partner's room is a fund (`server.store.funds`), taken from by one conditional update; here stands
what its cap follows from, the rules by which it decides, and each decision that it made. A hold
keeps whom it was promised from, because it is posted under those terms and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    bindparam,
)

from server.store.funds import Fund
from server.store.ids import minor, name, utc
from server.store.tables import (
    DRAWDOWNS,
    FUNDS,
    LINES,
    METADATA,
    SHARES,
    Instant,
    Mapped,
    Row,
)
from server.store.whole import whole
from shared.errors import NotFound, UsageError

_ID = String(64)

PARTNERS = Table(
    "partners",
    METADATA,
    Column("id", _ID, ForeignKey("funds.id"), primary_key=True),
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

PARTNER_DECISIONS = Table(
    "partner_decisions",
    METADATA,
    Column("draw_id", _ID, ForeignKey("holds.id"), primary_key=True),
    Column("partner_id", _ID, ForeignKey("partners.id"), primary_key=True),
    Column("accepted", Boolean(create_constraint=False), nullable=False),
    Column("policy_ref", String(128), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("grade", String(8), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Index(None, "partner_id", "draw_id"),
)

PROMISES = Table(
    "promises",
    METADATA,
    Column("hold_id", _ID, ForeignKey("holds.id"), primary_key=True),
    Column("terms", Mapped, nullable=False),
)

SWITCHES = Table(
    "switches",
    METADATA,
    Column("name", _ID, primary_key=True),
    Column("value", Mapped, nullable=False),
    Column("set_by", _ID, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approval_id", _ID, ForeignKey("approvals.id")),
    Column("changed_at", Instant, nullable=False),
)

ALLOCATION_RUNS = Table(
    "allocation_runs",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("budget_id", _ID, ForeignKey("funds.id"), nullable=False),
    Column("inputs", Mapped, nullable=False),
    Column("result", Mapped, nullable=False),
    Column("made_by", _ID, nullable=False),
    Column("made_at", Instant, nullable=False),
    Index(None, "budget_id", "id"),
)

SCALES = Table(
    "scales",
    METADATA,
    Column("budget_id", _ID, ForeignKey("funds.id"), primary_key=True),
    Column("product", _ID, primary_key=True),
    Column("grade", String(8), primary_key=True),
    Column("scale", String(16), nullable=False),
    Column("run_id", _ID, ForeignKey("allocation_runs.id"), nullable=False),
)

_P: Final = PARTNERS.c
_F: Final = FUNDS.c
_D: Final = PARTNER_DECISIONS.c
_W: Final = SWITCHES.c
_A: Final = ALLOCATION_RUNS.c
_S: Final = SCALES.c
_SCALES: Final = sa.select(_S.product, _S.grade, _S.scale).where(
    _S.budget_id == sa.bindparam("p_budget")
)
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
LENDING: Final = "lending"
"""The switch that holds how the lender itself takes part in joint loans."""
_SUPPLY: Final = (
    sa.select(sa.select(_W.value).where(_W.name == LENDING).scalar_subquery(), *_FUND, *_PARTNER)
    .outerjoin(PARTNERS, _P.id == _F.id)
    .where(sa.or_(_P.id.is_not(None), _F.id == bindparam("p_budget", type_=String)))
    .order_by(_F.id)
)
_SWITCH: Final = sa.select(SWITCHES).where(_W.name == bindparam("p_name"))
_ADD_PROMISE: Final = sa.insert(PROMISES)
_ADD_DECISIONS: Final = sa.insert(PARTNER_DECISIONS)


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a partner decided about one draw.

    Parameters
    ----------
    draw_id, partner_id : str
        The draw's id is its hold's.
    accepted : bool
    policy_ref : str
        Name and version of its rules.
    reason : str
        Code; empty where it accepted.
    amount_minor : int
        Of the whole draw.
    grade : str
        That it was shown.
    decided_at : datetime
        UTC.
    """

    draw_id: str
    partner_id: str
    accepted: bool
    policy_ref: str
    reason: str
    amount_minor: int
    grade: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Switch:
    """A setting of the whole portfolio.

    Parameters
    ----------
    name : str
    value : mapping
    set_by, reason : str
        Who set it, and why.
    approval_id : str, optional
        The four eyes behind it.
    changed_at : datetime
        UTC.
    """

    name: str
    value: Mapping[str, Any]
    set_by: str
    reason: str
    approval_id: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class AllocationRun:
    """One run of the allocation, kept as it was.

    Parameters
    ----------
    id, budget_id : str
    inputs, result : mapping
        Plain values.
    made_by : str
    made_at : datetime
        UTC.
    """

    id: str
    budget_id: str
    inputs: Mapping[str, Any]
    result: Mapping[str, Any]
    made_by: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Funded:
    """One draw in a partner's book: its part, and nothing of anybody else's.

    Parameters
    ----------
    draw_id : str
    product, purpose : str
    amount_minor, open_minor : int
        The partner's share, and what of it is not repaid.
    terms : mapping
        Of the draw.
    drawn_at : datetime
        UTC.
    """

    draw_id: str
    product: str
    purpose: str
    amount_minor: int
    open_minor: int
    terms: Mapping[str, Any]
    drawn_at: datetime


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


def keep_promise(db: Connection, hold_id: str, terms: Mapping[str, Any]) -> None:
    """Keep what a hold was promised, with the hold."""
    db.execute(_ADD_PROMISE, {"hold_id": hold_id, "terms": terms})


def promise_of(db: Connection, hold_id: str) -> Mapping[str, Any] | None:
    """Return what a hold was promised, or None."""
    query = sa.select(PROMISES.c.terms).where(PROMISES.c.hold_id == hold_id)
    found = db.execute(query).scalar()
    return None if found is None else dict(found)


def keep_verdicts(db: Connection, verdicts: Iterable[Verdict]) -> None:
    """Keep what partners decided about a draw, yes and no alike."""
    rows = [{field: getattr(one, field) for field in Verdict.__slots__} for one in verdicts]
    if rows:
        db.execute(_ADD_DECISIONS, rows)


def verdicts_of(
    db: Connection,
    partner_id: str,
    *,
    after: str = "",
    count: int = 100,
    accepted: bool | None = None,
) -> list[Verdict]:
    """Return a partner's decisions in order of the draws' ids, from the first behind `after`."""
    query = sa.select(PARTNER_DECISIONS).where(_D.partner_id == partner_id, _D.draw_id > after)
    if accepted is not None:
        query = query.where(_D.accepted.is_(accepted))
    rows = db.execute(query.order_by(_D.draw_id).limit(count)).mappings()
    return [Verdict(**row) for row in rows]


def verdict_counts(db: Connection, partner_id: str) -> dict[str, int]:
    """Return how often a partner decided what: '' for yes, else by its reason."""
    query = sa.select(_D.reason, sa.func.count()).where(_D.partner_id == partner_id)
    rows = db.execute(query.group_by(_D.reason).order_by(_D.reason))
    return {str(reason): int(many) for reason, many in rows}


def funded_by(
    db: Connection, partner_id: str, *, after: str = "", count: int = 100
) -> list[Funded]:
    """Return a partner's shares in order of the draws' ids, from the first behind `after`."""
    share, draw = SHARES.c, DRAWDOWNS.c
    query = (
        sa.select(
            draw.id,
            LINES.c.product,
            draw.purpose,
            share.amount_minor,
            share.open_minor,
            draw.terms,
            draw.drawn_at,
        )
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .join(LINES, LINES.c.id == draw.line_id)
        .where(share.partner_id == partner_id, draw.id > after)
    )
    return [Funded(*row) for row in db.execute(query.order_by(draw.id).limit(count))]


def funded_in_all(db: Connection, partner_id: str) -> tuple[int, int, int]:
    """Return how many draws a partner has funded, how much of them, and how much is open."""
    share = SHARES.c
    sums = (sa.func.sum(share.amount_minor), sa.func.sum(share.open_minor))
    many, drawn, owed = db.execute(
        sa.select(sa.func.count(), *sums).where(share.partner_id == partner_id)
    ).one()
    return int(many), int(drawn or 0), int(owed or 0)


def own_open(db: Connection, line_id: str) -> int:
    """Return what the lender itself has out on a line: shares that come from no fund."""
    share, draw = SHARES.c, DRAWDOWNS.c
    query = (
        sa.select(sa.func.sum(share.open_minor))
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .where(
            draw.line_id == line_id,
            draw.open_minor > sa.literal_column("0"),
            share.fund_id.is_(None),
        )
    )
    return int(db.execute(query).scalar() or 0)


def lenders_of(db: Connection, line_id: str) -> list[tuple[str, int]]:
    """Return who has what out on a line, in order of names."""
    return lenders_in(db, [line_id]).get(line_id, [])


def lenders_in(db: Connection, line_ids: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Return who has what out on each of some lines, in order of names; one query."""
    share, draw = SHARES.c, DRAWDOWNS.c
    query = (
        sa.select(draw.line_id, share.partner_id, sa.func.sum(share.open_minor))
        .join(DRAWDOWNS, draw.id == share.drawdown_id)
        .where(
            draw.line_id.in_(line_ids),
            draw.open_minor > sa.literal_column("0"),
            share.open_minor > 0,
        )
        .group_by(draw.line_id, share.partner_id)
        .order_by(share.partner_id)
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for line_id, partner, owed in db.execute(query) if line_ids else ():
        found.setdefault(line_id, []).append((str(partner), int(owed)))
    return found


@whole
def set_switch(db: Connection, switch: Switch) -> None:
    """Set a switch, in place of what it was.

    Raises
    ------
    UsageError
        If a name is malformed or no reason is given.
    """
    name(switch.name, "switch")
    name(switch.set_by, "set_by")
    if not switch.reason.strip():
        raise UsageError("a switch needs a reason")
    row: Row = {field: getattr(switch, field) for field in Switch.__slots__}
    if db.execute(sa.update(SWITCHES).where(_W.name == switch.name).values(**row)).rowcount == 0:
        db.execute(sa.insert(SWITCHES), row)


def get_switch(db: Connection, named: str) -> Switch | None:
    """Return a switch, or None where it was never set."""
    row = db.execute(_SWITCH, {"p_name": named}).mappings().first()
    return None if row is None else Switch(**row)


@whole
def keep_run(db: Connection, run: AllocationRun, scales: Mapping[tuple[str, str], Decimal]) -> None:
    """Keep an allocation run and put its scales in force, in place of those of the budget's last.

    Parameters
    ----------
    db : Connection
    run : AllocationRun
    scales : mapping of (str, str) to Decimal
        By product and grade, in [0, 1].
    """
    db.execute(
        sa.insert(ALLOCATION_RUNS), {one: getattr(run, one) for one in AllocationRun.__slots__}
    )
    db.execute(sa.delete(SCALES).where(_S.budget_id == run.budget_id))
    rows = [
        {
            "budget_id": run.budget_id,
            "product": product,
            "grade": grade,
            "scale": str(scale),
            "run_id": run.id,
        }
        for (product, grade), scale in scales.items()
    ]
    if rows:
        db.execute(sa.insert(SCALES), rows)


def scales_of(db: Connection, budget_id: str) -> dict[tuple[str, str], Decimal]:
    """Return the scales of a budget that are in force, by product and grade."""
    rows = db.execute(_SCALES, {"p_budget": budget_id})
    return {(row.product, row.grade): Decimal(row.scale) for row in rows}


def runs_of(
    db: Connection, budget_id: str, *, before: str = "", count: int = 100
) -> Sequence[AllocationRun]:
    """Return the runs of a budget, newest first, from the first before `before`."""
    query = sa.select(ALLOCATION_RUNS).where(_A.budget_id == budget_id)
    if before:
        query = query.where(_A.id < before)
    rows = db.execute(query.order_by(_A.id.desc()).limit(count)).mappings()
    return [AllocationRun(**row) for row in rows]
