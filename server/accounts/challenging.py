"""What the challenger would have done: its scores, from the records in which they were noted.

Both models decide on the same grounds under the rules in force now, so what differs is the score
alone. Where it is known what became of people, the two are compared on them, paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.kept import Kept, Span, bads_of, kept
from server.accounts.recording import read_record
from server.accounts.shadow import Shade
from server.limits.caps.decide import Decision, decide
from server.limits.caps.snapshot import Snapshot
from server.monitor.champion import Shadow, migration, reason_churn, shadow
from server.monitor.months import told_cells
from server.monitor.swap import Case, swap_table, told_swap
from shared.challenger.compare import Pairs, compare
from shared.errors import ConfideError

_SCORED: Final = ("open", "review")
_SEED: Final = 0
"""Of the redrawn samples, so that the same records give the same intervals."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A customer's last decision with both scores."""

    chain: str
    champion: str
    shade: Shade
    snapshot: Snapshot
    limits: tuple[Decision, Decision]

    @property
    def codes(self) -> tuple[str, ...]:
        """The champion's reasons."""
        return tuple(one.code for one in self.snapshot.reasons)


def challenger(desk: Desk, db: Connection, span: Span, now: datetime) -> dict[str, Any]:
    """Compare the challenger with the champion on each customer's last decision with both scores.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
        Decisions of the newest pair of releases in it.
    now : datetime
    """
    last: dict[str, Kept] = {}
    for one in kept(db, span, *_SCORED):
        if Shade.read(one.body["about"]) is not None:
            last[one.customer] = one
    newest = max(last.values(), key=lambda one: (one.at, one.id), default=None)
    pair = None if newest is None else _pair(newest)
    seen = [found for one in last.values() if _pair(one) == pair and (found := _see(desk, one))]
    floor = desk.rules.monitoring.floor
    bads = bads_of(db, [one.chain for one in seen], now)
    return {
        **span.to_mapping(),
        "floor": floor,
        "champion": None if pair is None else pair[0],
        "challenger": None if pair is None else pair[1],
        "people": told_cells([len(seen)], floor)[0],
        "limits": _limits(seen, floor),
        "swap": _swap(seen, bads, floor),
        "grades": _grades(seen, floor),
        "reasons": _reasons(seen, floor),
        "outcomes": _outcomes(seen, bads, floor),
        "slots": desk.scores.shadow.slots,
        "refused": desk.scores.shadow.refusal,
    }


def _pair(one: Kept) -> tuple[str, str]:
    about = one.body["about"]
    return about["model"], about["challenger"]


def _see(desk: Desk, one: Kept) -> _Seen | None:
    """Decide by both scores; None where the rules of today do not know the product or the grade."""
    shade = Shade.read(one.body["about"])
    if one.snapshot is None or one.body["grounds"]["inputs"] is None or shade is None:
        return None
    try:
        record = read_record(one.body)
        rules, grounds = desk.rules.of(record.ask.product), record.grounds
        if grounds.snapshot is None or grounds.inputs is None:
            return None
        beside = replace(grounds.snapshot, rating=shade.rating, at_best=shade.rating, missing={})
        both = tuple(
            decide(rules.policy, rules.pack, snapshot, grounds.inputs)
            for snapshot in (replace(grounds.snapshot, missing={}), beside)
        )
    except ConfideError:
        return None
    return _Seen(one.chain, record.about["model"], shade, grounds.snapshot, (both[0], both[1]))


def _limits(seen: list[_Seen], floor: int) -> dict[str, Any] | None:
    if len(seen) < floor:
        return None
    found: Shadow = shadow((_answer(one.limits[0]), _answer(one.limits[1])) for one in seen)
    same, higher, lower = told_cells([found.same, found.higher, found.lower], floor)
    return {
        "same": same,
        "higher": higher,
        "lower": lower,
        "champion_minor": found.champion_minor,
        "challenger_minor": found.challenger_minor,
    }


def _swap(
    seen: list[_Seen], bads: Mapping[str, bool | None], floor: int
) -> dict[str, dict[str, int] | None] | None:
    """Return whom either model gives a limit; a cell is None where it speaks of few people."""
    if len(seen) < floor:
        return None
    table = swap_table(
        Case(one.limits[0].limit_minor, one.limits[1].limit_minor, bads.get(one.chain))
        for one in seen
    )
    return told_swap(table, floor)


def _answer(one: Decision) -> tuple[int, str]:
    return one.limit_minor, one.binding[0]


def _grades(seen: list[_Seen], floor: int) -> dict[str, dict[str, int | None]] | None:
    if len(seen) < floor:
        return None
    moves = [(one.snapshot.rating.grade, one.shade.rating.grade) for one in seen]
    names = sorted({grade for move in moves for grade in move})
    table = migration(moves, names)
    cells = told_cells([table[before][after] for before in names for after in names], floor)
    told = iter(cells)
    return {before: {after: next(told) for after in names} for before in names}


def _reasons(seen: list[_Seen], floor: int) -> dict[str, float] | None:
    if len(seen) < floor:
        return None
    found = reason_churn((one.codes, one.shade.reasons) for one in seen)
    return {
        "same": found.same / found.people,
        "same_first": found.same_first / found.people,
        "overlap": found.overlap,
    }


def _outcomes(
    seen: Iterable[_Seen], bads: Mapping[str, bool | None], floor: int
) -> dict[str, Any] | None:
    """Compare both scores on the people whose outcome is known."""
    known = [(one, bads[one.chain]) for one in seen if bads.get(one.chain) is not None]
    bad = sum(bool(outcome) for _, outcome in known)
    if min(bad, len(known) - bad) < max(floor, 2):
        return None
    label = np.array([int(bool(outcome)) for _, outcome in known])
    old = np.array([float(one.snapshot.rating.default_prob) for one, _ in known])
    new = np.array([float(one.shade.rating.default_prob) for one, _ in known])
    found = compare(Pairs.of_rows(label, old, new), np.random.default_rng(_SEED))
    return found.to_mapping()
