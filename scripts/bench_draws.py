"""Time draws over HTTP: `confide serve` with two workers, an open loop of 300 a second.

    python scripts/bench_draws.py --json draws.json

Requests are sent when a schedule says, whether or not earlier ones were answered, and how long each
took counts from the instant at which it was to be sent: a service that stalls cannot hide it. The
client is one process on the same cores. PostgreSQL is a server of its own with `fsync` on, in a
temporary folder on the disk; SQLite (`synchronous=FULL`) is measured beside it, and pgbench with a
transaction of as many statements, at the same rate, on the same server. At the end no draw that was
answered may be missing or doubled, and every balance must equal its events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from _bench import Bar, load, machine, show_bars, show_mapping, spread, versions, write_json
from bench_limits import FEATURES, PARTIES, POINTS, make_world

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.accounts.customers import ConsentRequest, give_consent, report_bureau
from server.accounts.desk import open_desk
from server.accounts.dossier import BureauReport
from server.accounts.opening import open_line
from server.accounts.scores import HOME
from server.api.tokens import KEY_FILE, OFFLINE, Caller, Role, make_keys, mint
from server.store import checks
from server.store.engine import open_store
from server.store.tables import DRAWDOWNS, LINES
from shared.feed import FeedRow, pack_feed
from tests import postgres

MOST_P99_MS = 50.0
AMOUNT_MINOR = 10_000
BODY = {"amount_minor": AMOUNT_MINOR, "currency": "CNY", "purpose": "daily", "months": 3}
CONNECTIONS = 64
RUN = os.urandom(4).hex()
PGBENCH = Path(__file__).with_name("bench_draws.sql")
FILL = Path(__file__).with_name("bench_draws_fill.sql")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class World:
    """A federation whose customers all have lines.

    Parameters
    ----------
    folder : Path
    url : str
        Of the store.
    lines : list of (str, str)
        Line and its customer.
    """

    folder: Path
    url: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    @property
    def tokens(self) -> list[str]:
        """A fresh access token for each line's customer: they live for a quarter of an hour."""
        keys, now = make_keys(self.folder / HOME / KEY_FILE), datetime.now(UTC)
        return [mint(keys, Caller(OFFLINE, Role.CUSTOMER, who), now) for _, who in self.lines]


def make_lines(folder: Path, url: str, count: int) -> World:
    """Return a federation with a champion, feeds, and a line for each customer."""
    federation, people, manifest = make_world(folder)
    desk = open_desk(folder, federation, url, create=True)
    names = [os.urandom(32).hex() for _ in range(count)]
    now = datetime.now(UTC)
    for party in PARTIES:
        rows = [FeedRow(name, FEATURES * max(POINTS), ()) for name in sorted(names)]
        raw = pack_feed(
            people[party],
            rows,
            federation=federation,
            release=manifest,
            as_of=f"{now:%Y-%m-%d}",
            created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )
        desk.scores.feeds.accept(raw, desk.scores.clock(), party=party)
    world = World(folder, url)
    for name in names:
        with desk.store.write() as db:
            agreed = ConsentRequest(name, "credit_line", PARTIES, ("repayment",))
            give_consent(desk, db, agreed, desk.clock())
            seen = BureauReport(name, desk.today(desk.clock()))
            report_bureau(desk, db, seen, desk.clock())
            done = open_line(desk, db, name, "revolving_consumer", desk.clock(), "customer:bench")
        if done.line is None:
            raise SystemExit("a line of the bench was declined")
        world.lines.append((done.line.id, name))
    desk.store.close()
    return world


@contextmanager
def serving(world: World, workers: int) -> Iterator[tuple[int, int]]:
    """Run `confide serve`; give its port and the id of its process."""
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--format", "json"]
    command += ["--federation", str(world.folder / "federation.toml"), "--store", world.url]
    command += ["--workers", str(workers)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        told = b""
        while server.stdout is not None and (line := server.stdout.readline()):
            told += line
            if line == b"}\n":
                break
        yield int(json.loads(told)["data"]["port"]), server.pid
    finally:
        server.terminate()
        server.wait(30)


class Line(asyncio.Protocol):
    """A kept connection that has one request at a time on it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waits: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, raw: bytes) -> asyncio.Future[tuple[int, bytes]]:
        assert self._transport is not None
        self._waits = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return self._waits

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) >= length and self._waits is not None:
            self._buffer.clear()
            self._waits.set_result((int(head[9:12]), rest))

    def connection_lost(self, _: Exception | None) -> None:
        if self._waits is not None and not self._waits.done():
            self._waits.set_exception(ConnectionError("the service hung up"))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()


@dataclass
class Loop:
    """An open loop: requests at their instants, and what became of them.

    Parameters
    ----------
    port : int
    late_ms : list of float
        From the instant at which each was to be sent until its answer was there.
    sent_late_ms : list of float
        How late the client itself was.
    statuses : Counter
    drawn : list of (str, str)
        Id and line of every draw that was answered 201.
    """

    port: int
    late_ms: list[float] = field(default_factory=list)
    sent_late_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    drawn: list[tuple[str, str]] = field(default_factory=list)
    idle: list[Line] = field(default_factory=list)

    async def run(self, requests: list[tuple[str, bytes]], rate: float) -> None:
        """Send every request at its instant."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            self.idle.append(await self._connect())
        start, tasks = loop.time() + 0.1, []
        for number, (line, raw) in enumerate(requests):
            due = start + number / rate
            await asyncio.sleep(due - loop.time())
            tasks.append(asyncio.create_task(self._one(line, raw, due)))
        await asyncio.gather(*tasks)

    async def _one(self, line: str, raw: bytes, due: float) -> None:
        loop = asyncio.get_running_loop()
        kept = self.idle.pop() if self.idle else await self._connect()
        if not kept.is_open:
            kept = await self._connect()
        self.sent_late_ms.append((loop.time() - due) * 1e3)
        try:
            status, body = await kept.ask(raw)
        except ConnectionError:
            status, body = 0, b""
        self.late_ms.append((loop.time() - due) * 1e3)
        self.statuses[status] += 1
        if status == 201:
            self.drawn.append((json.loads(body)["drawdown_id"], line))
        self.idle.append(kept)

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Line, "127.0.0.1", self.port)
        return made


def draws(world: World, count: int, choose: random.Random) -> list[tuple[str, bytes]]:
    """Return requests on lines at random, each with its line."""
    body, tokens = json.dumps(BODY).encode(), world.tokens
    made = []
    for number in range(count):
        at = choose.randrange(len(world.lines))
        line = world.lines[at][0]
        head = (
            f"POST /v1/lines/{line}/drawdowns HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {tokens[at]}\r\n"
            f"Idempotency-Key: {RUN}-{choose.randrange(2**32):08x}-{number}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append((line, head.encode() + body))
    return made


def tree_cpu(root: int) -> float:
    """Return CPU seconds of a process and all below it."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    family = {root}
    while more := {one for one, above in parents.items() if above in family} - family:
        family |= more
    return sum(ticks.get(one, 0) for one in family) / TICK


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99, "p999_ms": 0.999}
    found = {name: round(ordered[int(share * (len(ordered) - 1))], 2) for name, share in at.items()}
    return {**found, "max_ms": round(ordered[-1], 2)}


def measure(world: World, words: argparse.Namespace) -> dict[str, Any]:
    """Serve the world, draw in several runs, and check the store at the end."""
    runs, drawn = [], []
    with serving(world, words.workers) as (port, pid):
        warm = Loop(port)
        asyncio.run(warm.run(draws(world, round(words.rate * 2), random.Random(0)), words.rate / 4))
        drawn += warm.drawn
        for number in range(words.runs):
            client, count = Loop(port), round(words.rate * words.seconds)
            wanted = draws(world, count, random.Random(number + 1))
            cpu, own = tree_cpu(pid), time.process_time()
            began = time.perf_counter()
            asyncio.run(client.run(wanted, words.rate))
            took = time.perf_counter() - began
            drawn += client.drawn
            runs.append(
                {
                    **quantiles(client.late_ms),
                    "sent_late": quantiles(client.sent_late_ms),
                    "a_second": round(count / took, 1),
                    "statuses": dict(client.statuses),
                    "server_cpu_ms_a_draw": round((tree_cpu(pid) - cpu) / count * 1e3, 3),
                    "client_cpu_ms_a_draw": round((time.process_time() - own) / count * 1e3, 3),
                    "load": load(),
                }
            )
    names = ("p50_ms", "p90_ms", "p99_ms", "server_cpu_ms_a_draw")
    return {
        **{name: spread([run[name] for run in runs], 2) for name in names},
        "refused": sum(
            count for run in runs for status, count in run["statuses"].items() if status != 201
        ),
        **audited(world, drawn),
        "runs": runs,
    }


def audited(world: World, drawn: list[tuple[str, str]]) -> dict[str, Any]:
    """Return what the store says of the draws that were answered: lost, doubled, out of balance."""
    store = open_store(world.url)
    with store.read() as db:
        kept = {row.id: row for row in db.execute(sa.select(DRAWDOWNS))}
        owed = {row.id: row.outstanding_minor for row in db.execute(sa.select(LINES))}
        wrong = checks.findings(db)
    store.close()
    answered = Counter(one for one, _ in drawn)
    by_line = Counter(line for _, line in drawn)
    out = [line for line, _ in world.lines if owed[line] != AMOUNT_MINOR * by_line[line]]
    return {
        "answered": len(drawn),
        "kept": len(kept),
        "lost": sum(one not in kept for one in answered),
        "doubled": len(kept) - len(answered) + sum(count - 1 for count in answered.values()),
        "lines_out_of_balance": len(out),
        "findings": wrong,
    }


def pgbench(server: postgres.Server, words: argparse.Namespace) -> dict[str, Any] | None:
    """Return what pgbench does with a transaction of the same shape, at the same rate."""
    folder = postgres.programs()
    if folder is None or not (folder / "pgbench").exists():
        return None
    server.run("CREATE DATABASE pgbench")
    where = ["-h", str(server.folder), "-p", str(server.port), "-U", "confide"]
    fill = [str(folder / "psql"), *where, "-q", "-v", "ON_ERROR_STOP=1"]
    fill += ["-v", f"lines={words.lines}", "-d", "pgbench", "-f", str(FILL)]
    subprocess.run(fill, check=True, capture_output=True, timeout=120)
    found = []
    for _ in range(words.runs):
        with tempfile.TemporaryDirectory() as logs:
            command = [str(folder / "pgbench"), *where, "-n", "-M", "prepared", "-f", str(PGBENCH)]
            command += ["-c", "16", "-j", "1", "-R", str(words.rate), "-T", str(words.seconds)]
            command += ["-D", f"lines={words.lines}", "-l", "--log-prefix", f"{logs}/log"]
            command += ["pgbench"]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            # Of each transaction: client, number, microseconds since it was due, ...
            rows = [line.split() for log in Path(logs).iterdir() for line in log.open()]
            found.append(quantiles([int(row[2]) / 1e3 for row in rows]))
    return {name: spread([one[name] for one in found], 2) for name in ("p50_ms", "p99_ms")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=300, help="draws a second")
    parser.add_argument("--seconds", type=int, default=30, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=("postgresql", "sqlite"))
    parser.add_argument("--json", type=Path, help="where to write the report")
    words = parser.parse_args()
    report: dict[str, Any] = {
        "schema": "confide/bench-draws/1",
        "machine": machine(),
        "versions": versions("fastapi", "uvicorn", "sqlalchemy", "psycopg"),
        "load": load(),
        "settings": {name: getattr(words, name) for name in ("rate", "seconds", "runs", "lines")}
        | {"workers": words.workers, "connections": CONNECTIONS},
    }
    bars: list[Bar] = []
    with ExitStack() as stack:
        if words.only != "sqlite":
            why = postgres.missing()
            if why:
                raise SystemExit(why)
            server = stack.enter_context(postgres.running(tempfile.gettempdir()))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="confide-")))
            world = make_lines(folder, server.new_database(), words.lines)
            report["postgresql"] = measure(world, words)
            report["pgbench"] = pgbench(server, words)
            bars += told(report["postgresql"])
        if words.only != "postgresql":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="confide-")))
            world = make_lines(folder, f"sqlite:///{folder}/limits.db", words.lines)
            report["sqlite"] = measure(world, words)
            bars += told(report["sqlite"])[1:]
    report["load_after"] = load()
    report["bars"] = [bar.to_mapping() for bar in bars]
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    for part in ("postgresql", "pgbench", "sqlite"):
        if report.get(part):
            print(f"\n{part}")
            show_mapping({k: v for k, v in report[part].items() if k != "runs"})
    print()
    met = show_bars(bars)
    write_json(words.json, report)
    return 0 if met else 1


def told(found: dict[str, Any]) -> list[Bar]:
    """Return the bars: the time of draws first, then what must be nothing."""
    wrong = len(found["findings"]) + found["lines_out_of_balance"]
    return [
        Bar("p99 of draws, ms", found["p99_ms"]["median"], "<", MOST_P99_MS),
        Bar("draws refused", found["refused"], "<=", 0),
        Bar("draws lost", found["lost"], "<=", 0),
        Bar("draws doubled", found["doubled"], "<=", 0),
        Bar("balances that are not their events", wrong, "<=", 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
