"""The decision log at a million leaves: appends, proofs, verification, opening, replay.

Appends are measured in memory (the tree alone), to files (salts, records and leaves on the disk
before anything is confirmed) and to the store on SQLite and PostgreSQL (decisions first, then the
tree over them, each flushed), one decision at a time and in groups; a bare fsync of as many bytes
stands beside them. Run with ``--leaves 100000 --store-leaves 10000`` for a quick look.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.accounts import proving
from server.accounts.proving import Place
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import decide
from server.limits.caps.record import DecisionRecord, Rules, digest_of, read_record, replay
from server.limits.caps.snapshot import Rating, Snapshot
from server.policies import embedded
from server.prooflog.export import export_decision, to_bytes
from server.prooflog.folder import FileLeaves, open_book
from server.prooflog.heads import sign_head
from server.prooflog.leaf import Opening, commitment
from server.prooflog.merkle import (
    Tree,
    consistency,
    extends,
    includes,
    inclusion,
    leaf_hash,
    root_of,
)
from server.prooflog.verify import verify_bytes
from server.store import decisions
from server.store.decisions import NewDecision
from server.store.engine import Store, open_store
from server.store.log_checks import check_log
from shared.identity import Identity
from tests import postgres

MIN_APPENDS = 20_000
"""As many decisions a second and core as the limit service must reach."""
MAX_PROOF_MS = 1.0
NOW = "2026-03-01T08:00:00Z"
STORES = ("store_sqlite", "store_postgresql")
KEY = Identity("log", hashlib.sha256(b"bench").digest())


def seconds_each(work: Callable[[int], Any], numbers: list[int]) -> dict[str, float]:
    """Return microseconds of one call, over calls with these numbers."""
    took = []
    for number in numbers:
        start = time.perf_counter()
        work(number)
        took.append((time.perf_counter() - start) * 1e6)
    return spread(took, 1)


def measure_tree(leaves: list[bytes], repeats: int) -> tuple[Tree, dict[str, Any]]:
    """Return the tree, and appends a second of CPU time as it grows."""
    tree, rates = Tree(), []
    part = len(leaves) // repeats
    for k in range(repeats):
        start = time.process_time()
        for leaf in leaves[k * part : (k + 1) * part]:
            tree.append(leaf)
        rates.append(part / (time.process_time() - start))
    return tree, {"appends_per_second": spread(rates, 0), "rss_mb": round(peak_rss_mb())}


def measure_proofs(tree: Tree, leaves: list[bytes], count: int) -> dict[str, Any]:
    """Return microseconds of making and verifying proofs, root and all."""
    size, rng = len(tree), random.Random(1)
    at = [rng.randrange(size) for _ in range(count)]
    root, hashed = root_of(tree, size), [leaf_hash(leaf) for leaf in leaves]
    paths = {index: inclusion(tree, index, size) for index in at}
    steps = {old: consistency(tree, old, size) for old in at}
    roots = {old: root_of(tree, old) for old in at}
    right = all(includes(hashed[index], index, size, paths[index], root) for index in at)
    right &= all(extends(old, size, steps[old], roots[old], root) for old in at)
    if not right:
        raise SystemExit("a proof does not verify")
    return {
        "root_us": seconds_each(lambda _: root_of(tree, size), at),
        "inclusion_us": seconds_each(lambda index: inclusion(tree, index, size), at),
        "consistency_us": seconds_each(lambda old: consistency(tree, old, size), at),
        "verify_inclusion_us": seconds_each(
            lambda index: includes(hashed[index], index, size, paths[index], root), at
        ),
        "verify_consistency_us": seconds_each(
            lambda old: extends(old, size, steps[old], roots[old], root), at
        ),
        "longest_path": max(map(len, paths.values())),
    }


def sample_record() -> tuple[DecisionRecord, Rules]:
    """Return a decision's record as the service makes it."""
    policy_text, pack_text = embedded("reference")[0], embedded("pack_cn")[0]
    rules = Rules.of([(policy_text, "policy")], [(pack_text, "pack")])
    digests = digest_of(policy_text), digest_of(pack_text)
    rating = Rating(70, Decimal("0.020000"), 664, "B")
    snapshot = Snapshot(rating, rating, {"bank": 40, "payments": 30}, {}, ())
    inputs = Inputs(date(2026, 3, 1), current_minor=500_000, drawn_minor=100_000)
    decision = decide(rules.policies[digests[0]], rules.packs[digests[1]], snapshot, inputs)
    about = {"line": "L" * 26, "purpose": "review", "made_at": NOW}
    return DecisionRecord(about, *digests, snapshot, inputs, decision), rules


def measure_files(folder: Path, record: bytes, seconds: float, group: int) -> dict[str, Any]:
    """Return decisions a second that are on the disk when they are confirmed."""
    rates = []
    with open_book(folder) as book:
        for _ in range(5):
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds / 5:
                book.add([record] * group)
                done += group
            rates.append(done / (time.perf_counter() - start))
        size = book.leaves.size()
    return {"per_second": spread(rates, 0), "decisions": size}


def measure_fsync(folder: Path, length: int, seconds: float) -> dict[str, float]:
    """Return how often a second this disk takes so many bytes for good."""
    rates = []
    with (folder / "plain").open("ab", buffering=0) as stream:
        for _ in range(5):
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds / 5:
                stream.write(bytes(length))
                os.fsync(stream.fileno())
                done += 1
            rates.append(done / (time.perf_counter() - start))
    return spread(rates, 0)


def measure_opening(folder: Path, leaves: list[bytes]) -> dict[str, Any]:
    """Return seconds to write a million leaves at once, and to read and check them all again."""
    path = folder / "many"
    start = time.perf_counter()
    FileLeaves(path).append(leaves)
    wrote = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    size = FileLeaves(path).size()
    return {
        "leaves": size,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "write_seconds": round(wrote, 2),
        "open_seconds": round(time.perf_counter() - start, 2),
        "open_cpu_seconds": round(time.process_time() - cpu, 2),
    }


def measure_export(record: DecisionRecord, rules: Rules, count: int) -> dict[str, Any]:
    """Return microseconds of what a single exported decision takes, step by step."""
    raw = record.to_bytes()
    opening = Opening(hashlib.sha256(b"salt").digest(), raw)
    tree = Tree()
    for number in range(1000):
        tree.append(commitment(opening) if number == 7 else b"%d" % number)
    kept = Kept(tree, opening)
    head = sign_head(KEY, 1000, root_of(tree, 1000), NOW)
    exported = to_bytes(export_decision(kept, kept, head, 7))
    parsed, again = json.loads(raw), list(range(count))
    return {
        "record_bytes": len(raw),
        "export_bytes": len(exported),
        "commit_us": seconds_each(lambda _: commitment(opening), again),
        "record_us": seconds_each(lambda _: record.to_bytes(), again),
        "sign_head_us": seconds_each(lambda _: sign_head(KEY, 1000, bytes(32), NOW), again),
        "verify_export_us": seconds_each(lambda _: verify_bytes(exported, KEY.fingerprint), again),
        "read_and_replay_us": seconds_each(lambda _: replay(read_record(parsed), rules), again),
    }


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, Store]]:
    """Give both databases on the disk, or SQLite alone where there is no server."""
    urls = {"sqlite": f"sqlite:///{folder}/limits.db"}
    why = postgres.missing()
    if why:
        print(f"no PostgreSQL: {why}", file=sys.stderr)
        yield {name: open_store(url, create=True) for name, url in urls.items()}
        return
    with postgres.running(tempfile.gettempdir()) as server:
        urls["postgresql"] = server.new_database()
        opened = {name: open_store(url, create=True) for name, url in urls.items()}
        yield opened
        for one in opened.values():
            one.close()


def measure_store(
    store: Store, home: Path, record: bytes, count: int, group: int
) -> dict[str, Any]:
    """Return what decisions and the tree over them take in a database, at `count` leaves."""
    home.mkdir()
    (home / proving.KEY).write_text(KEY.secret.hex())
    (home / proving.KEY).chmod(0o600)
    desk = Place(store, home, lambda: datetime.now(UTC))
    decided, taken = [], []
    for start in range(0, count, group):
        batch = [
            NewDecision(f"d{n}", f"line-{n // 12}", "review", record, "policy", "model", "pack")
            for n in range(start, min(start + group, count))
        ]
        began = time.perf_counter()
        with store.write() as db:
            decisions.append_all(db, batch, desk.clock())
        middle = time.perf_counter()
        with store.write() as db:
            proving.integrate(desk, db, desk.clock())
        decided.append(len(batch) / (middle - began))
        taken.append(len(batch) / (time.perf_counter() - middle))
    sizes = []
    for number in range(20):
        with store.write() as db:
            one = NewDecision(f"one-{number}", "one", "review", record, "policy", "model", "pack")
            decisions.append(db, one, desk.clock())
        began = time.perf_counter()
        proving.tick(desk)
        sizes.append((time.perf_counter() - began) * 1e3)
    return {
        f"decided_per_second_in_{group}": spread(decided, 0),
        f"taken_in_per_second_in_{group}": spread(taken, 0),
        "one_taken_in_and_signed_ms": spread(sizes, 2),
        **measure_store_proofs(store, desk, count),
    }


def measure_store_proofs(store: Store, desk: Place, count: int) -> dict[str, Any]:
    """Return milliseconds of proofs from a database, each in a transaction of its own."""
    rng, proofs, steps = random.Random(1), [], []
    with store.read() as db:
        sizes = [head.head.size for head in proving.book_of(db).heads.heads()]
    for _ in range(300):
        number = rng.randrange(count)
        began = time.perf_counter()
        with store.read() as db:
            made = proving.proof(desk, db, f"d{number}")
        proofs.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        with store.read() as db:
            proving.consistency(desk, db, sizes[0], sizes[-1])
        steps.append((time.perf_counter() - began) * 1e3)
        verify_bytes(to_bytes(made), KEY.fingerprint)
    began = time.perf_counter()
    with store.read() as db:
        found = check_log(db, KEY.fingerprint)
    if found.findings:
        raise SystemExit(f"the log is not in order: {found.findings[0]}")
    return {
        "leaves": found.leaves,
        "proof_ms": spread(proofs, 2),
        "consistency_ms": spread(steps, 2),
        "check_everything_per_second": round(found.leaves / (time.perf_counter() - began)),
    }


class Kept:
    """A tree with one opening, as the protocols of the log want it."""

    def __init__(self, tree: Tree, opening: Opening) -> None:
        self.tree, self.kept, self.node = tree, opening, tree.node

    def size(self) -> int:
        return len(self.tree)

    def leaf(self, _: int) -> bytes:
        return commitment(self.kept)

    def opening(self, _: int) -> Opening:
        return self.kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=10, help="parts in which the tree grows")
    parser.add_argument("--proofs", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each way of appending")
    parser.add_argument("--store-leaves", type=int, default=100_000, help="in each database")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    record, rules = sample_record()
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(options.leaves)]
    report: dict[str, Any] = {
        "schema": "confide/bench-log/1",
        "machine": machine(),
        "versions": versions("cryptography", "rfc8785"),
        "load": load(),
    }
    gc.freeze()  # a million leaves of the input are not to be looked through again and again
    tree, report["tree"] = measure_tree(leaves, options.repeats)
    report["proofs"] = measure_proofs(tree, leaves, options.proofs)
    report["decision"] = measure_export(record, rules, options.proofs)
    with tempfile.TemporaryDirectory() as temporary:
        folder, raw = Path(temporary), record.to_bytes()
        report["files"] = {
            f"groups_of_{group}": measure_files(folder / str(group), raw, options.seconds, group)
            for group in (1, 100, 1000)
        }
        report["files"]["plain_fsyncs_per_second"] = measure_fsync(
            folder, len(raw), options.seconds
        )
        report["opening"] = measure_opening(folder, leaves)
        with stores(folder) as opened:
            for name, store in opened.items():
                report[f"store_{name}"] = measure_store(
                    store, folder / f"home-{name}", raw, options.store_leaves, 1000
                )
    report["peak_rss_mb"] = round(peak_rss_mb())
    appended = report["tree"]["appends_per_second"]["median"]
    proof = max(report["proofs"][name]["median"] for name in ("inclusion_us", "consistency_us"))
    bars = [
        Bar("appends a second and core", appended, ">=", MIN_APPENDS),
        Bar("milliseconds of a proof at this size", proof / 1e3, "<=", MAX_PROOF_MS),
    ]
    report["bars"] = [bar.to_mapping() for bar in bars]
    show(report)
    met = show_bars(bars)
    write_json(options.json, report)
    return 0 if met else 1


def show(report: dict[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    for part in ("tree", "proofs", "decision", "files", "opening", *STORES):
        if part not in report:
            continue
        print(f"\n{part}")
        show_mapping(report[part])
    print(f"\npeak memory: {report['peak_rss_mb']} MB\n")


if __name__ == "__main__":
    sys.exit(main())
