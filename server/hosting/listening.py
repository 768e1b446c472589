"""The listening socket of a server, taken before the server starts, so that its port is known."""

from __future__ import annotations

import errno
import socket

from shared.errors import EnvironmentFault

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Parameters
    ----------
    host : str
        Address or name of this machine.
    port : int
        0 lets the system choose one.

    Raises
    ------
    EnvironmentFault
        If the port is taken, or the address is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "another program has it" if taken else error.strerror
        hint = "stop what uses the port, or name another; --port 0 lets the system choose"
        raise EnvironmentFault(f"cannot listen on {host} port {port}: {why}", hint=hint) from error
