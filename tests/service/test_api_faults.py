"""`confide serve` under fire: workers and databases killed, disks full, clocks wrong.

No draw or repayment is lost or doubled, whatever is killed and whenever: every request gets one
final answer, and the money in the store is what these answers say.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
import sqlalchemy as sa

from server.accounts import proving
from server.api import acts
from server.api.tokens import Role
from server.store import checks
from server.store import idempotency as keys
from server.store.engine import open_store
from server.store.log_checks import check_log
from server.store.tables import DRAWDOWNS, FUNDS, LINE_EVENTS, LINES
from tests import postgres
from tests.depth import depth
from tests.service.desk_kit import Office, good
from tests.service.fault_kit import (
    CLIENTS,
    LIMIT_MINOR,
    Storm,
    Wire,
    World,
    log_findings,
    verdict,
)
from tests.service.test_serve import serving
from tests.stores import empty_file, server  # noqa: F401 - fixtures

pytestmark = pytest.mark.e2e
REQUESTS = depth({"postgresql": 2_000}, {"sqlite": 3_000, "postgresql": 10_000})
"""Of the long run; fewer only to find out why it failed."""
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@contextmanager
def a_world(kind, folder, home=None):
    """Give a federation over a database of its own, and the database's server if it has one."""
    if kind == "sqlite":
        world = World(folder / "federation", f"sqlite:///{folder}/limits.db")
        try:
            yield world, None
        finally:
            world.close()
        return
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running(home) as database:
        world = World(folder / "federation", database.new_database())
        try:
            yield world, database
        finally:
            world.close()


def serve(world, workers=2):
    """Run the command over a world until the block ends."""
    return serving(world.kit, "--store", world.url, workers=workers)


def findings(world):
    with world.store.read() as db:
        return verdict(db, world.lines, world.ledger)


def at_once(world, port, asks):
    """Send requests from one moment on, each on a connection that is open; keep what is final."""

    async def play():
        wires = [Wire(world, port) for _ in asks]
        for wire in wires:
            await wire.open()
        answers = await asyncio.gather(
            *(wire.send(ask) for wire, ask in zip(wires, asks, strict=True))
        )
        for wire in wires:
            await wire.close()
        return answers

    return asyncio.run(play())


def send(world, port, ask):
    (answer,) = at_once(world, port, [ask])
    return answer


# One service for all short tests: over SQLite, and over PostgreSQL with the slow ones.


@pytest.fixture(scope="module", params=KINDS)
def live(request, tmp_path_factory):
    """A world and `confide serve --workers 2` over it."""
    folder = tmp_path_factory.mktemp("faults")
    with a_world(request.param, folder) as (world, _), serve(world) as service:
        yield world, service


class Undone(Exception):
    """What ends a transaction that must not count."""


def kill_worker(service, choose):
    """End a worker that answers, with SIGKILL."""
    pid = choose.choice(service.workers())
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.slow
def test_a_worker_killed_among_300_requests_loses_and_doubles_nothing(live):
    world, service = live

    async def harm(storm):
        # One after the other: all clients may hang on one of them.
        for share, pid in zip((0.3, 0.6), service.workers(), strict=True):
            await storm.reach(share)
            os.kill(pid, signal.SIGKILL)
            while pid in service.workers():  # noqa: ASYNC110 - a process that ends sets no event
                await asyncio.sleep(0.01)
            await asyncio.to_thread(world.hurry)

    storm = Storm(world, service.port, world.open_lines(8), 300)
    asyncio.run(storm.run(harm))
    assert len({ask.key for ask, _ in storm.answered}) == len(storm.answered) >= 300
    assert storm.failures, "nobody felt the kill"
    assert sum(answer.done for _, answer in storm.answered) > 200
    assert findings(world) == []


def test_t37_of_ten_parallel_draws_of_all_that_is_left_exactly_one_is_made(live):
    world, service = live
    (place,) = world.open_lines(1)
    left = 100_000
    asks = [world.draw(place, LIMIT_MINOR - left)]
    answers = [send(world, service.port, asks[0])]
    ten = [world.draw(place, left) for _ in range(10)]
    told = at_once(world, service.port, ten)
    world.ledger += list(zip(asks + ten, answers + told, strict=True))
    assert sorted(one.status for one in told) == [201] + [409] * 9
    refused = [one.body for one in told if one.status == 409]
    assert {(one["code"], one["check"]) for one in refused} == {("draw-refused", "available")}
    assert {one["detail"] for one in refused} == {"0 minor units can be drawn (limit)"}
    officer = service.bearer(Role.OFFICER)
    shown = json.loads(service.ask(f"/v1/lines/{place[0]}", headers=officer)[1])
    assert (shown["available_minor"], shown["outstanding_minor"]) == (0, LIMIT_MINOR)
    assert findings(world) == []


def test_one_key_from_ten_parallel_clients_has_one_effect_and_one_answer(live):
    world, service = live
    (place,) = world.open_lines(1)
    for ask in (world.draw(place, 50_000), world.repay(place, 20_000), world.hold(place, 30_000)):
        told = at_once(world, service.port, [ask] * 10)
        made = [one for one in told if one.done]
        others = [one for one in told if not one.done]
        assert made
        assert {one.raw for one in made} == {made[0].raw}
        assert sum(not one.replayed for one in made) == 1
        assert all((one.status, one.body["check"]) == (409, "in-flight") for one in others)
        again = send(world, service.port, ask)
        assert (again.raw, again.replayed) == (made[0].raw, True)
        world.ledger.append((ask, made[0]))
    assert findings(world) == []


def test_the_verdict_finds_an_answer_too_many_and_one_that_is_another(live):
    """Control: what the other tests rely on to be silent speaks."""
    world, service = live
    (place,) = world.open_lines(1)
    for ask in (world.draw(place, 50_000), world.repay(place, 20_000), world.hold(place, 10_000)):
        world.ledger.append((ask, send(world, service.port, ask)))
    assert findings(world) == []
    *before, drawn, paid, held = world.ledger

    def told(*ledger):
        with world.store.read() as db:
            found = verdict(db, world.lines, ledger)
        return {one.partition(":")[0] for one in found}

    def altered(one, **changes):
        ask, answer = one
        return ask, replace(answer, raw=json.dumps(answer.body | changes).encode())

    # A draw that was answered twice as two; one that nobody was told of; another amount.
    twice = altered(drawn, drawdown_id="01M00000000000000000000000")
    assert told(*before, drawn, paid, held, twice) >= {"draw", "line", "fund", "share", "key"}
    assert told(*before, paid, held) >= {"draw", "line", "fund", "share", "key", "hold"}
    assert told(*before, altered(drawn, amount_minor=50_001), paid, held) >= {"draw", "line"}
    assert told(*before, drawn, paid, paid, held) >= {"repayment", "line"}
    assert told(*before, drawn, paid) >= {"hold", "line", "key"}
    # The ledger is right, and the store is not.
    with suppress(Undone), world.store.write() as db:
        used, held = FUNDS.c.used_minor, LINES.c.held_minor
        db.execute(sa.update(FUNDS).values({used: used + 1}))
        db.execute(sa.update(LINES).where(LINES.c.id == place[0]).values({held: held + 1}))
        found = {one.partition(":")[0] for one in verdict(db, world.lines, world.ledger)}
        raise Undone
    assert found >= {"fund is not what was taken from it", "fund", "line"}
    assert findings(world) == []


# The whole fire: a minute of leases is waited for, and everything is started again at the end.


@pytest.mark.slow
@pytest.mark.timeout(900)  # two minutes by itself, many where the cores are busy
@pytest.mark.parametrize("kind", REQUESTS)
def test_thousands_of_requests_of_fifty_clients_survive_every_kill(kind, tmp_path, confide):
    wanted = REQUESTS[kind]
    with a_world(kind, tmp_path, home="/tmp") as (world, database):
        places = world.open_lines(60)
        with serve(world) as service:
            storm = Storm(world, service.port, places, wanted, clients=CLIENTS)
            began = time.monotonic()
            asyncio.run(storm.run(lambda storm: rage(storm, service, database)))
            took = time.monotonic() - began
            end(service)
        if database is not None:
            database.kill()
            database.start()
        with serve(world) as service:
            replayed = random.Random(5).sample([one for one in world.ledger if one[1].done], 200)
            for start in range(0, 200, 20):
                part = replayed[start : start + 20]
                again = at_once(world, service.port, [ask for ask, _ in part])
                assert [one.raw for one in again] == [answer.raw for _, answer in part]
                assert all(one.replayed for one in again)
            service.until(lambda: is_covered(world))
            end(service)
        assert findings(world) == []
        with world.store.read() as db:
            assert log_findings(db, proving.log_key(world.home).fingerprint) == []
        where = ("--store", world.url, "--federation", world.kit.path)
        status, out, _ = confide("log", "check", *where)
        assert (status, out.startswith("in order: ")) == (0, True)
    assert len({ask.key for ask, _ in storm.answered}) == len(storm.answered) >= wanted
    done = Counter(ask.kind for ask, answer in storm.answered if answer.done)
    refused = Counter((ask.kind, one.body["check"]) for ask, one in storm.answered if not one.done)
    print(f"{took:.0f} s, {storm.tries} tries; {done}; refused {refused}; {storm.failures}")  # noqa: T201 - `-rP` shows it
    assert min(done[kind] for kind in ("draw", "hold", "post", "void", "repay")) > 0
    assert sum(done.values()) > 0.7 * wanted
    assert {why for _, why in refused} <= {"available", "outstanding", "limit"}
    assert {status for status, _ in storm.failures} <= {0, 409, 503}, "a defect"
    assert not any("://" in why for _, why in storm.failures), "an answer says where the store is"


async def rage(storm, service, database):
    """Kill eight times: workers, and every other time the database where it is a server."""
    choose = random.Random(7)
    for number in range(1, 9):
        await storm.reach(0.09 * number)
        if database is not None and number % 2:
            await asyncio.to_thread(database.kill)
            await asyncio.to_thread(database.start)
        else:
            while not service.workers():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
            kill_worker(service, choose)


def end(service):
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0


def is_covered(world):
    """Whether the newest head covers every decision."""
    with world.store.read() as db:
        found = check_log(db)
    return found.newest is not None and found.newest.head.size == found.decisions


# Inside one process, where a kill can be put between two statements.


@pytest.fixture(params=KINDS)
def office(request, tmp_path):
    """The whole service over an empty store of either database."""
    if request.param == "postgresql":
        database = request.getfixturevalue("server")
        url = database.new_database(database.template)
    else:
        shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "limits.db")
        url = f"sqlite:///{tmp_path}/limits.db"
    made = Office(tmp_path / "federation", url)
    yield made
    made.close()


@contextmanager
def a_worker(office, work):
    """Run something in a process of its own, over the same store, and kill it at the end."""
    office.store.close()  # no connection may be in two processes
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended before it was killed"


def drawing(line, amount=50_000):
    body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "months": 3}
    return good(), f"/v1/lines/{line}/drawdowns", body


def counted(office):
    with office.store.read() as db:
        assert checks.findings(db) == []
        return db.execute(sa.select(sa.func.count()).select_from(DRAWDOWNS)).scalar_one()


@pytest.mark.parametrize("point", ["claimed", "worked", "answered"])
def test_a_worker_killed_between_effect_and_answer_has_one_effect(office, point, monkeypatch):
    line = office.line()
    where = {
        "claimed": (acts, "follow"),
        "worked": (keys, "finish"),
        "answered": (acts, "_respond"),
    }

    def work():
        monkeypatch.setattr(*where[point], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        office.post(*drawing(line), key="once")

    with a_worker(office, work) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert counted(office) == (point == "answered")
    first = office.post(*drawing(line), key="once")
    if point != "answered":
        assert (first.status_code, first.json()["check"]) == (409, "in-flight")
        office.later(seconds=61)
        first = office.post(*drawing(line), key="once")
    again = office.post(*drawing(line), key="once")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers.get("Idempotency-Replayed") == ("true" if point == "answered" else None)
    assert counted(office) == 1
    # Control: who repeats it under another key has asked for another draw.
    office.done(*drawing(line), key="twice")
    assert counted(office) == 2


def test_a_worker_killed_at_any_moment_never_doubles(office):
    line, choose = office.line(), random.Random(11)
    for life in range(1, 5):
        asked = [f"life-{life}-{number}" for number in range(20)]

        def work(asked=asked):
            for key in asked:
                office.post(*drawing(line, 10_000), key=key)
            time.sleep(60)

        with a_worker(office, work):
            time.sleep(choose.uniform(0.1, 0.5))
        office.later(seconds=61)
        answers = [office.done(*drawing(line, 10_000), key=key) for key in asked]
        assert len({one["drawdown_id"] for one in answers}) == 20
        assert counted(office) == 20 * life
    assert office.show(line)["outstanding_minor"] == 4 * 20 * 10_000


def test_a_clock_that_goes_back_never_lets_events_run_backward(office):
    line = office.line()
    office.draw(line)
    made = [office.clock.now]
    for step in (-30, -3_600, -36_000, 7_200):
        office.later(seconds=step)
        made.append(office.clock.now)
        office.draw(line, 20_000)
        office.repay(line, 10_000)
        held = office.hold(line, 10_000)
        office.done(good(), f"/v1/holds/{held['hold_id']}/post", {"months": 3})
        body = {"purpose": "review"}
        answer = office.post("alice", f"/v1/lines/{line}/decisions", body)
        if step == -30:  # two servers' clocks may differ by so much
            assert answer.status_code == 201
        else:
            assert (answer.status_code, answer.json()["check"]) == (409, "clock")
    with office.store.read() as db:
        columns = (LINE_EVENTS.c.version, LINE_EVENTS.c.at)
        rows = db.execute(sa.select(*columns).order_by(LINE_EVENTS.c.version)).all()
        assert [row.version for row in rows] == list(range(1, len(rows) + 1))
        assert all(one.at <= two.at for one, two in pairwise(rows))
        assert {row.at for row in rows} == {max(made)}
        assert checks.state_at(db, line, max(made)).outstanding_minor == 180_000
    assert made != sorted(made)
    assert counted(office) == 9


# A disk without room.


@contextmanager
def small_disk(folder, megabytes):
    """Give a file system of so much memory, or skip."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def no_room(disk):
    """Fill a disk to the last page."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def no_longer_files(path):
    """Let no file of this process become longer than one is now."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def money(office):
    """Everything but the keys: a claim without an answer is no effect."""
    return {name: one for name, one in office.state().items() if name != "idempotency_keys"}


def draw_until_full(office, line, room, why):
    """Draw until there is no room; nothing of it may be half there, and all goes on afterwards."""
    office.draw(line, 10_000)
    with room:
        for number in range(400):
            before = money(office)
            answer = office.post(*drawing(line, 10_000), key=f"full-{number}")
            if answer.status_code != 201:
                break
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (503, "environment")
        assert problem["detail"].startswith(f"the store: {why}")
        assert str(office.store.engine.url.database) not in answer.text
        assert answer.headers["Retry-After"] == "30"
        paid = office.post("ops", "/v1/repayments", office.repayment(line, 10_000), key="paid")
        assert paid.status_code in {201, 503}
        if paid.status_code == 503:
            assert money(office) == before
        made = counted(office)
        assert office.get("ops", "/healthz").status_code == 200
    office.later(seconds=61)  # should a claim be left behind
    office.done(*drawing(line, 10_000), key=f"full-{number}")
    office.done("ops", "/v1/repayments", office.repayment(line, 10_000))
    assert counted(office) == made + 1


def test_a_full_disk_refuses_by_name_and_the_service_goes_on_when_there_is_room(
    tmp_path,
    empty_file,  # noqa: F811 - the fixture
):
    with small_disk(tmp_path / "disk", 8) as disk:
        shutil.copy(empty_file, disk / "limits.db")
        office = Office(tmp_path / "federation", f"sqlite:///{disk}/limits.db")
        try:
            draw_until_full(office, office.line(), no_room(disk), "the disk is full; nothing was")
        finally:
            office.close()


def test_files_that_may_not_grow_are_as_a_full_disk(
    tmp_path,
    empty_file,  # noqa: F811 - the fixture
):
    shutil.copy(empty_file, tmp_path / "limits.db")
    office = Office(tmp_path / "federation", f"sqlite:///{tmp_path}/limits.db")
    line = office.line()
    try:
        room = no_longer_files(tmp_path / "limits.db-wal")
        draw_until_full(office, line, room, "the database is away")
    finally:
        office.close()


@pytest.mark.slow
def test_a_full_disk_of_postgresql_refuses_by_name_and_goes_on_when_there_is_room(tmp_path):
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as database, small_disk(database.folder / "disk", 32) as disk:
        inner = disk / "tables"
        inner.mkdir()
        shutil.chown(inner, *[getattr(database.data.stat(), one) for one in ("st_uid", "st_gid")])
        database.run(f"CREATE TABLESPACE small LOCATION '{inner}'")
        database.run("CREATE DATABASE small TABLESPACE small")
        url = database.url("small")
        open_store(url, create=True).close()
        office = Office(tmp_path / "federation", url)
        try:
            draw_until_full(office, office.line(), no_room(disk), "the disk is full; nothing was")
        finally:
            office.close()
            database.stop()
