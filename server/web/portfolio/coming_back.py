"""`/restorations`: how limits that fell come back, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import picturing
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.store import pictures
from server.store.pictures import Picture
from server.web import language
from server.web.charts import Chart
from server.web.files import as_csv
from server.web.portfolio import views
from server.web.portfolio.counting import Counting, Progress
from server.web.render import Site
from server.web.session import Visit, visitor

Officer = Annotated[Visit, visitor(Role.OFFICER)]
PATH = "/restorations"


def add(found: APIRouter, site: Site, counting: Counting) -> None:
    """Add the routes."""

    @found.get(PATH)
    def restorations(request: Request, who: Officer) -> Response:
        """Show how many cut limits came back, by the reason of the cut."""
        texts = language.texts_in(language.wanted(request))
        picture = site.read(_latest)
        view: dict[str, Any] = {
            "told": None if picture is None else picture.value,
            "day": None if picture is None else picture.day,
            "chart": chart_of(picture, texts, counting.progress),
            "rows": () if picture is None else by_reason(picture.value["by_reason"]),
            "progress": counting.progress,
        }
        return site.page(request, "portfolio/restorations.html", who, **view)

    @found.get(f"{PATH}.csv")
    def csv(request: Request, who: Officer) -> Response:  # noqa: ARG001 - every officer
        """Give the figures of the funnel."""
        texts = language.texts_in(language.wanted(request))
        chart = chart_of(site.read(_latest), texts, counting.progress)
        return as_csv(chart.table, chart.key)


def chart_of(picture: Picture | None, texts: Texts, progress: Progress) -> Chart:
    """Draw the funnel, or say why there is none."""
    if picture is None:
        return views.instead("funnel", texts, progress)
    return views.stages(picture.value["all"], texts)


def by_reason(counts: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the funnels of each reason, most cuts first: a store keeps no order."""
    return sorted(counts.items(), key=lambda one: (-one[1]["cut"], one[0]))


def _latest(db: Connection, _: datetime) -> Picture | None:
    return pictures.latest(db, picturing.RESTORATIONS)
