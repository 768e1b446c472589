"""The limit service as a system to drill: clients draw and repay while harm is done.

Clients, ledger of answers and verdict are those of the service's own tests: every request is sent
until it has its final answer, all money is reckoned from these answers alone, and the store is held
against it. So an answer too few is a loss, and an effect too many a doubling.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drills.databases import Database, database
from drills.faults import FAULTS, Fault
from drills.links import Link, spaces, within
from drills.processes import Disk, Mark, ProcessTarget, new_clock, small_disk
from drills.serving import Serving
from drills.table import SKIPPED, Drill, Row
from shared.errors import codes
from tests.service.fault_kit import Storm, World, verdict

SYSTEMS = {"limits-sqlite": "sqlite", "limits-postgresql": "postgresql"}
SERVICE, WORKER, DATABASE = "limits", "worker", "postgresql"
PHASE = "posting"
DEADLINE_S = 20.0
"""After which a client hangs up and asks again."""
_LEASE_S = 60.0  # after which a claim without an answer is free
_REQUESTS, _CLIENTS, _LINES = 160, 10, 6
_SPARE_MB = 16.0


class Limits:
    """The service over one kind of store; each drill has a world of its own.

    Parameters
    ----------
    folder : Path
    kind : {'sqlite', 'postgresql'}
    hurry : bool
        Whether leases of claims run out at once when harm was done, instead of after a minute.
    """

    def __init__(self, folder: Path, kind: str, *, hurry: bool) -> None:
        folder.mkdir(parents=True)
        self._folder, self._kind, self._hurry = folder, kind, hurry

    def play(self, drill: Drill) -> Row:
        """Play one drill."""
        fault = FAULTS[drill.fault]
        if why := Database.missing() if self._kind == "postgresql" else "":
            return Row(drill, SKIPPED, note=why)
        with ExitStack() as stack:
            scene = _Scene.made(self._folder, self._kind, drill, fault, stack)
            if why := scene.target.lacks(fault.needs):
                return Row(drill, SKIPPED, note=why)
            return scene.play(drill, fault, hurry=self._hurry)


@dataclass
class _Scene:
    """One drill's world, service and database."""

    world: World
    serving: Serving
    target: ProcessTarget
    mark: Mark

    @classmethod
    def made(cls, folder: Path, kind: str, drill: Drill, fault: Fault, stack: ExitStack) -> _Scene:
        place = Path(tempfile.mkdtemp(dir=folder, prefix="drill-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        mark = Mark.new()
        space = ""
        if fault.needs == "link" and not Link.missing():
            space = f"drill-{mark.value[:6]}"
            stack.enter_context(spaces(space))
        clock = new_clock(place / "clock") if fault.needs == "clock" else None
        store = stack.enter_context(_store(place, kind, drill, fault, space, clock))
        clocks = {r"server\.(worker|cli serve)": clock}
        own = clock if drill.target != DATABASE else None
        world = World(place / "federation", store.url)
        stack.callback(world.close)
        serving = Serving(
            world, store.served or store.url, mark.environment(clocks if own else None), space
        )
        stack.callback(mark.gone, 0.0)
        serving.start()
        target = _target(drill, mark, serving, store, space, own)
        return cls(world, serving, target, mark)

    def play(self, drill: Drill, fault: Fault, *, hurry: bool) -> Row:
        """Let clients ask, do harm meanwhile, wait for all answers, and judge."""
        limit = fault.seconds(DEADLINE_S) + 2 * DEADLINE_S + _LEASE_S + 60.0
        places = self.world.open_lines(_LINES)
        end = time.monotonic() + 60
        while not self.serving.ready() and time.monotonic() < end:
            time.sleep(0.05)
        moments: dict[str, float] = {}
        storm = Storm(self.world, self.serving.port, places, _REQUESTS, clients=_CLIENTS)

        async def harm(storm: Storm) -> None:
            await storm.reach(0.3)
            await asyncio.to_thread(fault.begin, self.target)
            moments["began"] = time.monotonic()
            await asyncio.sleep(fault.seconds(DEADLINE_S))
            await asyncio.to_thread(fault.end, self.target)
            moments["ended"] = time.monotonic()
            if hurry:
                await asyncio.sleep(0.5)
                await asyncio.to_thread(self._hurry)

        with within(self.serving.space):
            try:
                asyncio.run(_in_time(storm.run(harm), limit))
            except TimeoutError:
                told = f"{storm.open} requests had no answer after {limit:.0f} s: {storm.failures}"
                return Row(drill, "hung", limit, 0.0, limit, note=told)
        now = time.monotonic()
        left = self._end()
        lost, doubled = self._verdict()
        return Row(
            drill,
            _outcome(storm),
            moments["ended"] - moments["began"],
            now - moments["ended"],
            limit,
            lost,
            doubled,
            left,
            note=_note(storm),
        )

    def _hurry(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with suppress(Exception):
                self.world.hurry()
                return
            time.sleep(0.2)

    def _end(self) -> tuple[str, ...]:
        """End the service as its operator would; return what did not end."""
        assert self.serving.service is not None
        self.serving.service.process.send_signal(signal.SIGTERM)
        with suppress(Exception):
            self.serving.service.process.wait(60)
        left = self.mark.gone(10.0)
        return (f"{left} processes are left",) if left else ()

    def _verdict(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what answers and store do not agree on: too few, and too many."""
        with self.world.store.read() as db:
            found = verdict(db, self.world.lines, self.world.ledger)
        return split(found)


def split(found: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return findings of a verdict as losses and doublings.

    What more answers tell of than the store keeps is lost; what the store keeps more often is
    doubled; a sum that is not its parts is counted as lost.
    """
    twice = []
    for one in found:
        told, _, kept = one.partition(" answers, ")
        if kept and int(told.split()[-1]) < int(kept.split()[0]):
            twice.append(one)
    return tuple(one for one in found if one not in twice), tuple(twice)


async def _in_time(work: object, limit: float) -> None:
    async with asyncio.timeout(limit):
        await work  # type: ignore[misc]


def _outcome(storm: Storm) -> str:
    """Return how the requests ended: all were answered, some by a refusal that has a name."""
    refused: Counter[str] = Counter()
    for _, answer in storm.answered:
        if not answer.done:
            refused[answer.body.get("code", "")] += 1
    if nameless := [code for code in refused if code not in codes()]:
        return f"unnamed: {nameless}"
    usual = {"draw-refused", "conflict"}
    named = [f"{code} {count}" for code, count in sorted(refused.items()) if code not in usual]
    return f"finished, refused {', '.join(named)}" if named else "finished"


def _note(storm: Storm) -> str:
    done = sum(answer.done for _, answer in storm.answered)
    waits = ", ".join(f"{status} {why}: {count}" for (status, why), count in storm.failures.items())
    return f"{done} of {len(storm.answered)} done in {storm.tries} tries; {waits}"[:500]


@contextmanager
def _store(
    place: Path, kind: str, drill: Drill, fault: Fault, space: str, clock: Path | None
) -> Iterator[Database]:
    if kind == "sqlite":
        disk = place / "store"
        disk.mkdir()
        with ExitStack() as stack:
            small = None
            if fault.needs == "disk" and not Disk.missing():
                small = stack.enter_context(small_disk(disk, _SPARE_MB))
            yield Database(f"sqlite:///{disk}/limits.db", disk=small)
        return
    with database(fault, space, clocked=clock is not None and drill.target == DATABASE) as made:
        yield made


def _target(
    drill: Drill, mark: Mark, serving: Serving, store: Database, space: str, clock: Path | None
) -> ProcessTarget:
    if drill.target == DATABASE:
        return store.target
    link = Link(space, "lo") if space else None
    every = r"server\.(worker|cli serve)"
    if drill.target == WORKER:

        def one() -> list[int]:
            return mark.pids(r"server\.worker")[:1]

        return ProcessTarget(
            WORKER,
            _same(one),
            whys={
                "disk": "its disk is the service's",
                "link": "its link is the service's",
                "clock": "as the service's",
            },
        )
    return ProcessTarget(
        SERVICE,
        lambda: mark.pids(every),
        disk=store.disk,
        link=link,
        clock=clock,
        again=serving.start,
    )


def _same(find: Callable[[], list[int]]) -> Callable[[], list[int]]:
    """Return a search that finds the second time whom it found the first time."""
    known: list[int] = []

    def found() -> list[int]:
        known.extend(find() if not known else ())
        return known

    return found


def quick() -> list[Drill]:
    """Return the drills of the tests, over SQLite."""
    of = {SERVICE: ("kill", "pause", "full-disk", "clock-behind"), WORKER: ("kill",)}
    return [
        Drill("limits-sqlite", fault, target, PHASE)
        for target, faults in of.items()
        for fault in faults
    ]


def full() -> list[Drill]:
    """Return every fault of service, worker and database."""
    of = {"limits-sqlite": (SERVICE, WORKER), "limits-postgresql": (SERVICE, WORKER, DATABASE)}
    return [
        Drill(system, fault, target, PHASE)
        for system, targets in of.items()
        for target in targets
        for fault in FAULTS
    ]
