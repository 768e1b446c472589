"""Time the store: draws and repayments in process on SQLite and PostgreSQL, pgbench beside them.

    python scripts/bench_store.py --seconds 5 --json store.json

A draw is one transaction: the conditional update of the line, hold, drawdown, two shares and event,
on a line chosen at random, flushed to the disk when it is answered (`synchronous=FULL`, `fsync`).
PostgreSQL is a server of its own in a temporary folder on the disk. pgbench's `tpcb-like` (five
statements, flushed) on the same server, by as many clients, shows what the machine gives.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

from _bench import load, machine, show_mapping, spread, versions, write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.store import checks, draws, idempotency, lines, repayments
from server.store.draws import Share, Terms
from server.store.engine import Store, open_store
from server.store.holds import HoldRequest
from server.store.idempotency import Answer, Claim, Request
from server.store.lines import NewLine
from server.store.repayments import RepaymentRequest
from tests import postgres

LINES = 2_000
TERMS = Terms([Share("own", 30), Share("bank", 70)], "policy", "model", {"apr": "0.12"})
NUMBERS: Iterator[int] = count(1)
RUN = os.urandom(4).hex()


def now() -> datetime:
    return datetime.now(UTC)


def fill(store: Store) -> None:
    """Open the lines that are drawn on."""
    with store.write() as db:
        for number in range(LINES):
            new = NewLine(
                id=f"line-{number}",
                customer_id=f"customer-{number}",
                product="revolving",
                currency="CNY",
                state="ACTIVE",
                may_draw=True,
                limit_minor=10**9,
                domain={"windows": [], "base": 10**9},
                policy_ref="policy",
                model_ref="model",
                ref=f"decision-{number}",
            )
            lines.open_line(db, new, now())


def draw(store: Store, line: str) -> None:
    asked = HoldRequest(f"{RUN}-{next(NUMBERS)}", line, 100, "CNY", "shopping")
    with store.write() as db:
        draws.draw(db, asked, TERMS, now())


def draw_with_key(store: Store, line: str) -> None:
    """The same under an idempotency key: a claim, then effect and answer in one transaction."""
    number = next(NUMBERS)
    request = Request(f"{RUN}-{number}", "POST /v1/holds", "kim", "a" * 64)
    with store.guard() as db:
        made = idempotency.claim(db, request, now())
    assert isinstance(made, Claim)
    asked = HoldRequest(f"{RUN}-{number}", line, 100, "CNY", "shopping")
    with store.write() as db:
        draws.draw(db, asked, TERMS, now())
        idempotency.finish(db, made, Answer(201, {}, b'{"drawn": true}' * 20))


def repay(store: Store, line: str) -> None:
    name = f"{RUN}-{next(NUMBERS)}"
    asked = RepaymentRequest(name, name, line, 1, "CNY", date(2026, 3, 1))
    with store.write() as db:
        repayments.repay(db, asked, now())


def measure(
    store: Store, act: Callable[[Store, str], None], clients: int, seconds: float
) -> dict[str, Any]:
    """Let threads act until the time is over; return how many a second, and how long each took."""
    until = time.perf_counter() + seconds
    took: list[list[float]] = [[] for _ in range(clients)]

    def client(number: int) -> None:
        choose = random.Random(number)
        while time.perf_counter() < until:
            start = time.perf_counter()
            act(store, f"line-{choose.randrange(LINES)}")
            took[number].append(time.perf_counter() - start)

    start, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    spent, every = time.perf_counter() - start, sorted(one for own in took for one in own)
    return {
        "clients": clients,
        "a_second": round(len(every) / spent, 1),
        "cpu_milliseconds": round((time.process_time() - cpu) / len(every) * 1e3, 3),
        "milliseconds": spread([one * 1e3 for one in every]),
        "p99_milliseconds": round(every[int(len(every) * 0.99)] * 1e3, 2),
    }


def pgbench(server: postgres.Server, clients: int, seconds: float) -> dict[str, Any] | None:
    """Return what pgbench reaches on the same server, or None without it."""
    folder = postgres.programs()
    if folder is None or not (folder / "pgbench").exists():
        return None
    server.run("CREATE DATABASE pgbench")
    where = ["-h", str(server.folder), "-p", str(server.port), "-U", "confide"]
    base = [str(folder / "pgbench"), *where]
    fill_it = [*base, "-i", "-s", "10", "pgbench"]
    subprocess.run(fill_it, check=True, capture_output=True, timeout=120)
    words = ["-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds))), "-M", "prepared"]
    command = [*base, *words, "pgbench"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    return {"clients": clients, "a_second": round(float(found[1]), 1) if found else None}


def bench(store: Store, clients: list[int], seconds: float) -> dict[str, Any]:
    """Measure each act with each number of clients; every balance must equal its events after."""
    fill(store)
    acts = {"draw": draw, "draw_with_key": draw_with_key, "repay": repay}
    found: dict[str, Any] = {}
    for name, act in acts.items():
        for number in clients:
            measure(store, act, number, 0.2)
            found[f"{name}_{number}"] = measure(store, act, number, seconds)
    with store.read() as db:
        start = time.perf_counter()
        wrong = checks.findings(db)
        found["check_seconds"] = round(time.perf_counter() - start, 2)
    assert wrong == [], wrong
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--json", type=Path, help="where to write the report")
    words = parser.parse_args()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("sqlalchemy", "psycopg"),
        "load": load(),
        "settings": {"lines": LINES, "seconds": words.seconds},
    }
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="confide-"))
        small = open_store(f"sqlite:///{folder}/limits.db", create=True)
        report["sqlite"] = bench(small, words.clients, words.seconds)
        small.close()
        why = postgres.missing()
        if why:
            print(f"PostgreSQL was not measured: {why}")
        else:
            server = stack.enter_context(postgres.running(tempfile.gettempdir()))
            report["pgbench"] = pgbench(server, max(words.clients), words.seconds)
            large = open_store(server.new_database(), create=True, pool=max(words.clients))
            report["postgresql"] = bench(large, words.clients, words.seconds)
            large.close()
    for kind in ("sqlite", "postgresql"):
        print(kind)
        show_mapping(report.get(kind) or {"not": "measured"})
    show_mapping({"pgbench tpcb-like": report.get("pgbench")})
    report["load_after"] = load()
    write_json(words.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
