"""The words of charts, from the texts of a language."""

from __future__ import annotations

from typing import Final

from server.limits.words.sentences import Texts
from server.web.charts import Told, Words

_STATES: Final = ("empty", "loading", "error", "too_few", "withheld")


def words_of(texts: Texts, key: str, table: str = "", **instead: str) -> Words:
    """Return the words of a chart: its title, description, axes and names.

    Parameters
    ----------
    texts : Texts
    key : str
        Unique on a page.
    table : str
        Of the texts; ``chart_<key>`` unless given, with dashes of the key as underscores.
    **instead : str
        In place of words of the table, or of what is said in place of a picture.

    Raises
    ------
    ConfigError
        If the table lacks a word that every chart has.
    """
    start = f"{table or 'chart_' + key.replace('-', '_')}."
    every = texts.sentences.items()
    said = {name.removeprefix(start): one for name, one in every if name.startswith(start)}
    told = {one: texts.say(f"chart.{one}") for one in _STATES}
    told |= {name: value for name, value in instead.items() if name in told}
    said |= {name: value for name, value in instead.items() if name not in told}
    return Words.of_mapping(key, said, Told(**told))


def named(texts: Texts, table: str, name: str) -> str:
    """Return what a language calls something, or its own name where it has none."""
    return texts.sentences.get(f"{table}.{name}", name)
