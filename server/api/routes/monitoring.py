"""Watching: what the risk department and the regulator look at, from what was kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from server.accounts import watching
from server.accounts.desk import Desk
from server.accounts.kept import Span
from server.api.acts import read
from server.api.routes.base import Watcher, looks, router
from server.api.shapes import monitoring as shapes
from server.api.shapes.common import Day, Told

Since = Annotated[
    Day | None, Query(description="First day; without it 400 days before the last one")
]
Until = Annotated[
    Day | None, Query(description="Last day, today without it; at most 1,100 days are looked at")
]
Figures = Callable[[Desk, Connection, Span, datetime], dict[str, Any]]
Past = Callable[[Desk, Connection, Span], dict[str, Any]]


def _of_span(figures: Past) -> Figures:
    """Return figures that follow from the span alone, asked for like those as of an instant."""
    return lambda desk, db, span, _: figures(desk, db, span)


_VIEWS: Final[tuple[tuple[str, Figures, type[Told], str], ...]] = (
    (
        "drift",
        _of_span(watching.drift),
        shapes.Drift,
        "Compare scores by month with the first month.",
    ),
    ("swap", watching.swap, shapes.Swap, "Decide again under the rules of today, and compare."),
    (
        "complaints",
        watching.complaints,
        shapes.Complaints,
        "Count complaints and appeals by the reasons of the decisions that they are about.",
    ),
    ("overrides", watching.overrides, shapes.Overrides, "Sum up what people changed, and why."),
    (
        "restorations",
        _of_span(watching.restorations),
        shapes.Restorations,
        "Show how limits that fell come back, and what the cuts did to people's own figures.",
    ),
    (
        "inclusion",
        _of_span(watching.inclusion),
        shapes.Inclusion,
        "Compare groups by a file that no decision reads, and openings by product.",
    ),
    (
        "challenger",
        watching.challenger,
        shapes.Challenger,
        "Compare the challenger that is scored in shadow with the champion, on the same grounds.",
    ),
    ("operations", watching.operations, shapes.Operations, "Count what there is and was done."),
)


def routes(desk: Desk) -> APIRouter:
    """Return the routes of watching, over a desk."""
    found = router("monitoring")
    for name, figures, shape, words in _VIEWS:
        _add(found, desk, name, figures, shape, words)
    return found


def _add(
    found: APIRouter, desk: Desk, name: str, figures: Figures, shape: type[Told], words: str
) -> None:
    def view(
        who: Watcher,  # noqa: ARG001 - whoever may watch sees the same
        since: Since = None,
        until: Until = None,
    ) -> Response:
        def work(db: Connection, now: datetime) -> dict[str, Any]:
            span = Span.of(since, until, desk.today(now))
            return shape(**figures(desk, db, span, now)).body()

        return read(desk, work)

    view.__doc__, view.__name__ = words, f"monitor_{name}"
    found.get(f"/v1/monitoring/{name}", **looks(shape))(view)
