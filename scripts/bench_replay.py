"""Time a replay: a million lines reviewed every month for two years, on two cores and on one.

    python scripts/bench_replay.py --json replay.json

The alternative in the same run is the service's scalar review of the same lines, one at a time, on
a sample of a month. Party-side scoring (columns to points) and what is left for the service (adding
the parties' points) are timed apart, on one core.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import Bar, load, machine, show_bars, spread, versions, write_json

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.replay.book import Rules
from server.replay.card import FEATURES, ReplayCard, grade_places
from server.replay.figures import Prices
from server.replay.play import Arm, Setting, learn, moments, play
from server.replay.population import features
from shared.edge.workers import shared_out
from shared.scorecard.scale import PRODUCT_SCALE
from shared.world.chance import BLOCK, Span
from shared.world.economy import ECONOMIES
from shared.world.life import warm

MOST_S, LEAST_ADDED = 600.0, 2_000_000
SCALAR_LINES = 2_000
GRADES = tuple(one.name for one in PRODUCT_SCALE.grades)


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--customers", type=int, default=10_000_000, help="that are scored")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    arm = Arm(rules, learn(1), Prices(float(rules.policy.capacity.annual_rate)))
    sample = play(Setting(4 * BLOCK, 1, 1, ECONOMIES["downturn"], (arm,)))
    people = round(given.lines * 4 * BLOCK / sample.figures[0].lines)
    setting = Setting(people, given.months, 1, ECONOMIES["downturn"], (arm,))
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("numpy"),
        "load": load(),
        "months": given.months,
    }
    for cores in (2, 1):
        seconds, lines = [], 0
        for _ in range(given.repeats if cores > 1 else 1):
            began = time.monotonic()
            lines = play(setting, processes=cores).figures[0].lines
            seconds.append(time.monotonic() - began)
        report[f"{cores} cores"] = {
            "lines": lines,
            "people": people,
            "seconds": spread(seconds),
            "reviews_per_second": spread([given.months * lines / one for one in seconds], 0),
        }
        told = report[f"{cores} cores"]
        print(
            f"{cores} cores: {lines:,} lines x {given.months} months "
            f"{told['seconds']['median']:.1f} s, "
            f"{told['reviews_per_second']['median']:,.0f} reviews/s",
            flush=True,
        )
    report["batch scoring"] = {
        f"{cores} cores, seconds": spread(
            [batch(arm.card, given.customers, cores) for _ in range(given.repeats)]
        )
        for cores in (1, 2)
    }
    peaks = [resource.getrusage(one).ru_maxrss for one in (_SELF, _CHILDREN)]
    report["peak_mb"] = {"parent": peaks[0] // 1024, "largest child": peaks[1] // 1024}
    report["reviews"] = reviews(arm, given.repeats)
    report["scoring"] = scoring(arm.card, given.repeats)
    for what, value in report["batch scoring"].items():
        print(f"batch scoring of {given.customers:,} customers, {what:<16} {value['median']:.1f}")
    for name in ("reviews", "scoring"):
        for what, value in report[name].items():
            print(f"{what:<52} {value['median']:>14,.0f}")
    added = report["scoring"]["partial points added, customers/s a core"]["median"]
    bars = [
        Bar("a replay of the size of the bar: seconds", _median(report, "2 cores"), "<=", MOST_S),
        Bar("partial points added, customers/s a core", added, ">=", LEAST_ADDED),
    ]
    met = show_bars(bars)
    write_json(given.json, report | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


_SELF, _CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def _median(report: dict[str, Any], name: str) -> float:
    return float(report[name]["seconds"]["median"])


def reviews(arm: Arm, repeats: int) -> dict[str, Any]:
    """Time the scalar review against the same lines at once."""
    span = Span(0, 0, BLOCK)
    setting = Setting(BLOCK, 2, 1, ECONOMIES["downturn"], (arm,))
    *_, last = moments(setting, span, warm(span, 1), arm)
    done = last.book.reviewed
    assert done is not None
    from server.limits.batch.batch import review_batch  # noqa: PLC0415 - the timed call

    scalar, batch = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        for row in range(SCALAR_LINES):
            done.reviewed(row)
        scalar.append(SCALAR_LINES / (time.perf_counter() - began))
        began = time.perf_counter()
        review_batch(done.columns, done.targets, done.policy, done.as_of)
        batch.append(len(done) / (time.perf_counter() - began))
    return {
        "reviews at once, lines/s a core": spread(batch, 0),
        "reviews one by one, lines/s a core": spread(scalar, 0),
        "at once against one by one, times": spread(
            [a / b for a, b in zip(batch, scalar, strict=True)], 1
        ),
    }


def batch(card: ReplayCard, customers: int, cores: int) -> float:
    """Return the seconds in which so many customers are scored, from columns to grades."""
    blocks = -(-customers // BLOCK)
    began = time.monotonic()
    # Each process makes a block's columns once; scoring is what it repeats.
    shares = [(card, blocks // cores + (at < blocks % cores)) for at in range(cores)]
    done = sum(shared_out(score_blocks, shares, cores))
    assert done == blocks * BLOCK
    return time.monotonic() - began


def score_blocks(share: tuple[ReplayCard, int]) -> int:
    """Score a block so many times; return how many customers that is."""
    card, blocks = share
    values = features(warm(Span(0, 0, BLOCK), 1))
    for _ in range(blocks):
        grade_places(card.default_prob_micro(values), GRADES)
    return blocks * BLOCK


def scoring(card: ReplayCard, repeats: int) -> dict[str, Any]:
    """Time the parties' part of a score, and the service's."""
    values = features(warm(Span(0, 0, BLOCK), 1))
    owner = {one.name: one.owner for one in FEATURES}
    parts: dict[str, list[int]] = {}
    for place, plan in enumerate(card.plans):
        parts.setdefault(owner[plan.features[0]], []).append(place)
    encoding, adding, whole = [], [], []
    for _ in range(repeats):
        began = time.perf_counter()
        points = [
            sum(card.points[at][card.plans[at].encode(values)] for at in places)
            for places in parts.values()
        ]
        encoding.append(BLOCK / (time.perf_counter() - began))
        many = [np.tile(one, 122).astype(np.int32) for one in points]
        began = time.perf_counter()
        total = np.sum(many, axis=0, dtype=np.int32)
        adding.append(total.size / (time.perf_counter() - began))
        began = time.perf_counter()
        card.calibration.default_prob(total)
        whole.append(total.size / (time.perf_counter() - began))
    return {
        "columns to points at the parties, customers/s a core": spread(encoding, 0),
        "partial points added, customers/s a core": spread(adding, 0),
        "points to default_prob, customers/s a core": spread(whole, 0),
    }


if __name__ == "__main__":
    sys.exit(main())
