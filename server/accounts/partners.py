"""Partner banks: what they tell of themselves, what they may lend, how the lender joins in.

A partner's fund is capped by what the law lets it lend with one lender (domain T27) and by what it
agreed to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.budgeting import BUDGET
from server.accounts.desk import Desk
from server.accounts.funding import PartnerRules, bank_of, parse_rules
from server.limits.portfolio import joint
from server.store import funds, switches
from server.store import partners as stored
from server.store.funds import Fund
from server.store.ids import minor
from server.store.partners import PartnerRow
from server.store.switches import Switch
from shared.errors import Conflict

PARTNER: Final = "partner"
"""Kind of a partner's fund."""


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
    stored.set_partner(db, row, now)
    return get_partner(desk, db, asked.id, now)


def withdraw_partner(desk: Desk, db: Connection, partner_id: str, now: datetime) -> PartnerView:
    """Let a partner go: it funds nothing more, what it has out runs off.

    Raises
    ------
    NotFound
    """
    fund, _ = stored.get_partner(db, partner_id)
    cap = fund.cap_minor
    funds.set_fund(db, partner_id, kind=PARTNER, cap_minor=cap, is_open=False, at=now)
    return get_partner(desk, db, partner_id, now)


def get_partner(desk: Desk, db: Connection, partner_id: str, now: datetime) -> PartnerView:
    """Return a partner as it stands.

    Raises
    ------
    NotFound
    """
    return _view(desk, *stored.get_partner(db, partner_id), now)


def bounds_of(desk: Desk, db: Connection, partner_id: str, now: datetime) -> dict[str, int]:
    """Return what each bound of a partner leaves today; see `joint.bounds`.

    Raises
    ------
    NotFound
    """
    bank = bank_of(*stored.get_partner(db, partner_id))
    return joint.bounds(bank.partner, joint.terms_on(desk.rules.pack, desk.today(now)))


def partners_of(desk: Desk, db: Connection, now: datetime) -> list[PartnerView]:
    """Return all partners in order of their ids, those that have withdrawn too."""
    _, rows, _ = stored.supply(db)
    return [_view(desk, fund, row, now) for fund, row in rows]


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
    switch = Switch(stored.LENDING, value, by, reason, None, now)
    switches.set_switch(db, switch)
    return switch


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
