"""The nightly run: who is due is reviewed, once, whatever happens to the run."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from server.accounts import nightly
from server.accounts.desk import desk_over
from server.accounts.nightly import review_due
from server.limits.basis.reasons import Reason
from server.limits.line import limit_acts
from server.limits.line.events import line_to_mapping
from server.limits.line.target import target_from
from server.limits.rules.line_lint import parse_line_policy
from server.policies import embedded
from server.store import changes, funds, lines, people
from server.store.engine import open_store
from server.store.lines import NewLine
from server.store.tables import DECISIONS
from shared.errors import Conflict
from tests.accounts.kit import GOOD_TOO, Office
from tests.accounts.test_reviewing import cut
from tests.service.kit import name_of

POLICY = parse_line_policy(*embedded("line_reference"))


def many(office, number, limit=1_000_000, first=0):
    """Open lines of customers that no feed knows, as an older system might have left them."""
    asked = limit_acts.request("revolving_consumer", office.day)
    goal = target_from(limit, (Reason("P-GRADE", "policy", amount_minor=limit),), POLICY)
    line = limit_acts.open_line(asked.line, goal, POLICY, office.day, consent=True).line
    with office.store.write() as db:
        for at in range(first, first + number):
            row = NewLine(
                id=f"line-{at:04}",
                customer_id=name_of(1000 + at),
                product="revolving_consumer",
                currency="CNY",
                state=line.state.value,
                may_draw=True,
                limit_minor=limit,
                domain=line_to_mapping(line),
                policy_ref="p",
                model_ref="m",
                ref=f"old-{at}",
            )
            lines.open_line(db, row, office.now)


def decisions(office, purpose="review"):
    """Return how many decisions of a purpose each line has."""
    query = sa.select(DECISIONS.c.chain).where(DECISIONS.c.purpose == purpose)
    with office.store.read() as db:
        return Counter(db.execute(query).scalars())


def test_who_is_due_is_reviewed_and_who_is_not_is_left_alone(office):
    due = office.line()
    office.now += timedelta(days=1)
    other = office.line(GOOD_TOO)
    office.now += timedelta(days=29)
    night = review_due(office.desk)
    assert night.counts | {"seen": 2, "reviewed": 1, "calm": 1} == night.counts
    assert decisions(office) == {due: 1}
    assert office.get(other).version == 1
    assert office.domain(due).next_review_on == office.day + timedelta(days=30)
    assert office.replayed(due) == 2


def test_a_second_run_of_a_night_does_nobody_twice(office):
    many(office, 7)
    office.now += timedelta(days=30)
    first = review_due(office.desk, office.day, page=3)
    assert (first.counts["reviewed"], first.pages, first.resumed) == (7, 3, False)
    versions = [office.get(f"line-{at:04}").version for at in range(7)]
    again = review_due(office.desk, office.day, page=2)
    assert (again.counts, again.pages, again.resumed) == (first.counts, 3, True)
    assert [office.get(f"line-{at:04}").version for at in range(7)] == versions
    assert set(decisions(office).values()) == {1}


def test_a_run_whose_notes_are_lost_still_does_nobody_twice(office):
    many(office, 4)
    office.now += timedelta(days=30)
    review_due(office.desk)
    with office.store.write() as db:
        db.execute(people.RUNS.delete())
    night = review_due(office.desk)
    assert (night.counts["done_before"], night.counts["reviewed"]) == (4, 0)
    assert set(decisions(office).values()) == {1}


def test_a_run_that_stops_after_a_page_goes_on_with_the_next(office):
    many(office, 10)
    office.now += timedelta(days=30)

    class Stop(Exception):
        pass

    def stop(night):
        if night.pages == 2:
            raise Stop

    with pytest.raises(Stop):
        review_due(office.desk, page=3, told=stop)
    assert sum(decisions(office).values()) == 6
    night = review_due(office.desk, page=3)
    assert night.resumed
    assert night.counts["reviewed"] == night.counts["seen"] == 10
    assert decisions(office) == {f"line-{at:04}": 1 for at in range(10)}


def test_a_line_that_somebody_reviewed_by_hand_that_day_is_not_reviewed_again(office):
    line = office.line()
    office.now += timedelta(days=30)
    office.decide(line, "review")
    night = review_due(office.desk)
    assert (night.counts["reviewed"], night.counts["calm"]) == (0, 1)


def test_a_temporary_amount_falls_away_in_the_night_after_its_last_day(office):
    line = office.line()
    office.decide(line, "temporary", limit_minor=100_000, until=office.day + timedelta(days=1))
    for days, limit in ((1, 4_100_000), (1, 4_000_000)):
        office.now += timedelta(days=days)
        review_due(office.desk)
        assert office.get(line).totals.limit_minor == limit
    [(_, record)] = [one for one in office.records(line) if one[1].ask.purpose == "age"]
    assert [one.code for one in record.outcome.reasons] == ["P-TEMP"]


def test_a_line_that_was_closing_closes_in_the_night_after_it_is_repaid(office):
    line = office.line()
    office.draw(line, 100_000)
    office.decide(line, "close", by="customer:app")
    assert review_due(office.desk).counts["closed"] == 0
    office.now += timedelta(days=1)
    office.repay(line, 100_000)
    assert review_due(office.desk).counts["closed"] == 1
    assert office.get(line).state == "closed"


def test_a_step_up_is_counted_and_the_budget_bounds_a_page_of_them(office):
    with office.store.write() as db:
        funds.set_fund(db, "budget", kind="budget", cap_minor=10**9, is_open=True, at=office.now)
    both = [office.line(), office.line(GOOD_TOO)]
    for line in both:
        cut(office, line)
    with office.store.write() as db:  # used 4,000,000: room for one step of 1,000,000, not for two
        cap = 5_500_000
        funds.set_fund(db, "budget", kind="budget", cap_minor=cap, is_open=True, at=office.now)
    office.now += timedelta(days=30)
    night = review_due(office.desk)
    assert (night.counts["raised"], night.counts["reviewed"], night.counts["failed"]) == (1, 2, 0)
    limits = sorted(office.get(line).totals.limit_minor for line in both)
    assert limits == [2_000_000, 3_000_000]


def test_a_line_that_changes_under_the_run_is_tried_again_and_not_lost(office, monkeypatch):
    many(office, 5)
    office.now += timedelta(days=30)
    real, meddled = nightly.keep, []

    def keep(db, *values):
        if not meddled:
            meddled.append(True)
            raise Conflict("the line has changed", check="version")
        return real(db, *values)

    monkeypatch.setattr(nightly, "keep", keep)
    assert review_due(office.desk, page=5).counts["reviewed"] == 5
    monkeypatch.undo()

    office.now += timedelta(days=30)

    def never(db, rules, decided, *values):
        if any(line.id == "line-0002" for line, _ in decided):
            raise Conflict("the line has changed", check="version")
        return real(db, rules, decided, *values)

    monkeypatch.setattr(nightly, "keep", never)
    night = review_due(office.desk, page=5)
    assert (night.counts["reviewed"], night.counts["failed"]) == (4, 1)
    assert night.failures == (("line-0002", "conflict"),)


def test_a_broken_line_fails_alone_and_is_named(office):
    many(office, 3)
    stored = office.get("line-0001")
    broken = changes.LineChange(
        line_id=stored.id,
        version=stored.version,
        state=stored.state,
        may_draw=True,
        limit_minor=stored.totals.limit_minor,
        domain={"nothing": 1},
        policy_ref="p",
        model_ref="m",
        ref="broken",
    )
    with office.store.write() as db:
        changes.change_line(db, broken, office.now)
    office.now += timedelta(days=30)
    night = review_due(office.desk)
    assert (night.counts["reviewed"], night.counts["failed"]) == (2, 1)
    assert night.failures == (("line-0001", "data"),)


def test_a_run_for_another_day_is_refused_and_past_midnight_it_stays_in_its_day(office):
    many(office, 4)
    with pytest.raises(Conflict) as caught:
        review_due(office.desk, office.day + timedelta(days=1))
    assert caught.value.check == "clock"
    office.now = datetime(2026, 4, 1, 15, 59, tzinfo=UTC)  # a minute to midnight there
    begun = office.day

    def later(night):
        office.now += timedelta(minutes=2)

    night = review_due(office.desk, page=2, told=later)
    assert (night.day, night.counts["reviewed"]) == (begun, 4)
    with office.store.read() as db:
        assert people.run_of(db, begun.isoformat())["done_at"] is not None
    assert office.domain("line-0003").changed_on == begun


def run_and_die(scene, url, page):
    """Run the night in a process of its own, slowly; the caller kills it."""
    child = os.fork()
    if child:
        return child
    try:
        store = open_store(url, pool=2)
        desk = desk_over(store, scene.scores, scene.rules, lambda: scene.now, scene.kit.folder)
        review_due(desk, page=page, told=lambda _: time.sleep(0.05))
    finally:
        os._exit(0)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_still_does_everybody_once(scene, store, url):
    office = Office(scene, store)
    many(office, 120)
    office.now += timedelta(days=30)
    day, killed = office.day.isoformat(), 0
    for _ in range(6):
        child = run_and_die(scene, url, 4)
        deadline = time.monotonic() + 30
        with office.store.read() as db:
            before = (people.run_of(db, day) or {"pages": 0})["pages"]
        while time.monotonic() < deadline:
            with office.store.read() as db:
                run = people.run_of(db, day)
            if run is not None and run["pages"] >= before + 2:
                break
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    assert killed >= 3
    assert 0 < sum(decisions(office).values()) < 120
    night = review_due(office.desk, page=50)
    assert night.resumed
    assert night.counts["reviewed"] == 120
    assert decisions(office) == {f"line-{at:04}": 1 for at in range(120)}
    assert {office.get(f"line-{at:04}").version for at in range(120)} == {2}
    assert office.findings() == []


def queries_of(office, work):
    """Return how many statements some work takes."""
    found = []

    def note(_connection, _cursor, statement, *_rest):
        found.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    return len(found)


def test_a_page_of_many_lines_takes_as_many_queries_as_one_of_few(office):
    counts = {}
    for number in (3, 30):
        many(office, number, first=100 * number)
        for at in range(number):
            office.draw(f"line-{100 * number + at:04}", 50_000)
        office.later(days=30)
        reviewed = queries_of(office, lambda: review_due(office.desk))
        assert len(decisions(office)) == sum(counts) + number
        office.later(days=1)
        counts[number] = (reviewed, queries_of(office, lambda: review_due(office.desk)))
    assert counts[30] == counts[3]
