"""Events of a line: the only way to change one, and all it takes to rebuild it (invariant I18)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from functools import reduce
from typing import Any, Final, Literal

from server.limits.basis.plain import names_of
from server.limits.basis.reasons import Reason
from server.limits.line.line import (
    BLANK,
    Delinquency,
    Line,
    Offer,
    State,
    Temporary,
    Window,
    check_move,
)
from shared.errors import Conflict, DataError

Initiator = Literal["issuer", "customer", "regulator", "partner"]
INITIATORS: Final = ("issuer", "customer", "regulator", "partner")


@dataclass(frozen=True, slots=True)
class LineEvent:
    """What happened to a line.

    Parameters
    ----------
    kind : str
        `requested`, `opened`, `observed`, `cut`, `stepped_down`, `scaled`, `left_observation`,
        `stepped_up`, `restored`, `reviewed`, `frozen`, `cured`, `aged`, `offered`, `increased`,
        `self_lowered`, `overridden`, `temporary`, `lapsed`, `consent`, `forborne`, `closing` or
        `closed`.
    on : date
    version : int
        Of the line after it.
    initiator : {'issuer', 'customer', 'regulator', 'partner'}
    state_from, state_to : State
    limit_from_minor, limit_to_minor : int
        The effective limit.
    reasons : tuple of Reason
        At least one where the limit changes.
    changes : mapping of str to value
        Fields of the line that take a new value.
    """

    kind: str
    on: date
    version: int
    initiator: Initiator
    state_from: State
    state_to: State
    limit_from_minor: int
    limit_to_minor: int
    reasons: tuple[Reason, ...]
    changes: Mapping[str, Any]

    @property
    def moves_limit(self) -> bool:
        """Whether the effective limit changes."""
        return self.limit_from_minor != self.limit_to_minor

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {name: _plain(getattr(self, name)) for name in names_of(LineEvent)}
        plain["changes"] = {name: _plain(value) for name, value in self.changes.items()}
        return plain


def apply(line: Line, event: LineEvent) -> Line:
    """Return a line after an event.

    Raises
    ------
    Conflict
        If the event is not the next one of this line, runs backward in time, makes a move that
        there is not, or changes the limit without a reason.
    """
    if (event.version, event.state_from) != (line.version + 1, line.state):
        raise Conflict("the event is not the next one of this line", check="version")
    if event.on < line.changed_on:
        raise Conflict(
            f"the line changed on {line.changed_on}; nothing happens to it before that",
            check="clock",
        )
    check_move(event.state_from, event.state_to)
    if event.limit_from_minor != line.effective_limit_minor:
        raise Conflict("the event begins from another limit", check="version")
    if event.moves_limit and not event.reasons:
        raise Conflict("a limit does not change without a reason", check="state")
    after = replace(line, version=event.version, changed_on=event.on, **event.changes)
    if (after.state, after.effective_limit_minor) != (event.state_to, event.limit_to_minor):
        raise Conflict("the event says one thing and does another", check="state")
    return after


def replay(events: Iterable[LineEvent], until: date | None = None) -> Line:
    """Rebuild a line from its events, as of a day.

    Parameters
    ----------
    events : iterable of LineEvent
        In order, from the first.
    until : date, optional
        Later events are left out.

    Raises
    ------
    Conflict
        See `apply`.
    """
    return reduce(apply, (one for one in events if until is None or one.on <= until), BLANK)


class Journal:
    """Gathers the events of one act while the line moves on.

    Parameters
    ----------
    line : Line
    on : date
    initiator : {'issuer', 'customer', 'regulator', 'partner'}
    """

    __slots__ = ("_initiator", "_on", "events", "line")

    def __init__(self, line: Line, on: date, initiator: Initiator = "issuer") -> None:
        self.line, self._on, self._initiator = line, on, initiator
        self.events: list[LineEvent] = []

    def note(self, kind: str, reasons: Sequence[Reason] = (), **changes: Any) -> None:
        """Add an event; fields that keep their value are left out of it."""
        line = self.line
        real = {name: value for name, value in changes.items() if value != getattr(line, name)}
        event = LineEvent(
            kind=kind,
            on=self._on,
            version=line.version + 1,
            initiator=self._initiator,
            state_from=line.state,
            state_to=real.get("state", line.state),
            limit_from_minor=line.effective_limit_minor,
            limit_to_minor=real.get("effective_limit_minor", line.effective_limit_minor),
            reasons=tuple(reasons),
            changes=real,
        )
        self.line = apply(line, event)
        self.events.append(event)


def line_to_mapping(line: Line) -> dict[str, Any]:
    """Return a line as plain values, ready for JSON."""
    return {name: _plain(getattr(line, name)) for name in names_of(Line)}


def line_from_mapping(plain: Mapping[str, Any]) -> Line:
    """Read a line from plain values.

    Raises
    ------
    DataError
        If a field is missing, unknown or of another kind.
    """
    names = names_of(Line)
    wrong = sorted(set(names) ^ set(plain))
    if wrong:
        raise DataError("line", [f"{name}: is missing or unknown" for name in wrong])
    return Line(**{name: _field(name, plain[name]) for name in names})


def event_from_mapping(plain: Mapping[str, Any]) -> LineEvent:
    """Read an event from plain values.

    Raises
    ------
    DataError
        If a field is missing, unknown or of another kind.
    """
    names = names_of(LineEvent)
    wrong = sorted(set(names) ^ set(plain))
    if wrong or plain.get("initiator") not in INITIATORS:
        raise DataError(
            "event", [f"{name}: is missing or unknown" for name in wrong or ["initiator"]]
        )
    values = {name: plain[name] for name in names}
    try:
        values["on"] = date.fromisoformat(values["on"])
        values["state_from"], values["state_to"] = (
            State(values["state_from"]),
            State(values["state_to"]),
        )
        values["reasons"] = tuple(_reason(one) for one in values["reasons"])
    except (TypeError, ValueError, KeyError) as error:
        raise DataError("event", ["is not spelt as events are"]) from error
    values["changes"] = {name: _field(name, value) for name, value in values["changes"].items()}
    return LineEvent(**values)


def _reason(plain: Mapping[str, Any]) -> Reason:
    known = dict(plain)
    known["holders"] = tuple(known["holders"])
    known["params"] = tuple((name, value) for name, value in known["params"])
    return Reason(**known)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int | str):
        return value.value if isinstance(value, State) else value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in names_of(value.__class__)}
    return value


def _day(value: Any) -> date:
    return date.fromisoformat(value)


def _part(kind: type[Any]) -> Callable[[Any], Any]:
    """Return a reader of a small dataclass whose dates are those fields that say so."""
    dates = {item.name for item in fields(kind) if str(item.type).startswith("date")}

    def read(value: Any) -> Any:
        return kind(
            **{
                name: _day(one) if name in dates and one is not None else one
                for name, one in value.items()
            }
        )

    return read


_window: Final = _part(Window)
_DATES: Final = {item.name: _day for item in fields(Line) if str(item.type).startswith("date")}
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **_DATES,
    "state": State,
    "delinquency": _part(Delinquency),
    "temporary": _part(Temporary),
    "offer": _part(Offer),
    "windows": lambda value: tuple(_window(one) for one in value),
    "before_cuts": lambda value: tuple((_day(day), limit) for day, limit in value),
}
_KINDS: Final = {"product": str, "frozen_for": str}


def _field(name: str, value: Any) -> Any:
    """Read a field of a line from its plain value."""
    reader = _READERS.get(name)
    try:
        if reader is not None:
            return None if value is None else reader(value)
        optional = name == "score" and value is None
        if optional or type(value) is _KINDS.get(name, int):
            return value
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError("line", [f"{name}: is not spelt as lines are"]) from error
    raise DataError("line", [f"{name}: is of another kind"])


def codes(events: Iterable[LineEvent]) -> tuple[str, ...]:
    """Return the reason codes of events, each once, in order."""
    return tuple(dict.fromkeys(reason.code for one in events for reason in one.reasons))


__all__ = [
    "INITIATORS",
    "Initiator",
    "Journal",
    "LineEvent",
    "apply",
    "codes",
    "event_from_mapping",
    "line_from_mapping",
    "line_to_mapping",
    "replay",
]
