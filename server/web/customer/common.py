"""What the customer's pages have in common: who comes in, which line it is, amounts typed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import Query
from sqlalchemy import Connection

from server.api.access import own_line
from server.api.tokens import Role
from server.limits.basis.tables import LARGEST_MINOR
from server.store.lines import StoredLine, lines_of
from server.web.forms import Posted, posted
from server.web.session import Visit, visitor
from shared.errors import UsageError

Customer = Annotated[Visit, visitor(Role.CUSTOMER)]
# What a score is made of can be told as often as by the API, and no oftener.
Looker = Annotated[Visit, visitor(Role.CUSTOMER, often="score")]
Asker = Annotated[Visit, visitor(Role.CUSTOMER, often="what_if")]
CustomerForm = Annotated[Posted, posted(Role.CUSTOMER)]
DecidingForm = Annotated[Posted, posted(Role.CUSTOMER, often="limit")]
OfLine = Annotated[str, Query(alias="line", pattern=r"^([0-9A-Za-z][0-9A-Za-z._:-]{0,63})?$")]


@dataclass(frozen=True, slots=True)
class Mine:
    """A customer's lines, and the one that a page is about.

    Parameters
    ----------
    line : StoredLine, optional
        None where there is none.
    every : tuple of StoredLine
    """

    line: StoredLine | None
    every: tuple[StoredLine, ...]


def mine_of(db: Connection, who: Visit, line_id: str = "") -> Mine:
    """Return a customer's lines; without a wish, the newest one that is open.

    Raises
    ------
    NotFound
        If the line that is wished for is another's, or nobody's.
    """
    every = tuple(lines_of(db, who.subject))
    if line_id:
        return Mine(own_line(db, who.caller, line_id), every)
    newest = sorted(every, key=lambda one: (one.closed_at is None, one.opened_at, one.id))
    return Mine(newest[-1] if newest else None, every)


def minor_of(text: str, digits: int, name: str) -> int:
    """Return an amount that somebody typed, ``1,200.50`` or ``1200.5``, in minor units.

    Raises
    ------
    UsageError
        If it is none, below zero, or has more decimals than the currency.
    """
    plain = text.replace(",", "").replace("\N{FULLWIDTH COMMA}", "").replace(" ", "")
    try:
        minor = Decimal(plain).scaleb(digits) if len(plain) <= 20 else None
    except InvalidOperation:
        minor = None
    if minor is None or not minor.is_finite() or minor != minor.to_integral_value():
        raise UsageError(f"{name}: an amount such as 1200 or 1200.50")
    if not 0 <= minor <= LARGEST_MINOR:
        raise UsageError(f"{name}: an amount of 0 or more")
    return int(minor)


def major_of(minor: int, digits: int) -> str:
    """Return an amount as a form has it: ``1200.50``, without zeros that say nothing."""
    whole, rest = divmod(minor, 10**digits)
    return f"{whole}.{rest:0{digits}d}" if rest else str(whole)
