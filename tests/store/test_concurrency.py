"""Many at once: no draw is lost or doubled, from threads or processes, killed or not (T37, I6)."""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from server.store import idempotency
from server.store.engine import open_store
from server.store.idempotency import Claim, Request
from server.store.tables import DRAWDOWNS, REPAYMENTS
from shared.errors import Conflict
from tests import postgres
from tests.store.kit import START, World, terms
from tests.store.workers import draw_once, work

# A fresh process that has the imports behind it: nothing of this one is inherited.
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["tests.store.workers"])


def at_once(tasks):
    """Run functions in threads, from one moment on; return what they returned or raised."""
    ready = threading.Barrier(len(tasks))
    results = [None] * len(tasks)

    def play(place, task):
        ready.wait()
        try:
            results[place] = task()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[place] = error

    threads = [threading.Thread(target=play, args=one) for one in enumerate(tasks)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return results


def test_t37_of_ten_parallel_draws_by_threads_exactly_one_succeeds(world):
    line = world.line(100)
    results = at_once([lambda: world.draw(line, 100)] * 10)
    refusals = [one for one in results if isinstance(one, Conflict)]
    assert len(refusals) == 9
    assert {one.check for one in refusals} == {"available"}
    assert world.get(line).available_minor == 0
    assert world.get(line).totals.outstanding_minor == 100


@pytest.mark.slow
def test_t37_of_ten_parallel_draws_by_processes_exactly_one_succeeds(world, url):
    line = world.line(100)
    gate, answers = SPAWN.Barrier(10), SPAWN.Queue()
    people = [
        SPAWN.Process(target=draw_once, args=(url, line, f"draw-{k}", gate, answers))
        for k in range(10)
    ]
    for one in people:
        one.start()
    found = sorted(answers.get(timeout=90) for _ in people)
    for one in people:
        one.join()
    assert found == ["available"] * 9 + ["drawn"]
    assert world.get(line).available_minor == 0


def test_a_hold_is_resolved_by_one_of_many(world):
    line = world.line(1_000)
    held = world.hold(line, 100)
    tasks = [lambda: world.post(held.id, terms(100)), lambda: world.void(held.id)] * 5
    results = at_once(tasks)
    posted = [one for one in results[::2] if not isinstance(one, Exception)]
    voided = [one for one in results[1::2] if not isinstance(one, Exception)]
    assert sorted([len(posted), len(voided)]) == [0, 5]
    assert world.get(line).version == 3


def test_a_payment_reported_by_many_at_once_is_applied_once(world):
    line, other = world.line(1_000), world.line(1_000)
    world.draw(line, 900)
    world.draw(other, 900)
    results = at_once([lambda: world.repay(line, 100, ref="r")] * 8)
    assert len(set(results)) == 1
    assert world.get(line).totals.outstanding_minor == 800
    tasks = [lambda: world.repay(line, 100, ref="s"), lambda: world.repay(other, 100, ref="s")]
    results = at_once(tasks * 4)
    refusals = [one for one in results if isinstance(one, Exception)]
    assert len(refusals) == 4
    assert {one.check for one in refusals} <= {"reference", "id"}


def test_the_same_draw_by_many_at_once_has_one_effect(world):
    line = world.line(1_000)
    results = at_once([lambda: world.draw(line, 100, hold_id="d")] * 8)
    made = [one for one in results if not isinstance(one, Exception)]
    assert made
    assert all(one == made[0] for one in made)
    others = [one for one in results if isinstance(one, Exception)]
    assert {getattr(one, "check", one) for one in others} <= {"id"}
    assert world.get(line).totals.outstanding_minor == 100


def test_one_key_by_many_at_once_is_claimed_by_one(world):
    request = Request("k", "POST /x", "kim", "a" * 64)

    def claim():
        with world.store.guard() as db:
            return idempotency.claim(db, request, START)

    results = at_once([claim] * 8)
    assert sum(isinstance(one, Claim) for one in results) == 1
    assert sum(isinstance(one, Conflict) for one in results) == 7


def test_partners_and_budgets_are_never_overdrawn_by_many(world):
    world.fund("bank", 700)
    names = [world.line(10_000) for _ in range(4)]
    results = at_once([lambda k=k: world.draw(names[k % 4], 100, bank=70) for k in range(24)])
    assert sum(not isinstance(one, Exception) for one in results) == 10
    assert {one.check for one in results if isinstance(one, Exception)} == {"fund"}
    assert world.get_fund().room_minor == 0


@dataclass
class Storm:
    """Processes of clients that draw and repay until each has its answers, whatever is killed.

    A process that is killed is started again from the beginning, so everything it had done is
    asked for a second time.
    """

    url: str
    folder: object
    processes: int
    threads: int
    each: int
    lives: dict = field(default_factory=dict)

    def __post_init__(self):
        self.world = World(open_store(self.url, create=True))
        self.world.fund("bank", 10**9)
        self.lines = [self.world.line(1_500) for _ in range(8)]
        for number in range(self.processes):
            self.start(number)

    def start(self, number):
        file = self.folder / f"{number}.{time.monotonic_ns()}.log"
        plan = (self.url, self.lines, number, self.threads, self.each, str(file))
        self.lives[number] = SPAWN.Process(target=work, args=plan)
        self.lives[number].start()

    def kill(self, number):
        self.lives[number].kill()
        self.lives[number].join()
        self.start(number)

    def running(self):
        return [number for number, one in self.lives.items() if one.is_alive()]

    def answered(self):
        return sum(len(one.read_bytes().splitlines()) for one in self.folder.glob("*.log"))

    def end(self, seconds):
        for one in self.lives.values():
            one.join(seconds)
            assert one.exitcode == 0, "a client gave up"

    def check(self):
        """Every answer is one row, every row is an answer, every balance is its events."""
        told = {}
        for file in self.folder.glob("*.log"):
            for line in file.read_text().splitlines():
                try:
                    name, kind, where, amount = json.loads(line)
                except ValueError:
                    continue  # the process was killed while it wrote
                before = told.setdefault(name, (kind, where, amount))
                if before[0] == "refused":  # a later life may have found room
                    told[name] = (kind, where, amount)
        asked = self.processes * self.threads * self.each
        assert len(told) == asked
        with self.world.store.read() as db:
            drawn = sa.select(DRAWDOWNS.c.id, DRAWDOWNS.c.line_id, DRAWDOWNS.c.amount_minor)
            repaid = sa.select(
                REPAYMENTS.c.external_ref, REPAYMENTS.c.line_id, REPAYMENTS.c.amount_minor
            )
            rows = {name: ("draw", *rest) for name, *rest in db.execute(drawn)}
            rows |= {name: ("repay", *rest) for name, *rest in db.execute(repaid)}
        assert rows == {name: one for name, one in told.items() if one[0] != "refused"}
        for line in self.lines:
            own = [one for one in rows.values() if one[1] == line]
            signed = sum(amount if kind == "draw" else -amount for kind, _, amount in own)
            totals = self.world.get(line).totals
            assert (totals.outstanding_minor, totals.held_minor) == (signed, 0)
            assert 0 <= totals.outstanding_minor <= 1_500
        assert self.world.findings() == []
        return rows


@pytest.mark.slow
def test_killed_clients_lose_and_double_nothing(url, tmp_path):
    storm = Storm(url, tmp_path, processes=3, threads=4, each=15)
    kills = 0
    choose = random.Random(1)
    while storm.running() and kills < 3:
        seen = storm.answered()
        while storm.running() and storm.answered() < seen + 10:
            time.sleep(0.01)
        if storm.running():
            storm.kill(choose.choice(storm.running()))
            kills += 1
    storm.end(100)
    assert kills == 3
    assert len(storm.check()) > 50


@pytest.mark.slow
def test_a_killed_server_loses_and_doubles_nothing(tmp_path):
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as server:
        storm = Storm(server.new_database(), tmp_path, processes=2, threads=8, each=20)
        for _ in range(3):
            seen = storm.answered()
            while storm.running() and storm.answered() < seen + 30:
                time.sleep(0.01)
            assert storm.running(), "the server was not killed in the middle"
            server.kill()
            server.start()
        storm.end(100)
        assert len(storm.check()) > 100
        storm.world.store.close()
