"""A partner's own book: its part of draws, what it decided, where the platform went on without it.

Nothing of other partners is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.partners import PartnerView, get_partner
from server.store import partner_decisions, shares
from server.store.partner_decisions import Verdict

WINDOW: Final = 1000
"""Decisions of a partner that are looked at for a page: one that costs the same in a large book."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """A page of what a partner refused.

    Parameters
    ----------
    rows : tuple of Verdict
        Newest first.
    older : str
        Id of the draw before which the next page begins; empty where there is none.
    """

    rows: tuple[Verdict, ...]
    older: str


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


def book(
    desk: Desk, db: Connection, partner_id: str, now: datetime, *, after: str = "", count: int = 100
) -> Book:
    """Return a partner's own book, a page of its draws behind `after`.

    Raises
    ------
    NotFound
    """
    partner = get_partner(desk, db, partner_id, now)
    draws, funded, owed = shares.funded_in_all(db, partner_id)
    rows = shares.funded_by(db, partner_id, after=after, count=count)
    items = tuple(_item(row) for row in rows)
    refused = partner_decisions.verdicts_of(
        db, partner_id, after=after, count=count, accepted=False
    )
    decided = partner_decisions.verdict_counts(db, partner_id)
    return Book(partner, draws, funded, owed, decided, items, tuple(refused))


def newest_items(
    db: Connection, partner_id: str, *, before: str = "", count: int = 50
) -> tuple[BookItem, ...]:
    """Return a partner's shares, the newest draw first, from the first before an id."""
    rows = shares.funded_lately(db, partner_id, before=before, count=count)
    return tuple(_item(row) for row in rows)


def newest_refusals(
    db: Connection, partner_id: str, *, before: str = "", count: int = 50
) -> Refusals:
    """Return draws that a partner refused, the newest first, out of at most `WINDOW` decisions."""
    seen = partner_decisions.verdicts_lately(db, partner_id, before=before, count=WINDOW)
    refused = [one for one in seen if not one.accepted]
    if len(refused) > count:
        return Refusals(tuple(refused[:count]), refused[count - 1].draw_id)
    return Refusals(tuple(refused), seen[-1].draw_id if len(seen) == WINDOW else "")


def decided_lately(db: Connection, partner_id: str) -> dict[str, int]:
    """Return what a partner decided of its newest `WINDOW` draws: '' for yes, else by reason."""
    seen = partner_decisions.verdicts_lately(db, partner_id, count=WINDOW)
    return dict(Counter(one.reason for one in seen))


def _item(row: shares.Funded) -> BookItem:
    price = row.terms.get("price", {})
    return BookItem(
        draw_id=row.draw_id,
        product=row.product,
        purpose=row.purpose,
        grade=str(price.get("grade", "")),
        apr=str(price.get("apr", "")),
        amount_minor=row.amount_minor,
        open_minor=row.open_minor,
        months=len(row.terms.get("schedule", ())),
        drawn_at=row.drawn_at,
    )
