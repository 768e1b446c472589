"""What the relay counts, for Prometheus; names of members, never what they send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

PREFIX: Final = "confide_relay"


class RelayMetrics:
    """The numbers of one relay."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.frames = Counter(f"{PREFIX}_frames", "Messages carried.", ("sender",), **own)
        self.bytes = Counter(f"{PREFIX}_bytes", "Bytes of them.", ("sender",), **own)
        self.dropped = Counter(
            f"{PREFIX}_dropped", "Messages to who was not there; sent again later.", **own
        )
        self.refused = Counter(
            f"{PREFIX}_refused", "Connections turned away, by reason.", ("reason",), **own
        )
        self.joined = Counter(f"{PREFIX}_joined", "Members let in.", ("member",), **own)
        self.slowed = Counter(
            f"{PREFIX}_slowed_seconds", "Seconds that senders were slowed.", ("sender",), **own
        )
        self.waiting = Gauge(
            f"{PREFIX}_waiting", "Messages that wait for room at their recipient.", **own
        )
        self.members = Gauge(f"{PREFIX}_members", "Members that are connected.", **own)
        self.sessions = Gauge(f"{PREFIX}_sessions", "Sessions that are open.", **own)
        self.connections = Gauge(f"{PREFIX}_connections", "Connections that are open.", **own)
        self.outdated = Gauge(
            f"{PREFIX}_outdated", "1 while a changed file of members is refused.", **own
        )

    def refuse(self, reason: str) -> None:
        """Count a connection that was turned away."""
        self.refused.labels(reason).inc()

    def follow(
        self,
        members: Callable[[], float],
        sessions: Callable[[], float],
        connections: Callable[[], float],
        outdated: Callable[[], float],
    ) -> None:
        """Say where the gauges are read."""
        self.members.set_function(members)
        self.sessions.set_function(sessions)
        self.connections.set_function(connections)
        self.outdated.set_function(outdated)
