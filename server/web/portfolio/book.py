"""`/portfolio`: commitments, buckets, roll rates, budgets, shadow prices, partners' room."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts.portfolios import counted_last, portfolio
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.web import language
from server.web.acts import act
from server.web.charts import Chart, Unit
from server.web.files import as_csv
from server.web.forms import Posted, posted
from server.web.portfolio import views
from server.web.portfolio.counting import Counting
from server.web.render import Site
from server.web.session import Visit, visitor
from shared.errors import NotFound

Officer = Annotated[Visit, visitor(Role.OFFICER)]
OfficerForm = Annotated[Posted, posted(Role.OFFICER)]
PATH = "/portfolio"


def add(found: APIRouter, site: Site, counting: Counting) -> None:
    """Add the routes."""
    _shown(found, site, counting)
    _csv(found, site, counting)

    @found.post(f"{PATH}/count")
    def count(request: Request, form: OfficerForm) -> Response:
        """Count the portfolio now; pages say how far it is."""
        back = "/restorations" if form.one("back", missing="") == "restorations" else PATH

        def work(_: Connection, __: datetime) -> str:
            counting.begin(site.desk)
            return f"{back}?done=counting"

        return act(request, form, site.desk, work)


def _shown(found: APIRouter, site: Site, counting: Counting) -> None:
    @found.get(PATH)
    def book(request: Request, who: Officer) -> Response:
        """Show the portfolio as it was counted last, and the budgets as they are."""
        texts = language.texts_in(language.wanted(request))

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            whole, money = portfolio(site.desk, db, now), money_unit(site, texts)
            return {
                "whole": whole,
                "counted": whole.counted,
                "charts": views.charts_of(whole.counted, texts, money, counting.progress),
                "prices": {
                    one.fund.id: views.prices(one, texts, money_unit(site, texts))
                    for one in whole.budgets
                },
                "rolls": views.roll_rows(whole.counted.rolls) if whole.counted else (),
                "zone": site.desk.zone,
            }

        view = site.read(work) | {"progress": counting.progress, "views": views}
        return site.page(request, "portfolio/book.html", who, **view)


def _csv(found: APIRouter, site: Site, counting: Counting) -> None:
    @found.get(f"{PATH}/{{key}}.csv")
    def csv(request: Request, who: Officer, key: str, budget: str = "") -> Response:  # noqa: ARG001
        """Give the figures of a chart."""
        texts = language.texts_in(language.wanted(request))

        def work(db: Connection, now: datetime) -> dict[str, Chart]:
            if key == "prices":
                known = portfolio(site.desk, db, now).budgets
                money = money_unit(site, texts)
                mine = [views.prices(one, texts, money) for one in known if one.fund.id == budget]
                return {one.key: one for one in mine}
            counted, money = counted_last(site.desk, db, now), money_unit(site, texts)
            return views.charts_of(counted, texts, money, counting.progress)

        chart = site.read(work).get(key)
        if chart is None:
            raise NotFound("there is no such chart")
        return as_csv(chart.table, chart.key)


def money_unit(site: Site, texts: Texts) -> Unit:
    """Return the unit of amounts in charts: whole units of the policy's currency."""
    policy = site.desk.rules.policy
    name = texts.sentences.get(f"currency.{policy.currency}", policy.currency)
    return Unit(name, 0, 10**policy.minor_digits)
