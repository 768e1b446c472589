"""`/decisions/line/...`: a line with all its decisions, and what an officer can ask for on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import reviewing
from server.accounts.desk import Desk
from server.accounts.lineview import line_view
from server.accounts.recent import Entry, entries_of
from server.limits.words.sentences import Texts
from server.store import decisions
from server.store.lines import StoredLine, get_line
from server.web import language
from server.web.acts import act
from server.web.charts import Chart, Series, Unit, lines
from server.web.customer.common import minor_of
from server.web.customer.cost import digits_of
from server.web.decisions.common import (
    LONGEST,
    PAGE,
    AnId,
    DecidingForm,
    Reader,
    money_unit,
)
from server.web.decisions.listing import day_of
from server.web.drawing import words_of
from server.web.files import as_csv
from server.web.render import Site
from shared.errors import UsageError

ACTS: Final = ("review", "freeze_fraud", "freeze_purpose", "release", "close")
"""What an officer is offered without an amount; an increase is the customer's to ask for."""
TEMPORARY: Final = "temporary"
_DRAWN: Final = 120
"""Decisions of the chart: ten years of monthly reviews."""
AfterNumber = Annotated[int, Query(ge=0, le=10**9)]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/decisions/line/{line_id}")
    def shown(request: Request, who: Reader, line_id: AnId, after: AfterNumber = 0) -> Response:
        """Show a line and the chain of its decisions, oldest first."""
        texts = language.texts_in(language.wanted(request))

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            line = get_line(db, line_id)
            rows = decisions.chain_of(db, line_id, after=after, count=PAGE + 1)
            return {
                "line": line,
                "told": line_view(site.desk, db, line_id, now),
                "entries": entries_of(site.desk, db, rows[:PAGE]),
                "later": rows[PAGE - 1].number if len(rows) > PAGE else 0,
                "after": after,
                "chart": path_of(site.desk, db, line, texts),
                "broken": decisions.chain_findings(rows[:PAGE]) if not after else [],
            }

        view = site.read(work) | {"acts": ACTS}
        return site.page(request, "decisions/line.html", who, **view)

    @found.get("/decisions/line/{line_id}/limit.csv")
    def figures(request: Request, who: Reader, line_id: AnId) -> Response:  # noqa: ARG001 - as above
        """Give the figures of the limit over time."""
        texts = language.texts_in(language.wanted(request))
        chart = site.read(lambda db, _: path_of(site.desk, db, get_line(db, line_id), texts))
        return as_csv(chart.table, "limit")

    @found.post("/decisions/line/{line_id}/decide")
    def decide(request: Request, form: DecidingForm, line_id: AnId) -> Response:
        """Have a line decided on; the rules say what comes of it."""

        def work(db: Connection, now: datetime) -> str:
            made = _decided(site.desk, db, form, line_id, now)
            return f"/decisions/{made}?done=decided"

        return act(request, form, site.desk, work)


def _decided(desk: Desk, db: Connection, form: DecidingForm, line_id: str, now: datetime) -> str:
    purpose, line = form.one("purpose", most=32), get_line(db, line_id)
    if purpose not in {*ACTS, TEMPORARY}:
        raise UsageError(f"purpose must be one of {', '.join((*ACTS, TEMPORARY))}")
    limit = until = None
    if purpose == TEMPORARY:
        limit = minor_of(form.one("limit", most=24), digits_of(desk, line), "limit")
        until = day_of(form.one("until", most=10, missing=""), "until")
    version = form.one("version", most=12)
    if not (version.isascii() and version.isdigit()):
        raise UsageError("version: open the page again")
    made = reviewing.decide_line(
        desk,
        db,
        line_id,
        purpose,
        now,
        form.visit.caller.name,
        limit_minor=limit,
        until=until,
        expected_version=int(version),
        note=form.one("note", most=LONGEST),
    )
    return made.decision.id


def path_of(desk: Desk, db: Connection, line: StoredLine, texts: Texts) -> Chart:
    """Draw a line's limit over time, as its decisions set it, in days from its opening."""
    rows = decisions.chain_of(db, line.id, count=_DRAWN)
    known = [one for one in entries_of(desk, db, rows) if one.kept]
    points = steps_of(known, line.opened_at)
    series = [Series(texts.say("limit_path.y"), points)] if points else []
    words = words_of(texts, "limit-path", "limit_path")
    unit = money_unit(desk, line.currency)
    return lines(words, series, Unit(texts.say("limit_path.unit")), unit, low=0.0)


def steps_of(entries: list[Entry], opened: datetime) -> tuple[tuple[float, float], ...]:
    """Return a limit that stays from one decision to the next, as points of a line.

    Parameters
    ----------
    entries : list of Entry
        Oldest first.
    opened : datetime
        UTC; where days begin.
    """
    points: list[tuple[float, float]] = []
    for one in entries:
        day = max(0.0, float((one.decided_at.astimezone(UTC) - opened).days))
        if points:
            points.append((day, points[-1][1]))
        points.append((day, float(one.after_minor)))
    return tuple(points)
