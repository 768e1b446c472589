"""Single fields of a contract as they stand in TOML or JSON, read with all that is wrong noted."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from shared.contract_columns import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Scalar: TypeAlias = float | str

#: Owner of what all parties hold that own nothing by name (several banks: same features, other
#: people).
EVERY = "*"

_PARTY = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that offers the nearest of the known words, if one is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER
    )


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads fields by their path, of which the last part is the key.

    A field that is wrong is noted, and read as something that will do.

    Parameters
    ----------
    findings : list of str
        Grows.
    """

    findings: list[str]

    def say(self, path: str, rule: str, got: object) -> None:
        """Note that a value breaks a rule."""
        self.findings.append(f"{path}: {rule}. Got {got!r}")

    def unknown(self, prefix: str, table: Mapping[str, object], known: list[str]) -> None:
        """Note every key that is none, each with the nearest that is."""
        self.findings.extend(
            f"{prefix}{key}: unknown key{nearest(str(key), known)}"
            for key in table
            if key not in known
        )

    def text(self, path: str, table: Mapping[str, object], default: str | None = None) -> str:
        """Read a text; without a default it must not be empty."""
        value = table.get(path.rpartition(".")[2], default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            self.say(path, "must be a text", value)
            return ""
        return value

    def party(self, path: str, table: Mapping[str, object]) -> str:
        """Read the name of a party, or `EVERY`."""
        value = table.get(path.rpartition(".")[2])
        if isinstance(value, str) and (value == EVERY or _PARTY.fullmatch(value)):
            return value
        self.say(path, f"must be a party ({_PARTY.pattern}) or '{EVERY}' for every party", value)
        return ""

    def choice(self, path: str, table: Mapping[str, object], known: Sequence[str]) -> str:
        """Read one of some words; the first is the default."""
        value = table.get(path.rpartition(".")[2], known[0])
        if value in known:
            return str(value)
        self.say(path, f"must be one of {', '.join(repr(choice) for choice in known)}", value)
        return known[0]

    def bound(self, path: str, table: Mapping[str, object]) -> float | None:
        """Read a number, or none."""
        value = table.get(path.rpartition(".")[2])
        if value is None or _is_number(value):
            return cast("float | None", value)
        self.say(path, "must be a number within 2^53", value)
        return None

    def codes(self, path: str, table: Mapping[str, object], *, text: bool) -> tuple[Scalar, ...]:
        """Read a list of codes: texts of a category, numbers otherwise."""
        return self.texts(path, table) if text else self.numbers(path, table)

    def numbers(self, path: str, table: Mapping[str, object]) -> tuple[float, ...]:
        """Read a list of different numbers."""
        return cast("tuple[float, ...]", self._list(path, table, text=False))

    def texts(self, path: str, table: Mapping[str, object]) -> tuple[str, ...]:
        """Read a list of different texts."""
        return cast("tuple[str, ...]", self._list(path, table, text=True))

    def _list(self, path: str, table: Mapping[str, object], *, text: bool) -> tuple[Scalar, ...]:
        value = table.get(path.rpartition(".")[2], [])
        good = isinstance(value, list | tuple) and all(
            isinstance(item, str) and item if text else _is_number(item) for item in value
        )
        if not good or len(set(cast("list[Scalar]", value))) < len(cast("list[Scalar]", value)):
            self.say(path, f"must be a list of different {'texts' if text else 'numbers'}", value)
            return ()
        return tuple(cast("list[Scalar]", value))

    def reason(self, path: str, table: Mapping[str, object]) -> str:
        """Read a public reason code, or none."""
        value = table.get("reason", "")
        if isinstance(value, str) and (not value or _REASON.fullmatch(value)):
            return value
        self.say(path, "must be a public code in capitals, such as PAY_STATUS", value)
        return ""
