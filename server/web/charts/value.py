"""What a chart function returns: a picture, the table beneath it, and in what state both are."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from server.web.charts.marks import WIDTH, num, tag, text, wrap
from server.web.charts.style import FONT, STYLE
from server.web.charts.units import labelled, number

State: TypeAlias = Literal["ready", "empty", "loading", "too_few", "error"]
Cell: TypeAlias = str | int | float | None
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of a chart.

    Parameters
    ----------
    head : tuple of str
        Of each column, without its unit.
    rows : tuple of tuple
        As many cells each as `head`. A number is in the column's unit; None is withheld (too few
        people) or not known.
    units : tuple of str
        One a column; empty for text and for figures without a unit.
    digits : tuple of int
        Places after the point, one a column.
    withheld : str
        What stands for None on a page.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    units: tuple[str, ...]
    digits: tuple[int, ...]
    withheld: str

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads with their units in brackets."""
        pairs = zip(self.head, self.units, strict=True)
        return tuple(labelled(head, unit) for head, unit in pairs)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether a column holds figures, which a page sets to the right."""
        return tuple(
            bool(self.rows) and all(not isinstance(row[at], str) for row in self.rows)
            for at in range(len(self.head))
        )

    def shown(self) -> tuple[tuple[str, ...], ...]:
        """Return the rows as a page prints them; every text still has to be escaped."""
        return tuple(
            tuple(self._shown(cell, at) for at, cell in enumerate(row)) for row in self.rows
        )

    def _shown(self, cell: Cell, at: int) -> str:
        if cell is None:
            return self.withheld
        return cell if isinstance(cell, str) else number(cell, self.digits[at])


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with its words and figures.

    Parameters
    ----------
    key : str
        Unique on a page; begins every id within the picture.
    title, description : str
        Of the picture, for the heading above it and for those who cannot see it.
    height : float
        Of the view box, whose width is 360.
    body : str
        Marks of the picture, as SVG.
    table : Table
        Without rows unless `state` is `ready`.
    state : {'ready', 'empty', 'loading', 'too_few', 'error'}
    """

    key: str
    title: str
    description: str
    height: float
    body: str
    table: Table
    state: State

    @property
    def svg(self) -> str:
        """The picture for a page: no colours or styles of its own (the page has `STYLE`)."""
        return self._svg(f"0 0 {WIDTH} {num(self.height)}", self.body)

    def _svg(self, view: str, inner: str, **size: str) -> str:
        titles = tag("title", self.title, id=f"{self.key}-title") + tag(
            "desc", self.description, id=f"{self.key}-desc"
        )
        return tag(
            "svg",
            inner=titles + inner,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=view,
            class_=f"ch ch-{self.state.replace('_', '-')}",
            role="img",
            aria_labelledby=f"{self.key}-title {self.key}-desc",
            **size,
        )


def standalone(chart: Chart, width: int = 720) -> str:
    """Return a picture that stands outside the pages: in a README, a report, a file of its own.

    Its title is drawn above it, and a style sheet of its own makes it readable in light and dark.

    Parameters
    ----------
    chart : Chart
    width : int
        In pixels, where nothing else says how large it is.
    """
    lines = wrap(chart.title, WIDTH - 20, 14)
    above = 18 * len(lines) + 10
    height = chart.height + above + 8
    heading = "".join(
        text(10, 18 * at + 20 - above, line, size=14, cls="ch-strong")
        for at, line in enumerate(lines)
    )
    ground = tag("rect", x="0", y=num(-above), width=str(WIDTH), height=num(height), class_="ch-bg")
    style = tag("style", inner=f"svg{{{FONT}}}{STYLE}")
    return chart._svg(  # noqa: SLF001 - the two forms of one picture
        f"0 {num(-above)} {WIDTH} {num(height)}",
        style + ground + heading + chart.body,
        width=str(width),
        height=num(width * height / WIDTH),
    )


def csv_of(table: Table) -> str:
    """Return a table as CSV (RFC 4180, UTF-8 text, lines ended by CR LF).

    A number has a plain point and an ASCII minus; a withheld figure is an empty cell. A text that
    a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_plain(head, 0) for head in table.heads])
    for row in table.rows:
        writer.writerow(
            [_plain(cell, digits) for cell, digits in zip(row, table.digits, strict=True)]
        )
    return out.getvalue()


def _plain(cell: Cell, digits: int) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    told = f"{cell:.{digits}f}"
    return told.removeprefix("-") if float(told) == 0.0 else told
