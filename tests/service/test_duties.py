"""What is done beside the requests: by one process at a time, again after an error."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest

from server.accounts import duties
from server.accounts.duties import KEYS_FOR, Duties, expire_holds, forget_keys
from server.store import holds, idempotency
from server.store.idempotency import Answer, Request
from shared.errors import EnvironmentFault
from tests.store.kit import World


@pytest.fixture
def scene(kit, start):
    world = start(kit)
    world.money = World(world.desk.store, world.desk.clock())
    yield world
    world.desk.store.close()


def later(scene, **delta):
    scene.clock.now = f"{scene.desk.clock() + timedelta(**delta):%Y-%m-%dT%H:%M:%SZ}"


def test_holds_whose_time_is_over_are_given_back(scene, monkeypatch):
    monkeypatch.setattr(duties, "_AT_ONCE", 2)  # several pages
    lines = [scene.money.line() for _ in range(5)]
    for line in lines:
        scene.money.hold(line, 100, seconds=60)
    kept = scene.money.hold(lines[0], 50, seconds=6000)
    assert expire_holds(scene.desk) == 0
    later(scene, seconds=61)
    assert expire_holds(scene.desk) == 5
    assert [scene.money.get(line).totals.held_minor for line in lines] == [50, 0, 0, 0, 0]
    with scene.desk.store.read() as db:
        assert holds.get_hold(db, kept.id).state == "pending"
    assert expire_holds(scene.desk) == 0


def test_keys_are_forgotten_when_nobody_will_repeat_them(scene):
    asked = Request("k", "POST /x", "c", "d")

    def claim():
        with scene.desk.store.write() as db:
            return idempotency.claim(db, asked, scene.desk.clock())

    with scene.desk.store.write() as db:
        made = idempotency.claim(db, asked, scene.desk.clock())
        idempotency.finish(db, made, Answer(201, {}, b"{}"))
    later(scene, seconds=KEYS_FOR.total_seconds() - 1)
    assert forget_keys(scene.desk) == 0
    assert isinstance(claim(), Answer)
    later(scene, seconds=2)
    assert forget_keys(scene.desk) == 1
    assert not isinstance(claim(), Answer)


def test_they_are_one_process_at_a_time(scene):
    first, second = Duties(scene.desk), Duties(scene.desk)
    with first:
        assert first.mine
        assert not second.mine
        assert first.mine
    assert second.mine  # the first has let go


def test_a_round_that_fails_is_logged_once_and_tried_again(scene, monkeypatch, caplog):
    tried = []

    def broken(_):
        tried.append(1)
        raise EnvironmentFault("the database is away")

    def defect(_):
        raise ValueError("customer 4711")

    monkeypatch.setattr(duties, "expire_holds", broken)
    monkeypatch.setattr(duties.proving, "tick", defect)
    one = Duties(scene.desk)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            one.round()
    assert len(tried) == 3
    told = [record.getMessage() for record in caplog.records]
    assert told == ["holds: the database is away", "the decision log: a defect, ValueError"]


def test_the_thread_does_a_round_and_ends(scene, monkeypatch):
    done = []
    monkeypatch.setattr(duties, "expire_holds", lambda _: done.append(1) or 0)
    with Duties(scene.desk, beat_s=0.01) as one:
        deadline = time.monotonic() + 20
        while not done:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not one._thread.is_alive()
