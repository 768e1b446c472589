"""Words of a chart, handed in so that every language works: charts know none of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from shared.errors import ConfigError, UsageError

_KEY: Final = re.compile(r"[a-z][a-z0-9-]*")
_TEXTS: Final = ("title", "description", "x", "y")


@dataclass(frozen=True, slots=True)
class Told:
    """What is said in place of a picture, and of a figure.

    Parameters
    ----------
    empty, loading, error : str
        In place of a picture: there is nothing yet, it is being made, it could not be made.
    too_few : str
        In place of a picture about fewer people than may be told of.
    withheld : str
        In place of a figure that is withheld or not known; a few letters, such as ``< 20``.
    """

    empty: str
    loading: str
    error: str
    too_few: str
    withheld: str


@dataclass(frozen=True, slots=True)
class Words:
    """Words of one chart.

    Parameters
    ----------
    key : str
        Lower-case letters, digits and dashes; unique on a page.
    title, description : str
        Not empty. The description says in a sentence or two what the picture shows.
    x, y : str
        Labels of the axes without units, not empty; where a chart has rows, `x` is that of their
        figure and `y` what a row is.
    names : mapping of str to str
        The chart's other words, by the names that `NAMES` of the package lists.
    told : Told

    Raises
    ------
    UsageError
        With all findings.
    """

    key: str
    title: str
    description: str
    x: str
    y: str
    names: Mapping[str, str]
    told: Told

    def __post_init__(self) -> None:
        findings = [f"{name}: must not be empty" for name in _TEXTS if not getattr(self, name)]
        if not _KEY.fullmatch(self.key):
            findings.append("key: must be of lower-case letters, digits and dashes")
        if findings:
            raise UsageError(f"chart {self.key}: " + "; ".join(findings))

    @classmethod
    def of_mapping(cls, key: str, table: Mapping[str, Any], told: Told) -> Self:
        """Read the words of a chart from a table of a text file.

        Parameters
        ----------
        key : str
        table : mapping
            `title`, `description`, `x`, `y`, and every other entry as a name.
        told : Told

        Raises
        ------
        ConfigError
            An entry is no text, or one of the four is missing.
        """
        findings = [f"{name}: must be given" for name in _TEXTS if name not in table]
        findings += [f"{name}: must be text" for name in table if not isinstance(table[name], str)]
        if findings:
            raise ConfigError(f"chart {key}", findings)
        names = {name: value for name, value in table.items() if name not in _TEXTS}
        return cls(key=key, names=names, told=told, **{name: table[name] for name in _TEXTS})

    def need(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the words of these names.

        Raises
        ------
        UsageError
            Some are missing: all of them are told.
        """
        missing = [name for name in names if not self.names.get(name)]
        if missing:
            raise UsageError(f"chart {self.key}: names are missing: {', '.join(missing)}")
        return tuple(self.names[name] for name in names)
