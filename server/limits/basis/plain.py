"""Frozen values to plain JSON values and back, exactly, by their annotations.

What is written has one form only: reading it and writing it again gives the same bytes. A field
that is added to a dataclass is in every record from then on, and no record is read without it.
Whole numbers that JSON does not carry exactly (2**53 and above) stand as texts, as do decimals and
dates.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

EXACT: Final = 2**53 - 1
"""Largest whole number that JSON carries exactly (RFC 7493)."""


def to_plain(value: Any) -> Any:
    """Return a value as JSON has it.

    Raises
    ------
    TypeError
        If it is or holds something else than frozen dataclasses, mappings by text, tuples, texts,
        whole numbers, decimals, dates, truth values and None; no float, which has no one text.
    """
    # The commonest first: a nightly run spells some hundred values a line.
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else str(value)
    if isinstance(value, tuple | list):
        return [to_plain(one) for one in value]
    if isinstance(value, Decimal) or (isinstance(value, date) and not isinstance(value, datetime)):
        return str(value)
    if is_dataclass(value):
        return {name: to_plain(getattr(value, name)) for name in names_of(value.__class__)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


@cache
def names_of(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    return tuple(item.name for item in fields(kind))


def from_plain(kind: Any, value: Any, path: str = "") -> Any:
    """Read a value by its annotation.

    Parameters
    ----------
    kind : type or annotation
    value : Any
        As JSON has it.
    path : str
        Where it stands, for messages.

    Raises
    ------
    ValueError
        If it is not what `to_plain` makes of such a value; names the path, never the value.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        kinds = [one for one in inside if one is not type(None)]
        empty = value is None and len(kinds) < len(inside)
        # A text stands for itself where a text may stand; else it may be a number's spelling.
        kind = str if str in kinds and isinstance(value, str) else kinds[0]
        return None if empty else from_plain(kind, value, path)
    if origin is Literal:
        return _checked(isinstance(value, str) and value in inside, value, path)
    if origin is tuple:
        return _tuple(inside, value, path)
    if origin is Mapping:
        _checked(isinstance(value, dict), value, path)
        return {key: from_plain(inside[1], one, f"{path}.{key}") for key, one in value.items()}
    return (_dataclass if is_dataclass(kind) else _scalar)(kind, value, path)


def _dataclass(kind: Any, value: Any, path: str) -> Any:
    hints = _hints(kind)
    _checked(isinstance(value, dict) and value.keys() == hints.keys(), value, path)
    return kind(**{name: from_plain(hints[name], value[name], f"{path}.{name}") for name in hints})


def _tuple(inside: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    _checked(isinstance(value, list), value, path)
    kinds = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
    _checked(len(kinds) == len(value), value, path)
    return tuple(
        from_plain(kind, one, f"{path}[{at}]")
        for at, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(kind: Any, value: Any, path: str) -> Any:
    readers: dict[Any, Callable[[str], Any]]
    readers = {int: int, Decimal: Decimal, date: date.fromisoformat}
    if kind in {str, bool}:
        return _checked(type(value) is kind, value, path)
    if kind is int and type(value) is int:
        return _checked(-EXACT <= value <= EXACT, value, path)
    _checked(kind in readers and isinstance(value, str), value, path)
    try:
        read = readers[kind](value)
    except (ValueError, InvalidOperation) as error:
        raise ValueError(f"{path.lstrip('.')}: is malformed") from error
    _checked(to_plain(read) == value, value, path)
    if isinstance(read, Decimal):
        _checked(read.is_finite(), value, path)
    return read


def _checked(good: bool, value: Any, path: str) -> Any:
    if not good:
        raise ValueError(f"{path.lstrip('.') or 'it'}: is malformed")
    return value


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}
