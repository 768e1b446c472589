"""Drawdowns: a hold that was posted, or a draw in one step, and who funds which part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.store import funds, holds
from server.store.holds import HoldRequest
from server.store.ids import minor, name, utc
from server.store.lines import MOVE, Totals, add_event, get_line, moved
from server.store.tables import DRAWDOWNS, SHARES
from server.store.whole import whole
from shared.errors import Conflict, NotFound, UsageError

_D: Final = DRAWDOWNS.c
_S: Final = SHARES.c
_ADD: Final = sa.insert(DRAWDOWNS)
_ADD_SHARES: Final = sa.insert(SHARES)


@dataclass(frozen=True, slots=True)
class Share:
    """One lender's part of a drawdown.

    Parameters
    ----------
    partner_id : str
    amount_minor : int
        Of the drawdown.
    fund_id : str, optional
        The fund it is taken from, and repaid to.
    open_minor : int
        Not repaid yet; what it is when the drawdown is made does not matter.
    """

    partner_id: str
    amount_minor: int
    fund_id: str | None = None
    open_minor: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a drawdown is made under.

    Parameters
    ----------
    shares : sequence of Share
        The lender's own first; together exactly the amount.
    policy_ref, model_ref : str
    price : mapping
        The caller's own: price, schedule, disclosure.
    """

    shares: Sequence[Share]
    policy_ref: str
    model_ref: str
    price: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawdown:
    """Money drawn on a line.

    Parameters
    ----------
    id, line_id, hold_id : str
    line_version : int
        Of the line when it was drawn: drawdowns of a line are repaid in this order.
    amount_minor, open_minor : int
        Drawn, and not repaid yet.
    purpose : str
    terms : mapping
        `Terms.price`.
    policy_ref, model_ref : str
    drawn_at : datetime
        UTC.
    shares : tuple of Share
        In order of their partners' ids.
    """

    id: str
    line_id: str
    hold_id: str
    line_version: int
    amount_minor: int
    open_minor: int
    purpose: str
    terms: Mapping[str, Any]
    policy_ref: str
    model_ref: str
    drawn_at: datetime
    shares: tuple[Share, ...]


@whole
def post(db: Connection, hold_id: str, terms: Terms, at: datetime) -> Drawdown:
    """Turn a pending hold into a drawdown of the same id; posting it again finds the drawdown.

    Raises
    ------
    NotFound
    UsageError
        If the shares are malformed.
    Conflict
        With check `hold` if it was voided or has expired, `state` if the line has been closed to
        draws since, `shares` if they do not add up, `fund` if a partner has withdrawn or has no
        room. The hold stays pending.
    """
    line_id = holds.lock_line_of(db, hold_id)
    held = holds.get_hold(db, hold_id)
    if held.state == "posted":
        return get_drawdown(db, hold_id)
    _check_shares(terms.shares, held.amount_minor)
    held = holds.resolve(db, hold_id, "posted", at)
    line = get_line(db, line_id)
    if not line.may_draw:
        raise Conflict(f"the line is {line.state}: no draws", check="state")
    amount = held.amount_minor
    moves = {"p_line": line_id, "p_outstanding": amount, "p_held": -amount, "p_at": utc(at)}
    totals = moved(db.execute(MOVE, moves).one())
    add_event(db, line_id, "posted", totals, ref=hold_id, outstanding=amount, held=-amount)
    return _insert(db, held, terms, totals, at)


@whole
def draw(db: Connection, asked: HoldRequest, terms: Terms, at: datetime) -> Drawdown:
    """Hold and post in one step; the same request again finds the drawdown.

    Raises
    ------
    NotFound, UsageError, Conflict
        See `holds.hold` and `post`.
    """
    _check_shares(terms.shares, asked.amount_minor)
    amount = asked.amount_minor
    totals = holds.take(db, asked, at, outstanding=amount, held=0)
    if totals is None:
        found = get_drawdown(db, asked.id)
        before = (found.line_id, found.amount_minor, found.purpose)
        if before != (asked.line_id, amount, asked.purpose):
            raise Conflict("the id was used for another draw", check="id")
        return found
    held = holds.insert(db, asked, "posted", totals, expires_at=totals.changed_at)
    add_event(db, asked.line_id, "drawn", totals, ref=asked.id, outstanding=amount)
    return _insert(db, held, terms, totals, at)


def get_drawdown(db: Connection, drawdown_id: str) -> Drawdown:
    """Return a drawdown.

    Raises
    ------
    NotFound
    """
    found = _read(db, sa.select(DRAWDOWNS).where(_D.id == drawdown_id))
    if not found:
        raise NotFound("there is no drawdown of that id")
    return found[0]


def drawdowns_of(
    db: Connection,
    line_id: str,
    *,
    after_version: int = 0,
    count: int = 100,
    only_open: bool = False,
) -> list[Drawdown]:
    """Return a line's drawdowns, oldest first, from the first behind a version of the line."""
    query = sa.select(DRAWDOWNS).where(_D.line_id == line_id, _D.line_version > after_version)
    if only_open:
        query = query.where(_D.open_minor > sa.literal_column("0"))  # so its index serves it
    return _read(db, query.order_by(_D.line_version).limit(count))


def _read(db: Connection, query: sa.Select[Any]) -> list[Drawdown]:
    rows = db.execute(query).mappings().all()
    shares: dict[str, list[Share]] = {row["id"]: [] for row in rows}
    columns = (_S.drawdown_id, _S.partner_id, _S.amount_minor, _S.fund_id, _S.open_minor)
    wanted = sa.select(*columns).where(_S.drawdown_id.in_(shares)).order_by(_S.partner_id)
    for drawdown_id, *share in db.execute(wanted) if shares else ():
        shares[drawdown_id].append(Share(*share))
    return [Drawdown(**row, shares=tuple(shares[row["id"]])) for row in rows]


def _check_shares(shares: Sequence[Share], amount: int) -> None:
    if not shares or len({share.partner_id for share in shares}) != len(shares):
        raise UsageError("a drawdown needs shares, one for each partner")
    for share in shares:
        name(share.partner_id, "partner_id")
        minor(share.amount_minor, "shares.amount_minor", least=0)
    if sum(share.amount_minor for share in shares) != amount:
        raise Conflict("the shares do not add up to the amount", check="shares")


def _insert(
    db: Connection, held: holds.Hold, terms: Terms, totals: Totals, at: datetime
) -> Drawdown:
    shares = sorted(terms.shares, key=lambda share: share.partner_id)
    made = Drawdown(
        id=held.id,
        line_id=held.line_id,
        hold_id=held.id,
        line_version=totals.version,
        amount_minor=held.amount_minor,
        open_minor=held.amount_minor,
        purpose=held.purpose,
        terms=dict(terms.price),
        policy_ref=terms.policy_ref,
        model_ref=terms.model_ref,
        drawn_at=totals.changed_at,
        shares=tuple(
            Share(one.partner_id, one.amount_minor, one.fund_id, one.amount_minor) for one in shares
        ),
    )
    fields = [one for one in Drawdown.__slots__ if one != "shares"]
    db.execute(_ADD, {one: getattr(made, one) for one in fields})
    taken: dict[str, int] = {}
    for share in made.shares:
        if share.fund_id is not None and share.amount_minor:
            taken[share.fund_id] = taken.get(share.fund_id, 0) + share.amount_minor
    funds.move(db, taken, at)  # late: a partner's row is shared by many lines
    rows = [
        {"drawdown_id": made.id, **{one: getattr(share, one) for one in Share.__slots__}}
        for share in made.shares
    ]
    db.execute(_ADD_SHARES, rows)
    return made
