"""The numbers of one member's phases, for Prometheus, added up from what the phases left behind."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shared.edge.history import RUN, Entry, entries

_BOUNDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
_NUMBER: Final = re.compile(r"[-_]?\d+$")


class Phases(Collector):
    """The numbers of one member's phases, added up each time they are asked for.

    Parameters
    ----------
    home : Path
        Its folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without their numbers, which a registry asks for once."""
        return families(())

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return families(entries(self._home))


def families(told: Iterable[Entry]) -> tuple[Metric, ...]:
    """Return the numbers of some phases as metrics."""
    count: dict[tuple[str, str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    moved: dict[tuple[str, str, str], int] = defaultdict(int)
    lost: dict[str, int] = defaultdict(int)
    runs: dict[tuple[str, str], int] = defaultdict(int)
    for entry in told:
        if entry.phase == RUN:
            runs[entry.member, entry.outcome] += 1
            if entry.lost:
                lost[entry.lost] += 1
            continue
        phase = _NUMBER.sub("", entry.phase)
        count[entry.member, phase, entry.outcome] += 1
        seconds[entry.member, phase].append(entry.seconds)
        moved[entry.member, phase, "sent"] += entry.bytes_sent
        moved[entry.member, phase, "received"] += entry.bytes_received
    return (
        _counter("confide_phases", "Phases, by how they ended.", _PHASE_LABELS, count.items()),
        _times(seconds),
        _counter("confide_phase_bytes", "Bytes between the parties.", _BYTES_LABELS, moved.items()),
        _counter("confide_runs", "Runs, by how they ended.", ("member", "outcome"), runs.items()),
        _counter(
            "confide_drop_outs",
            "Runs that a party was lost from.",
            ("party",),
            [((party,), number) for party, number in lost.items()],
        ),
    )


_PHASE_LABELS: Final = ("member", "phase", "outcome")
_BYTES_LABELS: Final = ("member", "phase", "direction")


def _counter(
    name: str,
    about: str,
    labels: tuple[str, ...],
    numbers: Iterable[tuple[tuple[str, ...], int]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, number in sorted(numbers):
        family.add_metric(list(values), number)
    return family


def _times(seconds: dict[tuple[str, str], list[float]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "confide_phase_seconds", "Seconds that phases took.", labels=("member", "phase")
    )
    for values, each in sorted(seconds.items()):
        buckets = [(str(bound), sum(one <= bound for one in each)) for bound in _BOUNDS]
        family.add_metric(list(values), [*buckets, ("+Inf", len(each))], sum(each))
    return family


def registry_of(home: Path) -> CollectorRegistry:
    """Return a registry with the numbers of a member's phases."""
    registry = CollectorRegistry()
    registry.register(Phases(home))
    return registry
