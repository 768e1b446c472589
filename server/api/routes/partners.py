"""Funding partners and their books, the budget, its allocation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import allocating, budgeting, partner_books, partners
from server.accounts.desk import Desk
from server.api.access import Caller, Role, caller, own
from server.api.acts import Outcome, act, read
from server.api.pages import USUAL, After, Count, Page, cut
from server.api.routes.base import WATCHERS, Operator, PartnerId, changes, link, looks, router
from server.api.shapes import partners as shapes
from shared.errors import NotFound

Leaver = Annotated[Caller, caller(Role.PARTNER, Role.OPERATOR)]
BookReader = Annotated[Caller, caller(Role.PARTNER, Role.OFFICER, Role.REGULATOR, Role.OPERATOR)]
_PARTNER = (
    link("book", partner_id="partner_id"),
    link("withdraw_partner", partner_id="partner_id"),
)


def routes(desk: Desk) -> APIRouter:
    """Return the routes of partners and of the budget, over a desk."""
    found = router("partners")
    _partners(found, desk)
    _books(found, desk)
    _budgets(found, desk)
    return found


def _partners(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/partners", **changes(shapes.Partner, *_PARTNER))
    def set_partner(asked: shapes.PartnerAsked, who: Operator, request: Request) -> Response:
        """Take a partner on, or take what it tells anew; its cap follows from the law."""

        def work(db: Connection, now: datetime) -> Outcome:
            _check_rules(desk, asked)
            made = partners.set_partner(desk, db, asked.request(), now)
            return Outcome(shapes.Partner.of(made).body())

        return act(request, who, desk, work)

    @found.get("/v1/partners", **looks(Page[shapes.Partner]), dependencies=WATCHERS)
    def partners_listed(after: After = "", count: Count = USUAL) -> Response:
        """List partners in order of their ids, those that have withdrawn too."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            rows = [one for one in partners.partners_of(desk, db, now) if one.id > after]
            return cut(
                rows[: count + 1],
                count,
                lambda one: shapes.Partner.of(one).body(),
                lambda one: one.id,
            )

        return read(desk, work)

    @found.post("/v1/partners/{partner_id}/withdraw", **changes(shapes.Partner, status=200))
    def withdraw_partner(partner_id: PartnerId, who: Leaver, request: Request) -> Response:
        """Let a partner go: it funds nothing more, and what it has out runs off."""

        def work(db: Connection, now: datetime) -> Outcome:
            own(who, partner=partner_id)
            made = partners.withdraw_partner(desk, db, partner_id, now)
            return Outcome(shapes.Partner.of(made).body())

        return act(request, who, desk, work, status=200)


def _books(found: APIRouter, desk: Desk) -> None:
    @found.get("/v1/partners/{partner_id}/book", **looks(shapes.Book))
    def book(
        partner_id: PartnerId, who: BookReader, after: After = "", count: Count = USUAL
    ) -> Response:
        """Give a partner's own book: its shares of draws, and where it decided otherwise."""
        own(who, partner=partner_id)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            made = partner_books.book(desk, db, partner_id, now, after=after, count=count + 1)
            return shapes.Book.of(made, count).body()

        return read(desk, work)


def _budgets(found: APIRouter, desk: Desk) -> None:
    @found.post("/v1/budgets/{budget_id}", **changes(shapes.Budget, status=200))
    def set_budget(
        budget_id: PartnerId, asked: shapes.BudgetAsked, who: Operator, request: Request
    ) -> Response:
        """Set what may be committed in all, from own funds."""

        def work(db: Connection, now: datetime) -> Outcome:
            made = budgeting.set_budget(
                desk, db, budget_id, asked.own_funds_minor, asked.share(), who.name, now
            )
            return Outcome(shapes.Budget.of(made).body())

        return act(request, who, desk, work, status=200)

    @found.post("/v1/lending", **changes(shapes.Lending, status=200))
    def set_lending(asked: shapes.LendingAsked, who: Operator, request: Request) -> Response:
        """Set how the lender itself takes part where it has partners."""

        def work(db: Connection, now: datetime) -> Outcome:
            made = partners.set_lending(
                desk,
                db,
                own_share=asked.share(),
                own_line_minor=asked.own_line_minor,
                by=who.name,
                reason=asked.reason,
                now=now,
            )
            return Outcome(shapes.Lending.of(made).body())

        return act(request, who, desk, work, status=200)

    @found.post("/v1/allocations", **changes(shapes.Allocation))
    def allocate(asked: shapes.AllocationAsked, who: Operator, request: Request) -> Response:
        """Share a budget out among segments for the most margin, never more to the riskier."""

        def work(db: Connection, now: datetime) -> Outcome:
            made = allocating.allocate(desk, db, asked.budget_id, who.name, now)
            return Outcome(shapes.Allocation.of(made).body())

        return act(request, who, desk, work)


def _check_rules(desk: Desk, asked: shapes.PartnerAsked) -> None:
    for name, known in (
        ("grades", list(desk.rules.policy.grades)),
        ("products", list(desk.rules.catalogue.products)),
    ):
        if not set(getattr(asked.rules, name)) <= set(known):
            raise NotFound(f"rules.{name}: there is no such thing", hint=f"of {', '.join(known)}")
