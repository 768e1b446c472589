"""`/model/points`: the card's lines by number of bin, as they stand in the release.

The edges of a bin never leave its holder, and counts by bin were never opened. The limit service
belongs to no party, so no part of the card is told here in more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from server.limits.words.sentences import Texts
from server.web import language
from server.web.charts import Bar, Chart, Table, Unit, bars
from server.web.drawing import words_of
from server.web.files import as_csv
from server.web.officer.common import (
    Officer,
    OfRelease,
    holder_name,
    refusal,
)
from server.web.officer.shelf import Shelf
from server.web.render import Site
from shared.errors import NotFound, ReleaseRefused
from shared.scorecard.card import Card, Line

_COUNT: Final = Unit()
Holder = Annotated[str, Query(max_length=64)]
Number = Annotated[int, Query(ge=0, le=9999)]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the card in the list.

    Parameters
    ----------
    number : int
        In the order of its holder's lines.
    name, reason : str
    least, most : int
        Points that it can give.
    mean : float
    """

    number: int
    name: str
    reason: str
    least: int
    most: int
    mean: float


def add(found: APIRouter, site: Site, shelf: Shelf) -> None:
    """Add the routes."""

    @found.get("/model/points")
    def points(
        request: Request, who: Officer, release: OfRelease = "", holder: Holder = "",
        line: Number = 0,
    ) -> Response:  # fmt: skip
        """Show the lines of a holder, and one of them as a picture."""
        texts = language.texts_in(language.wanted(request))
        try:
            name, card = _card_of(shelf, release)
        except ReleaseRefused as error:
            return refusal(site, request, who, error)
        if card is None:
            return site.page(request, "officer/points.html", who, view=None, release=name)
        owners = owners_of(card)
        holder = holder or owners[0]
        lines = lines_of(card, holder)
        if line >= len(lines):
            raise NotFound("there is no such line")
        rows = [row_of(number, one) for number, one in enumerate(lines)]
        view = {
            "owners": [(one, holder_name(texts, one)) for one in owners],
            "holder": holder,
            "rows": rows,
            "line": line,
        }
        return site.page(
            request, "officer/points.html", who, view=view, release=name,
            reach=max((row.most - row.least for row in rows), default=0),
            chart=line_chart(lines[line], texts),
        )  # fmt: skip

    @found.get("/model/points.csv")
    def all_points(
        request: Request, _who: Officer, release: OfRelease = "", holder: Holder = ""
    ) -> Response:
        """Give every bin of a holder's lines with its points."""
        name, card = _card_of(shelf, release)
        if card is None:
            raise NotFound("this release has no lines of points")
        holder = holder or owners_of(card)[0]
        table = points_table(lines_of(card, holder), language.texts_in(language.wanted(request)))
        return as_csv(table, f"{name}-points")


def owners_of(card: Card) -> tuple[str, ...]:
    """Return who owns lines, in the order of the card."""
    return tuple(dict.fromkeys(line.owner for line in card.lines))


def lines_of(card: Card, holder: str) -> tuple[Line, ...]:
    """Return the lines that a holder owns by name.

    Raises
    ------
    NotFound
    """
    lines = tuple(line for line in card.lines if line.owner == holder)
    if not lines:
        raise NotFound("this release has no lines of that holder")
    return lines


def row_of(number: int, line: Line) -> Row:
    """Return a line as the list shows it."""
    return Row(number, line.name, line.reason, min(line.points), max(line.points), line.mean)


def line_chart(line: Line, texts: Texts) -> Chart:
    """Draw a line's points by number of bin, against its mean."""
    words = words_of(texts, "points", title=texts.say("points.of_line", line=line.name))
    rows = [
        Bar(texts.say("points.bin", number=number, label=label), points)
        for number, (label, points) in enumerate(zip(line.bins, line.points, strict=True))
    ]
    return bars(words, rows, _COUNT, reference=line.mean)


def points_table(lines: tuple[Line, ...], texts: Texts) -> Table:
    """Return every bin of some lines with its points."""
    heads = ("line", "topic", "number", "label", "points", "mean")
    return Table(
        head=tuple(texts.say(f"points.{one}") for one in heads),
        rows=tuple(
            (line.name, line.reason, number, label, points, line.mean)
            for line in lines
            for number, (label, points) in enumerate(zip(line.bins, line.points, strict=True))
        ),
        units=("",) * len(heads),
        digits=(0, 0, 0, 0, 0, 3),
        withheld="",
    )


def _card_of(shelf: Shelf, release: str) -> tuple[str, Card | None]:
    shown = shelf.shown(release)
    if shown is None:
        return "", None
    manifest = shown.release.manifest
    return manifest.name, manifest.model if isinstance(manifest.model, Card) else None
