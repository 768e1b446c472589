"""The processes of engine `flower` on one machine: a table, and what happens when one dies.

=========  =============================  ==================================
process    command                        when it dies
=========  =============================  ==================================
superlink  `python -m server.superlink`   again, same database and port
relay      `python -m server.relay`       again, same port
a party    `python -m clients.supernode`  the follower decides: the run ends,
                                          the party named, or goes on without
=========  =============================  ==================================

All are started at once. Every process has a random marker in its environment, which Flower's own
children inherit; the guardian ends whatever carries it, however the launcher ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.engines import guardian
from shared.errors import EnvironmentFault

HOST = "127.0.0.1"
SUPERLINK, RELAY = "superlink", "relay"
MAX_RESTARTS = 3

_TAKEN = b"address already in use"
_STOP_S = 30.0
_TAIL = 65536
_SHARED = Path("/dev/shm")  # noqa: S108 - only to make a private folder in


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the deployment.

    Parameters
    ----------
    name : str
        `superlink`, `relay`, or the party's.
    command : tuple of str
        Arguments of this Python.
    home : Path
        Its own folder: its FLWR_HOME is there.
    log : Path
        Where its output goes.
    again : bool
        Whether it is started again when it dies.
    held : bool
        Whether it waits for `Deployment.release` before it begins.
    """

    name: str
    command: tuple[str, ...]
    home: Path
    log: Path
    again: bool = False
    held: bool = False


@dataclass(slots=True)
class _Process:
    service: Service
    popen: subprocess.Popen[bytes]
    logged: int  # size of its log when it was started
    restarts: int = 0
    buried: bool = False


class PortTaken(Exception):
    """A port that was free a moment ago is not any more."""


class Died(Exception):
    """A process ended that is not started again.

    Parameters
    ----------
    service : Service
    restarted : frozenset of str
        What was started again before.
    """

    def __init__(self, service: Service, restarted: frozenset[str] = frozenset()) -> None:
        super().__init__(service.name)
        self.service = service
        self.restarted = restarted


@dataclass(slots=True)
class Deployment:
    """The processes that run; see `deployed`.

    Parameters
    ----------
    marker : str
    scratch : Path
        Folder for everybody's temporary files.
    memory : Path
        Folder in memory where the system has one, for what must only outlive a process.
    environment : mapping of str to str
        Variables on top of the launcher's own.
    warn : callable
        Takes a sentence for whoever gave the command.
    """

    marker: str
    scratch: Path
    memory: Path
    environment: Mapping[str, str]
    warn: Callable[[str], None]
    _guard: subprocess.Popen[bytes]
    _processes: dict[str, _Process] = field(default_factory=dict)
    _dead: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, services: Iterable[Service]) -> None:
        """Start processes, all at once."""
        for service in services:
            logged = _size(service.log)
            self._processes[service.name] = _Process(service, self._launch(service), logged)

    def release(self) -> None:
        """Let the processes that were held begin."""
        for process in self._processes.values():
            _let_go(process.popen)

    def check(self) -> None:
        """Start again what died and may be started again.

        Raises
        ------
        Died
            If something else died.
        PortTaken
            If it died because its port is taken.
        EnvironmentFault
            If something died more than three times.
        """
        if self._guard.poll() is not None:
            raise EnvironmentFault("the guardian of this run's processes is gone")
        for process in self._processes.values():
            if process.buried or not _ended(process.popen):
                continue
            service = process.service
            if _TAKEN in tail(service.log, process.logged).lower():
                raise PortTaken
            if not service.again:
                process.buried = True
                again = (one for one in self._processes.values() if one.restarts)
                raise Died(service, frozenset(one.service.name for one in again))
            self._restart(process)

    def bury(self, name: str) -> None:
        """End what a process that died has left: its app may still talk to the others."""
        leaders = [self._processes[name].popen.pid]
        guardian.sweep(self._part(name), leaders, grace=0.0, variable=guardian.PART)

    def _part(self, name: str) -> str:
        return f"{self.marker}/{name}"

    def running(self) -> dict[str, tuple[int, int]]:
        """Return the id of each process, and how often it was started again."""
        living = (one for one in self._processes.values() if not one.buried)
        return {one.service.name: (one.popen.pid, one.restarts) for one in living}

    def forgive(self, name: str) -> None:
        """Count a process's restarts anew: it has lived long since the last one."""
        self._processes[name].restarts = 0

    def _restart(self, process: _Process) -> None:
        service = process.service
        if process.restarts == MAX_RESTARTS:
            raise EnvironmentFault(
                f"the {service.name} died for the {MAX_RESTARTS + 1}th time",
                hint=f"see {service.log}",
            )
        process.restarts += 1
        self.warn(f"the {service.name} died; it is started again ({service.log})")
        # A dead SuperLink is not reaped before the end: what it started looks whether its process
        # is there, and would stop. So the ServerApp goes on, and finds the new one on the old port.
        self._dead.append(process.popen)
        process.logged = _size(service.log)
        process.popen = self._launch(service)
        _let_go(process.popen)

    def _launch(self, service: Service) -> subprocess.Popen[bytes]:
        scratch = self.scratch / service.name
        try:
            for folder in (service.log.parent, service.home, scratch):
                folder.mkdir(parents=True, exist_ok=True)
            with service.log.open("ab") as log:
                popen = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                    [sys.executable, *service.command],
                    stdin=subprocess.PIPE if service.held else subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._variables(service, scratch),
                    start_new_session=True,  # Ctrl-C is for the launcher, which decides
                )
        except OSError as error:
            raise EnvironmentFault(f"cannot start the {service.name}: {error}") from error
        self._say(str(popen.pid))
        return popen

    def _variables(self, service: Service, scratch: Path) -> dict[str, str]:
        variables = {**os.environ, **self.environment}
        here = str(Path(sys.executable).parent)
        apart = [
            variables.get("NO_PROXY") or variables.get("no_proxy") or "",
            "localhost,127.0.0.1,::1",
        ]
        without_proxy = ",".join(filter(None, apart))
        return variables | {
            guardian.MARKER: self.marker,
            guardian.PART: self._part(service.name),
            # Flower starts its own commands by their bare names.
            "PATH": here + os.pathsep + variables.get("PATH", os.defpath),
            "FLWR_HOME": str(service.home / "flower"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
            "NO_PROXY": without_proxy,
            "no_proxy": without_proxy,
            # All share this machine's cores: one BLAS thread each.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": variables.get("PYTHONWARNINGS", "ignore:Protobuf gencode"),
            "TMPDIR": str(scratch),
        }

    def _say(self, line: str) -> None:
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write(line.encode() + b"\n")
            self._guard.stdin.flush()
        except OSError as error:
            raise EnvironmentFault("the guardian of this run's processes is gone") from error

    def _stop(self) -> None:
        """End everything: the guardian does it, as it would if this process were killed."""
        with contextlib.suppress(OSError):
            assert self._guard.stdin is not None
            self._guard.stdin.close()
        try:
            safe = self._guard.wait(timeout=_STOP_S) == 0
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
            safe = False
        started = [process.popen for process in self._processes.values()] + self._dead
        if not safe:
            left = guardian.sweep(self.marker, [popen.pid for popen in started], grace=0.0)
            if left:
                self.warn(f"processes that could not be ended: {sorted(left)}")
        for popen in started:
            popen.wait()
            if popen.stdin is not None:
                with contextlib.suppress(OSError):
                    popen.stdin.close()
        for folder in (self.scratch, self.memory):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def deployed(environment: Mapping[str, str], warn: Callable[[str], None]) -> Iterator[Deployment]:
    """Give a deployment to start processes in; whatever happens, none is left at the end.

    Parameters
    ----------
    environment : mapping of str to str
        Variables for every process.
    warn : callable
        Takes a sentence for whoever gave the command.
    """
    marker = secrets.token_hex(16)
    command = [sys.executable, "-IS", guardian.__file__, marker]
    guard = subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, start_new_session=True
    )
    # Short, since Unix sockets in it have at most a hundred bytes of path.
    scratch = Path(tempfile.mkdtemp(prefix="confide-"))
    memory = Path(tempfile.mkdtemp(prefix="confide-", dir=_memory()))
    deployment = Deployment(marker, scratch, memory, environment, warn, guard)
    try:
        for folder in (scratch, memory):
            deployment._say(str(folder))  # noqa: SLF001 - its own constructor
        yield deployment
    finally:
        deployment._stop()  # noqa: SLF001


def _memory() -> Path | None:
    """Return a folder in memory: on a disk, every one of Flower's transactions waits for it."""
    return _SHARED if _SHARED.is_dir() and os.access(_SHARED, os.W_OK) else None


def free_ports(count: int) -> list[int]:
    """Return ports that are free now; they may be taken a moment later."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]


def demand_port(port: int, what: str) -> None:
    """Check that a port that was asked for is free.

    Raises
    ------
    EnvironmentFault
        Names it, if it is not.
    """
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError as error:
            raise EnvironmentFault(
                f"port {port}, asked for the {what}, is taken: {error.strerror}",
                hint="name another, or none: a free one is found",
            ) from error


def tail(log: Path, since: int = 0) -> bytes:
    """Return the end of a log, from a position on; nothing if there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(since, _size(log) - _TAIL))
            return stream.read()
    except OSError:
        return b""


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def answers(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float, deployment: Deployment) -> bool:
    """Wait for a condition while the processes live; return whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        deployment.check()
        time.sleep(0.05)
    return True


def _let_go(popen: subprocess.Popen[bytes]) -> None:
    if popen.stdin is None:
        return
    with contextlib.suppress(OSError):
        popen.stdin.write(b"\n")
        popen.stdin.flush()


def _ended(popen: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended, and leave it to be reaped; see `Deployment.check`."""
    if popen.returncode is not None:
        return True
    try:
        state = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return state is not None
