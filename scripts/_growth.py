"""Seconds and memory of the moments phase against the number of common customers.

What is measured: the product's own `clients.phases.moments` of every holder and the dealer's
`deal`, each in a process of its own over sealed channels, with the checked table already in memory.
Alignment is left out: all holders have the same customers in the same order, and the state that
alignment leaves is written for them. Tables are linear in rows by nature, so their memory stands
apart from that of the protocol: the peak of the phase above what was resident before it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from _bench import Bar, load, show_mapping
from _credit import BUILDER, Split, holders, make_federation, resampled

from clients import phases
from clients.card import builder
from clients.party import Party
from server.coordinator import Coordinator, load_federation
from shared.channel import Frame, QueueChannel
from shared.jobs import COORDINATOR, Run
from shared.protocols.products import deal
from shared.sealed import SealedChannel

RUN = "grow"
#: CPU of a sampled row may differ by so much: residues of the 32-bit ring, from 65,536 rows on, are
#: multiplied in three products instead of one, and travel in twice the bytes.
MAX_UNEVEN = 2.0
#: CPU seconds and memory beyond the cap may be so many times those at the cap.
MAX_RISE = 1.25
MAX_RSS_MB = 1024.0
SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_S = 280.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What the phase cost one member.

    Wall seconds to load the table, to plan bins on all rows, to exchange, and to fit; `cpu` is CPU
    seconds of the exchange. Memory is in MiB: `table` is what loading left resident, `protocol` the
    peak of the phase above that, `peak` the largest resident set of all.
    """

    load: float = 0.0
    plan: float = 0.0
    exchange: float = 0.0
    fit: float = 0.0
    cpu: float = 0.0
    table: float = 0.0
    protocol: float = 0.0
    peak: float = 0.0
    sent: int = 0


@dataclass(slots=True)
class Watch:
    """Wall and CPU seconds since it was started, without those of what it steps out for."""

    wall: float
    cpu: float

    @classmethod
    def started(cls) -> Watch:
        return cls(-time.perf_counter(), -time.process_time())

    def stop(self) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def without(self, *parts: Watch) -> Watch:
        return Watch(
            self.wall - sum(part.wall for part in parts), self.cpu - sum(part.cpu for part in parts)
        )


def grow(
    report: dict[str, Any], split: Split, sizes: list[int], folder: Path
) -> tuple[dict[str, Any], list[Bar]]:
    """Measure every size; return the report and its bars."""
    show_mapping(report["machine"] | {"load": report["load"]})
    print(f"\n{__doc__.partition(chr(10) * 2)[2]}")
    print(
        f"{'rows':>9} {'member':<12} {'load s':>7} {'plan s':>7} {'exch. s':>8} {'fit s':>6}",
        end="",
    )
    print(f" {'CPU s':>7} {'MB sent':>8} {'table':>7} {'protocol':>9} {'peak MB':>8}")
    runs: dict[int, dict[str, Cost]] = {}
    cap = 0
    for rows in sorted(sizes):
        runs[rows], cap = measure(folder / str(rows), split, rows)
        for name, one in runs[rows].items():
            show_cost(rows, name, one)
    report |= {
        "measured": "the moments phase, without alignment; customers are real ones, resampled",
        "sample_cap": cap,
        "runs": {
            str(rows): {name: asdict(cost) for name, cost in costs.items()}
            for rows, costs in runs.items()
        },
    }
    report["load"].append(load())
    print()
    return report, bars_of(runs, cap)


def show_cost(rows: int, name: str, one: Cost) -> None:
    print(
        f"{rows:>9} {name:<12} {one.load:>7.2f} {one.plan:>7.2f} {one.exchange:>8.2f}"
        f" {one.fit:>6.2f} {one.cpu:>7.2f} {one.sent / 1e6:>8.1f} {one.table:>7.0f}"
        f" {one.protocol:>9.0f} {one.peak:>8.0f}",
        flush=True,
    )


def bars_of(runs: Mapping[int, Mapping[str, Cost]], cap: int) -> list[Bar]:
    """Return the bars that the sizes allow."""
    each = [cpu_of(costs) / min(rows, cap) for rows, costs in runs.items()]
    most = max(cost.protocol for costs in runs.values() for cost in costs.values())
    bars = [
        Bar("CPU of a sampled row, dearest / cheapest", max(each) / min(each), "<=", MAX_UNEVEN),
        Bar("protocol memory, MB", most, "<=", MAX_RSS_MB),
    ]
    capped = [rows for rows in runs if rows >= cap]
    if len(capped) > 1:
        first, last = runs[min(capped)], runs[max(capped)]
        rise = cpu_of(last) / cpu_of(first)
        bars.append(Bar("CPU, most rows / at the cap", rise, "<=", MAX_RISE))
        for name in first:
            grown = last[name].protocol / first[name].protocol
            bars.append(Bar(f"memory at {name}, most rows / at the cap", grown, "<=", MAX_RISE))
    return bars


def cpu_of(costs: Mapping[str, Cost]) -> float:
    """Return CPU seconds of all members' exchange: wall depends on who else uses the machine."""
    return sum(cost.cpu for cost in costs.values())


def measure(folder: Path, split: Split, rows: int) -> tuple[dict[str, Cost], int]:
    """Run the phase once over so many customers; return costs by member and the sampling cap."""
    customers = resampled(split.train, rows)
    few = {name: column[:1] for name, column in customers.items()}
    federation = make_federation(folder, Split(customers, few), holders(demographics=False))
    del customers
    agreed, _ = load_federation(federation)
    everybody = (*agreed.holders, COORDINATOR)
    words = {name: (name, federation, rows) for name in everybody}
    return together(member, words, _PATIENCE_S), agreed.protocol.sample_cap


def together(
    be: Callable[..., None], words: Mapping[str, tuple[Any, ...]], patience: float
) -> dict[str, Any]:
    """Let members be, each in a process of its own; return what each puts out.

    Parameters
    ----------
    be : callable
        Takes a member's words, everybody's inboxes, the barrier at which all begin, and the queue
        to which it puts its name and what came of it; a text is why it failed, and ends the script.
    words : mapping of str to tuple
        By member.
    patience : float
        Seconds to wait for one of them.
    """
    # As the launcher does: one BLAS thread each, or they get in each other's way.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    inboxes = {name: SPAWN.Queue() for name in words}
    start, out = SPAWN.Barrier(len(words)), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=be, args=(*own, inboxes, start, out)) for own in words.values()
    ]
    for process in processes:
        process.start()
    try:
        found = dict(out.get(timeout=patience) for _ in words)
    finally:
        for process in processes:
            process.join(timeout=5)
            process.terminate()
    failed = {name: why for name, why in found.items() if isinstance(why, str)}
    if failed:
        raise SystemExit(f"members failed: {failed}")
    return {name: found[name] for name in words}


def member(
    name: str, federation: Path, rows: int, inboxes: dict[str, Any], start: Any, results: Any
) -> None:
    """Be one holder, or the dealer, in a process of its own."""

    def carry(frame: Frame) -> None:
        inboxes[frame.recipient].put(frame)

    others = set(inboxes) - {name}
    channel = QueueChannel(name, others, inboxes[name], carry, deadline=_PATIENCE_S)
    try:
        play = as_dealer if name == COORDINATOR else as_holder
        results.put((name, play(name, federation, rows, channel, start)))
    except Exception as error:  # noqa: BLE001 - told to the one who prints
        start.abort()
        channel.abort(str(error))
        results.put((name, f"{type(error).__name__}: {error}"))


def as_dealer(_: str, federation: Path, rows: int, channel: QueueChannel, start: Any) -> Cost:
    coordinator = Coordinator.load(federation, RUN)
    run = Run(RUN, 1, coordinator.federation, contract_of(federation))
    resident = ready(start)
    whole = Watch.started()
    roster = coordinator.federation.roster
    sealed = SealedChannel.open(channel, coordinator.identity, roster, run.session("moments"))
    deal(sealed, run.moments(rows))
    whole.stop()
    return Cost(
        exchange=whole.wall,
        cpu=whole.cpu,
        protocol=peak_mb() - resident,
        peak=peak_mb(),
        sent=channel.traffic.total_sent,
    )


def contract_of(federation: Path) -> str:
    return Party.load(federation, BUILDER).contract.digest()


def as_holder(name: str, federation: Path, rows: int, channel: QueueChannel, start: Any) -> Cost:
    party = Party.load(federation, name)
    run = Run(RUN, 1, party.federation, party.contract.digest())
    party.store.save_array(RUN, "train_rows", np.arange(rows))
    party.store.save_value(RUN, "alignment", {"check": hashlib.sha256(b"same").hexdigest()})
    plan, fit = watched(phases, "plan"), watched(builder, "fit")
    bare, loading = resident_mb(), Watch.started()
    n_train = len(party.train.ids)
    loading.stop()
    loading_peak, table = peak_mb(), resident_mb() - bare
    resident = ready(start)
    whole = Watch.started()
    roster = party.federation.roster
    sealed = SealedChannel.open(channel, party.identity, roster, run.session("moments"))
    phases.moments(party, sealed, run, {"n_train": n_train})
    whole.stop()
    exchange = whole.without(plan, fit)
    return Cost(
        load=loading.wall,
        plan=plan.wall,
        exchange=exchange.wall,
        fit=fit.wall,
        cpu=exchange.cpu,
        table=table,
        protocol=peak_mb() - resident,
        peak=max(loading_peak, peak_mb()),
        sent=channel.traffic.total_sent,
    )


def watched(module: ModuleType, name: str) -> Watch:
    """Put a watch on a function of a module."""
    function = getattr(module, name)
    total = Watch(0.0, 0.0)

    def timed(*values: Any) -> Any:
        one = Watch.started()
        result = function(*values)
        one.stop()
        total.wall += one.wall
        total.cpu += one.cpu
        return result

    setattr(module, name, timed)
    return total


def ready(start: Any) -> float:
    """Wait for all; return resident MiB, with the peak counted from here."""
    start.wait(timeout=_PATIENCE_S)
    # Linux counts the peak anew from here (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    return resident_mb()


def resident_mb() -> float:
    return _status("VmRSS")


def peak_mb() -> float:
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024
