"""Signed heads of the decision log as pages show them: to regulators, and to partner banks.

Whoever keeps an old head can have it proved that the log of today extends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import Desk
from server.accounts.rechecking import check_history
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.prooflog.export import to_bytes
from server.prooflog.heads import Head, SignedHead
from server.store import log
from server.store.log import StoredHeads
from server.web import language
from server.web.charts import Chart, Series, Unit, lines
from server.web.drawing import words_of
from server.web.files import as_csv, as_file
from server.web.render import Site
from server.web.session import visitor
from shared.errors import EnvironmentFault
from shared.instants import seconds_of

MOST: Final = 2**53 - 1
"""Largest number that every reader of JSON holds exactly."""
Size = Annotated[int, Query(ge=0, le=MOST)]
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


def add_files(found: APIRouter, site: Site, base: str, role: Role) -> None:
    """Add the routes of the files beneath a page of heads, for those of a role.

    Parameters
    ----------
    found : APIRouter
    site : Site
    base : str
        Path of the page.
    role : Role
    """
    only = [visitor(role)]

    @found.get(f"{base}/head.json", dependencies=only)
    def head() -> Response:
        """Give the newest head, to be kept."""
        told = site.read(lambda db, _: proving.newest(db).to_mapping())
        return as_file(to_bytes(told), "head.json")

    @found.get(f"{base}/consistency.json", dependencies=only)
    def consistency(old: Size, new: Size = 0) -> Response:
        """Give the proof that one head extends another; `new` 0 means the newest one."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            return proving.consistency(site.desk, db, old, new or proving.newest(db).head.size)

        return as_file(to_bytes(site.read(work)), "consistency.json")

    @found.get(f"{base}/growth.csv", dependencies=only)
    def grown(request: Request) -> Response:
        """Give the figures of the chart."""
        texts = language.texts_in(language.wanted(request))
        view = site.read(lambda db, _: heads_view(site.desk, db))
        return as_csv(growth(view, texts).table, "log")
