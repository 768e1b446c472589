"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Parameters
    ----------
    check : str
        Name of the check.
    level : {"ok", "warn", "fail"}
        A warning works today.
    said : str
        What is so: names the file, port or member.
    mend : str
        What to do about it; empty where nothing need be done.
    """

    check: str
    level: str
    said: str
    mend: str = ""


def well(check: str, said: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, OK, said)


def warned(check: str, said: str, mend: str) -> Finding:
    """Return that something works, but not for long or not for all."""
    return Finding(check, WARN, said, mend)


def failed(check: str, said: str, mend: str) -> Finding:
    """Return that something is wrong."""
    return Finding(check, FAIL, said, mend)


def or_well(check: str, found: Iterable[Finding], said: str) -> list[Finding]:
    """Return findings, or that all is well where there are none."""
    return list(found) or [well(check, said)]
