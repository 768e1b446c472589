"""What every act upon a line returns, and what most of them check first."""

from __future__ import annotations

from dataclasses import dataclass

from server.limits.line.events import Journal, LineEvent
from server.limits.line.line import OPEN, Line
from shared.errors import Conflict


@dataclass(frozen=True, slots=True)
class Acted:
    """The outcome of an act.

    Parameters
    ----------
    line : Line
    events : tuple of LineEvent
    """

    line: Line
    events: tuple[LineEvent, ...]


def must_be_open(line: Line) -> None:
    """Refuse an act upon a line that is pending, closing or closed.

    Raises
    ------
    Conflict
    """
    if line.state not in OPEN:
        raise Conflict(f"the line is {line.state}", check="state")


def done(journal: Journal) -> Acted:
    """Return the line and the events of a journal."""
    return Acted(journal.line, tuple(journal.events))
