"""Logs of every service: lines for people, or JSON lines for machines, without personal data.

`CONFIDE_LOG` says which: ``json`` and ``text`` tell of every step, one JSON object or one line
each; without it a service tells of what went wrong alone, in lines. What a line may hold is decided
here and not where it is written: a step is a constant sentence, its numbers stand under names of
`DETAILS`, run, phase, party and request come from the context, an exception is told by its type and
place (its text may hold what a customer's data look like), and long runs of hexadecimal digits, as
keys, digests and pseudonyms are, are cut.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, TextIO

VARIABLE: Final = "CONFIDE_LOG"
CONTEXT: Final = ("run", "phase", "party", "request")
"""What `bound` may bind, in the order of a line."""
DETAILS: Final = frozenset(
    {
        *("attempt", "bytes_received", "bytes_sent", "code", "count", "door", "member", "method"),
        *("peak_rss_mb", "pid", "port", "reason", "route", "seconds", "status"),
    }
)
"""Names under which a step may tell a number or a word of the program's own."""

_LONGEST: Final = 120
_HEX: Final = re.compile(r"\b[0-9A-Fa-f]{24,}\b")
_CUT: Final = "<hex>"
_bound: ContextVar[Mapping[str, str] | None] = ContextVar("bound", default=None)


@contextlib.contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Let every line that is written in the block carry these.

    Parameters
    ----------
    fields : str
        Of `CONTEXT`.

    Raises
    ------
    TypeError
        If there is another one.
    """
    token = _bound.set(_joined(fields))
    try:
        yield
    finally:
        _bound.reset(token)


def bind(**fields: str) -> None:
    """Let every line carry these from here to the end of the enclosing `bound`."""
    _bound.set(_joined(fields))


def now(name: str) -> str:
    """Return what is bound to a name; empty if nothing is."""
    return (_bound.get() or {}).get(name, "")


def _joined(fields: Mapping[str, str]) -> dict[str, str]:
    foreign = set(fields) - set(CONTEXT)
    if foreign:
        raise TypeError(f"a log knows no {', '.join(sorted(foreign))}")
    return {**(_bound.get() or {}), **fields}


def step(logger: logging.Logger, said: str, *, level: int = logging.INFO, **details: Any) -> None:
    """Tell of one step.

    Parameters
    ----------
    logger : Logger
    said : str
        A constant sentence.
    level : int
    details : number or str
        Of `DETAILS`.

    Raises
    ------
    TypeError
        If there is another one: what has no name here may be a customer's.
    """
    foreign = set(details) - DETAILS
    if foreign:
        raise TypeError(f"a log knows no {', '.join(sorted(foreign))}")
    logger.log(level, "%s", said, extra={"details": details})


def configure(
    service: str,
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    takeover: tuple[str, ...] = (),
) -> None:
    """Send this process's log to a stream; the last call counts.

    Parameters
    ----------
    service : str
        Which one this process is: `relay`, `coordinator`, `party`, ...
    stream : text file, optional
        By default standard error.
    environ : mapping of str to str
        Where `CONFIDE_LOG` stands.
    takeover : tuple of str
        Loggers of libraries with handlers of their own, whose lines are to have the same form
        where JSON is asked for.
    """
    form = environ.get(VARIABLE, "").strip().lower()
    handler = logging.StreamHandler(stream) if stream else _Stderr()
    handler.setFormatter(JsonLines(service) if form == "json" else Lines())
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "of_confide", False):
            root.removeHandler(old)
    handler.of_confide = True  # type: ignore[attr-defined]
    level = logging.INFO if form in {"json", "text"} else logging.WARNING
    handler.setLevel(level)  # a library may set a level of its own for itself
    handler.addFilter(_is_not_told_elsewhere)
    root.addHandler(handler)
    root.setLevel(level)
    if form == "json":
        # A library that tells of each message at INFO would drown the steps.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        for name in takeover:
            for theirs in logging.getLogger(name).handlers:
                theirs.setFormatter(JsonLines(service))


def _is_not_told_elsewhere(record: logging.LogRecord) -> bool:
    """Return whether a record's library, Flower for one, has no handler that tells of it."""
    return not logging.getLogger(record.name.partition(".")[0]).handlers


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is when it writes."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error."""
        return sys.stderr


class Lines(logging.Formatter):
    """One line for people: when, how grave, what, and in which run, phase and party."""

    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = {**(_bound.get() or {}), **getattr(record, "details", {})}
        ending = "".join(f" {name}={_short(value)}" for name, value in told.items())
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ")
        return f"{when} {record.levelname} {_message(record)}{ending}{_failure(record)}"


class JsonLines(logging.Formatter):
    """One JSON object a line.

    Parameters
    ----------
    service : str
    """

    converter = time.gmtime  # type: ignore[assignment]

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        when = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        value: dict[str, Any] = {
            "at": when,
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": _message(record),
            **{name: _short(value) for name, value in (_bound.get() or {}).items()},
        }
        for name, detail in getattr(record, "details", {}).items():
            value[name] = detail if isinstance(detail, int | float) else _short(detail)
        if failure := _failure(record):
            value["failure"] = failure.strip()
        return json.dumps(value)


def _message(record: logging.LogRecord) -> str:
    text = " ".join(record.getMessage().split())
    return _HEX.sub(_CUT, text)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return _HEX.sub(_CUT, " ".join(str(value).split()))[:_LONGEST]


def _failure(record: logging.LogRecord) -> str:
    """Return an exception's type and the places it came through; its text may hold data."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    kind, _, trace = record.exc_info
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}")  # noqa: PTH119
        trace = trace.tb_next
    return f" {kind.__name__} at {' > '.join(places)}"
