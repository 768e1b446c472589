"""Repayments: applied once each, as the payer says, in the order of the caller, or oldest first.

An `external_ref` names a payment where it came from; whatever number of times and in whatever order
it is reported, it is applied once, and told in the same words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from server.store import funds
from server.store.draws import Drawdown, Share, drawdowns_of, get_drawdown
from server.store.ids import currency, minor, name, utc
from server.store.lines import MOVE, add_event, get_line, moved
from server.store.tables import ALLOCATIONS, DRAWDOWNS, REPAYMENTS, SHARES
from server.store.whole import whole
from shared.errors import ConfideError, Conflict, NotFound, UsageError

_R: Final = REPAYMENTS.c
_A: Final = ALLOCATIONS.c
_LESS: Final = bindparam("p_less", type_=sa.BigInteger)
_REPAY_DRAWDOWN: Final = (
    sa.update(DRAWDOWNS)
    .where(DRAWDOWNS.c.id == bindparam("p_id"))
    .values(open_minor=DRAWDOWNS.c.open_minor - _LESS)
)
_REPAY_SHARE: Final = (
    sa.update(SHARES)
    .where(SHARES.c.drawdown_id == bindparam("p_id"), SHARES.c.partner_id == bindparam("p_partner"))
    .values(open_minor=SHARES.c.open_minor - _LESS)
)
_ADD: Final = sa.insert(REPAYMENTS)
_ADD_ALLOCATIONS: Final = sa.insert(ALLOCATIONS)
_FIRST, _MOST = 4, 256  # drawdowns read at a time: most payments touch one or two


@dataclass(frozen=True, slots=True)
class _Part:
    """What a payment does to one drawdown: in all, and to each of its shares."""

    drawdown: Drawdown
    amount: int
    split: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepaymentRequest:
    """A payment of principal.

    Parameters
    ----------
    id : str
        The caller's.
    external_ref : str
        The payer's name of it, unique among all repayments.
    line_id : str
    amount_minor : int
    currency : str
    value_date : date
    to : mapping of str to int, optional
        Minor units for each drawdown, where the payer says so.
    """

    id: str
    external_ref: str
    line_id: str
    amount_minor: int
    currency: str
    value_date: date
    to: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        """Refuse a malformed request."""
        name(self.id, "repayment_id")
        name(self.external_ref, "external_ref")
        name(self.line_id, "line_id")
        currency(self.currency)
        minor(self.amount_minor, "amount_minor")
        for amount in (self.to or {}).values():
            minor(amount, "to")
        if self.to is not None and sum(self.to.values()) != self.amount_minor:
            raise UsageError("what each drawdown gets must add up to the amount")

    def digest(self) -> str:
        """Return a digest of what is asked, the id left out: a repetition may have a new one."""
        asked = [self.line_id, self.amount_minor, self.currency, self.value_date.isoformat()]
        text = json.dumps([*asked, sorted(self.to.items()) if self.to is not None else None])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one lender of one drawdown got, minor units."""

    drawdown_id: str
    partner_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Repayment:
    """A payment that was applied.

    Parameters
    ----------
    id, external_ref, line_id : str
    amount_minor : int
    value_date : date
    repaid_at : datetime
        UTC.
    allocations : tuple of Allocation
        In the order in which drawdowns were repaid; together exactly the amount.
    outstanding_minor, available_minor : int
        Of the line, right after it.
    """

    id: str
    external_ref: str
    line_id: str
    amount_minor: int
    value_date: date
    repaid_at: datetime
    allocations: tuple[Allocation, ...]
    outstanding_minor: int
    available_minor: int


@whole
def repay(
    db: Connection, asked: RepaymentRequest, at: datetime, to: Mapping[str, int] | None = None
) -> Repayment:
    """Apply a payment, once; the same one again finds what it did.

    Parameters
    ----------
    db : Connection
    asked : RepaymentRequest
    at : datetime
    to : mapping of str to int, optional
        Minor units for each drawdown, where the payer does not say; without either, the oldest
        drawdown is repaid first.

    Raises
    ------
    NotFound
        If there is no such line or drawdown.
    Conflict
        With check `reference` if the `external_ref` was another payment's, `currency`, or
        `outstanding` if the line or a drawdown owes less.
    """
    line = get_line(db, asked.line_id, lock=True)
    found = find_repayment(db, asked.external_ref)
    if found is not None:
        return _same(db, found, asked)
    if line.currency != asked.currency:
        raise Conflict(f"the line is in {line.currency}", check="currency")
    if line.totals.outstanding_minor < asked.amount_minor:
        raise Conflict("more than is outstanding on the line", check="outstanding")
    given = to if asked.to is None else asked.to
    parts = list(_oldest_first(db, asked) if given is None else _as_given(db, asked.line_id, given))
    values = {
        "p_line": line.id,
        "p_outstanding": -asked.amount_minor,
        "p_held": 0,
        "p_at": utc(at),
    }
    totals = moved(db.execute(MOVE, values).one())
    made = Repayment(
        id=asked.id,
        external_ref=asked.external_ref,
        line_id=line.id,
        amount_minor=asked.amount_minor,
        value_date=asked.value_date,
        repaid_at=totals.changed_at,
        allocations=_allocate(parts),
        outstanding_minor=totals.outstanding_minor,
        available_minor=totals.available_minor if line.may_draw else 0,
    )
    _insert(db, made, asked, totals.version)
    ref, less = asked.id, -asked.amount_minor
    add_event(db, line.id, "repaid", totals, ref=ref, outstanding=less)
    _apply(db, parts, made, at)
    return made


def find_repayment(db: Connection, external_ref: str) -> Repayment | None:
    """Return a repayment by the payer's name of it, or None."""
    row = db.execute(sa.select(REPAYMENTS).where(_R.external_ref == external_ref)).first()
    if row is None:
        return None
    columns = (_A.drawdown_id, _A.partner_id, _A.amount_minor)
    query = sa.select(*columns).where(_A.repayment_id == row.id).order_by(_A.place)
    return Repayment(
        id=row.id,
        external_ref=row.external_ref,
        line_id=row.line_id,
        amount_minor=row.amount_minor,
        value_date=date.fromisoformat(row.value_date),
        repaid_at=row.repaid_at,
        allocations=tuple(Allocation(*one) for one in db.execute(query)),
        outstanding_minor=row.outstanding_minor,
        available_minor=row.available_minor,
    )


def repayments_of(
    db: Connection, line_id: str, *, after_version: int = 0, count: int = 100
) -> list[Repayment]:
    """Return a line's repayments, oldest first, from the first behind a version of the line."""
    query = sa.select(_R.external_ref).where(_R.line_id == line_id, _R.line_version > after_version)
    refs = db.execute(query.order_by(_R.line_version).limit(count)).scalars().all()
    found = (find_repayment(db, ref) for ref in refs)
    return [one for one in found if one is not None]


def version_of(db: Connection, repayment_id: str) -> int:
    """Return the version of the line that a repayment made: what `repayments_of` goes on behind."""
    return int(db.execute(sa.select(_R.line_version).where(_R.id == repayment_id)).scalar_one())


def split_repaid(shares: Sequence[Share], amount: int) -> tuple[int, ...]:
    """Return what each share gets of a payment, minor units; together exactly the amount.

    Every share keeps its portion of what stays open, rounded down; the units that this leaves
    over stay with the shares that have no fund, the lender's own, then with the others in order.
    So the lender's own part of what is open never falls below its portion.

    Parameters
    ----------
    shares : sequence of Share
    amount : int
        1 to what is open in all of them.
    """
    whole_open = sum(share.open_minor for share in shares)
    left = whole_open - amount
    stays = [share.open_minor * left // whole_open for share in shares]
    spare = left - sum(stays)
    own_first = sorted(range(len(shares)), key=lambda k: (shares[k].fund_id is not None, k))
    for k in own_first:
        more = min(spare, shares[k].open_minor - stays[k])
        stays[k] += more
        spare -= more
    return tuple(share.open_minor - stay for share, stay in zip(shares, stays, strict=True))


def _oldest_first(db: Connection, asked: RepaymentRequest) -> Iterator[_Part]:
    left, version, size = asked.amount_minor, 0, _FIRST
    while left:
        page = drawdowns_of(db, asked.line_id, after_version=version, count=size, only_open=True)
        if not page:  # the line's row says more is outstanding than its drawdowns do
            raise ConfideError("a line's outstanding is not the sum of its drawdowns")
        for drawdown in page:
            amount = min(left, drawdown.open_minor)
            if amount:
                yield _Part(drawdown, amount, split_repaid(drawdown.shares, amount))
            left -= amount
        version, size = page[-1].line_version, min(4 * size, _MOST)


def _as_given(db: Connection, line_id: str, to: Mapping[str, int]) -> Iterator[_Part]:
    for drawdown_id, amount in to.items():
        drawdown = get_drawdown(db, drawdown_id)
        if drawdown.line_id != line_id:
            raise NotFound("there is no drawdown of that id on the line")
        if drawdown.open_minor < amount:
            raise Conflict("more than is outstanding on a drawdown", check="outstanding")
        yield _Part(drawdown, amount, split_repaid(drawdown.shares, amount))


def _allocate(parts: Sequence[_Part]) -> tuple[Allocation, ...]:
    return tuple(
        Allocation(part.drawdown.id, share.partner_id, less)
        for part in parts
        for share, less in zip(part.drawdown.shares, part.split, strict=True)
        if less
    )


def _insert(db: Connection, made: Repayment, asked: RepaymentRequest, version: int) -> None:
    row = {
        "id": made.id,
        "external_ref": made.external_ref,
        "line_id": made.line_id,
        "line_version": version,
        "amount_minor": made.amount_minor,
        "asked": asked.digest(),
        "value_date": made.value_date.isoformat(),
        "outstanding_minor": made.outstanding_minor,
        "available_minor": made.available_minor,
        "repaid_at": made.repaid_at,
    }
    db.execute(_ADD, row)
    rows = [
        {
            "repayment_id": made.id,
            "drawdown_id": one.drawdown_id,
            "partner_id": one.partner_id,
            "place": place,
            "amount_minor": one.amount_minor,
        }
        for place, one in enumerate(made.allocations)
    ]
    db.execute(_ADD_ALLOCATIONS, rows)


def _apply(db: Connection, parts: Sequence[_Part], made: Repayment, at: datetime) -> None:
    db.execute(_REPAY_DRAWDOWN, [{"p_id": one.drawdown.id, "p_less": one.amount} for one in parts])
    db.execute(
        _REPAY_SHARE,
        [
            {"p_id": one.drawdown_id, "p_partner": one.partner_id, "p_less": one.amount_minor}
            for one in made.allocations
        ],
    )
    given: dict[str, int] = {}
    for part in parts:
        for share, less in zip(part.drawdown.shares, part.split, strict=True):
            if share.fund_id is not None and less:
                given[share.fund_id] = given.get(share.fund_id, 0) - less
    funds.move(db, given, at)


def _same(db: Connection, found: Repayment, asked: RepaymentRequest) -> Repayment:
    query = sa.select(_R.asked).where(_R.external_ref == found.external_ref)
    if db.execute(query).scalar_one() != asked.digest():
        raise Conflict("the external_ref was used for another payment", check="reference")
    return found
