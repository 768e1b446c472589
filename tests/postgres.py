"""A PostgreSQL server of its own for tests: made, killed, started again and destroyed.

    with running() as server:
        url = server.new_database()

The programs are Debian's (`apt-get install postgresql`). The server listens on a socket in its own
folder only, trusts who can reach it, and keeps `fsync` on, so that killing it shows what a crash
does. PostgreSQL refuses to run as root; there it runs as the user `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

_ROOTS = (Path("/usr/lib/postgresql"), Path("/usr/pgsql"), Path("/opt/homebrew/opt"))
_SETTINGS = """
listen_addresses = ''
fsync = on
max_connections = 200
shared_buffers = 64MB
logging_collector = off
dynamic_shared_memory_type = mmap
"""


def programs() -> Path | None:
    """Return the folder of initdb and postgres, of the newest version that there is, or None."""
    found = [one.parent for root in _ROOTS for one in root.glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    found = [one for one in found if (one / "postgres").exists()]
    return max(found, key=_version) if found else None


def missing() -> str:
    """Return why there can be no server, or nothing."""
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    if find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'confide[postgres]'"
    return ""


@dataclass
class Server:
    """A running server.

    Parameters
    ----------
    folder : Path
        Of data, socket and log; goes with the server.
    port : int
        Part of the socket's name.
    """

    folder: Path
    port: int
    _process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://confide@/{database}?host={self.folder}&port={self.port}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def run(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - may be missing

        where = {"host": str(self.folder), "port": self.port, "user": "confide"}
        with psycopg.connect(dbname="postgres", autocommit=True, **where) as db:
            db.execute(statement)

    def start(self) -> None:
        """Start it as a child of this process, so that it can be killed and is gone then."""
        log = (self.folder / "server.log").open("ab")
        words = ("-D", self.data, "-k", self.folder, "-p", self.port)
        with log:
            self._process = subprocess.Popen(
                [str(programs() / "postgres"), *(str(word) for word in words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C ends the tests first, then the server
                **_person(),
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self._log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it without a last checkpoint, but with nothing left in shared memory."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)

    def kill(self) -> None:
        """End every process of the server with SIGKILL, as a lack of memory would."""
        family = _children(self._process.pid)
        self._process.kill()
        self._process.wait(60)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while any(_alive(pid) for pid in family):
            if time.monotonic() > deadline:
                raise TimeoutError("a process of PostgreSQL does not end")
            time.sleep(0.01)

    def pids(self) -> list[int]:
        """Return its processes, the first one first; none where it does not run."""
        process = self._process
        if process is None or process.poll() is not None:
            return []
        return [process.pid, *_children(process.pid)]

    def wait(self) -> None:
        """Wait until it is gone, if it was ever there."""
        if self._process is not None:
            self._process.wait(60)

    def make(self) -> None:
        """Make the data folder."""
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        done = subprocess.run(
            [str(programs() / "initdb"), "-D", str(self.data), "-U", "confide", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
            **_person(),
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415 - may be missing

        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _log(self) -> str:
        return (self.folder / "server.log").read_text()[-2000:]


def scratch() -> str:
    """Return a folder in memory if there is room for databases, else /tmp.

    A killed process loses nothing of either; only a power cut would tell them apart.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**31
    return str(memory) if roomy and os.access(memory, os.W_OK) else "/tmp"


@contextmanager
def running(home: str | None = None) -> Iterator[Server]:
    """Give a fresh server below a folder (`scratch`); afterwards nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="confide-pg-", dir=home or scratch()))
    server = Server(folder, _free_port())
    try:
        person = _person()
        if person:
            os.chown(folder, person["user"], person["group"])
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def image_context(folder: Path) -> None:
    """Lay out what tests/e2e/postgres/Dockerfile builds: this machine's programs and libraries."""
    own = programs()
    version = own.parent.name
    root = folder / "root"
    there = root / "usr/lib/postgresql" / version
    bits = shutil.ignore_patterns("bitcode", "llvmjit*", "pgxs", "test")
    shutil.copytree(own.parent / "lib", there / "lib", ignore=bits)
    (there / "bin").mkdir()
    for name in ("postgres", "initdb", "psql", "pg_isready"):
        shutil.copy2(own / name, there / "bin" / name)
    share = Path("/usr/share/postgresql") / version
    shutil.copytree(share, root / share.relative_to("/"), ignore=shutil.ignore_patterns("man"))
    for zone in ("Etc/UTC", "UTC"):
        place = root / "usr/share/zoneinfo" / zone
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path("/usr/share/zoneinfo") / zone, place)
    libraries = root / "usr/lib/postgresql-needs"
    libraries.mkdir()
    for library in _libraries([*(there / "bin").iterdir(), *(there / "lib").glob("*.so")]):
        shutil.copy2(library, libraries / library.name)
    (root / "usr/local/bin").mkdir(parents=True)
    for name in ("psql", "pg_isready"):  # on the path, as in the official image
        (root / "usr/local/bin" / name).symlink_to(own / name)
    source = Path(__file__).parent / "e2e" / "postgres"
    shutil.copy2(source / "entrypoint.sh", root / "usr/local/bin/postgres-entrypoint")
    (root / "usr/local/bin/postgres-entrypoint").chmod(0o755)
    for path in (root / "usr/lib/postgresql").rglob("*"):
        path.chmod(0o755)
    shutil.copy2(source / "Dockerfile", folder / "Dockerfile")


def _libraries(files: list[Path]) -> set[Path]:
    """Return the libraries that some programs are linked with, but for the C library's own."""
    words = ["ldd", *map(str, files)]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = {Path(line.split("=>")[1].split()[0]) for line in told.splitlines() if "=> /" in line}
    own = ("libc.so", "libm.so", "ld-linux", "libpthread", "libdl", "librt", "libresolv")
    return {path for path in found if not path.name.startswith(own)}


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


def _person() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            person = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL needs a user that is not root")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
