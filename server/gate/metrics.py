"""What the gate counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREFIX: Final = "confide_gate"
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class GateMetrics:
    """The numbers of one gate."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter(
            f"{PREFIX}_requests", "Requests passed on.", ("member", "status"), **own
        )
        self.bytes = Counter(f"{PREFIX}_bytes", "Bytes of bodies.", ("member", "direction"), **own)
        self.refused = Counter(
            f"{PREFIX}_refused", "Connections and requests turned away.", ("door", "reason"), **own
        )
        self.seconds = Histogram(
            f"{PREFIX}_seconds", "Seconds to the end of an answer.", buckets=_BOUNDS, **own
        )
        self.under_way = Gauge(f"{PREFIX}_under_way", "Requests under way.", **own)
        self.connections = Gauge(f"{PREFIX}_connections", "Connections that are open.", **own)
        self.outdated = Gauge(
            f"{PREFIX}_outdated", "1 while a changed file of members is refused.", **own
        )

    def refuse(self, door: str, reason: str) -> None:
        """Count what was turned away."""
        self.refused.labels(door, reason).inc()

    def follow(self, connections: Callable[[], float], outdated: Callable[[], float]) -> None:
        """Say where the gauges are read."""
        self.connections.set_function(connections)
        self.outdated.set_function(outdated)
