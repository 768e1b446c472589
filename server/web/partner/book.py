"""`/partner`: what a partner bank has out with this lender, what it may add, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import partners
from server.accounts.desk import Desk
from server.accounts.partner_books import BookItem, decided_lately, newest_items
from server.limits.rules.pricing import cost_cap
from server.limits.words.sentences import Texts
from server.web import language
from server.web.acts import act
from server.web.charts import Bar, Cell, Chart, Table, Unit, bars
from server.web.customer.common import major_of
from server.web.drawing import words_of
from server.web.files import as_csv
from server.web.partner.common import PAGE, Before, Partner, PartnerForm
from server.web.render import Site
from shared.errors import Conflict, NotFound

MOST: Final = 5000
"""Draws of a file; of a larger book the next file begins before the last one of it."""
_COLUMNS: Final = (
    "draw", "day", "product", "purpose", "grade", "apr", "months", "amount", "open",
)  # fmt: skip


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _shown(found, site)
    _files(found, site)

    @found.post("/partner/withdraw")
    def withdraw(request: Request, form: PartnerForm) -> Response:
        """Fund nothing more; what is out runs off."""

        def work(db: Connection, now: datetime) -> str:
            if form.one("sure", missing="") != "yes":
                raise Conflict("tick that you are sure", check="sure")
            partners.withdraw_partner(site.desk, db, form.visit.subject, now)
            return "/partner?done=withdrawn"

        return act(request, form, site.desk, work)


def _shown(found: APIRouter, site: Site) -> None:
    @found.get("/partner")
    def book(request: Request, who: Partner, before: Before = "") -> Response:
        """Show the own book: what is out, bounds, rules, and a page of draws, newest first."""
        texts, desk = language.texts_in(language.wanted(request)), site.desk

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            try:
                mine = partners.get_partner(desk, db, who.subject, now)
            except NotFound:
                return {"mine": None}
            items = newest_items(db, who.subject, before=before, count=PAGE + 1)
            rows = items[:PAGE]
            return {
                "mine": mine,
                "rows": rows,
                "days": {one.draw_id: desk.today(one.drawn_at) for one in rows},
                "older": rows[-1].draw_id if len(items) > PAGE else "",
                "bounds": partners.bounds_of(desk, db, who.subject, now),
                "cost": cost_of(desk, now),
                "chart": verdicts(decided_lately(db, who.subject), texts),
            }

        view = site.read(work) | {"before": before, "most": MOST}
        return site.page(request, "partner/book.html", who, **view)


def _files(found: APIRouter, site: Site) -> None:
    @found.get("/partner/decided.csv")
    def decided(request: Request, who: Partner) -> Response:
        """Give how often the partner decided what."""
        texts = language.texts_in(language.wanted(request))
        told = site.read(lambda db, _: decided_lately(db, who.subject))
        return as_csv(verdicts(told, texts).table, "decided")

    @found.get("/partner/book.csv")
    def whole(request: Request, who: Partner, before: Before = "") -> Response:
        """Give draws of the book as a file, newest first, at most `MOST` before a draw."""
        texts, desk = language.texts_in(language.wanted(request)), site.desk

        def work(db: Connection, _: datetime) -> Table:
            items = newest_items(db, who.subject, before=before, count=MOST)
            return table_of(desk, items, texts)

        return as_csv(site.read(work), "book")


def cost_of(desk: Desk, now: datetime) -> Decimal | None:
    """Return the highest all-in cost that the law allows a loan of any product today."""
    day, pack = desk.today(now), desk.rules.pack
    caps = [
        cost_cap(pack, day, lender=one.lender) for one in desk.rules.catalogue.products.values()
    ]
    return max((cap.rate for cap in caps if cap is not None), default=None)


def verdicts(decided: Mapping[str, int], texts: Texts) -> Chart:
    """Draw how often the partner said yes, and no for which reason."""
    words = words_of(texts, "verdicts", "verdicts")
    rows = [
        Bar(texts.say(f"verdict.{reason or 'yes'}"), float(count), marked=not reason)
        for reason, count in sorted(decided.items())
    ]
    return bars(words, rows, Unit(texts.say("verdicts.unit")))


def table_of(desk: Desk, items: tuple[BookItem, ...], texts: Texts) -> Table:
    """Return draws as the rows of a file."""
    digits = desk.rules.policy.minor_digits
    rows: list[tuple[Cell, ...]] = [
        (
            one.draw_id,
            desk.today(one.drawn_at).isoformat(),
            one.product,
            one.purpose,
            one.grade,
            one.apr,
            one.months,
            major_of(one.amount_minor, digits),
            major_of(one.open_minor, digits),
        )
        for one in items
    ]
    units = ("",) * 7 + (desk.rules.policy.currency,) * 2
    head = tuple(texts.say(f"book.{one}") for one in _COLUMNS)
    return Table(head, tuple(rows), units, (0,) * len(head), texts.say("chart.withheld"))
