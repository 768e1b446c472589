"""`/model/months` and `/model/groups`: how scores move, and how groups fare, from what was kept.

Both read every decision of about a year, so a thread does (`server.web.slow`); what they show is
what `/v1/monitoring/drift` and `/v1/monitoring/inclusion` answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import watching
from server.accounts.kept import Span
from server.limits.words.sentences import Texts
from server.web import language
from server.web.charts import Chart, Month, failed, heat_strip, loading, stability_months
from server.web.drawing import words_of
from server.web.officer.common import Officer, chart_csv
from server.web.render import Site
from server.web.slow import Made, Slow

Key = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_KEYS: Final = ("stability", "holders-by-month")
_FIGURES: Final = (
    "impact_ratio",
    "mean_difference",
    "limit_ratio",
    "restoration_ratio",
    "override_ratio",
)
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grades:
    """People by grade in a month.

    Parameters
    ----------
    month : str
    people : int, optional
        None where withheld.
    counts : tuple of (int or None)
        By grade, in the order of the head.
    """

    month: str
    people: int | None
    counts: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group beside the reference group.

    Parameters
    ----------
    name : str
    figures : tuple of (str, value, people, flagged)
        A name of `_FIGURES` each; None for a value that is withheld or cannot be had.
    """

    name: str
    figures: tuple[tuple[str, float | None, int | None, bool], ...]


def add(found: APIRouter, site: Site, slow: Slow) -> None:
    """Add the routes."""

    @found.get("/model/months")
    def by_month(request: Request, who: Officer) -> Response:
        """Show how the scores and each holder's points moved by month."""
        made, texts = drift(site, slow), language.texts_in(language.wanted(request))
        heads, rows = grades_of(made.value)
        return site.page(
            request, "officer/months.html", who, made=made, charts=month_charts(made, texts),
            grades=heads, months=rows,
        )  # fmt: skip

    @found.get("/model/months/{key}.csv")
    def months_csv(request: Request, _who: Officer, key: Key) -> Response:
        """Give the figures of a picture; there are none until they are worked out."""
        texts = language.texts_in(language.wanted(request))
        return chart_csv(month_charts(drift(site, slow), texts), key, "model")

    @found.get("/model/groups")
    def groups(request: Request, who: Officer) -> Response:
        """Compare groups, and say who is left out."""
        made = inclusion(site, slow)
        return site.page(
            request, "officer/groups.html", who, made=made, groups=groups_of(made.value),
            figures=_FIGURES, bounds=site.desk.rules.monitoring,
        )  # fmt: skip


def drift(site: Site, slow: Slow) -> Made[Figures]:
    """Return the figures of `/v1/monitoring/drift` for the usual span."""
    return slow.ask("drift", lambda db, now: watching.drift(site.desk, db, _span(site, now)))


def inclusion(site: Site, slow: Slow) -> Made[Figures]:
    """Return the figures of `/v1/monitoring/inclusion` for the usual span."""

    def work(db: Connection, now: datetime) -> Figures:
        return watching.inclusion(site.desk, db, _span(site, now))

    return slow.ask("inclusion", work)


def month_charts(made: Made[Figures], texts: Texts) -> tuple[Chart, ...]:
    """Return the charts of the months, or what stands in their place.

    Parameters
    ----------
    made : Made
        Of `server.accounts.watching.drift`.
    texts : Texts
    """
    words = [words_of(texts, key) for key in _KEYS]
    if made.value is None:
        instead = loading if made.state == "loading" else failed
        return tuple(instead(one) for one in words)
    months = made.value["months"]
    names = sorted({one["name"] for month in months for one in month["holders"]})
    return (
        stability_months(words[0], [_month(one) for one in months]),
        heat_strip(
            words[1],
            [texts.holders([name]) for name in names],
            [one["month"] for one in months],
            [[_index(month, name) for month in months] for name in names],
        ),
    )


def grades_of(told: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[Grades, ...]]:
    """Return the grades of all months, and each month's people by grade."""
    months: Sequence[Mapping[str, Any]] = () if told is None else told["months"]
    names = tuple(sorted({name for month in months for name in month["grades"]}))
    rows = (
        Grades(one["month"], one["people"], tuple(one["grades"].get(name, 0) for name in names))
        for one in months
    )
    return names, tuple(rows)


def groups_of(told: Mapping[str, Any] | None) -> tuple[Group, ...]:
    """Return each group's figures in the order of the table."""
    if told is None or told["groups"] is None:
        return ()
    return tuple(
        Group(
            one["group"],
            tuple(
                (name, one[name]["value"], one[name]["people"], bool(one[name]["flagged"]))
                for name in _FIGURES
            ),
        )
        for one in told["groups"]
    )


def _month(one: Mapping[str, Any]) -> Month:
    score = one["score"]
    return Month(one["month"], one["people"], None if score is None else score["index"])


def _index(month: Mapping[str, Any], name: str) -> float | None:
    return next((one["index"] for one in month["holders"] if one["name"] == name), None)


def _span(site: Site, now: datetime) -> Span:
    return Span.of(None, None, site.desk.today(now))
