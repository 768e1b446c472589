"""Names of rows (ULID), and the values that come in from callers."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Final

from shared.errors import UsageError

MOST_MINOR: Final = 10**15  # so that no sum of amounts leaves 64 bits, nor a JSON number
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,63}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def new_id(at: datetime) -> str:
    """Return a fresh ULID: 48 bits of milliseconds and 80 bits of `os.urandom`, 26 letters.

    Parameters
    ----------
    at : datetime
        With a time zone.
    """
    milliseconds = int(utc(at).timestamp() * 1000)
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def utc(at: datetime) -> datetime:
    """Return the same instant in UTC.

    Raises
    ------
    UsageError
        If it has no time zone.
    """
    if at.tzinfo is None:
        raise UsageError("an instant without a time zone", hint="hand in UTC")
    return at.astimezone(UTC)


def name(value: str, what: str) -> str:
    """Return an id or a reference, checked: 1 to 64 letters, digits and ``._:-``.

    Raises
    ------
    UsageError
        If it is anything else; its text is not repeated.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise UsageError(f"{what} must be 1 to 64 letters, digits or ._:- and begin with no sign")
    return value


def currency(value: str) -> str:
    """Return a currency, checked: three capital letters as ISO 4217 has them.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise UsageError("currency must be three capital letters (ISO 4217)")
    return value


def minor(value: int, what: str, *, least: int = 1) -> int:
    """Return an amount of minor units, checked: a whole number from `least` to 10**15.

    Raises
    ------
    UsageError
        If it is no whole number, or outside.
    """
    if type(value) is not int or not least <= value <= MOST_MINOR:
        raise UsageError(f"{what} must be a whole number of minor units, {least} to 10**15")
    return value
