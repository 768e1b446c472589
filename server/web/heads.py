"""Signed heads of the decision log as pages show them: to regulators, and to partner banks.

Whoever keeps an old head can have it proved that the log of today extends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import Desk
from server.accounts.rechecking import check_history
from server.limits.words.sentences import Texts
from server.prooflog.heads import Head, SignedHead
from server.store import log
from server.store.log import StoredHeads
from server.web.charts import Chart, Series, Unit, lines
from server.web.drawing import words_of
from shared.errors import EnvironmentFault
from shared.instants import seconds_of

SHOWN = 30
"""Heads of a page; there is one an hour at least."""
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class HeadsView:
    """The newest heads of the log.

    Parameters
    ----------
    fingerprint : str
        Of the log key; empty where there is none yet.
    heads : tuple of Head
        Newest first.
    sizes : tuple of int
        Of the heads, each once, newest first.
    waiting : int
        Decisions that no head covers yet.
    checked : bool
        The history was checked just now.
    broken : str
        Check that failed; empty where none did.
    """

    fingerprint: str
    heads: tuple[Head, ...]
    sizes: tuple[int, ...]
    waiting: int
    checked: bool = False
    broken: str = ""


def heads_view(desk: Desk, db: Connection, *, check: bool = False) -> HeadsView:
    """Return the newest heads; with `check`, whether each extends the one before it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    check : bool
    """
    try:
        fingerprint = proving.log_key(desk.home).fingerprint
    except EnvironmentFault:
        fingerprint = ""
    heads = tuple(one.head for one in newest_of(db))
    sizes = tuple(dict.fromkeys(one.size for one in heads))
    rising = sizes[::-1]
    checked = check and bool(fingerprint) and bool(heads)
    broken = check_history(desk, db, rising if len(rising) > 1 else rising * 2) if checked else ""
    return HeadsView(fingerprint, heads, sizes, log.waiting(db), checked, broken)


def newest_of(db: Connection) -> Sequence[SignedHead]:
    """Return the newest heads, newest first."""
    return StoredHeads(db).heads()[-SHOWN:][::-1]


def growth(view: HeadsView, texts: Texts) -> Chart:
    """Draw how the log grew from head to head, in hours before the newest one."""
    words = words_of(texts, "growth", "heads_chart")
    points = _points(view.heads)
    series = [Series(texts.say("heads_chart.y"), points)] if points else []
    hours, leaves = (Unit(texts.say(f"heads_chart.{one}")) for one in ("hours", "leaves"))
    return lines(words, series, hours, leaves)


def _points(heads: Sequence[Head]) -> tuple[tuple[float, float], ...]:
    if not heads:
        return ()
    last = seconds_of(heads[0].time)
    told = [((seconds_of(one.time) - last) / _HOUR, float(one.size)) for one in heads]
    return tuple(sorted(told))


def consistency(desk: Desk, db: Connection, old: int, new: int) -> dict[str, Any]:
    """Return the proof that one head extends another; `new` 0 means the newest one.

    Raises
    ------
    NotFound, Conflict
        See `server.accounts.proving.consistency`.
    """
    return proving.consistency(desk, db, old, new or proving.newest(db).head.size)
