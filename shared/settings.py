"""Settings as dataclass fields: a default, bounds and one sentence each.

The reader, the commented file that `confide init` writes, and `confide config show --origin` all
come from these fields, so they cannot disagree. Unknown keys are errors with the nearest name; all
findings of a file come at once. Precedence: flag, environment, file, default.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, cast

from shared.errors import ConfigError

ENV_PREFIX = "CONFIDE_"

Origin = Literal["default", "file", "environment", "flag"]
_T = TypeVar("_T")
_KINDS: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


def setting(
    default: Any = MISSING,
    doc: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a setting: its default, its sentence and its bounds."""
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


class Reader:
    """Reads dataclasses of settings from mappings and gathers all findings.

    Parameters
    ----------
    source : str
        The file, for the error.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.findings: list[str] = []

    def check(self, good: bool, path: str, rule: str, got: Any) -> None:
        """Note a finding unless `good`."""
        if not good:
            self.findings.append(f"{path}: {rule}. Got {got!r}")

    def finish(self) -> None:
        """Raise what was found.

        Raises
        ------
        ConfigError
        """
        if self.findings:
            raise ConfigError(self.source, self.findings)

    def table(self, path: str, value: Any) -> Mapping[str, Any]:
        """Return a table, or an empty one and a finding."""
        self.check(isinstance(value, Mapping), path, "must be a table", value)
        return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}

    def text(self, path: str, mapping: Mapping[str, Any]) -> str:
        """Return a non-empty string, or an empty one and a finding."""
        value = mapping.get(path)
        self.check(isinstance(value, str) and bool(value), path, "must be a name", value)
        return value if isinstance(value, str) else ""

    def unknown(self, path: str, mapping: Mapping[str, Any], known: list[str]) -> None:
        """Note every key that is not a setting, with the nearest that is."""
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                self.findings.append(f"{_join(path, key)}: is not a setting{hint}")

    def read(self, kind: type[_T], path: str, value: Any) -> _T:
        """Read a dataclass of settings; what is wrong takes its default and a finding."""
        table = self.table(path, value)
        items = fields(cast("Any", kind))
        self.unknown(path, table, [item.name for item in items])
        values = {}
        for item in items:
            default = "" if item.default is MISSING else item.default
            values[item.name] = default
            if item.name not in table:
                self.check(item.default is not MISSING, _join(path, item.name), "is missing", None)
            elif self._fits(
                str(item.type), item.metadata, _join(path, item.name), table[item.name]
            ):
                values[item.name] = _KINDS[str(item.type)](table[item.name])
        return kind(**values)

    def _fits(self, kind: str, rules: Mapping[str, Any], path: str, value: Any) -> bool:
        before = len(self.findings)
        wanted = (int, float) if kind == "float" else (_KINDS[kind],)
        right = isinstance(value, wanted) and (kind == "bool" or not isinstance(value, bool))
        self.check(right, path, f"must be {_ARTICLES[kind]}", value)
        if right and kind in {"int", "float"}:
            low, high = rules["low"], rules["high"]
            self.check(low is None or value >= low, path, f"must be at least {low}", value)
            self.check(high is None or value <= high, path, f"must be at most {high}", value)
        if right and rules["choices"]:
            options = " or ".join(map(repr, rules["choices"]))
            self.check(value in rules["choices"], path, f"must be {options}", value)
        return len(self.findings) == before


_ARTICLES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting as `config show --origin` prints it."""

    path: str
    value: Any
    origin: Origin


def overlay(
    mapping: Mapping[str, Any],
    sections: Mapping[str, type],
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Origin]]:
    """Lay environment and flags over a parsed file.

    Parameters
    ----------
    mapping : mapping
        The parsed file.
    sections : mapping of str to type
        Section name to its dataclass of settings.
    environment : mapping of str to str
        Variables; `CONFIDE_PROTOCOL_DEADLINE_S` sets `protocol.deadline_s`.
    flags : mapping of str to value
        Path to value, from the command line.

    Returns
    -------
    mapping : dict
        The file with all on top.
    origins : dict of str to str
        Where each setting's value came from.

    Raises
    ------
    ConfigError
        If a variable with the prefix and a section's name is no setting.
    """
    merged: dict[str, Any] = {key: value for key, value in mapping.items() if key not in sections}
    origins: dict[str, Origin] = {}
    paths = set()
    for section, kind in sections.items():
        table = mapping.get(section, {})
        if not isinstance(table, Mapping):
            merged[section] = table
            continue
        merged[section] = dict(table)
        for item in fields(kind):
            path = f"{section}.{item.name}"
            variable = ENV_PREFIX + path.replace(".", "_").upper()
            paths.add(variable)
            origins[path] = "file" if item.name in table else "default"
            if variable in environment:
                merged[section][item.name] = _parse(environment[variable], str(item.type))
                origins[path] = "environment"
            if path in flags:
                merged[section][item.name] = flags[path]
                origins[path] = "flag"
    _refuse_strange(environment, sections, paths)
    return merged, origins


def _refuse_strange(
    environment: Mapping[str, str], sections: Mapping[str, type], known: set[str]
) -> None:
    prefixes = tuple(f"{ENV_PREFIX}{section.upper()}_" for section in sections)
    findings = []
    for name in environment:
        if name.startswith(prefixes) and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            findings.append(f"{name}: is not a setting{hint}")
    if findings:
        raise ConfigError("environment", findings)


def _parse(text: str, kind: str) -> Any:
    """Read a variable as TOML would; what does not parse is left for the reader to complain of."""
    if kind == "str":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def commented(section: str, values: Any) -> str:
    """Return a TOML section in which every setting stands with its sentence.

    Parameters
    ----------
    section : str
        Its name, '' for the top of the file.
    values : dataclass of settings

    Returns
    -------
    str
        Settings at their default are commented out, so that the file shows what was decided.
    """
    if not is_dataclass(values):
        raise TypeError("settings must be a dataclass")
    lines = [f"[{section}]"] if section else []
    for item in fields(values):
        value = getattr(values, item.name)
        lines.append(f"# {item.metadata['doc']}.")
        prefix = "# " if item.default is not MISSING and value == item.default else ""
        lines.append(f"{prefix}{item.name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
