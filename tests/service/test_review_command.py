"""`confide review run`: every line once a night, however often the command is started or killed."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest

from server.accounts import nightly
from server.commands import desks
from server.store.lease import lease
from shared.errors import Conflict
from tests.service.desk_kit import good


@pytest.fixture
def night(confide, office, monkeypatch, tmp_path):
    """A day on which reviews of three lines are due, and the command of that night."""
    monkeypatch.setattr(desks, "utc_clock", office.clock)
    monkeypatch.chdir(tmp_path)
    lines = [office.line(good(number)) for number in range(3)]
    office.later(days=30)
    day = str(office.desk.today(office.clock()))
    where = ("--federation", office.kit.path, "--store", str(office.store.engine.url))

    def run(*words, on=day):
        given = () if on is None else ("--day", on)
        status, out, err = confide("review", "run", *given, *words, *where)
        return SimpleNamespace(status=status, out=out, err=err)

    def told(*words, **more):
        done = run(*words, "--format", "json", **more)
        return done.status, json.loads(done.out)

    return SimpleNamespace(run=run, told=told, lines=lines, day=day)


def reviews(office, line):
    found = office.get("alice", f"/v1/lines/{line}/decisions").json()["items"]
    return [one for one in found if one["purpose"] == "review"]


def test_every_line_is_reviewed_once_and_the_second_run_has_nothing_to_do(night, office):
    status, first = night.told("--page", "2")
    assert status == 0
    counts = first["data"]["counts"]
    assert counts["seen"] == counts["reviewed"] == 3
    assert first["data"]["nothing_to_do"] is False
    before = office.state()
    status, second = night.told()
    assert status == 0
    assert second["data"]["nothing_to_do"] is True
    assert office.state() == before
    assert "there was nothing to do" in night.run().out
    assert [len(reviews(office, line)) for line in night.lines] == [1, 1, 1]


def test_progress_goes_to_stderr_and_counts_to_stdout(night):
    done = night.run("--page", "1")
    assert done.status == 0
    assert "page 1: 1 lines seen" in done.err
    assert "3 reviewed" in done.out


def test_a_run_that_was_cut_off_goes_on_where_it_was(night, office, monkeypatch):
    whole = nightly._run_page
    done = []

    def stops_after_one(*args, **more):
        if done:
            raise KeyboardInterrupt
        done.append(whole(*args, **more))
        return done[-1]

    monkeypatch.setattr(nightly, "_run_page", stops_after_one)
    assert night.run("--page", "1").status == 130
    assert sum(len(reviews(office, line)) for line in night.lines) == 1
    monkeypatch.setattr(nightly, "_run_page", whole)
    second = night.run("--page", "1")
    assert second.status == 0
    assert "taken up where another run ended" in second.out
    assert [len(reviews(office, line)) for line in night.lines] == [1, 1, 1]


def test_while_somebody_else_runs_it_ends_with_1_and_does_nothing(night, office):
    before = office.state()
    with lease(office.store, "nightly-review"):
        status, told = night.told()
    assert status == 1
    assert told["error"]["code"] == "conflict"
    assert "another process" in told["error"]["message"]
    assert office.state() == before
    assert night.told()[0] == 0  # the lease was given back


def test_a_lease_is_one_threads_at_a_time_and_ends_with_an_error(office):
    with pytest.raises(RuntimeError), lease(office.store, "job"):
        raise RuntimeError
    seen = []

    def other():
        try:
            with lease(office.store, "job"):
                seen.append("held")
        except Conflict as error:
            seen.append(error.check)

    with lease(office.store, "job"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with lease(office.store, "another job"):
            pass
    other()
    assert seen == ["lease", "held"]


def test_another_day_and_what_is_no_day_are_refused(night, office):
    before = office.state()
    tomorrow = office.desk.today(office.clock()) + timedelta(days=1)
    status, told = night.told(on=str(tomorrow))
    assert (status, told["error"]["code"]) == (1, "conflict")
    assert night.run(on="someday").status == 2
    assert office.state() == before


def test_without_a_day_it_is_the_local_one_of_today(night):
    status, told = night.told(on=None)
    assert status == 0
    assert told["data"]["day"] == night.day
