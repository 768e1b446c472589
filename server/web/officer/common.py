"""What the officer's pages of the model share: who may look, words of charts, CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import Query, Request, Response

from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.web.charts import Chart, Table, Told, Words, csv_of
from server.web.render import Site
from server.web.session import Visit, visitor
from shared.contract import EVERY
from shared.errors import NotFound, ReleaseRefused

Officer = Annotated[Visit, visitor(Role.OFFICER)]
OfRelease = Annotated[str, Query(alias="release", pattern=r"^([a-z]{1,16}-[0-9]{4,12})?$")]

_STATES: Final = ("empty", "loading", "error", "too_few", "withheld")
_PLAIN: Final = ("title", "description", "x", "y")


def refusal(site: Site, request: Request, who: Visit | None, error: ReleaseRefused) -> Response:
    """Return the page of a release that does not verify; only an officer is told by which check."""
    told = error.message if who is not None and who.role is Role.OFFICER else ""
    return site.page(request, "officer/refused.html", who, status=503, told=told)


def chart_words(texts: Texts, key: str, **values: str) -> Words:
    """Return the words of a chart: its title, description, axes and names.

    Parameters
    ----------
    texts : Texts
        With a table ``chart_<key>``, dashes of the key as underscores.
    key : str
        Unique on a page.
    **values : str
        In place of words of the table, or of what is said in place of a picture.
    """
    start = f"chart_{key.replace('-', '_')}."
    every = texts.sentences.items()
    table = {name.removeprefix(start): one for name, one in every if name.startswith(start)}
    told = {one: texts.say(f"chart.{one}") for one in _STATES}
    told |= {name: value for name, value in values.items() if name in told}
    table |= {name: value for name, value in values.items() if name not in told}
    return Words.of_mapping(key, table, Told(**told))


def holder_name(texts: Texts, name: str) -> str:
    """Return a holder as people know it; lines that all banks hold are every bank's."""
    return texts.say("model.every_bank") if name == EVERY else texts.holders([name])


def csv_answer(table: Table, name: str) -> Response:
    """Return a table as a file.

    Parameters
    ----------
    table : Table
    name : str
        Of the file, without its ending.
    """
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    body = "\N{ZERO WIDTH NO-BREAK SPACE}" + csv_of(table)  # so that spreadsheets read it as UTF-8
    return Response(body.encode(), media_type="text/csv; charset=utf-8", headers=headers)


def chart_csv(charts: Sequence[Chart], key: str, name: str) -> Response:
    """Return the figures of one of these charts as a file.

    Raises
    ------
    NotFound
        If none has that key, or it has no figures.
    """
    for one in charts:
        if one.key == key and one.table.rows:
            return csv_answer(one.table, f"{name}-{key}")
    raise NotFound("there are no such figures")
