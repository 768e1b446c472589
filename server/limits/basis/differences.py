"""Two rule files, field by field, in words.

What counts is what the files say, not how: order of keys, comments and spelling of numbers are no
difference. Rows of a table are matched by what names them (a grade, a code, a day), so that a row
put in between is one row more and not a change of all that follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.limits.basis.tables import parse_decimal_toml

_NAMES: Final = ("id", "name", "code", "grade", "fact", "scenario", "metric")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that two files do not agree on.

    Parameters
    ----------
    path : str
        With dots; a row by its name, as ``grades[A].limit_minor``.
    before, after : object
        None where a file does not have it.
    """

    path: str
    before: Any
    after: Any

    def told(self, digits: int = 2) -> str:
        """Return it as a sentence; amounts in whole units with so many decimals."""
        what = _words(self.path)
        money = self.path.endswith("_minor")
        before, after = (_shown(one, money, digits) for one in (self.before, self.after))
        if self.before is None:
            return f"{what}: new, {after}"
        if self.after is None:
            return f"{what}: gone, was {before}"
        return f"{what}: {before} becomes {after}{_change(self.before, self.after)}"

    def sides(self, digits: int = 2) -> tuple[str, str, str]:
        """Return before, after and the change in percent, in no language; any may be empty."""
        money = self.path.endswith("_minor")
        before, after = (
            "" if one is None else _shown(one, money, digits) for one in (self.before, self.after)
        )
        share = _change(self.before, self.after) if before and after else ""
        return before, after, share.strip(" ()")

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form; numbers that are not whole stand as texts."""
        return {"path": self.path, "before": _plain(self.before), "after": _plain(self.after)}


def differences(before: tuple[str, str], after: tuple[str, str]) -> tuple[Difference, ...]:
    """Return every field that differs, in the order of the files.

    Parameters
    ----------
    before, after : (str, str)
        Text and name of each file, both of one kind.

    Raises
    ------
    ConfigError
        If one is not TOML.
    """
    old, new = (dict(_fields("", parse_decimal_toml(*one))) for one in (before, after))
    paths = [*old, *(path for path in new if path not in old)]
    return tuple(
        Difference(path, old.get(path), new.get(path))
        for path in paths
        if old.get(path) != new.get(path)
    )


def _fields(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _fields(f"{path}.{key}" if path else key, one)
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        for name, row in zip(_row_names(value), value, strict=True):
            yield from _fields(f"{path}[{name}]", row)
    else:
        yield path, value


def _row_names(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return what tells each row from the others: a name, with its day where names come again."""
    names = []
    for place, row in enumerate(rows, start=1):
        named = next((str(row[key]) for key in _NAMES if key in row), "")
        since = str(row["since"]) if "since" in row else ""
        status = str(row["status"]) if row.get("status") == "draft" else ""
        names.append(" ".join(one for one in (named, since, status) if one) or str(place))
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[place] = f"{name} #{seen[name]}"
    return names


def _words(path: str) -> str:
    """Return a path in words: ``grades A, limit``."""
    plain = path.removesuffix("_minor").replace("_", " ").replace("[", " ").replace("]", "")
    return ", ".join(plain.split("."))


def _shown(value: Any, money: bool, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if money and isinstance(value, int):
        return f"{Decimal(value).scaleb(-digits):,.{digits}f}"
    if isinstance(value, list):
        return ", ".join(_shown(one, money, digits) for one in value) or "nothing"
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _change(before: Any, after: Any) -> str:
    """Return by how much a number changes, where both are numbers and there was something."""
    kinds = (int, Decimal)
    numbers = all(isinstance(one, kinds) and type(one) is not bool for one in (before, after))
    if not numbers or not before:
        return ""
    share = (Decimal(after) - Decimal(before)) / abs(Decimal(before))
    return f" ({share * 100:+.1f} %)"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Decimal | date) else value
