"""Whether a line may be drawn on today, for what, and how much: the checks before any money moves.

They stand in a fixed order, state and consent first, so that the reason told is always the same one
(domain 5.3, 5.4). The caller holds the lock of the line's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts import funding
from server.accounts.costing import Rated, frozen_by_score, rated
from server.accounts.desk import Desk
from server.accounts.dossier import CREDIT
from server.accounts.funding import Shown, Supply
from server.accounts.repaying import days_past_due
from server.limits.line.events import line_from_mapping
from server.limits.line.line import Line, State
from server.limits.line.reasons import FROZEN
from server.limits.line.waterfall import Available, Room, available
from server.limits.portfolio.joint import PartnerDecision
from server.limits.rules.products import Product, purpose_of_draw
from server.store import people
from server.store.lines import StoredLine
from server.store.tables import DRAWDOWNS, HOLDS, Instant
from shared.errors import Conflict, DrawRefused

FORBIDDEN: Final = "B10"
"""Reason of a draw for what the law forbids."""
_H: Final = HOLDS.c
_D: Final = DRAWDOWNS.c
_C: Final = people.CONSENTS.c
_NOW: Final = sa.bindparam("p_now", type_=Instant)
# Spelt out, for a partial index serves no parameter.
_PENDING: Final[sa.ColumnClause[str]] = sa.literal_column("'pending'")
_NOTHING: Final[sa.ColumnClause[int]] = sa.literal_column("0")
# What the line's own past says, in one look: drawn lately, the id's use, the oldest open draw.
_PAST: Final = sa.select(
    sa.select(sa.func.coalesce(sa.func.sum(_H.amount_minor), 0))
    .where(
        _H.line_id == sa.bindparam("p_line"),
        _H.created_at >= sa.bindparam("p_since", type_=Instant),
        sa.or_(_H.state == "posted", sa.and_(_H.state == _PENDING, _H.expires_at > _NOW)),
    )
    .scalar_subquery(),
    sa.select(_H.state).where(_H.id == sa.bindparam("p_id")).scalar_subquery(),
    sa.select(_D.drawn_at)
    .where(_D.line_id == sa.bindparam("p_line"), _D.open_minor > _NOTHING)
    .order_by(_D.line_version)
    .limit(1)
    .scalar_subquery(),
    # As `Dossier.consent` has it: the newest consent to credit that counts on the day.
    sa.select(_C.terms)
    .where(
        _C.customer_id == sa.bindparam("p_customer"),
        _C.purpose == CREDIT,
        _C.withdrawn_at.is_(None),
        _C.since <= sa.bindparam("p_day"),
        sa.or_(_C.until.is_(None), _C.until >= sa.bindparam("p_day")),
    )
    .order_by(_C.id.desc())
    .limit(1)
    .scalar_subquery(),
)
# Held by nobody any more; asked only where something is held.
_LAPSED: Final = sa.select(sa.func.coalesce(sa.func.sum(_H.amount_minor), 0)).where(
    _H.line_id == sa.bindparam("p_line"), _H.state == _PENDING, _H.expires_at <= _NOW
)


@dataclass(frozen=True, slots=True)
class Past:
    """What a line's own past says to a draw.

    Parameters
    ----------
    lately_minor : int
        Drawn and held within the window of the velocity rule.
    used : str, optional
        State of the hold that has the id asked for, if there is one.
    oldest : datetime, optional
        Of the oldest drawdown that is still owed.
    lapsed_minor : int
        Of pending holds whose time is over, and that nobody swept yet.
    holders : tuple of str, optional
        That the customer's consent to credit lets tell; None where no consent counts today.
    """

    lately_minor: int
    used: str | None
    oldest: datetime | None
    lapsed_minor: int
    holders: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Look:
    """A line with its own past, before anybody is asked about the customer.

    Parameters
    ----------
    stored : StoredLine
    line : Line
    product : Product
    past : Past
    day : date
        Local.
    """

    stored: StoredLine
    line: Line
    product: Product
    past: Past
    day: date

    @property
    def held_minor(self) -> int:
        """What open holds reserve, those whose time is over left out."""
        return self.stored.totals.held_minor - self.past.lapsed_minor


@dataclass(frozen=True, slots=True)
class Admitted:
    """A line that may be drawn on, with how its customer stands today."""

    look: Look
    rated: Rated

    def shown(self, amount_minor: int = 0) -> Shown:
        """Return what partners are shown."""
        return shown(self.look, self.rated, amount_minor)


def shown(look: Look, one: Rated, amount_minor: int = 0) -> Shown:
    """Return what partners are shown of a draw."""
    return Shown(look.product.id, one.grade, one.default_prob, amount_minor)


def look_at(desk: Desk, db: Connection, stored: StoredLine, now: datetime, id_: str = "") -> Look:
    """Look at a line and at its past, in one query; in two where something is held.

    Parameters
    ----------
    desk : Desk
    db : Connection
    stored : StoredLine
    now : datetime
    id_ : str
        Of the hold that is asked for.

    Raises
    ------
    NotFound
        If the catalogue has no such product any more.
    """
    product, day = desk.rules.catalogue.product(stored.product), desk.today(now)
    days = product.velocity.days if product.velocity is not None else 1
    values = {
        "p_line": stored.id,
        "p_since": datetime.combine(day - timedelta(days=days - 1), time.min, desk.zone),
        "p_now": now,
        "p_id": id_,
        "p_customer": stored.customer_id,
        "p_day": day.isoformat(),
    }
    lately, used, oldest, consent = db.execute(_PAST, values).one()
    lapsed = 0
    if stored.totals.held_minor:
        lapsed = int(db.execute(_LAPSED, {"p_line": stored.id, "p_now": now}).scalar_one())
    holders = None if consent is None else tuple(consent.get("holders", ()))
    past = Past(int(lately), used, oldest, lapsed, holders)
    return Look(stored, line_from_mapping(stored.domain), product, past, day)


def admit(desk: Desk, db: Connection, look: Look, purpose: str, now: datetime) -> Admitted:
    """Check state, consent, arrears, the fresh score and the purpose, in that order.

    Raises
    ------
    DrawRefused
        By the code of the reason; B10 where the law forbids the purpose, and the line is to be
        frozen for it.
    EnvironmentFault
        If no score can be had, and none was before.
    """
    stored, line, product = look.stored, look.line, look.product
    _check_state(stored, line)
    holders = consented(look)
    _check_arrears(desk, db, look)
    one = rated(desk, stored.customer_id, line, product, holders, now)
    code = frozen_by_score(line, one.best, desk.rules.line)
    if code:
        raise DrawRefused("the score has fallen too far", check="score", reason=code)
    _check_purpose(desk, product, purpose, look.day)
    return Admitted(look, one)


def consented(look: Look) -> tuple[str, ...]:
    """Return the holders that the customer lets tell.

    Raises
    ------
    DrawRefused
        With reason P-CONSENT, if no consent to credit counts today.
    """
    if look.past.holders is None:
        raise DrawRefused("no consent to credit stands", check="state", reason="P-CONSENT")
    return look.past.holders


def _check_state(stored: StoredLine, line: Line) -> None:
    if line.consent_withdrawn_on is not None:
        raise DrawRefused("consent is withdrawn", check="state", reason="P-CONSENT")
    if not (stored.may_draw and line.may_draw):
        code = FROZEN.get(line.frozen_for, "")
        if line.state in {State.CLOSING, State.CLOSED}:
            code = "P-CLOSE"
        raise DrawRefused(f"the line is {line.state.value}: no draws", check="state", reason=code)


def _check_arrears(desk: Desk, db: Connection, look: Look) -> None:
    """Refuse where a review of today would freeze the line, should it not have run yet."""
    limit, oldest = desk.rules.line.arrears.freeze_from, look.past.oldest
    # The first instalment falls due a month after a draw: most lines need no closer look.
    if oldest is None or desk.today(oldest) + timedelta(days=28 + limit) > look.day:
        return
    days, _ = days_past_due(desk, db, look.stored.id, look.day)
    if days >= limit:
        raise DrawRefused(f"{days} days past due: no draws", check="state", reason="B08")


def _check_purpose(desk: Desk, product: Product, purpose: str, day: date) -> None:
    verdict = purpose_of_draw(product, desk.rules.pack, purpose, day)
    if verdict.answer == "forbidden":
        why = f"the law forbids lending for that purpose ({verdict.rule})"
        raise DrawRefused(why, check="purpose", reason=FORBIDDEN)
    if verdict.answer == "refused":
        offered = ", ".join(sorted(product.purposes))
        why = f"{product.id} is for {offered}"
        raise DrawRefused(why, check="purpose", reason=verdict.reasons[0].code)


def room(
    look: Look, supply: Supply, decisions: tuple[PartnerDecision, ...], purpose: str = ""
) -> Available:
    """Return what can be drawn for a purpose, term by term."""
    rule = look.product.velocity
    lately = look.past.lately_minor
    rest = Room(
        partner_minor=supply.room(decisions),
        budget_minor=supply.headroom(look.stored),
        velocity_minor=None if rule is None else max(0, rule.most_minor - lately),
        purpose_minor=_for_purpose(look, purpose),
    )
    owed = look.stored.totals.outstanding_minor
    consents = look.past.holders is not None
    return available(look.line, look.day, owed, look.held_minor, rest, consents=consents)


def _for_purpose(look: Look, purpose: str) -> int | None:
    """Return what is there for a purpose: a temporary amount is there for its own only."""
    passing = look.line.temporary
    if passing is None or not look.line.temporary_on(look.day) or purpose in {"", passing.purpose}:
        return None
    owed = look.stored.totals.outstanding_minor + look.held_minor
    return max(0, look.line.effective_limit_minor - owed)


def check_amount(product: Product, amount_minor: int) -> None:
    """Check that an amount is worth its handling.

    Raises
    ------
    Conflict
        With check `amount`.
    """
    if amount_minor < product.least_draw_minor:
        why = f"a draw is at least {product.least_draw_minor} minor units"
        raise Conflict(why, check="amount")


def afford(
    desk: Desk, db: Connection, admitted: Admitted, amount_minor: int, purpose: str
) -> tuple[Supply, tuple[PartnerDecision, ...]]:
    """Check that an amount is available, and return who could lend it.

    Raises
    ------
    DrawRefused
        With check `available`; the reason is that of the term that binds, '' for the limit.
    Conflict
        With check `amount`, if it is less than the least draw.
    """
    look = admitted.look
    check_amount(look.product, amount_minor)
    supply = funding.supply_for(desk, db, look.stored, look.day)
    decisions = supply.decide(admitted.shown(amount_minor), look.day)
    found = room(look, supply, decisions, purpose)
    if amount_minor > found.amount_minor:
        binding = next(term for term in found.terms if term.binds)
        why = f"{found.amount_minor} minor units can be drawn ({binding.name})"
        raise DrawRefused(why, check="available", reason=binding.code)
    return supply, decisions
