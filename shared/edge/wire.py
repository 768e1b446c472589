"""Dial a relay: TLS with certificates of the federation, a WebSocket, and the proof of who dials.

`relay_channel` is what a phase uses; `shared.link` does the delivery.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from functools import partial
from os import urandom
from pathlib import Path
from urllib.parse import urlsplit

from shared.channel import QueueChannel
from shared.edge.tls import tls_context
from shared.edge.websocket import PATH, Address, RelayWire, broken, reason_of
from shared.errors import ConfigError, EnvironmentFault, Refused
from shared.identity import Identity
from shared.link import Link
from shared.pieces import EPOCH_BYTES, UP, unpack_message
from shared.proof import NONCE_BYTES, prove
from shared.wire import WireClosedError

_DIAL_S = 10.0


def read_address(url: str) -> Address:
    """Read the URL of a relay, `wss://host:port`, with or without a path.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "wss" or not parts.hostname or port is None:
        raise ConfigError("relay", [f"must be a URL such as wss://relay:8443. Got {url!r}"])
    return Address(parts.hostname, port, parts.path.rstrip("/") or PATH)


def dial(
    address: Address, context: ssl.SSLContext, identity: Identity, scope: str, epoch: bytes
) -> RelayWire:
    """Connect to a relay and prove who this is.

    Parameters
    ----------
    address : Address
    context : ssl.SSLContext
        See `tls_context`.
    identity : Identity
    scope : str
        The session.
    epoch : bytes
        See `shared.pieces.Proof`.

    Raises
    ------
    Refused
        If the relay's certificate is not of the federation's CA or not for that host, or the relay
        does not take this side's.
    EnvironmentFault
        If something else answers at that address.
    WireClosedError
        If it cannot be reached, or closes: its code says why.
    """
    limit = time.monotonic() + _DIAL_S
    sock = _encrypt(_reach(address), context, address)
    try:
        certificate = sock.getpeercert(binary_form=True) or b""
        wire = RelayWire(sock, address)
    except (AttributeError, OSError, ValueError) as error:  # it closed meanwhile
        sock.close()
        raise WireClosedError("the connection ended") from error
    try:
        wire.upgrade(limit - time.monotonic())
        nonce = wire.first(limit)
        _expect(len(nonce) == NONCE_BYTES)
        wire.send(prove(identity, scope, epoch, nonce, certificate))
        welcome = unpack_message(wire.first(limit))
        _expect((welcome.kind, welcome.name, welcome.body) == (UP, identity.name, epoch))
    except (Refused, EnvironmentFault) as error:
        wire.close()
        raise type(error)(f"the relay at {address}: {error.message}", hint=error.hint) from error
    except BaseException:
        wire.close()
        raise
    return wire


def _expect(kept: bool) -> None:
    if not kept:
        raise EnvironmentFault("it answers, but not as a relay")


def _reach(address: Address) -> socket.socket:
    try:
        sock = socket.create_connection((address.host, address.port), timeout=_DIAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise broken(error) from error
    # On one machine, a port that nobody listens on may be given to the very socket that dials it.
    if sock.getsockname() == sock.getpeername():
        sock.close()
        raise WireClosedError("nobody listens there")
    return sock


def _encrypt(sock: socket.socket, context: ssl.SSLContext, address: Address) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise Refused(
            f"the certificate of the relay at {address} does not hold: {error.verify_message}",
            hint="it must be of the CA in ca.crt, and name this host",
        ) from error
    except OSError as error:
        sock.close()
        ended = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
        if not isinstance(error, ssl.SSLError) or ended:
            raise broken(error) from error
        raise Refused(f"no TLS 1.3 with the relay at {address}: {reason_of(error)}") from error


@contextlib.contextmanager
def relay_channel(
    url: str,
    home: Path,
    identity: Identity,
    peers: Iterable[str],
    scope: str,
    deadline: float,
    *,
    ca: str = "",
) -> Iterator[QueueChannel]:
    """Open a channel over a relay for one phase.

    Keep it open for as long as the phase runs, at the coordinator until every party has answered:
    the coordinator's connection is what holds the session open.

    Parameters
    ----------
    url : str
        Of the relay, `wss://host:port`.
    home : Path
        Folder with `ca.crt`, `tls.crt` and `tls.key`.
    identity : Identity
        Of this member.
    peers : iterable of str
        Everybody else in the phase.
    scope : str
        Run, phase and attempt; see `shared.jobs.Run.scope`.
    deadline : float
        Seconds without the relay, or without a peer, before it is given up.
    ca : str
        SHA-256 of the CA's certificate as the federation file pins it, hex; empty checks nothing.

    Yields
    ------
    QueueChannel
        Within `scope`. When the block ends well, everybody has what was sent.

    Raises
    ------
    Refused
        If the relay or a certificate is refused, or the relay refuses this member.
    EnvironmentFault
        If the relay cannot be reached before the deadline, or a file is missing.
    PartyLost
        If the coordinator does not open the session in time, or a peer is lost.
    """
    address, others = read_address(url), tuple(peers)
    context = tls_context(home / "tls.crt", home / "tls.key", home / "ca.crt", server=False, ca=ca)
    connect = partial(dial, address, context, identity, scope, urandom(EPOCH_BYTES))
    link = Link(
        identity.name,
        others,
        connect,
        address=str(address),
        deadline=deadline,
        clock=time.monotonic,
    )
    channel = QueueChannel(
        identity.name, others, link.inbox, link.carry, deadline=deadline, scope=f"{scope}/"
    )
    try:
        link.open()
        yield channel
    except BaseException as error:
        channel.abort(type(error).__name__)
        link.leave(finished=False)
        raise
    link.leave(finished=True)
