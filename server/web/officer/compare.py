"""`/compare`: a challenger beside the release that serves, on the same customers.

What its parties signed is `confide model compare`'s; what the service noted in shadow is
`/v1/monitoring/challenger`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import watching
from server.accounts.kept import Span
from server.limits.words.sentences import Texts
from server.releases.book import Entry
from server.releases.registry import signed_verdict
from server.web import language
from server.web.charts import (
    FIGURE,
    FLOOR,
    Bar,
    Chart,
    Swap,
    Unit,
    bars,
    empty,
    failed,
    loading,
    migration,
    swap_set,
    too_few,
)
from server.web.drawing import words_of
from server.web.officer.common import Officer, OfRelease, chart_csv, refusal
from server.web.officer.shelf import Shelf
from server.web.render import Site
from server.web.slow import Made, Slow
from shared.challenger.compare import Comparison
from shared.challenger.verdict import Verdict
from shared.errors import NotFound, ReleaseRefused

Key = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Standing = Literal["fits", "none", "other", "worse"]
_MEASURES: Final = ("auc", "ks", "brier")
_SIDES: Final = ("both", "swapped_in", "swapped_out", "neither")
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of both models.

    Parameters
    ----------
    name : {'auc', 'ks', 'brier'}
    champion, challenger, difference, low, high : float
    """

    name: str
    champion: float
    challenger: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Beside:
    """A challenger beside the release that serves.

    Parameters
    ----------
    champion, challenger : Entry
    found : Comparison, optional
        What the challenger's parties signed.
    standing : {'fits', 'none', 'other', 'worse'}
        Whether the comparison would let it serve: it may; there is none; it is with another
        release; it ranks worse.
    """

    champion: Entry
    challenger: Entry
    found: Comparison | None
    standing: Standing


def add(found: APIRouter, site: Site, shelf: Shelf, slow: Slow) -> None:
    """Add the routes."""

    @found.get("/compare")
    def compare(request: Request, who: Officer, release: OfRelease = "") -> Response:
        """Show a challenger beside the champion."""
        texts, made = language.texts_in(language.wanted(request)), shadow(site, slow)
        try:
            beside = beside_of(shelf, release)
        except ReleaseRefused as error:
            return refusal(site, request, who, error)
        signed = None if beside is None else beside.found
        return site.page(
            request,
            "officer/compare.html",
            who,
            view=beside,
            every=[one for one in shelf.book().entries.values() if one.state != "champion"],
            signed=measures_of(signed),
            gap=difference_chart(signed, texts),
            made=made,
            seen=made.value,
            outcomes=measures_of(_outcomes(made.value)),
            charts=shadow_charts(made, _unit(site), texts),
        )

    @found.get("/compare/{key}.csv")
    def figures(request: Request, _who: Officer, key: Key, release: OfRelease = "") -> Response:
        """Give the figures of a picture."""
        texts = language.texts_in(language.wanted(request))
        beside = beside_of(shelf, release)
        gap = difference_chart(None if beside is None else beside.found, texts)
        charts = (gap, *shadow_charts(shadow(site, slow), _unit(site), texts))
        return chart_csv(charts, key, "comparison")


def beside_of(shelf: Shelf, release: str = "") -> Beside | None:
    """Return a challenger beside the champion; None where one of the two is missing.

    Parameters
    ----------
    shelf : Shelf
    release : str
        Without a name, the newest challenger.

    Raises
    ------
    NotFound, ReleaseRefused
        See `server.web.officer.shelf.Shelf.shown`.
    """
    champion = shelf.book().champion
    newest = shelf.newest_challenger()
    name = release or ("" if newest is None else newest.name)
    if champion is None or not name:
        return None
    shown = shelf.shown(name)
    if shown is None or shown.entry == champion:
        raise NotFound("this release serves: there is nothing to hold it against")
    verdict = signed_verdict(shown.release.manifest)
    standing = standing_of(verdict, champion, shown.entry)
    found = None if verdict is None else verdict.comparison
    return Beside(champion, shown.entry, found, standing)


def standing_of(verdict: Verdict | None, champion: Entry, challenger: Entry) -> Standing:
    """Return what a comparison says of letting the challenger serve, as a promotion takes it."""
    if verdict is None:
        return "none"
    if not verdict.problem(champion.digest, challenger.digest):
        return "fits"
    return "other" if verdict.champion != champion.digest else "worse"


def shadow(site: Site, slow: Slow) -> Made[Figures]:
    """Return the figures of `/v1/monitoring/challenger` for the usual span."""
    desk = site.desk

    def work(db: Connection, now: datetime) -> Figures:
        return watching.challenger(desk, db, Span.of(None, None, desk.today(now)), now)

    return slow.ask("challenger", work)


def measures_of(found: Comparison | None) -> tuple[Measure, ...]:
    """Return the figures of a comparison as rows of a table."""
    if found is None:
        return ()
    rows = [(name, getattr(found, name)) for name in _MEASURES]
    return tuple(
        Measure(
            name,
            one.champion,
            one.challenger,
            one.difference.value,
            one.difference.low,
            one.difference.high,
        )
        for name, one in rows
    )


def difference_chart(found: Comparison | None, texts: Texts) -> Chart:
    """Draw the challenger's figures less the champion's, with their intervals."""
    words = words_of(texts, "difference", empty=texts.say("compare.standing_none"))
    rows = [
        Bar(texts.say(f"figure.{one.name}"), one.difference, one.low, one.high)
        for one in measures_of(found)
    ]
    return bars(words, rows, FIGURE)


def shadow_charts(made: Made[Figures], volume: Unit, texts: Texts) -> tuple[Chart, Chart]:
    """Return the swap set and the migration of grades, or what stands in their place.

    Parameters
    ----------
    made : Made
        Of `server.accounts.watching.challenger`.
    volume : Unit
        Of sums of limits.
    texts : Texts
    """
    none = texts.say("compare.no_shadow")
    words = [words_of(texts, key, empty=none) for key in ("swap", "migration")]
    told = made.value
    if told is None:
        instead = loading if made.state == "loading" else failed
        return instead(words[0]), instead(words[1])
    if told["swap"] is None or told["grades"] is None:
        instead = empty if told["people"] == 0 else too_few
        return instead(words[0]), instead(words[1])
    grades = list(told["grades"])
    people = [[told["grades"][before][after] for after in grades] for before in grades]
    return (
        swap_set(words[0], swap_cells(told["swap"]), volume),
        migration(words[1], grades, people),
    )


def swap_cells(told: Mapping[str, Mapping[str, int] | None]) -> Sequence[Swap]:
    """Return the four cells; a bad rate only where enough outcomes are known."""
    return tuple(_cell(told[side]) for side in _SIDES)


def _cell(one: Mapping[str, int] | None) -> Swap:
    if one is None:
        return Swap(None, None, 0.0)
    known = one["known"]
    rate = one["bads"] / known if known >= FLOOR else None
    return Swap(one["people"], rate, float(one["new_minor"] or one["old_minor"]))


def _outcomes(told: Figures | None) -> Comparison | None:
    found = None if told is None else told["outcomes"]
    return None if found is None else Comparison.from_mapping(found, "outcomes")


def _unit(site: Site) -> Unit:
    policy = site.desk.rules.policy
    return Unit(policy.currency, 0, 10**policy.minor_digits)
