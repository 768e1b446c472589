"""Whose certificate each open connection has shown, and how such a connection is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Ends = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    Parameters
    ----------
    name : str
        Common name in its certificate; empty for none.
    serial : int
        Of its certificate.
    transport : asyncio.Transport
        The connection.
    """

    name: str
    serial: int
    transport: asyncio.Transport


class Peers(dict[Ends, Peer]):
    """Open connections by their two ends, as an application is told them: client and server."""

    def of(self, scope: Any) -> Peer | None:
        """Return whose connection a request, or a WebSocket, came over."""
        return self.get((scope["client"], scope["server"]))

    def drop(self, why: Callable[[Peer], str], *, after: float = 0.0) -> list[tuple[Peer, str]]:
        """End connections at once or after some seconds.

        Parameters
        ----------
        why : callable
            Returns the reason to end a connection; nothing to keep it.
        after : float
            Seconds: for what the other end is still to be told.

        Returns
        -------
        list of (Peer, str)
            What was ended, and why.
        """
        found = [(peer, reason) for peer in self.values() if (reason := why(peer))]
        for peer, _ in found:
            if after:
                asyncio.get_running_loop().call_later(after, peer.transport.abort)
            else:
                peer.transport.abort()
        return found


def named(peers: Peers, protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Return one of uvicorn's protocols, writing down who each connection is with.

    uvicorn hands no certificate to the application. A WebSocket's protocol takes the connection
    over from that of HTTP, which is not told of its end: name both.

    Parameters
    ----------
    peers : Peers
        Where it is written down.
    protocol : type
    """
    base: Any = protocol

    class Named(base):  # type: ignore[misc]
        """A connection whose other end is known by its certificate."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            certificate = transport.get_extra_info("peercert") or {}
            serial = int(certificate.get("serialNumber", "0"), 16)
            peers[self.client, self.server] = Peer(common_name(certificate), serial, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            peers.pop((self.client, self.server), None)
            super().connection_lost(exc)

    return Named


def common_name(certificate: Any) -> str:
    """Return the common name of a certificate as Python's `ssl` tells it; empty for none."""
    for part in (certificate or {}).get("subject", ()):
        for kind, value in part:
            if kind == "commonName":
                return str(value)
    return ""
