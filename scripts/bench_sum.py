"""Time the secure sum: masking per party, end to end in one process, and the error of a mean.

    python scripts/bench_sum.py --values 100000 --parties 5 --json sum.json

Everything is measured in the same run and interleaved, so that a busy machine slows all of it
alike: the plain sum (what privacy costs), the same masks from AES-256-CTR, and masks from
PCG64, a statistical generator that would be *unsafe* here and only shows what the ring costs.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _bench import load, machine, show_mapping, spread, versions, write_json
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from shared.channel import QueueChannel, queue_channels
from shared.identity import Identity, Roster
from shared.masks import SEED_BYTES
from shared.protocols.sum import SumJob, encode, mask, sum_coordinator, sum_party
from shared.sealed import SealedChannel, Session

COORDINATOR = "coordinator"
SCALE = 32
MAX_MILLISECONDS = 5.0
MAX_ERROR = 1e-12


class ForgetfulJournal:
    """A journal that takes no time: a disk is not what is measured here."""

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """Forget it."""


def make_inputs(parties: tuple[str, ...], length: int) -> tuple[dict[str, NDArray[Any]], Any]:
    """Return weighted updates with their weight as the last value, and the weighted mean."""
    rng = np.random.default_rng(7)
    weights = {name: int(rng.integers(1_000, 100_000)) for name in parties}
    updates = {name: rng.normal(0.0, 0.3, length - 1) for name in parties}
    inputs = {name: np.append(updates[name] * weights[name], weights[name]) for name in parties}
    exact = sum(updates[name].astype(np.longdouble) * weights[name] for name in parties)
    return inputs, exact / sum(weights.values())


def make_job(
    parties: tuple[str, ...], length: int, opener: str, attempt: int, label: str = ""
) -> SumJob:
    """Return a job in the 64-bit ring: weights up to 10^5 times updates up to 8."""
    bound = 800_000 << SCALE
    return SumJob(
        run="bench",
        label=label,
        kind="update",
        model="",
        attempt=attempt,
        cohort=parties,
        opener=opener,
        coordinator=COORDINATOR,
        bits=64,
        length=length,
        scale=SCALE,
        bound=bound,
    )


def aes_mask(
    residues: NDArray[Any], me: str, self_seed: bytes, pair_seeds: dict[str, bytes]
) -> NDArray[Any]:
    """Do what `mask` does, with AES-256-CTR keystreams."""

    def stream(seed: bytes) -> NDArray[np.uint64]:
        encryptor = Cipher(AES(seed), CTR(bytes(16))).encryptor()
        return np.frombuffer(encryptor.update(bytes(residues.nbytes)), dtype="<u8")

    masked = residues + stream(self_seed)
    for peer, seed in pair_seeds.items():
        masked = masked + stream(seed) if me < peer else masked - stream(seed)
    return masked


def unsafe_mask(
    residues: NDArray[Any], me: str, self_seed: bytes, pair_seeds: dict[str, bytes]
) -> NDArray[Any]:
    """Do what `mask` does, with numpy's generator: the unsafe reference for time."""

    def stream(seed: bytes) -> NDArray[np.uint64]:
        generator = np.random.PCG64(int.from_bytes(seed, "big"))
        return generator.random_raw(residues.size).view(np.uint64)

    masked = residues + stream(self_seed)
    for peer, seed in pair_seeds.items():
        masked = masked + stream(seed) if me < peer else masked - stream(seed)
    return masked


def cpu_milliseconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return (time.thread_time() - start) * 1e3


def measure_masking(
    parties: tuple[str, ...], inputs: dict[str, NDArray[Any]], repeats: int
) -> dict[str, Any]:
    """Return CPU milliseconds of one party: encoding plus masking, and its alternatives."""
    length = inputs[parties[0]].size
    job = make_job(parties, length, COORDINATOR, 1)
    me = parties[len(parties) // 2]
    values = inputs[me]
    residues = encode(values, job)
    self_seed = os.urandom(SEED_BYTES)
    pair_seeds = {peer: os.urandom(SEED_BYTES) for peer in parties if peer != me}
    work: dict[str, Callable[[], object]] = {
        "encode": lambda: encode(values, job),
        "mask": lambda: mask(residues, me, self_seed, pair_seeds),
        "encode_and_mask": lambda: mask(encode(values, job), me, self_seed, pair_seeds),
        "mask_aes_256_ctr": lambda: aes_mask(residues, me, self_seed, pair_seeds),
        "mask_pcg64_unsafe": lambda: unsafe_mask(residues, me, self_seed, pair_seeds),
        "plain_add": lambda: np.add(values, values),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for one in work.values():
        one()
    for _ in range(repeats):
        for name, one in work.items():
            times[name].append(cpu_milliseconds(one))
    return {name: spread(milliseconds) for name, milliseconds in times.items()}


def in_threads(work: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Run everybody at once; raise what one of them raised."""
    outcome: dict[str, Any] = {}

    def run(name: str) -> None:
        try:
            outcome[name] = work[name]()
        except Exception as error:  # noqa: BLE001 - raised again below
            outcome[name] = error

    threads = [threading.Thread(target=run, args=(name,)) for name in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value in outcome.values():
        if isinstance(value, Exception):
            raise value
    return outcome


def connect(parties: tuple[str, ...]) -> tuple[dict[str, SealedChannel], dict[str, QueueChannel]]:
    """Return sealed channels over queues, and the transports that count the bytes."""
    names = (*parties, COORDINATOR)
    people = {name: Identity(name, os.urandom(32)) for name in names}
    roster = Roster({name: one.fingerprint for name, one in people.items()}, COORDINATOR)
    transports = dict(queue_channels(names, deadline=60.0))
    session = Session("bench", "sum", 1, "0" * 64)
    channels = in_threads(
        {
            name: partial(SealedChannel.open, transports[name], people[name], roster, session)
            for name in names
        }
    )
    return channels, transports


def one_round(
    channels: dict[str, SealedChannel], job: SumJob, inputs: dict[str, NDArray[Any]]
) -> tuple[NDArray[Any], float, list[float]]:
    """Run one sum; return it, its wall and the CPU of each party but the opener, milliseconds."""
    cpus = []

    def party(name: str) -> NDArray[Any] | None:
        start = time.thread_time()
        opened = sum_party(channels[name], job, inputs[name], journal=ForgetfulJournal())
        if name != job.opener:
            cpus.append((time.thread_time() - start) * 1e3)
        return opened

    work: dict[str, Callable[[], Any]] = {name: partial(party, name) for name in job.cohort}
    work[COORDINATOR] = partial(sum_coordinator, channels[COORDINATOR], job)
    start = time.perf_counter()
    outcome = in_threads(work)
    return outcome[job.opener], (time.perf_counter() - start) * 1e3, cpus


def measure_rounds(
    parties: tuple[str, ...], inputs: dict[str, NDArray[Any]], exact: Any, repeats: int
) -> dict[str, Any]:
    """Return wall time of whole sums, CPU of one party in them, bytes, and the largest error."""
    channels, transports = connect(parties)
    openers = {"builder": parties[0], "coordinator": COORDINATOR}
    length = inputs[parties[0]].size
    walls: dict[str, list[float]] = {who: [] for who in (*openers, "plain")}
    cpus: dict[str, list[float]] = {who: [] for who in openers}
    errors: dict[str, float] = dict.fromkeys(openers, 0.0)
    sent: dict[str, int] = {}
    for attempt in range(1, repeats + 1):
        for who, opener in openers.items():
            before = transports[parties[-1]].traffic.total_sent
            job = make_job(parties, length, opener, attempt, who)
            opened, wall, cpu = one_round(channels, job, inputs)
            sent[who] = transports[parties[-1]].traffic.total_sent - before
            walls[who].append(wall)
            cpus[who] += cpu
            errors[who] = max(errors[who], error_of(opened, exact))
        walls["plain"].append(plain_sum(parties, inputs))
    result: dict[str, Any] = {
        f"opened_by_{who}": {
            "wall_milliseconds": spread(walls[who]),
            "party_cpu_milliseconds": spread(cpus[who]),
            "bytes_sent_by_a_party": sent[who],
            "max_error_weighted_mean": errors[who],
        }
        for who in openers
    }
    result["plain_sum_wall_milliseconds"] = spread(walls["plain"])
    plain = np.sum([inputs[name] for name in parties], axis=0)
    result["plain_sum_max_error"] = error_of(plain, exact)
    return result


def error_of(total: NDArray[np.float64], exact: Any) -> float:
    """Return the largest error of the weighted mean that a sum with its weight last gives."""
    wide = total.astype(np.longdouble)
    return float(np.abs(wide[:-1] / wide[-1] - exact).max())


def plain_sum(parties: tuple[str, ...], inputs: dict[str, NDArray[Any]]) -> float:
    """Send plain float64 vectors over the same queues and add them; return wall milliseconds."""
    transports = queue_channels((*parties, COORDINATOR), deadline=60.0)
    length = inputs[parties[0]].size

    def add() -> NDArray[np.float64]:
        total = np.zeros(length)
        for name in parties:
            total += np.frombuffer(transports[COORDINATOR].receive(name, "x"), dtype=np.float64)
        return total

    work: dict[str, Callable[[], Any]] = {
        name: partial(transports[name].send, COORDINATOR, "x", inputs[name].tobytes())
        for name in parties
    }
    work[COORDINATOR] = add
    start = time.perf_counter()
    in_threads(work)
    return (time.perf_counter() - start) * 1e3


def bars_of(report: dict[str, Any]) -> dict[str, bool]:
    """Return which bars the run met."""
    whole = report["whole_sum"]
    errors = [one["max_error_weighted_mean"] for key, one in whole.items() if "opened" in key]
    median = report["party_cpu_milliseconds"]["encode_and_mask"]["median"]
    return {
        "at_most_5_ms_a_party": median <= MAX_MILLISECONDS,
        "error_below_1e_12": max(errors) < MAX_ERROR,
    }


def show(report: dict[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    print(f"\n{report['values']:,} values in Z_2^64, {report['parties']} parties")
    print("\nCPU of one party, ms                 median  quartiles            extremes")
    whole = report["whole_sum"]
    openers = {who: whole[f"opened_by_{who}"] for who in ("builder", "coordinator")}
    for name, one in report["party_cpu_milliseconds"].items():
        print(_line(name, one))
    for who, one in openers.items():
        print(_line(f"whole protocol, {who} opens", one["party_cpu_milliseconds"]))
    print("\nwall of a whole sum in one process, ms")
    for who, one in openers.items():
        print(_line(f"{who} opens", one["wall_milliseconds"]))
    print(_line("plain sum, no privacy", whole["plain_sum_wall_milliseconds"]))
    sent = openers["builder"]["bytes_sent_by_a_party"]
    error = max(one["max_error_weighted_mean"] for one in openers.values())
    print(f"\nbytes sent by a party: {sent:,} ({sent / report['values']:.2f} a value)")
    print(f"largest error of the weighted mean: {error:.2e}", end="")
    print(f" (plain float64 sum: {whole['plain_sum_max_error']:.2e})")
    for bar, met in report["bars"].items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")


def _line(name: str, one: dict[str, float]) -> str:
    quartiles = f"{one['lower_quartile']:.3f} - {one['upper_quartile']:.3f}"
    extremes = f"{one['min']:.3f} - {one['max']:.3f}"
    return f"  {name:<34} {one['median']:>7.3f}  {quartiles:<19}  {extremes}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--parties", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=100, help="of the masking")
    parser.add_argument("--rounds", type=int, default=15, help="whole sums for each opener")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    parties = tuple(f"party-{i:02d}" for i in range(options.parties))
    inputs, exact = make_inputs(parties, options.values)
    report: dict[str, Any] = {
        "schema": "confide/bench-sum/1",
        "machine": machine(),
        "versions": versions("numpy", "cryptography"),
        "load": load(),
        "values": options.values,
        "parties": options.parties,
        "repeats": options.repeats,
        "rounds": options.rounds,
        "party_cpu_milliseconds": measure_masking(parties, inputs, options.repeats),
        "whole_sum": measure_rounds(parties, inputs, exact, options.rounds),
    }
    report["bars"] = bars_of(report)
    show(report)
    write_json(options.json, report)
    return 0 if all(report["bars"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
