"""Who may ask for what at the gate: the name in a certificate, the port it came to, the path."""

from __future__ import annotations

import logging
import re
from typing import Final

from starlette.types import Receive, Scope, Send

from server.gate.metrics import GateMetrics
from server.gate.passing import Passing, answer
from server.hosting.following import Following, Members
from server.hosting.peers import Peer, Peers
from shared.edge import logs
from shared.jobs import COORDINATOR

PARTIES: Final = "parties"
OPERATOR: Final = "operator"
_HEALTH: Final = b"/health"
#: What a node of a party asks for. No dot, no percent sign: one spelling of a path only.
_FLEET: Final = re.compile(rb"/v1/fleet/[a-z-]{1,64}")
_ANY: Final = re.compile(rb"/[A-Za-z0-9/_-]{1,255}")
_LOG: Final = logging.getLogger(__name__)


class Doors:
    """The gate as an ASGI application.

    Parameters
    ----------
    following : Following
        Who is a member: a certificate of anybody else opens no door.
    parties_port, operator_port : int
        Of the two doors.
    peers : Peers
        Whose connections are open.
    passing : Passing
        To the SuperLink.
    metrics : GateMetrics
    """

    def __init__(
        self,
        following: Following,
        parties_port: int,
        operator_port: int,
        peers: Peers,
        passing: Passing,
        metrics: GateMetrics,
    ) -> None:
        self._following = following
        self._doors = {parties_port: PARTIES, operator_port: OPERATOR}
        self._peers, self._passing, self._metrics = peers, passing, metrics
        following.tell(self._close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, pass on, or turn away one request."""
        if scope["type"] != "http":
            return
        self._following.look()
        peer = self._peers.of(scope)
        member = peer.name if peer else ""
        door = self._doors.get(scope["server"][1], "")
        path = scope.get("raw_path", b"")
        why = self.refusal(door, peer, scope["method"], path)
        if why:
            status, reason = why
            self._metrics.refuse(door or "none", reason)
            known = member if member in self._following.ever else "unknown"
            logs.step(_LOG, "a request was refused", door=door, member=known, reason=reason)
            await answer(send, status, {"error": reason})
            return
        if path == _HEALTH and scope["method"] == "GET":
            await answer(send, 200, {"status": "ok"})
            return
        await self._passing.on(member, scope, receive, send)

    def refusal(
        self, door: str, peer: Peer | None, method: str, path: bytes
    ) -> tuple[int, str] | None:
        """Return the status and reason with which a request is turned away; None if it is not.

        Parameters
        ----------
        door : {"parties", "operator"}
        peer : Peer or None
            Whose connection it is.
        method : str
        path : bytes
            As it was sent.
        """
        if peer is None or peer.serial in self._following.now.revoked:
            return 403, "revoked"
        if peer.name and path == _HEALTH and method == "GET":
            return None
        if door == OPERATOR:
            return _at_operators(peer.name, path)
        if door != PARTIES or peer.name not in self._following.now.roster.parties:
            return 403, "not-a-party"
        return _at_parties(method, path)

    def _close(self, before: Members, now: Members) -> None:
        """End the connections of who is a member no more, requests under way with them."""
        gone = before.roster.fingerprints.keys() - now.roster.fingerprints.keys()

        def why(peer: Peer) -> str:
            if peer.serial in now.revoked:
                return "revoked"
            return "not-a-party" if peer.name in gone else ""

        for peer, reason in self._peers.drop(why):
            self._metrics.refuse("open", reason)
            said = "a member's connection was closed"
            logs.step(_LOG, said, level=logging.WARNING, member=peer.name, reason=reason)


def _at_operators(member: str, path: bytes) -> tuple[int, str] | None:
    if member != COORDINATOR:
        return 403, "not-the-coordinator"
    return None if _ANY.fullmatch(path) else (404, "path")


def _at_parties(method: str, path: bytes) -> tuple[int, str] | None:
    if not _FLEET.fullmatch(path):
        return 403, "not-a-fleet-path"
    return None if method == "POST" else (405, "method")
