"""Figures that take their time: a page never waits for them, and they are worked out once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from server.web.slow import AGAIN, KEPT, MOST_WAITING, Slow
from shared.errors import EnvironmentFault


class Desk:
    def __init__(self):
        self.now = datetime(2026, 3, 2, tzinfo=UTC)
        self.clock = lambda: self.now


class Site:
    """As much of a site as figures need: a store with nothing in it."""

    def __init__(self):
        self.desk = Desk()
        self.at_once, self.most = 0, 0

    def read(self, work):
        with self._counted():
            return work(None, self.desk.now)

    @contextmanager
    def _counted(self):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        yield
        self.at_once -= 1


@pytest.fixture
def slow():
    return Slow(Site())


def until(slow, key, work, state="ready"):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        made = slow.ask(key, work)
        if made.state == state:
            return made
        time.sleep(0.005)
    raise AssertionError(made)


def test_what_is_quick_is_there_at_once_and_kept(slow):
    calls = []
    made = until(slow, "a", lambda *_: calls.append(1) or 7)
    assert (made.value, made.at) == (7, slow._site.desk.now)
    assert slow.ask("a", lambda *_: 8).value == 7
    assert calls == [1]


def test_nobody_waits_for_what_takes_long_and_it_is_worked_out_once(slow):
    go, calls = threading.Event(), []

    def work(*_):
        calls.append(1)
        go.wait(10)
        return 7

    began = time.monotonic()
    assert [slow.ask("a", work).state for _ in range(5)] == ["loading"] * 5
    assert time.monotonic() - began < 5
    go.set()
    assert until(slow, "a", work).value == 7
    assert calls == [1]


def test_one_is_worked_out_at_a_time(slow):
    def work(*_):
        time.sleep(0.05)
        return 1

    for name in "abc":
        slow.ask(name, work)
    for name in "abc":
        until(slow, name, work)
    assert slow._site.most == 1


def test_what_needs_no_store_holds_none_of_it(slow):
    end = time.monotonic() + 10
    while (made := slow.ask_apart("a", lambda: 7)).state != "ready" and time.monotonic() < end:
        time.sleep(0.005)
    assert (made.value, made.at) == (7, slow._site.desk.now)
    assert slow._site.most == 0


def test_no_more_wait_for_their_turn_than_there_is_room_for(slow):
    go, calls = threading.Event(), []

    def work():
        calls.append(1)
        go.wait(10)

    before = threading.active_count()
    for number in range(MOST_WAITING + 20):
        assert slow.ask_apart(number, work).state == "loading"
    assert threading.active_count() - before <= MOST_WAITING
    go.set()
    # Whoever found no room comes again, and is worked out then.
    last, end = MOST_WAITING + 19, time.monotonic() + 10
    while slow.ask_apart(last, work).state != "ready" and time.monotonic() < end:
        time.sleep(0.005)
    assert slow.ask_apart(last, work).state == "ready"


def test_old_figures_stand_until_new_ones_are_there(slow):
    until(slow, "a", lambda *_: 1)
    slow._site.desk.now += KEPT
    go = threading.Event()
    assert slow.ask("a", lambda *_: go.wait(10) and 2).value == 1
    go.set()
    end = time.monotonic() + 10
    while slow.ask("a", lambda *_: 3).value == 1 and time.monotonic() < end:
        time.sleep(0.005)
    assert slow.ask("a", lambda *_: 3).value == 2


def test_a_clock_that_was_set_back_makes_them_anew(slow):
    until(slow, "a", lambda *_: 1)
    slow._site.desk.now -= timedelta(days=1)
    end = time.monotonic() + 10
    while slow.ask("a", lambda *_: 2).value == 1 and time.monotonic() < end:
        time.sleep(0.005)
    assert slow.ask("a", lambda *_: 3).value == 2


def test_what_fails_is_an_error_and_is_tried_again_later(slow, caplog):
    def fails(*_):
        raise EnvironmentFault("the store is away")

    assert until(slow, "a", fails, "error").value is None
    assert "the store is away" in caplog.text
    assert slow.ask("a", lambda *_: 1).state == "error"
    slow._site.desk.now += AGAIN
    assert until(slow, "a", lambda *_: 1).value == 1


def test_an_error_nobody_expected_is_told_as_one_too(slow, caplog):
    assert until(slow, "a", lambda *_: 1 / 0, "error").value is None
    assert "ZeroDivisionError" in caplog.text
