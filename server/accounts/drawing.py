"""Holds and draws: set aside, post, void, or draw in one step.

Everything is checked with the line's row locked, in a fixed order, and refused by the code of a
reason: state and consent, the fresh score, purpose, amount, price, partners. What a hold was
promised, it is posted under; a draw in one step shares out among the partners of that moment.

Partners' funds are read after the line is locked and taken by a conditional update at the end. If
another draw took the last of a partner's room in between, this one fails whole and can be asked
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts import funding, reviewing
from server.accounts.admitting import (
    FORBIDDEN,
    Admitted,
    Look,
    admit,
    afford,
    check_amount,
    consented,
    look_at,
    shown,
)
from server.accounts.costing import price_to_mapping, priced, rated, schedule
from server.accounts.desk import Desk
from server.accounts.funding import Supply
from server.limits.portfolio.joint import PartnerDecision
from server.limits.rules.pricing import Sheet
from server.store import draws, holds, partner_decisions
from server.store.draws import Drawdown, Share, Terms
from server.store.holds import Hold, HoldRequest
from server.store.lines import get_line
from shared.errors import Conflict, DrawRefused

SHORTEST: Final = timedelta(seconds=10)
LONGEST: Final = timedelta(days=7)
"""How long a hold may last."""
SERVICE: Final = "service"
"""Who freezes a line for a forbidden purpose."""


@dataclass(frozen=True, slots=True)
class _Promise:
    """Who lends what of a draw, and what each partner decided."""

    shares: tuple[Share, ...]
    decisions: tuple[PartnerDecision, ...]

    def to_mapping(self) -> dict[str, Any]:
        return {
            "shares": [[one.partner_id, one.amount_minor, one.fund_id] for one in self.shares],
            "decisions": [
                {
                    "partner": one.partner,
                    "accepted": one.accepted,
                    "policy": one.policy,
                    "reason": one.reason,
                    "day": one.day.isoformat(),
                }
                for one in self.decisions
            ],
        }


def hold(desk: Desk, db: Connection, asked: HoldRequest, ttl: timedelta, now: datetime) -> Hold:
    """Set money aside for a draw; the same request again finds the hold it made.

    What partners promise is kept with the hold; their funds are taken when it is posted.

    Parameters
    ----------
    desk : Desk
    db : Connection
    asked : HoldRequest
    ttl : timedelta
        `SHORTEST` to `LONGEST`.
    now : datetime

    Raises
    ------
    NotFound
        If there is no such line.
    DrawRefused
        By the code of the reason. A forbidden purpose freezes the line, for good: that transaction
        is committed before the error is raised.
    Conflict
        With check `ttl`, `amount`, `currency`, or `id` if the id was another's.
    EnvironmentFault
        If no release serves.
    """
    if not SHORTEST <= ttl <= LONGEST:
        raise Conflict(f"a hold lasts from {SHORTEST} to {LONGEST}", check="ttl")
    admitted = _admitted(desk, db, asked, now)
    if admitted is None:
        return holds.hold(db, asked, now + ttl, now)
    supply, decisions = afford(desk, db, admitted, asked.amount_minor, asked.purpose)
    promise = _shared(supply, asked.amount_minor, decisions)
    made = holds.hold(db, asked, now + ttl, now)
    partner_decisions.keep_promise(db, made.id, promise.to_mapping())
    _keep_verdicts(db, admitted, asked, promise, now)
    return made


def draw(desk: Desk, db: Connection, asked: HoldRequest, months: int, now: datetime) -> Drawdown:
    """Draw in one step; the same request again finds the drawdown.

    Parameters
    ----------
    desk : Desk
    db : Connection
    asked : HoldRequest
    months : int
        Over which it is repaid; one of the product's.
    now : datetime

    Raises
    ------
    ConfideError
        See `hold`; also `Conflict` with check `months`, and `DrawRefused` with check `price`.
    """
    admitted = _admitted(desk, db, asked, now)
    if admitted is None:
        return _again(db, asked)
    supply, decisions = afford(desk, db, admitted, asked.amount_minor, asked.purpose)
    sheet = _sheet(desk, admitted, asked.amount_minor, months)
    promise = _shared(supply, asked.amount_minor, decisions)
    try:
        drawn = draws.draw(db, asked, _terms(desk, admitted, sheet, promise), now)
    except Conflict as error:
        raise _meant(error) from error
    _keep_verdicts(db, admitted, asked, promise, now)
    return drawn


def post(desk: Desk, db: Connection, hold_id: str, months: int, now: datetime) -> Drawdown:
    """Turn a hold into a drawdown, under what it was promised; again finds the drawdown.

    Raises
    ------
    ConfideError
        See `draw`. With check `fund` and reason C-PARTNER if a partner of the promise has
        withdrawn or has no room; with check `hold` if it was voided or has expired. Whatever is
        refused, the hold stays as it is.
    """
    stored = get_line(db, holds.lock_line_of(db, hold_id))
    held = holds.get_hold(db, hold_id)
    if held.state == "posted":
        return draws.get_drawdown(db, hold_id)
    if held.state != holds.PENDING or held.expires_at <= now:
        state = "expired" if held.state == holds.PENDING else held.state
        raise Conflict(f"the hold is {state}", check="hold")
    admitted = _checked(desk, db, look_at(desk, db, stored, now), held.purpose, now)
    sheet = _sheet(desk, admitted, held.amount_minor, months)
    promise = _promised(desk, db, admitted, held)
    try:
        return draws.post(db, hold_id, _terms(desk, admitted, sheet, promise), now)
    except Conflict as error:
        raise _meant(error) from error


def void(db: Connection, hold_id: str, now: datetime) -> Hold:
    """Give a pending hold back; voiding it again changes nothing.

    Raises
    ------
    NotFound
    Conflict
        With check `hold`, if it was posted or has expired.
    """
    return holds.void(db, hold_id, now)


def quote(
    desk: Desk, db: Connection, line_id: str, amount_minor: int, months: int, now: datetime
) -> Sheet:
    """Return what a draw would cost today; nothing is agreed, and nothing is changed.

    Raises
    ------
    NotFound
        If there is no such line.
    Conflict
        With check `amount` or `months`.
    DrawRefused
        With reason P-CONSENT, if no consent to credit stands: without it there is no grade.
    EnvironmentFault
        If no release serves.
    """
    look = look_at(desk, db, get_line(db, line_id), now)
    check_amount(look.product, amount_minor)
    holders, customer = consented(look), look.stored.customer_id
    one = rated(desk, customer, look.line, look.product, holders, now)
    return priced(desk, look.product, one.grade, amount_minor, months, look.day)


def lenders(
    desk: Desk, db: Connection, line_id: str, amount_minor: int, now: datetime
) -> tuple[Share, ...]:
    """Return who would lend what of a draw today; () where the partners have no room for it.

    Nothing is agreed, and nothing is changed: another draw may take a partner's room.

    Raises
    ------
    NotFound
        If there is no such line.
    DrawRefused
        With reason P-CONSENT, if no consent to credit stands.
    EnvironmentFault
        If no release serves.
    """
    look = look_at(desk, db, get_line(db, line_id), now)
    holders, customer = consented(look), look.stored.customer_id
    one = rated(desk, customer, look.line, look.product, holders, now)
    supply = funding.supply_for(desk, db, look.stored, look.day)
    decisions = supply.decide(shown(look, one, amount_minor), look.day)
    return tuple(funding.shares_of(supply.share_out(amount_minor, decisions)))


def _admitted(desk: Desk, db: Connection, asked: HoldRequest, now: datetime) -> Admitted | None:
    """Lock the line and admit the draw; None if its id was used, so that it is a repetition."""
    stored = get_line(db, asked.line_id, lock=True)
    if stored.currency != asked.currency:
        raise Conflict(f"the line is in {stored.currency}", check="currency")
    look = look_at(desk, db, stored, now, asked.id)
    if look.past.used is not None:
        return None
    if look.past.lapsed_minor and holds.expire(db, stored.id, now):
        look = look_at(desk, db, get_line(db, stored.id), now, asked.id)
    return _checked(desk, db, look, asked.purpose, now)


def _checked(desk: Desk, db: Connection, look: Look, purpose: str, now: datetime) -> Admitted:
    """Admit a draw; a purpose that the law forbids freezes the line for a person to look at."""
    try:
        return admit(desk, db, look, purpose, now)
    except DrawRefused as error:
        if (error.check, error.reason) == ("purpose", FORBIDDEN):
            reviewing.decide_line(desk, db, look.stored.id, "freeze_purpose", now, SERVICE)
            db.commit()  # the refusal that follows must not undo it
        raise


def _again(db: Connection, asked: HoldRequest) -> Drawdown:
    """Return the drawdown that the same request made before."""
    before = holds.get_hold(db, asked.id)
    same = (before.line_id, before.amount_minor, before.purpose)
    if before.state != "posted" or same != (asked.line_id, asked.amount_minor, asked.purpose):
        raise Conflict("the id was used for another hold or draw", check="id")
    return draws.get_drawdown(db, asked.id)


# price, lenders, terms


def _sheet(desk: Desk, admitted: Admitted, amount_minor: int, months: int) -> Sheet:
    look, grade = admitted.look, admitted.rated.grade
    made = priced(desk, look.product, grade, amount_minor, months, look.day)
    if not made.within_cap and made.cap is not None:
        why = (
            f"all fees included it costs {made.apr} a year; {made.cap.rule} allows {made.cap.rate}"
        )
        raise DrawRefused(why, check="price", reason="P-COST", hint=made.cap.rule)
    return made


def _shared(supply: Supply, amount_minor: int, decisions: tuple[PartnerDecision, ...]) -> _Promise:
    """Share a draw out among those that said yes; the law's own share comes first (T27, T36)."""
    funded = supply.share_out(amount_minor, decisions)
    if not funded.shares_minor:
        raise DrawRefused("the partners have no room for it", check="fund", reason="C-PARTNER")
    return _Promise(tuple(funding.shares_of(funded)), decisions)


def _promised(desk: Desk, db: Connection, admitted: Admitted, held: Hold) -> _Promise:
    """Return what a hold was promised; one that knows of no promise is shared out now."""
    told = partner_decisions.promise_of(db, held.id)
    if told is None:
        look = admitted.look
        supply = funding.supply_for(desk, db, look.stored, look.day)
        decisions = supply.decide(admitted.shown(held.amount_minor), look.day)
        return _shared(supply, held.amount_minor, decisions)
    decisions = tuple(
        PartnerDecision(**{**one, "day": date.fromisoformat(one["day"])})
        for one in told["decisions"]
    )
    return _Promise(tuple(Share(*one) for one in told["shares"]), decisions)


def _terms(desk: Desk, admitted: Admitted, made: Sheet, promise: _Promise) -> Terms:
    """Return all that a draw is made under, as it is kept with it and shown."""
    rules, look = desk.rules, admitted.look
    price = look.product.prices[admitted.rated.grade]
    told: Mapping[str, Any] = {
        "price": price_to_mapping(price, made),
        "schedule": schedule(made.plan, price, look.day),
        "score": admitted.rated.to_mapping(),
        "funding": {"decisions": promise.to_mapping()["decisions"]},
        "pack": rules.pack.name,
    }
    return Terms(
        shares=promise.shares,
        policy_ref=f"{rules.catalogue.id}/{rules.catalogue.version}",
        model_ref=admitted.rated.release,
        price=told,
    )


def _keep_verdicts(
    db: Connection, admitted: Admitted, asked: HoldRequest, promise: _Promise, now: datetime
) -> None:
    shown = admitted.shown(asked.amount_minor)
    partner_decisions.keep_verdicts(db, funding.verdicts(asked.id, shown, promise.decisions, now))


def _meant(error: Conflict) -> Conflict:
    """Return what a refusal of the store means to who draws."""
    if error.check != "fund":
        return error
    why = "a bank that lends with us has withdrawn or has no room left"
    return DrawRefused(why, check="fund", reason="C-PARTNER", hint="ask for a new draw")
