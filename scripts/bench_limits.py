"""Time the limit service: decisions and reviews in process, feeds, GET /limit of a real server.

    python scripts/bench_limits.py --customers 1000000 --lines 1000000 --json limits.json

A federation of four with keys of its own signs a release and feeds of that many customers. In
process, a decision alone and the whole answer (look up, add up, decide) are timed on one core.
Feeds are timed from signed bytes to memory. Over HTTP, `confide serve` runs in a process of its
own; a plain Starlette answer of the same length, in the same run, shows what HTTP itself costs.

The review of `--lines` lines (caps from the score, then the line) goes through columns in two
processes; a sample of them is reviewed one by one in the same run and must not differ. `--only`
leaves out the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from _batch import measure_batch
from _bench import (
    Bar,
    load,
    machine,
    peak_rss_mb,
    show_bars,
    show_mapping,
    spread,
    versions,
    write_json,
)

from server.accounts.scores import HOME, LimitService, load_policy
from server.api.throttle import RATES_FILE
from server.api.tokens import KEY_FILE, OFFLINE, Caller, Role, make_keys, mint
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Share
from server.releases.registry import Registry
from shared.config import Federation, parse_federation
from shared.feed import FeedRow, pack_feed
from shared.identity import Identity
from shared.release import Manifest, Release, Signatory, expiry_of, release_name, sign_manifest
from shared.scorecard.calibration import Calibration
from shared.scorecard.card import Card, Line
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import PRODUCT_SCALE

PARTIES = ("bank", "bureau", "ecommerce", "payments")
FEATURES = 6
COMBINATIONS = 4_000
POINTS = (0, 4, 9, 15)
MIN_DECISIONS = 20_000
MOST_SECONDS = 25.0
SAMPLE = 20_000
PARTS = ("service", "batch")
CONTRACT = hashlib.sha256(b"bench").hexdigest()
PLAIN = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = b"x" * int(sys.argv[2])
async def answer(request):
    return Response(body)
app = Starlette(routes=[Route("/plain", answer)])
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="error")
"""


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def make_card() -> Card:
    """Return a card of 24 lines, six a party, that reaches every grade."""
    mean = sum(POINTS) / len(POINTS)
    lines = tuple(
        Line(party, (f"{party}_{k}",), f"{party}_{k}".upper(), tuple("0123"), POINTS, (1.0,), mean)
        for party in PARTIES
        for k in range(FEATURES)
    )
    return Card(
        contract=CONTRACT,
        rows=10_000,
        bad_rate=0.1,
        points_kept=len(lines) * 3,
        penalty=0.01,
        cp=0.0,
        explained=0.1,
        lines=lines,
        scale=PRODUCT_SCALE,
        baseline=Baseline("mean", {line.reason: mean for line in lines}),
        calibration=Calibration((0, 360), (1.0, -7.0), -0.022),
    )


def make_world(folder: Path) -> tuple[Federation, dict[str, Identity], Manifest]:
    """Write a federation with a champion; return it, its keys and the manifest."""
    people = {name: Identity(name, os.urandom(32)) for name in (*PARTIES, "coordinator")}
    text = 'name = "bench"\nbuilder = "bank"\ncontract = "contract.toml"\n'
    for name, identity in people.items():
        table = name if name == "coordinator" else f"parties.{name}"
        text += f'[{table}]\nfingerprint = "{identity.fingerprint}"\n'
    (folder / "federation.toml").write_text(text)
    federation, _ = parse_federation(text, "federation.toml", {})
    card, created = make_card(), now()
    manifest = Manifest(
        name=release_name(1),
        counter=1,
        created=created,
        expires=expiry_of(created, federation),
        parent="",
        federation=federation.name,
        agreement=federation.agreement(CONTRACT),
        contract=CONTRACT,
        run="bench",
        parties={
            name: Signatory(people[name].fingerprint, "0" * 64, 0, 0.1, card.baseline_points(name))
            for name in PARTIES
        },
        model=card,
        evaluation={},
    )
    raw = manifest.to_bytes()
    release = Release(manifest, {name: sign_manifest(people[name], raw) for name in PARTIES})
    registry = Registry(folder / "releases")
    registry.take(release, federation, created)
    registry.promote(manifest.name, federation, created, "bench")
    return federation, people, manifest


def make_rows(party: str, names: list[str], rng: random.Random) -> list[FeedRow]:
    """Return a row for each customer, its bins one of some thousand combinations at random."""
    mean = sum(POINTS) / len(POINTS)
    known = []
    for _ in range(COMBINATIONS):
        bins = rng.choices(POINTS, k=FEATURES)
        lost = [
            (f"{party}_{k}".upper(), round(mean - points))
            for k, points in enumerate(bins)
            if points < mean
        ]
        lost.sort(key=lambda one: (-one[1], one[0]))
        known.append((sum(bins), tuple(lost[:4])))
    return [
        FeedRow(name, *one)
        for name, one in zip(names, rng.choices(known, k=len(names)), strict=True)
    ]


def measure_feeds(
    service: LimitService, people: dict[str, Identity], manifest: Manifest, names: list[str]
) -> dict[str, Any]:
    """Give the service a feed of each party; return seconds from signed bytes to memory."""
    rng = random.Random(1)
    took, spent, sizes = [], [], []
    for party in PARTIES:
        raw = pack_feed(
            people[party],
            make_rows(party, names, rng),
            federation=service.federation,
            release=manifest,
            as_of=now()[:10],
            created=now(),
        )
        sizes.append(len(raw))
        start, cpu = time.perf_counter(), time.process_time()
        service.feeds.accept(raw, service.clock())
        took.append(time.perf_counter() - start)
        spent.append(time.process_time() - cpu)
        del raw
    held = sum(feed.index.size for feed in service.feeds.shelf.in_use.values())
    return {
        "megabytes_a_feed": round(sum(sizes) / len(sizes) / 1e6, 1),
        "accept_seconds_a_feed": spread(took),
        "accept_cpu_seconds_a_feed": spread(spent),
        "bytes_held_a_customer_and_party": round(held / len(names) / len(PARTIES), 1),
        "megabytes_held": round(held / 1e6, 1),
    }


def measure_restart(folder: Path, federation: Federation) -> dict[str, float]:
    """Return seconds until a new service has verified and loaded everything."""
    start, cpu = time.perf_counter(), time.process_time()
    fresh = LimitService(folder, federation, *load_policy(None))
    fresh.start()
    return {
        "start_seconds": round(time.perf_counter() - start, 2),
        "start_cpu_seconds": round(time.process_time() - cpu, 2),
    }


def rate(work: Any, repeats: int, count: int) -> dict[str, float]:
    """Return how often a second of CPU time something is done, over several repeats."""
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        rates.append(count / (time.process_time() - start))
    return spread(rates, 0)


def measure_decisions(service: LimitService, names: list[str], repeats: int) -> dict[str, Any]:
    """Return decisions and whole answers a second on one core."""
    rng = random.Random(2)
    wanted = rng.choices(names, k=20_000)
    release, scorer, shelf = service.serving(service.clock())
    del release
    snapshots = [
        scorer.snapshot(found.shares, found.missing)
        for found in (shelf.find(name, PARTIES, service.clock()) for name in wanted)
    ]
    inputs = Inputs(date.today())  # noqa: DTZ011 - any day will do
    policy, pack = service.policy, service.pack

    def deciding() -> None:
        for snapshot in snapshots:
            decide(policy, pack, snapshot, inputs)

    shares = {party: Share(30, ((f"{party}_0".upper(), 7),)) for party in PARTIES}

    def scoring() -> None:
        for _ in wanted:
            scorer.snapshot(shares, {})

    def answering() -> None:
        for name in wanted:
            service.limit(name)

    return {
        "decide_per_second": rate(deciding, repeats, len(wanted)),
        "snapshot_per_second": rate(scoring, repeats, len(wanted)),
        "look_up_score_and_decide_per_second": rate(answering, repeats, len(wanted)),
    }


def get_all(port: int, paths: list[str], token: str = "") -> list[float]:
    """Return milliseconds of each GET over one kept connection."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for path in paths:
        start = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - start) * 1e3)
        if answer.status != 200:
            raise SystemExit(f"GET {path}: {answer.status}")
    connection.close()
    return took


def quantiles(values: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99}
    cut = {name: round(ordered[int(share * (len(ordered) - 1))], 3) for name, share in at.items()}
    return {**cut, "requests_per_second": round(len(values) / seconds)}


def over_http(port: int, paths: list[str], connections: int, token: str = "") -> dict[str, float]:
    """Return quantiles of GETs over several connections at once."""
    results: list[list[float]] = []
    share = len(paths) // connections
    threads = [
        threading.Thread(
            target=lambda k=k: results.append(
                get_all(port, paths[k * share : (k + 1) * share], token)
            )
        )
        for k in range(connections)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return quantiles([one for part in results for one in part], time.perf_counter() - start)


def measure_http(folder: Path, names: list[str], requests: int) -> dict[str, Any]:
    """Return quantiles of GET /limit from `confide serve`, and of a plain answer beside it."""
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", "--format", "json"]
    home = folder / HOME
    home.mkdir(exist_ok=True)
    # A customer's own rate would end the loop after a second.
    (home / RATES_FILE).write_text("[limit]\nburst = 1_000_000\nper_minute = 1_000_000\n")
    start = time.perf_counter()
    server = subprocess.Popen(
        [*command, "--federation", str(folder / "federation.toml")], stdout=subprocess.PIPE
    )
    told = b""
    while server.stdout is not None and (line := server.stdout.readline()):
        told += line
        if line == b"}\n":
            break
    started = time.perf_counter() - start
    port = int(json.loads(told)["data"]["port"])
    token = mint(make_keys(home / KEY_FILE), Caller(OFFLINE, Role.OFFICER, ""), datetime.now(UTC))
    plain: subprocess.Popen[bytes] | None = None
    try:
        rng = random.Random(3)
        paths = [f"/v1/customers/{name}/limit" for name in rng.choices(names, k=requests)]
        length = _length(port, paths[0], token)
        plain = subprocess.Popen([sys.executable, "-c", PLAIN, str(port + 1), str(length)])
        _wait(port + 1)
        get_all(port, paths[:200], token)
        get_all(port + 1, ["/plain"] * 200)
        return {
            "start_seconds": round(started, 2),
            "answer_bytes": length,
            "limit_1_connection": over_http(port, paths, 1, token),
            "plain_1_connection": over_http(port + 1, ["/plain"] * requests, 1),
            "limit_8_connections": over_http(port, paths, 8, token),
            "plain_8_connections": over_http(port + 1, ["/plain"] * requests, 8),
        }
    finally:
        for process in (server, plain):
            if process is not None:
                process.terminate()
                process.wait(20)


def _length(port: int, path: str, token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return len(connection.getresponse().read())


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            get_all(port, ["/plain"])
        except OSError:
            time.sleep(0.1)
        else:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--lines", type=int, default=1_000_000, help="reviewed in columns")
    parser.add_argument("--requests", type=int, default=4_000, help="over HTTP, each way")
    parser.add_argument("--repeats", type=int, default=7, help="of 20,000 decisions")
    parser.add_argument("--rounds", type=int, default=5, help="of the review of all lines")
    parser.add_argument("--only", choices=PARTS, help="measure one part")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    parts = PARTS if options.only is None else (options.only,)
    report: dict[str, Any] = {
        "schema": "confide/bench-limits/2",
        "machine": machine(),
        "versions": versions("fastapi", "uvicorn", "numpy"),
        "load": load(),
    }
    bars: list[Bar] = []
    if "service" in parts:
        report |= measure_service(options)
        decided = report["decisions"]["decide_per_second"]["median"]
        bars.append(Bar("decisions a second and core", decided, ">=", MIN_DECISIONS))
    if "batch" in parts:
        done = measure_batch(options.lines, options.rounds, 2, min(SAMPLE, options.lines))
        report["batch"] = done
        whole = round(done["seconds"]["median"] * 1e6 / done["lines"], 2)
        bars.append(Bar("seconds for 1,000,000 reviews, 2 processes", whole, "<=", MOST_SECONDS))
        bars.append(Bar("rows that differ from the scalar", done["differences"], "<=", 0))
    report["load_after"] = load()
    report["bars"] = [bar.to_mapping() for bar in bars]
    show(report)
    met = show_bars(bars)
    write_json(options.json, report)
    return 0 if met else 1


def measure_service(options: argparse.Namespace) -> dict[str, Any]:
    """Return what feeds, decisions and answers over HTTP take."""
    names = [hashlib.sha256(str(k).encode()).hexdigest() for k in range(options.customers)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        federation, people, manifest = make_world(folder)
        service = LimitService(folder, federation, *load_policy(None))
        service.start()
        report: dict[str, Any] = {
            "customers": options.customers,
            "feeds": measure_feeds(service, people, manifest, names),
            "decisions": measure_decisions(service, names, options.repeats),
        }
        report["feeds"] |= measure_restart(folder, federation)
        report["peak_rss_mb"] = round(peak_rss_mb())
        report["http"] = measure_http(folder, names, options.requests)
    return report


def show(report: dict[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    if "feeds" in report:
        print(f"\n{report['customers']:,} customers, {len(PARTIES)} parties")
        print(f"peak memory of this process (makes the feeds, too): {report['peak_rss_mb']} MB")
    for part in ("feeds", "decisions", "http", "batch"):
        if part in report:
            print(f"\n{part}")
            show_mapping(report[part])
    print()


if __name__ == "__main__":
    sys.exit(main())
