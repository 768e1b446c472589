"""What a month came to, from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from server.accounts.desk import Desk
from server.accounts.kept import Span, kept
from server.cycle.borrowers import open_lines

_LATE_DAYS: Final = 30


@dataclass(slots=True)
class Standing:
    """How the lines stand.

    Parameters
    ----------
    lines, may_draw, late, defaulted : int
        Open lines; of them those that may be drawn on, those overdue by thirty days or more, and
        those in default.
    limit_minor, owed_minor : int
    states : Counter
        Lines by state.
    """

    lines: int = 0
    may_draw: int = 0
    late: int = 0
    defaulted: int = 0
    limit_minor: int = 0
    owed_minor: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        names = ("lines", "may_draw", "late", "defaulted", "limit_minor", "owed_minor")
        return {**{name: getattr(self, name) for name in names}, "states": dict(self.states)}


def standing(desk: Desk) -> Standing:
    """Count the open lines."""
    found = Standing()
    for line in open_lines(desk):
        late: Mapping[str, Any] = line.domain["delinquency"]
        found.lines += 1
        found.may_draw += line.may_draw
        found.late += late["days_past_due"] >= _LATE_DAYS
        found.defaulted += late["defaulted_on"] is not None
        found.limit_minor += line.totals.limit_minor
        found.owed_minor += line.totals.outstanding_minor
        found.states[line.state] += 1
    return found


def reviewed(desk: Desk, day: date) -> dict[str, Any]:
    """Return what the reviews of a day saw: what the caps would allow, and the mean risk.

    What the caps allow is not what a line has: a limit that fell comes back by steps.
    """
    allowed, probs = 0, []
    with desk.store.read() as db:
        for one in kept(db, Span(day, day), "review"):
            caps, snapshot = one.body["outcome"]["caps"], one.snapshot
            allowed += 0 if caps is None else caps["limit_minor"]
            if snapshot is not None:
                probs.append(float(snapshot["rating"]["default_prob"]))
    mean = round(sum(probs) / len(probs), 6) if probs else None
    return {"reviewed": {"allowed_minor": allowed, "default_prob": mean}}
