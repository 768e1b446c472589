"""One process of the limit service: `python -m server.worker`, started by `server.supervisor`.

It opens everything itself: a store that was opened before a fork is two processes on one
connection. What to serve stands as one JSON object in the first line of its standard input, so that
a password of the store is in no command line and no environment. When that input ends the
supervisor is gone, and the worker ends too, after the requests at hand.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from server.accounts.desk import open_desk
from server.coordinator import load_federation
from shared.edge import logs
from shared.errors import ConfideError

if TYPE_CHECKING:
    from server.accounts.desk import Desk

DRAIN_S: Final = 5
"""Seconds that requests at hand may take once the process is told to stop."""
COLLECT_AFTER: Final = (50_000, 20, 20)
"""Garbage is looked for seldom: hardly anything here is a cycle, and each look costs a request."""
_GRACE_S: Final = 60.0  # beyond the time a party is waited for, before a run counts as silent
SWITCH_S: Final = 0.001
"""How long a thread may keep the others, and so the sockets, waiting."""


@dataclass(frozen=True, slots=True, repr=False)
class Task:
    """What a worker serves.

    Parameters
    ----------
    federation : str
        Path of the federation file.
    policy : str
        Path of a policy, or empty.
    store_url : str
    certificate, key : str
        Paths, or empty.
    listener : int
        Descriptor of the listening socket.
    runs : str
        Path of the coordinator's folder, for operators to watch; or empty.
    """

    federation: str
    policy: str
    store_url: str
    certificate: str
    key: str
    listener: int
    runs: str = ""

    def to_line(self) -> bytes:
        """Return it as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Task:
        """Read it."""
        return cls(**json.loads(line))

    def open_desk(self, *, create: bool = False) -> Desk:
        """Open everything that it names.

        Raises
        ------
        ConfideError
        """
        path = Path(self.federation)
        agreed, _ = load_federation(path)
        policy = Path(self.policy) if self.policy else None
        return open_desk(path.parent, agreed, self.store_url, policy, create=create)


def run(task: Task, desk: Desk, listener: socket.socket, *, ended: threading.Event) -> None:
    """Serve until a signal comes or an event is set; both SIGTERM and Ctrl-C end it well.

    Parameters
    ----------
    task : Task
    desk : Desk
        Opened by this process.
    listener : socket
    ended : Event
    """
    import uvicorn  # noqa: PLC0415 - FastAPI and uvicorn take most of the start

    from server.accounts.duties import Duties  # noqa: PLC0415 - as uvicorn
    from server.api.app import create_app  # noqa: PLC0415 - as uvicorn
    from server.api.problems import Quiet  # noqa: PLC0415 - as uvicorn
    from server.hosting.connections import protocol  # noqa: PLC0415 - as uvicorn
    from server.runs.folder import RunsFolder  # noqa: PLC0415 - as uvicorn

    logs.configure("limits")
    watched = None
    if task.runs:
        patience = desk.scores.federation.protocol.deadline_s + _GRACE_S
        watched = RunsFolder(Path(task.runs), patience)
    app = create_app(desk, runs=watched)
    config = uvicorn.Config(
        Quiet(app),
        http=protocol(),  # a head that is slow or endless is let go
        ws="none",
        access_log=False,  # addresses hold pseudonyms
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # who asks is whom the connection is with
        timeout_graceful_shutdown=DRAIN_S,
        ssl_certfile=task.certificate or None,
        ssl_keyfile=task.key or None,
        ssl_context_factory=_newest_tls if task.certificate else None,
    )
    server = uvicorn.Server(config)
    app.state.ending = lambda: server.should_exit  # what streams would otherwise hold up

    def stop(*_: object) -> None:
        server.should_exit = True

    def watch() -> None:
        ended.wait()
        server.should_exit = True

    # Ours count until uvicorn sets its own, and when it raises the signal again after shutdown.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=watch, daemon=True).start()
    gc.collect()
    gc.freeze()  # what the start has made stays: no collection need look at it again
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)
    with Duties(desk):
        server.run(sockets=[listener])


def main() -> int:
    """Serve what the first line of standard input says; return the exit status."""
    logs.configure("limits")
    task = Task.of_line(_line(0))
    ended = threading.Event()
    threading.Thread(target=_until_alone, args=(ended,), daemon=True).start()
    listener = socket.socket(fileno=task.listener)
    try:
        desk = task.open_desk()
        try:
            run(task, desk, listener, ended=ended)
        finally:
            desk.store.close()
    except ConfideError as error:
        logging.getLogger(__name__).error("a worker cannot serve: %s", error)  # noqa: TRY400
        return error.exit_status
    return 0


def _line(handle: int) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        part = os.read(handle, 1)
        if not part:
            return bytes(found)
        found += part
    return bytes(found)


def _until_alone(ended: threading.Event) -> None:
    """Wait until the supervisor is gone."""
    while os.read(0, 1024):
        pass
    ended.set()


def _newest_tls(_: object, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Speak TLS 1.3 alone, as everything else of a federation does."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


if __name__ == "__main__":
    sys.exit(main())
