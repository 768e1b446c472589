"""Numbers for Prometheus on an operator's address: plain HTTP, this machine's by default.

Nothing listens unless it is asked for. The page holds counts and times by names of the program's
own (services, phases, parties); whoever reaches the address can read them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from shared.errors import EnvironmentFault, UsageError

HOST = "127.0.0.1"


def read_place(text: str) -> tuple[str, int]:
    """Read `PORT` or `HOST:PORT`.

    Raises
    ------
    UsageError
        If it is neither.
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 65536:
        raise UsageError(f"metrics are told at PORT or HOST:PORT. Got {text!r}")
    return host.strip("[]") or HOST, int(port)


def expose(registry: CollectorRegistry, place: str) -> int:
    """Answer with what a registry holds, in a thread; return the port.

    Parameters
    ----------
    registry : CollectorRegistry
    place : str
        `PORT` or `HOST:PORT`; port 0 lets the system choose.

    Raises
    ------
    UsageError
        If it is no place.
    EnvironmentFault
        If nothing can listen there.
    """
    host, port = read_place(place)
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot tell metrics at {host} port {port}: {error.strerror}",
            hint="stop what uses the port, or name another",
        ) from error
    return int(server.server_port)
