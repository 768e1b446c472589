"""`/rules/cutoff`: what another lowest score would do to approvals, exposure and expected loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import picturing
from server.limits.words.sentences import Texts
from server.monitor.cutoff import Effect, ScoreCell, effects, grid
from server.store import pictures
from server.web import language
from server.web.charts import Chart, Cutoff, Unit, cutoff_curve, empty
from server.web.drawing import words_of
from server.web.files import as_csv
from server.web.policy.common import PATH, Officer
from server.web.portfolio.book import money_unit
from server.web.render import Site
from shared.errors import NotFound, UsageError

_STEP: Final = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """A cutoff that is tried beside the one in force.

    Parameters
    ----------
    product : str
    products : tuple of str
    day : date
        On which people were counted.
    low, high, step : int
        Of the slider.
    now, tried : Effect
    refused : int
        Who was refused for the score alone.
    otherwise, unscored : int
        Who was refused for something else, and lines without a score, which are not counted.
    grades : tuple of (str, int)
        Name and lowest score, safest first.
    chart : Chart
    """

    product: str
    products: tuple[str, ...]
    day: date
    low: int
    high: int
    step: int
    now: Effect
    tried: Effect
    refused: int
    otherwise: int
    unscored: int
    grades: tuple[tuple[str, int], ...]
    chart: Chart


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get(f"{PATH}/cutoff")
    def cutoff(request: Request, who: Officer, product: str = "", cutoff: str = "") -> Response:
        """Show what a cutoff would do; nothing is changed."""
        view = _tried(site, request, product, cutoff)
        return site.page(request, "policy/cutoff.html", who, view=view)

    @found.get(f"{PATH}/cutoff.csv")
    def csv(request: Request, who: Officer, product: str = "", cutoff: str = "") -> Response:  # noqa: ARG001
        """Give the figures of the curve."""
        view = _tried(site, request, product, cutoff)
        if view is None:
            raise NotFound("nothing was counted yet")
        return as_csv(view.chart.table, view.chart.key)


def _tried(site: Site, request: Request, product: str, cutoff: str) -> Tried | None:
    texts = language.texts_in(language.wanted(request))

    def work(db: Connection, _: datetime) -> Tried | None:
        picture = pictures.latest(db, picturing.SCORES)
        if picture is None:
            return None
        return tried_of(picture.value, picture.day, product, cutoff, texts, money_unit(site, texts))

    return site.read(work)


def tried_of(
    told: Mapping[str, Any], day: date, product: str, cutoff: str, texts: Texts, money: Unit
) -> Tried | None:
    """Return what a cutoff does to a product; None where no release served when it was counted.

    Parameters
    ----------
    told : mapping
        As `server.accounts.picturing` keeps it.
    day : date
    product, cutoff : str
        As they were asked for; empty for the busiest product, and what is in force.
    texts : Texts
    money : Unit

    Raises
    ------
    NotFound
        If there is no such product.
    UsageError
        If the cutoff is no whole number.
    """
    known = {name: one for name, one in told["products"].items() if one["cutoff"] is not None}
    if not known:
        return None
    chosen = product or max(known, key=lambda name: (len(known[name]["lines"]), name))
    if chosen not in known:
        raise NotFound("there is no such product")
    row = known[chosen]
    cells, today = cells_of(row), int(row["cutoff"])
    points = grid(cells, today)
    wanted = _number(cutoff) if cutoff else today
    wanted = min(max(wanted, points[0]), points[-1])
    now, tried = effects(cells, row["otherwise"], (today, wanted))
    return Tried(
        product=chosen,
        products=tuple(sorted(known)),
        day=day,
        low=points[0] // _STEP * _STEP,
        high=-(-points[-1] // _STEP) * _STEP,
        step=_STEP,
        now=now,
        tried=tried,
        refused=sum(one.people for one in cells if one.refused),
        otherwise=row["otherwise"],
        unscored=row["unscored"],
        grades=tuple((name, least) for name, least in told["grades"]),
        chart=chart_of(effects(cells, row["otherwise"], points), wanted, texts, money),
    )


def cells_of(row: Mapping[str, Any]) -> list[ScoreCell]:
    """Return the people of a product by score."""
    return [
        ScoreCell(score, people, limit, exposure, loss, refused=key == "refused")
        for key in ("lines", "refused")
        for score, people, limit, exposure, loss in row[key]
    ]


def chart_of(found: tuple[Effect, ...], cutoff: int, texts: Texts, money: Unit) -> Chart:
    """Draw approval rate and expected loss by cutoff."""
    words = words_of(texts, "cutoff")
    people = found[0].people if found else 0
    if not people:
        return empty(words, ())
    points = [Cutoff(float(one.cutoff), one.rate, float(one.loss_minor)) for one in found]
    return cutoff_curve(words, points, people, money, float(cutoff))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise UsageError("cutoff: a whole number")
    return int(text)
