"""Where an app gets its transport from: whoever runs the app says so.

The same `ServerApp` and `ClientApp` objects run under every engine. The engine's process calls
`use` before it calls the app; the app asks for a transport for one phase.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from shared.channel import QueueChannel
from shared.errors import EnvironmentFault

# Tags of frames between the launcher and a party of engine `local` that no protocol sends.
MESSAGE, REPLY, READY, STOP = "@message", "@reply", "@ready", "@stop"

Connect = Callable[[str], QueueChannel]

_connect: ContextVar[Connect | None] = ContextVar("connect", default=None)


def use(connect: Connect) -> None:
    """Say how a phase gets its transport.

    Parameters
    ----------
    connect : callable
        Takes the scope of a phase, returns its channel.
    """
    _connect.set(connect)


def open_transport(scope: str) -> QueueChannel:
    """Return the transport of a phase.

    Raises
    ------
    EnvironmentFault
        If this process was not started by one of confide's engines.
    """
    connect = _connect.get()
    if connect is None:
        raise EnvironmentFault(
            "no transport: this app was not started by confide",
            hint="start it with `confide train`",
        )
    return connect(scope)
