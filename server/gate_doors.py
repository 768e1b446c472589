"""Who may ask for what at the gate: the name in a certificate, the port it came to, the path."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from server.connections import protocol
from server.gate_metrics import GateMetrics
from server.gate_passing import Passing, answer
from shared.edge import logs
from shared.jobs import COORDINATOR

PARTIES: Final = "parties"
OPERATOR: Final = "operator"
_HEALTH: Final = b"/health"
#: What a node of a party asks for. No dot, no percent sign: one spelling of a path only.
_FLEET: Final = re.compile(rb"/v1/fleet/[a-z-]{1,64}")
_ANY: Final = re.compile(rb"/[A-Za-z0-9/_-]{1,255}")
_LOG: Final = logging.getLogger(__name__)

_Ends = tuple[Any, Any]


class Names(dict[_Ends, str]):
    """Whose certificate a connection has shown, by its two ends."""


def named(names: Names) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, writing down who each connection is with.

    uvicorn hands no certificate to the application.
    """
    base: Any = protocol()

    class Named(base):  # type: ignore[misc]
        """A connection whose other end is known by its certificate."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            names[self.client, self.server] = common_name(transport.get_extra_info("peercert"))

        def connection_lost(self, exc: Exception | None) -> None:
            names.pop((self.client, self.server), None)
            super().connection_lost(exc)

    return Named


def common_name(certificate: Any) -> str:
    """Return the common name of a certificate as Python's `ssl` tells it; empty for none."""
    for part in (certificate or {}).get("subject", ()):
        for kind, value in part:
            if kind == "commonName":
                return str(value)
    return ""


class Doors:
    """The gate as an ASGI application.

    Parameters
    ----------
    parties : iterable of str
        Of the federation file: a certificate of anybody else opens no door.
    parties_port, operator_port : int
        Of the two doors.
    names : Names
    passing : Passing
        To the SuperLink.
    metrics : GateMetrics
    """

    def __init__(
        self,
        parties: Iterable[str],
        parties_port: int,
        operator_port: int,
        names: Names,
        passing: Passing,
        metrics: GateMetrics,
    ) -> None:
        self._parties = frozenset(parties)
        self._doors = {parties_port: PARTIES, operator_port: OPERATOR}
        self._names, self._passing, self._metrics = names, passing, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, pass on, or turn away one request."""
        if scope["type"] != "http":
            return
        client, server = scope["client"], scope["server"]
        member = self._names.get((client, server), "")
        door = self._doors.get(server[1], "")
        path = scope.get("raw_path", b"")
        if member and path == _HEALTH and scope["method"] == "GET":
            await answer(send, 200, {"status": "ok"})
            return
        why = self.refusal(door, member, scope["method"], path)
        if why:
            status, reason = why
            self._metrics.refuse(door or "none", reason)
            known = member if member in self._parties | {COORDINATOR} else "unknown"
            logs.step(_LOG, "a request was refused", door=door, member=known, reason=reason)
            await answer(send, status, {"error": reason})
            return
        await self._passing.on(member, scope, receive, send)

    def refusal(self, door: str, member: str, method: str, path: bytes) -> tuple[int, str] | None:
        """Return the status and reason with which a request is turned away; None if it is not.

        Parameters
        ----------
        door : {"parties", "operator"}
        member : str
            By its certificate.
        method : str
        path : bytes
            As it was sent.
        """
        if door == OPERATOR:
            if member != COORDINATOR:
                return 403, "not-the-coordinator"
            return None if _ANY.fullmatch(path) else (404, "path")
        if door != PARTIES or member not in self._parties:
            return 403, "not-a-party"
        if not _FLEET.fullmatch(path):
            return 403, "not-a-fleet-path"
        return None if method == "POST" else (405, "method")
