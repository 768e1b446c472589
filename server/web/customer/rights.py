"""`/me/rights`: dispute, human review, complaint, help, lowering and closing the own line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, cast

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import customers, opening, reviewing
from server.accounts.customers import CaseKind, CaseRequest
from server.api.access import own_line
from server.store import decisions
from server.web.acts import act
from server.web.customer.common import (
    Customer,
    CustomerForm,
    DecidingForm,
    OfLine,
    major_of,
    mine_of,
    minor_of,
)
from server.web.customer.cost import digits_of
from server.web.customer.history import check_own
from server.web.forms import Posted
from server.web.render import Site
from shared.errors import Conflict, UsageError

_KINDS: Final = ("dispute", "appeal", "complaint", "hardship")
_RISES: Final = ("restore", "increase")
_LONGEST: Final = 4000
_ASKED: Final = {"self_lower": "lowered", "close": "closed", "accept_offer": "accepted",
                 "decline_offer": "declined"}  # fmt: skip


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _shown(found, site)
    _cases(found, site)
    _lines(found, site)


def _shown(found: APIRouter, site: Site) -> None:
    @found.get("/me/rights")
    def rights(request: Request, who: Customer, line: OfLine = "", decision: str = "") -> Response:
        """Show what can be asked for, and what was."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            rows = [] if mine.line is None else decisions.chain_of(db, mine.line.id, count=200)
            known = [
                (one.id, site.desk.today(one.decided_at).isoformat(), one.purpose) for one in rows
            ]
            digits = 2 if mine.line is None else digits_of(site.desk, mine.line)
            return {
                "every": mine.every,
                "line": mine.line,
                "known": known[::-1],
                "chosen": decision,
                "cases": customers.cases(db, None, who.subject, count=50)[::-1],
                "holders": site.desk.scores.federation.holders,
                "limit": major_of(mine.line.totals.limit_minor, digits) if mine.line else "",
                "answer_days": site.desk.rules.monitoring.complaint_days,
            }

        return site.page(request, "customer/rights.html", who, **site.read(work))

    @found.get("/me/apply")
    def apply_form(request: Request, who: Customer) -> Response:
        """Offer the products, and say what an application is before it is one."""
        products = sorted(site.desk.rules.products)
        return site.page(request, "customer/apply.html", who, products=products)


def _cases(found: APIRouter, site: Site) -> None:
    @found.post("/me/cases")
    def open_case(request: Request, form: CustomerForm) -> Response:
        """Take a dispute, an appeal, a complaint or a call for help."""
        kind, who = form.one("kind", most=16), form.visit
        if kind not in _KINDS:
            raise UsageError(f"kind must be one of {', '.join(_KINDS)}")
        decision_id = form.one("decision", most=64, missing="")
        about = form.one("about", most=64, missing=kind)
        text = form.one("text", most=_LONGEST)

        def work(db: Connection, now: datetime) -> str:
            if decision_id:
                check_own(db, who, decision_id)
            asked = CaseRequest(
                cast("CaseKind", kind), who.subject, decision_id or None, about, text
            )
            customers.open_case(site.desk, db, asked, now)
            return f"/me/rights?done=case_{kind}"

        return act(request, form, site.desk, work)


def _lines(found: APIRouter, site: Site) -> None:
    @found.post("/me/lower")
    def lower(request: Request, form: DecidingForm) -> Response:
        """Lower the own limit: at once, and no review raises it again."""

        def work(db: Connection, now: datetime) -> str:
            line = own_line(db, form.visit.caller, form.one("line", most=64))
            limit = minor_of(form.one("limit", most=24), digits_of(site.desk, line), "limit")
            return _decided(site, db, form, line.id, "self_lower", now, limit)

        return act(request, form, site.desk, work)

    def asking(purpose: str) -> Callable[[Request, DecidingForm], Response]:
        def answer(request: Request, form: DecidingForm) -> Response:
            def work(db: Connection, now: datetime) -> str:
                line = own_line(db, form.visit.caller, form.one("line", most=64))
                if purpose == "close" and form.one("sure", missing="") != "yes":
                    raise Conflict("tick that you are sure", check="sure")
                return _decided(site, db, form, line.id, purpose, now)

            return act(request, form, site.desk, work)

        return answer

    @found.post("/me/ask")
    def ask(request: Request, form: DecidingForm) -> Response:
        """Ask for the limit back or for a higher one: a decision comes, with its reasons."""
        purpose = form.one("purpose", most=16)
        if purpose not in _RISES:
            raise UsageError(f"purpose must be one of {', '.join(_RISES)}")

        def work(db: Connection, now: datetime) -> str:
            who = form.visit.caller
            line = own_line(db, who, form.one("line", most=64))
            made = reviewing.decide_line(site.desk, db, line.id, purpose, now, who.name)
            return f"/me/decisions/{made.decision.id}?done=asked"

        return act(request, form, site.desk, work)

    @found.post("/me/erase")
    def erase(request: Request, form: CustomerForm) -> Response:
        """Delete what is held, once nothing is owed."""
        if form.one("sure", missing="") != "yes":
            raise Conflict("tick that you are sure", check="sure")
        who = form.visit

        def work(db: Connection, now: datetime) -> str:
            customers.erase_customer(site.desk, db, who.subject, who.caller.name, now)
            return "/me/data?done=erased"

        return act(request, form, site.desk, work)

    found.post("/me/close")(asking("close"))
    found.post("/me/offer/accept")(asking("accept_offer"))
    found.post("/me/offer/decline")(asking("decline_offer"))

    @found.post("/me/apply")
    def apply(request: Request, form: DecidingForm) -> Response:
        """Apply for a line, after the warning about enquiries was read."""
        if form.one("read", missing="") != "yes":
            raise Conflict("the notice about enquiries must be read first", check="sheet")
        product, who = form.one("product", most=64), form.visit

        def work(db: Connection, now: datetime) -> str:
            made = opening.open_line(site.desk, db, who.subject, product, now, who.caller.name)
            if made.line is None:
                return f"/me/decisions/{made.decision.id}?done=no_line"
            return f"/me?line={made.line.id}&done=opened"

        return act(request, form, site.desk, work)


def _decided(
    site: Site,
    db: Connection,
    form: Posted,
    line_id: str,
    purpose: str,
    now: datetime,
    limit: int | None = None,
) -> str:
    """Have a line decided on, and return the page that tells of it."""
    by = form.visit.caller.name
    reviewing.decide_line(site.desk, db, line_id, purpose, now, by, limit_minor=limit)
    return f"/me?line={line_id}&done={_ASKED[purpose]}"
