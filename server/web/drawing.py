"""What pages with charts have in common: a chart's words from the texts, and its figures as CSV."""

from __future__ import annotations

from fastapi import Response

from server.limits.words.sentences import Texts
from server.web.charts import NAMES, Chart, Told, Words, csv_of
from server.web.render import HEADERS

_STATES = ("empty", "loading", "error", "too_few", "withheld")


def words_of(texts: Texts, key: str, kind: str) -> Words:
    """Return a chart's words: those of the table ``chart_<key>``.

    Parameters
    ----------
    texts : Texts
    key : str
        Of the chart, with dashes.
    kind : str
        Of the chart function, whose further names the table has beside title, description, x, y.
    """
    table = f"chart_{key.replace('-', '_')}"
    title, description, x, y = (
        texts.say(f"{table}.{one}") for one in ("title", "description", "x", "y")
    )
    names = {one: texts.say(f"{table}.{one}") for one in NAMES[kind]}
    return Words(key, title, description, x, y, names, told_in(texts))


def told_in(texts: Texts) -> Told:
    """Return what stands in place of pictures and figures."""
    return Told(*(texts.say(f"chart.{one}") for one in _STATES))


def figures(chart: Chart) -> Response:
    """Return a chart's table as a CSV file."""
    named = f'attachment; filename="{chart.key}.csv"'
    headers = {**HEADERS, "Content-Disposition": named}
    # With a byte order mark, without which spreadsheets take it for another encoding.
    body = "\N{ZERO WIDTH NO-BREAK SPACE}" + csv_of(chart.table)
    return Response(body, media_type="text/csv; charset=utf-8", headers=headers)


def named(texts: Texts, table: str, name: str) -> str:
    """Return what a language calls something, or its own name where it has none."""
    return texts.sentences.get(f"{table}.{name}", name)
