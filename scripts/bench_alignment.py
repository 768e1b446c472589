"""Alignment of two parties: our backends and plain openmined-psi, side by side in one run.

Each run starts two processes, one a party, half of whose ids are common. `x25519` and `p256` run
the whole of `shared.protocols.align` (shuffle, masks, coordinator, positions, check of the order):
both parties learn the intersection. `openmined` runs the package's own client and server over a
pipe, without sockets, seals or a coordinator: only its client learns the intersection.

openmined-psi pins a protobuf that confide's own dependencies exclude. Give it an environment of its
own and name its interpreter:

    python -m venv psi && psi/bin/pip install openmined-psi
    python scripts/bench_alignment.py --openmined-python psi/bin/python --json alignment.json
"""

from __future__ import annotations

import argparse
import inspect
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _bench import ended_cpu, load, machine, peak_rss_mb, show_mapping, spread, versions, write_json

from shared.channel import Frame, QueueChannel
from shared.groups import DEFAULT_GROUP, GROUPS, in_process
from shared.protocols.align import AlignJob, align_coordinator, align_party

PARTIES = ("bank", "payments")
COORDINATOR = "coordinator"
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Result:
    """One run of one backend.

    `cpu` and `wall` in seconds, `cpu` of all processes together; `sent` in bytes, all messages;
    `rss` is the largest peak of one process in MiB; `common` counts what was found.
    """

    wall: float
    cpu: float
    sent: int
    rss: float
    common: int


def ids_of(place: int, size: int) -> list[str]:
    """Return `size` ids, half of which the other place holds too."""
    first = place * (size // 2)
    return [f"customer-{number:012d}" for number in range(first, first + size)]


def job_of(group: str, size: int) -> AlignJob:
    return AlignJob("bench", PARTIES, PARTIES[0], COORDINATOR, group, size, 1)


def connect(me: str, inboxes: dict[str, Any]) -> QueueChannel:
    def carry(frame: Frame) -> None:
        inboxes[frame.recipient].put(frame)

    return QueueChannel(me, set(inboxes) - {me}, inboxes[me], carry, deadline=250.0)


def run_party(
    name: str, job: AlignJob, inboxes: dict[str, Any], start: Any, results: Any, workers: int
) -> None:
    """Be one party in a process of its own."""
    ids = ids_of(PARTIES.index(name), job.max_ids)
    channel = connect(name, inboxes)
    pool = ProcessPoolExecutor(workers, mp_context=SPAWN) if workers > 1 else None
    mapper = pool.map if pool else in_process
    if pool:
        list(pool.map(abs, range(workers)))
    start.wait()
    before = ended_cpu()
    alignment = align_party(channel, job, ids, mapper=mapper)
    end = time.monotonic()
    if pool:
        pool.shutdown()
    sent = channel.traffic.total_sent
    results.put((end, ended_cpu() - before, sent, peak_rss_mb(), len(alignment.positions)))


def run_ours(group: str, workers: int, size: int) -> Result:
    """Align with one of our backends."""
    job = job_of(group, size)
    inboxes: dict[str, Any] = {name: SPAWN.Queue() for name in (*PARTIES, COORDINATOR)}
    start, results = SPAWN.Barrier(3), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=run_party, args=(name, job, inboxes, start, results, workers))
        for name in PARTIES
    ]
    for process in processes:
        process.start()
    channel = connect(COORDINATOR, inboxes)
    start.wait()
    begin, before = time.monotonic(), time.process_time()
    align_coordinator(channel, job)
    cpu = time.process_time() - before
    rows = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return Result(
        wall=max(row[0] for row in rows) - begin,
        cpu=cpu + sum(row[1] for row in rows),
        sent=channel.traffic.total_sent + sum(row[2] for row in rows),
        rss=max(row[3] for row in rows),
        common=rows[0][4],
    )


def openmined_main(size: int) -> None:
    """Run openmined-psi alone: this source is also handed to an interpreter without confide."""
    import json  # noqa: PLC0415
    import multiprocessing  # noqa: PLC0415
    import resource  # noqa: PLC0415
    import time  # noqa: PLC0415
    from multiprocessing.connection import Connection  # noqa: PLC0415
    from multiprocessing.synchronize import Barrier  # noqa: PLC0415

    import private_set_intersection.python as psi  # noqa: PLC0415

    def ids(place: int) -> list[str]:
        first = place * (size // 2)
        return [f"customer-{number:012d}" for number in range(first, first + size)]

    def usage(before: float) -> tuple[float, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return time.process_time() - before, peak

    def serve(pipe: Connection, start: Barrier) -> None:
        own = ids(1)
        start.wait()
        before = time.process_time()
        server = psi.server.CreateWithNewKey(True)
        setup = server.CreateSetupMessage(1e-9, size, own, psi.DataStructure.RAW)
        pipe.send_bytes(setup.SerializeToString())
        request = psi.Request()
        request.ParseFromString(pipe.recv_bytes())
        pipe.send_bytes(server.ProcessRequest(request).SerializeToString())
        pipe.send(usage(before))

    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(2)
    pipe, other = fork.Pipe()
    server = fork.Process(target=serve, args=(other, start))
    server.start()
    own = ids(0)
    start.wait()
    begin, before = time.monotonic(), time.process_time()
    client = psi.client.CreateWithNewKey(True)
    request = client.CreateRequest(own).SerializeToString()
    setup, response = psi.ServerSetup(), psi.Response()
    # The server speaks first; with both sides writing at once a full pipe would lock them.
    raw_setup = pipe.recv_bytes()
    pipe.send_bytes(request)
    raw_response = pipe.recv_bytes()
    setup.ParseFromString(raw_setup)
    response.ParseFromString(raw_response)
    common = client.GetIntersection(setup, response)
    wall = time.monotonic() - begin
    (cpu, rss), (server_cpu, server_rss) = usage(before), pipe.recv()
    server.join()
    sent = len(request) + len(raw_setup) + len(raw_response)
    row = (wall, cpu + server_cpu, sent, max(rss, server_rss), len(common))
    print(json.dumps(row))


def run_openmined(python: str, size: int) -> Result:
    """Run openmined-psi under an interpreter that has it."""
    source = inspect.getsource(openmined_main)
    command = [python, "-c", f"{source}\nopenmined_main({size})"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return Result(*json.loads(finished.stdout))


def openmined_version(python: str) -> str | None:
    """Return the version of openmined-psi that an interpreter has, if any."""
    code = (
        "import private_set_intersection.python as p, importlib.metadata as m;"
        "print(m.version('openmined-psi'))"
    )
    found = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def steps_per_id(group: str, size: int, repeats: int = 5) -> dict[str, float]:
    """Return microseconds of CPU an id of each step, the best of several."""
    backend = GROUPS[group]
    ids = [text.encode() for text in ids_of(0, size)]
    exponent = backend.fresh_exponent()
    points = backend.hash_to_group(ids, b"bench")
    foreign = backend.mask(points, backend.fresh_exponent(), own=True)
    steps: dict[str, Callable[[], bytes]] = {
        "hash": lambda: backend.hash_to_group(ids, b"bench"),
        "mask": lambda: backend.mask(points, exponent, own=True),
        "remask": lambda: backend.mask(foreign, exponent),
        "remask_unchecked": lambda: backend.mask(foreign, exponent, own=True),
    }
    return {name: best_time(step, repeats) / size * 1e6 for name, step in steps.items()}


def best_time(step: Callable[[], bytes], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        before = time.process_time()
        step()
        times.append(time.process_time() - before)
    return min(times)


def summary(size: int, results: list[Result]) -> dict[str, Any]:
    """Return medians with their spread."""
    return {
        "ids": size,
        "common": results[0].common,
        "ids_per_second_a_core": spread([size / result.cpu for result in results]),
        "wall_seconds": spread([result.wall for result in results]),
        "cpu_seconds": spread([result.cpu for result in results]),
        "bytes_per_id": spread([result.sent / size for result in results]),
        "peak_rss_mb": spread([result.rss for result in results]),
    }


def show(name: str, row: dict[str, Any]) -> None:
    rate, wall = row["ids_per_second_a_core"], row["wall_seconds"]
    print(
        f"{row['ids']:>9} {name:<10}"
        f" {rate['median']:>9.0f} ({rate['min']:.0f} to {rate['max']:.0f})"
        f" {wall['median']:>9.2f} ({wall['min']:.2f} to {wall['max']:.2f})"
        f" {row['bytes_per_id']['median']:>8.1f} {row['peak_rss_mb']['median']:>8.0f}",
        flush=True,
    )


def backends(arguments: argparse.Namespace) -> dict[str, Callable[[int], Result]]:
    """Return what is compared: a name and a function of the size."""
    table: dict[str, Callable[[int], Result]] = {
        group: partial(run_ours, group, arguments.workers) for group in GROUPS
    }
    found = openmined_version(arguments.openmined_python)
    if found:
        print(f"openmined-psi {found}")
        table["openmined"] = partial(run_openmined, arguments.openmined_python)
    else:
        print("openmined-psi is absent. It pins protobuf, so give it an environment of its own:")
        print("  python -m venv psi && psi/bin/pip install openmined-psi")
        print("  and pass --openmined-python psi/bin/python")
    return {name: run for name, run in table.items() if name in arguments.backends}


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=[*GROUPS, "openmined"])
    parser.add_argument("--workers", type=int, default=1, help="processes a party masks with")
    parser.add_argument("--openmined-python", default=sys.executable)
    parser.add_argument("--step-ids", type=int, default=4096, help="ids that single steps take")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("cryptography", "gmpy2", "numpy"),
        "load": load(),
        "default": DEFAULT_GROUP,
        "runs": {},
    }
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    table = backends(arguments)
    report["steps_us_per_id"] = {
        name: steps_per_id(name, arguments.step_ids) for name in GROUPS if name in table
    }
    for name, steps in report["steps_us_per_id"].items():
        print(f"{name}: us an id: " + ", ".join(f"{k} {v:.1f}" for k, v in steps.items()))
    print("      ids backend    ids/s a core (all parties)  wall s, 2 processes  bytes/id  RSS MiB")
    for size in arguments.sizes:
        results: dict[str, list[Result]] = {name: [] for name in table}
        # Backends take turns, so that a busy minute of the machine does not fall on one alone.
        for _ in range(arguments.repeats):
            for name, run in table.items():
                results[name].append(run(size))
                print(f"  {size} {name}: {results[name][-1]}", file=sys.stderr, flush=True)
        for name, runs in results.items():
            row = summary(size, runs)
            report["runs"].setdefault(name, []).append(row)
            show(name, row)
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
