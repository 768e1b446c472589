"""The nightly run: every open line is aged, and reviewed where its review is due.

A page of lines is one transaction, in which the run also notes how far it came. So a run that is
killed goes on where it was, and a line has one decision of a night at most: the store refuses a
second one of the same purpose and day.

A review decides by the scalar `review`: what it is made from and what it comes to has to stand in a
record of every single line, and writing these takes longer than deciding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

from sqlalchemy import Connection

from server.accounts.deciding import Ask, Grounds, Rules
from server.accounts.desk import Desk
from server.accounts.dossier import Dossier, dossiers
from server.accounts.keeping import check_clock, keep, limit_of, made, room_of
from server.accounts.recording import LineDecision
from server.accounts.reviewing import about_line
from server.accounts.standing import NO_RELEASE, arrears_of, look_at
from server.limits.line import Delinquency, Line, State
from server.limits.line_events import line_from_mapping
from server.limits.triggers import Facts
from server.store import decisions, holds, people
from server.store.ids import utc
from server.store.lines import StoredLine, page_of_lines
from shared.errors import Conflict, DataError, Refused, UsageError

BY: Final = "service:nightly"
PAGE: Final = 200
"""Lines a transaction: some hundred."""
_TRIES: Final = 5  # of a single line that changes whenever it is looked at
_COUNTED: Final = (
    "seen",
    "reviewed",
    "aged",
    "closed",
    "calm",
    "done_before",
    "raised",
    "lowered",
    "offered",
    "frozen",
    "failed",
)


@dataclass(frozen=True, slots=True)
class Night:
    """What a nightly run did, those before it included that were cut off.

    Parameters
    ----------
    day : date
    counts : mapping of str to int
        `seen` lines; `reviewed`, `aged` (what is overdue, or has run out), `closed`; `calm`:
        nothing to do; `done_before`: decided that day already; limits `raised` and `lowered`,
        increases `offered`, lines `frozen`; `failed`.
    pages : int
    failures : tuple of (str, str)
        Line and code of the error, of this process alone.
    resumed : bool
        Another run of that day had begun before.
    """

    day: date
    counts: dict[str, int]
    pages: int
    failures: tuple[tuple[str, str], ...]
    resumed: bool


@dataclass(slots=True)
class _Page:
    """What was decided on a page of lines."""

    decided: list[tuple[StoredLine, Rules, LineDecision]]
    counts: Counter[str]
    failures: list[tuple[str, str]]
    last: str
    full: bool


def review_due(
    desk: Desk,
    day: date | None = None,
    *,
    page: int = PAGE,
    told: Callable[[Night], None] | None = None,
) -> Night:
    """Age every open line, and review those whose review is due.

    Run again for the same day it goes on, or does nothing.

    Parameters
    ----------
    desk : Desk
    day : date, optional
        The local day of today, as a guard: a run for another day is refused.
    page : int
        Lines a transaction.
    told : callable, optional
        Told after each page how far it is.

    Raises
    ------
    Conflict
        With check `clock`, if it is another day.
    EnvironmentFault
        If the store is away: nothing is lost, run it again.
    """
    today = desk.today(desk.clock())
    if day is not None and day != today:
        raise Conflict(f"it is {today} here, not {day}", check="clock", hint="run it for today")
    failures: list[tuple[str, str]] = []
    resumed: bool | None = None
    size, tries = page, 0
    while True:
        try:
            night, done, before = _run_page(desk, today, size, failures, leave=tries > _TRIES)
        except Conflict:
            # Somebody drew on one of the lines meanwhile: smaller steps, down to a single line,
            # which at last is left for the next night.
            size, tries = max(1, size // 2), tries + (size == 1)
            continue
        size, tries = min(page, size * 2), 0
        resumed = before if resumed is None else resumed
        result = Night(today, night.counts, night.pages, tuple(failures), resumed)
        if told is not None:
            told(result)
        if done:
            return result


def _run_page(
    desk: Desk, day: date, size: int, failures: list[tuple[str, str]], *, leave: bool
) -> tuple[Night, bool, bool]:
    """Do one page; return how far the run is, whether it is over, and whether it went before."""
    now = _within(desk, day)
    with desk.store.write() as db:
        desk.follow(db, now)
        run = people.begin_run(db, day.isoformat(), now)
        counts = Counter(run["counts"])
        begun = bool(run["pages"])
        if run["done_at"] is not None:
            return Night(day, _whole(counts), run["pages"], (), begun), True, begun
        done = _page(desk, db, run["after"], size, day, now)
        if leave:
            left = [(line.id, Conflict.code) for line, _, _ in done.decided]
            done.failures.extend(left)
            done.decided.clear()
            done.counts = Counter(seen=len(left), failed=len(left))
        for rules in {id(one): one for _, one, _ in done.decided}.values():
            same = [(line, record) for line, its, record in done.decided if its is rules]
            keep(db, rules, same, now, day.isoformat())
        counts.update(done.counts)
        people.note_page(db, day.isoformat(), done.last, _whole(counts), now, done=not done.full)
    failures += done.failures
    return Night(day, _whole(counts), run["pages"] + 1, (), begun), not done.full, begun


def _page(desk: Desk, db: Connection, after: str, size: int, day: date, now: datetime) -> _Page:
    rows = page_of_lines(db, after=after, count=size)
    expired = [one.id for one in rows if one.totals.held_minor]
    for line_id in expired:
        holds.expire(db, line_id, now)
    if expired:
        rows = page_of_lines(db, after=after, count=size)
    ids = [one.id for one in rows]
    before = _decided(db, ids, day)
    files = dossiers(db, {one.customer_id for one in rows})
    products = {one.product: desk.rules.of(one.product) for one in rows}
    room = {one.budget_id: _room(db, one) for one in rows if one.budget_id is not None}
    page = _Page([], Counter(), [], ids[-1] if ids else after, len(rows) == size)
    for stored in rows:
        page.counts["seen"] += 1
        if stored.id in before:
            page.counts["done_before"] += 1
            continue
        try:
            record = _one(desk, db, stored, products[stored.product], files, now, room)
        except (Conflict, DataError, Refused, UsageError) as error:
            page.counts["failed"] += 1
            page.failures.append((stored.id, error.code))
            continue
        page.counts.update(_counted(record))
        if record is not None:
            page.decided.append((stored, products[stored.product], record))
    return page


def _decided(db: Connection, ids: Iterable[str], day: date) -> set[str]:
    """Return the lines that have their decision of a night already."""
    chains = list(ids)
    found: set[str] = set()
    for purpose in ("review", "age", "close"):
        found |= decisions.decided(db, chains, purpose, day.isoformat())
    return found


def _one(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    rules: Rules,
    files: dict[str, Dossier],
    now: datetime,
    room: dict[str, int],
) -> LineDecision | None:
    """Decide on a line; None where there is nothing to decide."""
    check_clock(stored, now)
    line, day = line_from_mapping(stored.domain), desk.today(now)
    about = {**about_line(stored, NO_RELEASE), "by": BY}
    owed = stored.totals.outstanding_minor + stored.totals.held_minor
    if line.state is State.CLOSING:
        if owed:
            return _aged(desk, db, stored, line, rules, about, now)
        ask = Ask("close", day, stored.product, "customer")
        return made(desk, rules, ask, Grounds(Facts()), line, about, now)
    if line.next_review_on is None or day < line.next_review_on:
        if _is_calm(stored, line, day):
            return None
        return _aged(desk, db, stored, line, rules, about, now)
    seen = look_at(desk, db, stored, now, files[stored.customer_id])
    about["model"] = seen.model_ref
    ask = Ask("review", day, stored.product)
    if stored.budget_id is None:
        return made(desk, rules, ask, seen.grounds(), line, about, now)
    limit, left = stored.totals.limit_minor, room[stored.budget_id]
    record = made(desk, rules, ask, seen.grounds(), line, about, now, most_minor=limit + left)
    # What falls in this page is given back with it; only what rises is counted beforehand.
    room[stored.budget_id] -= max(0, limit_of(record.outcome.after, day) - limit)
    return record


def _room(db: Connection, line: StoredLine) -> int:
    most = room_of(db, line)
    return 0 if most is None else most - line.totals.limit_minor


def _is_calm(stored: StoredLine, line: Line, day: date) -> bool:
    """Return whether nothing can be overdue, and nothing can have run out."""
    owes = bool(stored.totals.outstanding_minor) or line.delinquency != Delinquency()
    waits = line.temporary is not None or line.offer is not None
    return not owes and not waits and limit_of(line, day) == stored.totals.limit_minor


def _aged(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    line: Line,
    rules: Rules,
    about: dict[str, str],
    now: datetime,
) -> LineDecision | None:
    """Move a line's buckets on; None where nothing about it changed since yesterday."""
    day = desk.today(now)
    grounds = Grounds(arrears_of(desk, db, stored, day))
    record = made(desk, rules, Ask("age", day, stored.product), grounds, line, about, now)
    happened = any(event.changes for event in record.outcome.events)
    return record if happened else None


def _counted(record: LineDecision | None) -> Counter[str]:
    if record is None:
        return Counter(["calm"])
    before, after = record.before, record.outcome.after
    what = {"review": "reviewed", "age": "aged", "close": "closed"}[record.ask.purpose]
    change = after.effective_limit_minor - before.effective_limit_minor
    found = Counter([what])
    found["raised"] += change > 0
    found["lowered"] += change < 0
    found["offered"] += after.offer is not None and after.offer != before.offer
    found["frozen"] += after.state is State.FROZEN and before.state is not State.FROZEN
    return found


def _whole(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in _COUNTED}


def _within(desk: Desk, day: date) -> datetime:
    """Return the present instant, or the last one of the day if the run went past midnight."""
    now = desk.clock()
    if desk.today(now) <= day:
        return utc(now)
    return utc(datetime.combine(day, time(23, 59, 59), desk.zone))
