"""Partner banks, the budget, the pause of increases, and each partner's own book.

A partner's fund is capped by what the law lets it lend with one lender (domain T27) and by what it
agreed to. Pausing increases needs one person, for it only makes things safer; lifting the pause
needs four eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.funding import PartnerRules, bank_of, parse_rules
from server.limits.portfolio import joint
from server.limits.portfolio.budget import budget
from server.store import approvals, funds, portfolio
from server.store.approvals import Approval, Proposal
from server.store.funds import Fund
from server.store.ids import minor, new_id
from server.store.portfolio import PartnerRow, Switch, Verdict
from server.store.tables import FUNDS
from shared.errors import Conflict

PAUSE: Final = "pause"
INCREASES: Final = "increases"
"""Kind and subject of the approvals that lift a pause; the latter names the switch, too."""
PARTNER: Final = "partner"
BUDGET: Final = "budget"
"""Kinds of funds."""
_MICRO: Final = Decimal("0.000001")
_ONE: Final = Decimal(1)
_LASTS: Final = timedelta(days=7)
_VALUE: Final = portfolio.SWITCHES.c.value
_USED: Final = sa.select(
    sa.select(_VALUE).where(portfolio.SWITCHES.c.name == INCREASES).scalar_subquery(),
    *(
        sa.select(column).where(FUNDS.c.id == sa.bindparam("p_budget")).scalar_subquery()
        for column in (FUNDS.c.cap_minor, FUNDS.c.used_minor, FUNDS.c.is_open)
    ),
)


@dataclass(frozen=True, slots=True)
class PartnerRequest:
    """What a partner tells of itself.

    Parameters
    ----------
    id : str
        Also the name of its share in draws; not `own`.
    tier1_minor, loans_minor, elsewhere_minor : int
        Net tier-1 capital, all its loans, and its joint loans with other lenders.
    rules : mapping
        See `server.accounts.funding.PartnerRules`.
    agreed_minor : int, optional
        What it lends with this lender, at most.
    is_open : bool
    """

    id: str
    tier1_minor: int
    loans_minor: int
    elsewhere_minor: int
    rules: Mapping[str, Any]
    agreed_minor: int | None = None
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class PartnerView:
    """A partner as it stands.

    Parameters
    ----------
    id : str
    is_open : bool
        False once it has withdrawn: repayments still reach it.
    cap_minor, used_minor, room_minor : int
        What it may have out with this lender, has, and may still add today.
    tier1_minor, loans_minor, elsewhere_minor : int
    agreed_minor : int, optional
    rules : PartnerRules
    version : int
        Of its fund.
    """

    id: str
    is_open: bool
    cap_minor: int
    used_minor: int
    room_minor: int
    tier1_minor: int
    loans_minor: int
    elsewhere_minor: int
    agreed_minor: int | None
    rules: PartnerRules
    version: int


@dataclass(frozen=True, slots=True)
class BookItem:
    """One draw in a partner's book: its own part, and nothing of other partners.

    Parameters
    ----------
    draw_id, product, purpose, grade, apr : str
    amount_minor, open_minor : int
        Of the partner's share.
    months : int
    drawn_at : datetime
        UTC.
    """

    draw_id: str
    product: str
    purpose: str
    grade: str
    apr: str
    amount_minor: int
    open_minor: int
    months: int
    drawn_at: datetime


@dataclass(frozen=True, slots=True)
class Book:
    """A partner's own book.

    Parameters
    ----------
    partner : PartnerView
    draws : int
    funded_minor, open_minor : int
        Of all its shares.
    decided : mapping of str to int
        How often it decided what: `''` for yes, else its reason.
    items : tuple of BookItem
        A page, in order of the draws' ids.
    refused : tuple of Verdict
        Draws that it refused and that were made without it: where its policy and the platform's
        differ. Same page.
    """

    partner: PartnerView
    draws: int
    funded_minor: int
    open_minor: int
    decided: Mapping[str, int]
    items: tuple[BookItem, ...]
    refused: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """Whether increases are paused.

    Parameters
    ----------
    paused : bool
    by, reason : str
        Empty where it never was.
    since : datetime, optional
        UTC.
    """

    paused: bool
    by: str = ""
    reason: str = ""
    since: datetime | None = None


def set_partner(desk: Desk, db: Connection, asked: PartnerRequest, now: datetime) -> PartnerView:
    """Take a partner on, or what it tells anew; its cap follows from the law and from itself.

    Raises
    ------
    DataError
        With all that is wrong with its rules.
    Conflict
        With check `id`, if that is no name for a partner.
    ConfigError
        If the pack does not say how to lend jointly.
    """
    if asked.id in {joint.OWN, BUDGET}:
        raise Conflict(f"{asked.id} is no name for a partner", check="id")
    catalogue = desk.rules.catalogue
    grades = list(desk.rules.policy.grades)
    rules = parse_rules(asked.rules, grades, list(catalogue.products))
    fresh = joint.Partner(
        id=asked.id,
        tier1_minor=minor(asked.tier1_minor, "tier1_minor", least=0),
        loans_minor=minor(asked.loans_minor, "loans_minor", least=0),
        joint_minor=minor(asked.elsewhere_minor, "elsewhere_minor", least=0),
        agreed_minor=asked.agreed_minor,
    )
    cap = joint.room(fresh, joint.terms_on(desk.rules.pack, desk.today(now)))
    funds.set_fund(db, asked.id, kind=PARTNER, cap_minor=cap, is_open=asked.is_open, at=now)
    row = PartnerRow(
        id=asked.id,
        tier1_minor=asked.tier1_minor,
        loans_minor=asked.loans_minor,
        elsewhere_minor=asked.elsewhere_minor,
        agreed_minor=asked.agreed_minor,
        rules=rules.to_mapping(),
    )
    portfolio.set_partner(db, row, now)
    return get_partner(desk, db, asked.id, now)


def withdraw_partner(desk: Desk, db: Connection, partner_id: str, now: datetime) -> PartnerView:
    """Let a partner go: it funds nothing more, what it has out runs off.

    Raises
    ------
    NotFound
    """
    fund, _ = portfolio.get_partner(db, partner_id)
    cap = fund.cap_minor
    funds.set_fund(db, partner_id, kind=PARTNER, cap_minor=cap, is_open=False, at=now)
    return get_partner(desk, db, partner_id, now)


def get_partner(desk: Desk, db: Connection, partner_id: str, now: datetime) -> PartnerView:
    """Return a partner as it stands.

    Raises
    ------
    NotFound
    """
    return _view(desk, *portfolio.get_partner(db, partner_id), now)


def partners_of(desk: Desk, db: Connection, now: datetime) -> list[PartnerView]:
    """Return all partners in order of their ids, those that have withdrawn too."""
    _, rows, _ = portfolio.supply(db)
    return [_view(desk, fund, row, now) for fund, row in rows]


def book(
    desk: Desk, db: Connection, partner_id: str, now: datetime, *, after: str = "", count: int = 100
) -> Book:
    """Return a partner's own book, a page of its draws behind `after`.

    Raises
    ------
    NotFound
    """
    partner = get_partner(desk, db, partner_id, now)
    draws, funded, owed = portfolio.funded_in_all(db, partner_id)
    rows = portfolio.funded_by(db, partner_id, after=after, count=count)
    items = tuple(
        BookItem(
            draw_id=row.draw_id,
            product=row.product,
            purpose=row.purpose,
            grade=str(row.terms.get("price", {}).get("grade", "")),
            apr=str(row.terms.get("price", {}).get("apr", "")),
            amount_minor=row.amount_minor,
            open_minor=row.open_minor,
            months=len(row.terms.get("schedule", ())),
            drawn_at=row.drawn_at,
        )
        for row in rows
    )
    refused = portfolio.verdicts_of(db, partner_id, after=after, count=count, accepted=False)
    decided = portfolio.verdict_counts(db, partner_id)
    return Book(partner, draws, funded, owed, decided, items, tuple(refused))


def set_lending(
    desk: Desk,
    db: Connection,
    *,
    own_share: Decimal | None,
    own_line_minor: int | None,
    by: str,
    reason: str,
    now: datetime,
) -> Switch:
    """Set how the lender itself takes part where it has partners.

    Parameters
    ----------
    desk : Desk
    db : Connection
    own_share : Decimal, optional
        Of each draw, at least; the law's where that is more.
    own_line_minor : int, optional
        What it has out on one line, at most; then a line can borrow no more than partners add.
    by, reason : str
    now : datetime

    Raises
    ------
    Conflict
        With check `share`, if it is below the law's or above 1.
    """
    least = joint.terms_on(desk.rules.pack, desk.today(now)).own_share
    if own_share is not None and not least <= own_share <= 1:
        raise Conflict(f"own_share must be from {least} to 1", check="share")
    if own_line_minor is not None:
        minor(own_line_minor, "own_line_minor", least=0)
    value = {
        "own_share": None if own_share is None else str(own_share),
        "own_line_minor": own_line_minor,
    }
    switch = Switch(portfolio.LENDING, value, by, reason, None, now)
    portfolio.set_switch(db, switch)
    return switch


def set_budget(
    desk: Desk,
    db: Connection,
    budget_id: str,
    own_funds_minor: int,
    own_share: Decimal,
    by: str,
    now: datetime,
) -> Fund:
    """Set what may be committed in all, from own funds (domain 2.8, T26).

    Limits that are out already stay; where they are more than the new budget, nothing is raised
    and each line may draw its part of it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    budget_id : str
    own_funds_minor : int
    own_share : Decimal
        Of each loan that the lender funds itself; 1 without partners.
    by : str
    now : datetime

    Raises
    ------
    UsageError
        If own funds or the share are out of range.
    """
    minor(own_funds_minor, "own_funds_minor", least=0)
    cap = budget(own_funds_minor, own_share, desk.rules.budget).commitments_minor
    fund = funds.set_fund(db, budget_id, kind=BUDGET, cap_minor=cap, is_open=True, at=now)
    rules = f"{desk.rules.budget.id}/{desk.rules.budget.version}"
    value = {"own_funds_minor": own_funds_minor, "own_share": str(own_share), "rules": rules}
    portfolio.set_switch(db, Switch(_funds_of(budget_id), value, by, "budget", None, now))
    return fund


def own_funds_of(db: Connection, budget_id: str) -> tuple[int, Decimal]:
    """Return the own funds and the own share that a budget was made from.

    Raises
    ------
    Conflict
        With check `budget`, if it was never set.
    """
    switch = portfolio.get_switch(db, _funds_of(budget_id))
    if switch is None:
        raise Conflict(f"the budget {budget_id} has not been set", check="budget")
    return int(switch.value["own_funds_minor"]), Decimal(switch.value["own_share"])


def budget_used(db: Connection, budget_id: str | None) -> Decimal:
    """Return the share of a budget that is committed, up to six decimals; 1 while paused.

    0 where there is no budget. A review raises nothing from its policy's `pause_at` on.
    """
    value, cap, used, is_open = db.execute(_USED, {"p_budget": budget_id}).one()
    if (value is not None and value["paused"]) or is_open is False:
        return _ONE
    if cap is None:
        return Decimal(0)
    if not cap:
        return _ONE
    return (Decimal(used) / Decimal(cap)).quantize(_MICRO, ROUND_UP)


def scales_of(db: Connection, budget_id: str | None) -> dict[tuple[str, str], Decimal]:
    """Return the allocator's scales in force, by product and grade; none stands for 1."""
    return {} if budget_id is None else portfolio.scales_of(db, budget_id)


def paused(db: Connection) -> Pause:
    """Return whether increases are paused, by whom and since when."""
    switch = portfolio.get_switch(db, INCREASES)
    if switch is None:
        return Pause(paused=False)
    return Pause(bool(switch.value["paused"]), switch.set_by, switch.reason, switch.changed_at)


def set_pause(
    db: Connection,
    paused: bool,
    by: str,
    reason: str,
    now: datetime,
    *,
    approval_id: str | None = None,
) -> Pause:
    """Pause increases at once, or go on with an approval that was just used for it.

    Raises
    ------
    NotFound
    Conflict
        With check `approval`, if increases would go on without four eyes.
    """
    if not paused and not _was_used(db, approval_id):
        raise Conflict("increases go on only with another person's approval", check="approval")
    value = {"paused": paused}
    portfolio.set_switch(db, Switch(INCREASES, value, by, reason, approval_id, now))
    return Pause(paused, by, reason, now)


def propose_resume(db: Connection, by: str, reason: str, now: datetime) -> Approval:
    """Propose to another person that increases go on."""
    proposal = Proposal(new_id(now), PAUSE, INCREASES, {"paused": False}, by, reason)
    return approvals.propose(db, proposal, now + _LASTS, now)


def apply_pause(db: Connection, approval_id: str, now: datetime) -> Pause:
    """Do what an approval says, once.

    Raises
    ------
    NotFound
    Conflict
        With check `approval`, if it is not approved, was used before, or is too old.
    """
    used = approvals.use(db, approval_id, PAUSE, INCREASES, now)
    by = used.approver or used.proposer
    paused_now = bool(used.payload["paused"])
    return set_pause(db, paused_now, by, used.reason, now, approval_id=approval_id)


def _was_used(db: Connection, approval_id: str | None) -> bool:
    if approval_id is None:
        return False
    found = approvals.get_approval(db, approval_id)
    same = (found.kind, found.subject, found.state) == (PAUSE, INCREASES, "used")
    return same and found.payload.get("paused") is False


def _funds_of(budget_id: str) -> str:
    return f"own-funds:{budget_id}"


def _view(desk: Desk, fund: Fund, row: PartnerRow, now: datetime) -> PartnerView:
    bank = bank_of(fund, row)
    room = joint.room(bank.partner, joint.terms_on(desk.rules.pack, desk.today(now)))
    return PartnerView(
        id=row.id,
        is_open=fund.is_open,
        cap_minor=fund.cap_minor,
        used_minor=fund.used_minor,
        room_minor=room if fund.is_open else 0,
        tier1_minor=row.tier1_minor,
        loans_minor=row.loans_minor,
        elsewhere_minor=row.elsewhere_minor,
        agreed_minor=row.agreed_minor,
        rules=bank.rules,
        version=fund.version,
    )
