"""`/me/cost`: what a loan costs in all, who lends, whether a month can carry it, and taking it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import drawing
from server.accounts.answering import money_of
from server.accounts.desk import Desk
from server.accounts.lineview import Lender, LineView, line_view
from server.api.access import own_line
from server.limits.rules.pricing import Sheet
from server.store.holds import HoldRequest
from server.store.ids import new_id
from server.store.lines import StoredLine
from server.web.acts import act
from server.web.customer.common import (
    Customer,
    CustomerForm,
    OfLine,
    mine_of,
    minor_of,
)
from server.web.render import Site
from shared.errors import Conflict, DrawRefused, UsageError

READ: Final = "read"
"""Box of the cost sheet that must be ticked where the law wants it read."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a month leaves, and what the instalment takes of it.

    Parameters
    ----------
    left_minor : int
        Income less what goes out; below zero where more goes out.
    instalment_minor : int
        The largest.
    after_minor : int
    """

    left_minor: int
    instalment_minor: int
    after_minor: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A form as it was sent: what stands in it again."""

    amount: str
    months: str
    income: str
    outgo: str


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/me/cost")
    def cost(request: Request, who: Customer, line: OfLine = "") -> Response:
        """Say what a draw would cost; nothing is agreed."""
        told = request.query_params
        asked = Asked(*(told.get(one, "") for one in ("amount", "months", "income", "outgo")))

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            if mine.line is None:
                return {"every": mine.every, "line": None}
            return cost_view(site.desk, db, mine.line, asked, now) | {"every": mine.every}

        return site.page(request, "customer/cost.html", who, asked=asked, **site.read(work))

    @found.post("/me/draw")
    def draw(request: Request, form: CustomerForm) -> Response:
        """Take a loan whose cost was shown; the law may want that the sheet is read first."""
        desk = site.desk

        def work(db: Connection, now: datetime) -> str:
            line = own_line(db, form.visit.caller, form.one("line", most=64))
            months = months_of(form.one("months", most=4))
            amount = minor_of(form.one("amount", most=24), digits_of(desk, line), "amount")
            sheet = drawing.quote(desk, db, line.id, amount, months, now)
            if sheet.forced_read and form.one(READ, missing="") != "yes":
                raise Conflict("the cost sheet must be read first", check="sheet")
            purpose = form.one("purpose", most=32)
            wanted = HoldRequest(new_id(now), line.id, amount, line.currency, purpose)
            drawing.draw(desk, db, wanted, months, now)
            return f"/me?line={line.id}&done=drawn"

        return act(request, form, desk, work)


def cost_view(
    desk: Desk, db: Connection, line: StoredLine, asked: Asked, now: datetime
) -> dict[str, Any]:
    """Return what the page shows of a line and an amount.

    Raises
    ------
    UsageError, Conflict
        If what is asked for is none, or not of this line.
    """
    view, digits = line_view(desk, db, line.id, now), digits_of(desk, line)
    product = desk.rules.of(line.product).product
    sheet = budget = None
    refused = ""
    would: tuple[Lender, ...] = ()
    if asked.amount:
        amount = minor_of(asked.amount, digits, "amount")
        try:
            sheet = drawing.quote(desk, db, line.id, amount, months_of(asked.months), now)
            would = would_lend(desk, db, line, amount, now)
            budget = budget_of(asked, sheet, digits)
        except DrawRefused as error:  # said on the page, where the reason has its words
            refused = error.reason or error.check
    return {
        "line": line,
        "sheet": sheet,
        "budget": budget,
        "lenders": view.lenders,
        "would": would,
        "refused": refused,
        "months": product.months,
        "purposes": sorted(product.purposes),
        "least_minor": product.least_draw_minor,
        "most_minor": view.available.amount_minor,
        "can_draw": may_draw(view, sheet),
    }


def would_lend(
    desk: Desk, db: Connection, line: StoredLine, amount_minor: int, now: datetime
) -> tuple[Lender, ...]:
    """Return who would lend an amount as things stand, the largest share first."""
    shares = drawing.lenders(desk, db, line.id, amount_minor, now)
    return tuple(
        Lender(one.partner_id, one.amount_minor, Decimal(one.amount_minor) / amount_minor)
        for one in sorted(shares, key=lambda one: (-one.amount_minor, one.partner_id))
    )


def budget_of(asked: Asked, sheet: Sheet, digits: int) -> Budget | None:
    """Return what an instalment does to a month; None where no income was typed."""
    if not asked.income:
        return None
    income = minor_of(asked.income, digits, "income")
    outgo = minor_of(asked.outgo or "0", digits, "outgo")
    largest = max(sheet.plan.instalments_minor)
    return Budget(income - outgo, largest, income - outgo - largest)


def may_draw(view: LineView, sheet: Sheet | None) -> bool:
    """Return whether the page offers to take what it has priced; the service decides."""
    if sheet is None or not sheet.within_cap:
        return False
    return 0 < sheet.plan.amount_minor <= view.available.amount_minor


def months_of(text: str) -> int:
    """Return a number of months that somebody chose.

    Raises
    ------
    UsageError
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise UsageError("months: a whole number")
    return int(text)


def digits_of(desk: Desk, line: StoredLine) -> int:
    """Return the decimals of a line's currency."""
    return money_of(desk.rules.of(line.product).policy).digits
