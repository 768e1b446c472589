"""The nightly run: every open line is aged, and reviewed where its review is due.

A page of lines is one transaction, in which the run also notes how far it came. So a run that is
killed goes on where it was, and a line has one decision of a night at most: the store refuses a
second one of the same purpose and day.

What decisions look at is read for the whole page. A review decides by the scalar `review`, not by
the columns of `server.limits.batch.batch`: what it comes to has to stand, event by event, in a
record of every single line, and deciding is a tenth of the work; writing it down is four times
that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from typing import Final

from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.files import Files, files_for
from server.accounts.grounds import Ask, Grounds, Rules
from server.accounts.keeping import check_clock, keep, limit_of, made, room_of
from server.accounts.nights import Night, Page, counted, whole
from server.accounts.recording import LineDecision
from server.accounts.reviewing import about_line
from server.accounts.standing import NO_RELEASE, arrears_of, look_at
from server.limits.line.events import line_from_mapping
from server.limits.line.line import Delinquency, Line, State
from server.limits.line.triggers import Facts
from server.store import decisions, holds, people
from server.store.ids import utc
from server.store.lines import StoredLine, page_of_lines
from shared.errors import Conflict, DataError, Refused, UsageError

BY: Final = "service:nightly"
PAGE: Final = 200
"""Lines a transaction: some hundred."""
_TRIES: Final = 5  # of a single line that changes whenever it is looked at


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
            return Night(day, whole(counts), run["pages"], (), begun), True, begun
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
        people.note_page(db, day.isoformat(), done.last, whole(counts), now, done=not done.full)
    failures += done.failures
    return Night(day, whole(counts), run["pages"] + 1, (), begun), not done.full, begun


def _page(desk: Desk, db: Connection, after: str, size: int, day: date, now: datetime) -> Page:
    rows = page_of_lines(db, after=after, count=size)
    expired = [one.id for one in rows if one.totals.held_minor]
    for line_id in expired:
        holds.expire(db, line_id, now)
    if expired:
        rows = page_of_lines(db, after=after, count=size)
    ids = [one.id for one in rows]
    before = _decided(db, ids, day)
    page = Page([], Counter(), [], ids[-1] if ids else after, len(rows) == size)
    lines = _lines([one for one in rows if one.id not in before], page)
    files = _files(desk, db, [one for one in rows if one.id in lines], lines, day)
    products = {one.product: desk.rules.of(one.product) for one in rows}
    room = {one.budget_id: _room(db, one) for one in rows if one.budget_id is not None}
    for stored in rows:
        page.counts["seen"] += 1
        if stored.id in before:
            page.counts["done_before"] += 1
            continue
        if stored.id not in lines:
            continue
        try:
            rules, line = products[stored.product], lines[stored.id]
            record = _one(desk, db, stored, line, rules, files, now, room)
        except (Conflict, DataError, Refused, UsageError) as error:
            page.fail(stored, error)
            continue
        page.counts.update(counted(record))
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


def _lines(rows: Sequence[StoredLine], page: Page) -> dict[str, Line]:
    """Read the lines of a page; those that cannot be read fail alone."""
    found = {}
    for one in rows:
        try:
            found[one.id] = line_from_mapping(one.domain)
        except DataError as error:
            page.fail(one, error)
    return found


def _files(
    desk: Desk, db: Connection, rows: list[StoredLine], lines: dict[str, Line], day: date
) -> Files:
    """Read at once what the decisions on a page of lines look at."""
    due = [one for one in rows if _is_due(lines[one.id], day)]
    known = {one.id for one in due}
    return files_for(desk, db, due, day, [one for one in rows if one.id not in known])


def _is_due(line: Line, day: date) -> bool:
    if line.state is State.CLOSING:
        return False
    return line.next_review_on is not None and line.next_review_on <= day


def _one(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    line: Line,
    rules: Rules,
    files: Files,
    now: datetime,
    room: dict[str, int],
) -> LineDecision | None:
    """Decide on a line; None where there is nothing to decide."""
    check_clock(stored, now)
    day = desk.today(now)
    about = {**about_line(stored, NO_RELEASE), "by": BY}
    owed = stored.totals.outstanding_minor + stored.totals.held_minor
    if line.state is State.CLOSING:
        if owed:
            return _aged(desk, db, stored, line, rules, about, now, files)
        ask = Ask("close", day, stored.product, "customer")
        return made(desk, rules, ask, Grounds(Facts()), line, about, now)
    if not _is_due(line, day):
        if _is_calm(stored, line, day):
            return None
        return _aged(desk, db, stored, line, rules, about, now, files)
    seen = look_at(desk, db, stored, now, files)
    about |= seen.models
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
    files: Files,
) -> LineDecision | None:
    """Move a line's buckets on; None where nothing about it changed since yesterday."""
    day = desk.today(now)
    grounds = Grounds(arrears_of(desk, db, stored, day, files))
    record = made(desk, rules, Ask("age", day, stored.product), grounds, line, about, now)
    happened = any(event.changes for event in record.outcome.events)
    return record if happened else None


def _within(desk: Desk, day: date) -> datetime:
    """Return the present instant, or the last one of the day if the run went past midnight."""
    now = desk.clock()
    if desk.today(now) <= day:
        return utc(now)
    return utc(datetime.combine(day, time(23, 59, 59), desk.zone))
