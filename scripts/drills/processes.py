"""Processes as targets: found by a mark; signals, full disks, wrong clocks, cut links.

What needs root (a small file system, a network of one's own) or a package (libfaketime) is probed;
`lacks` then says what is missing, and the drill tells it as a row that was skipped.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drills.links import Link, Links

INSIDE = Path(__file__).parent / "inside"
ROOT = Path(__file__).resolve().parents[2]
MARK = "CONFIDE_DRILL"
_FAKETIME = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def nobody() -> None:
    """Do nothing: for a target that nobody starts again."""


@dataclass(frozen=True)
class ProcessTarget:
    """Processes that are one member.

    Parameters
    ----------
    name : str
    pids : callable
        Returns the processes that are alive.
    disk : Disk, optional
        On which its folder lies.
    link : Link, optional
        Between it and the others.
    clock : Path, optional
        The file that says how wrong its clock is.
    again : callable
        Starts it again after it has died; does nothing where its supervisor does.
    whys : mapping of str to str
        By need, why it has none.
    """

    name: str
    pids: Callable[[], list[int]]
    disk: Disk | None = None
    link: Link | Links | None = None
    clock: Path | None = None
    again: Callable[[], None] = nobody
    whys: Mapping[str, str] | None = None

    def lacks(self, need: str) -> str:
        if why := (self.whys or {}).get(need):
            return why
        if need == "process" or getattr(self, need) is not None:
            return ""
        return {
            "disk": Disk.missing() or "it keeps nothing on a disk of its own",
            "link": Link.missing() or "it has no link of its own: its peers are pipes",
            "clock": "" if faketime() else "libfaketime is not installed: apt-get install faketime",
        }[need] or f"this drill gives it no {need}"

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def start(self) -> None:
        self.again()

    def fill(self) -> None:
        assert self.disk is not None
        self.disk.fill()

    def empty(self) -> None:
        assert self.disk is not None
        self.disk.empty()

    def cut(self) -> None:
        assert self.link is not None
        self.link.cut()

    def slow(self) -> None:
        assert self.link is not None
        self.link.slow()

    def mend(self) -> None:
        assert self.link is not None
        self.link.mend()

    def set_clock(self, seconds: int) -> None:
        assert self.clock is not None
        write_clock(self.clock, seconds)


# Processes, found by a mark in their environment, which children inherit.


@dataclass(frozen=True, slots=True)
class Mark:
    """What every process of one drill has in its environment."""

    value: str

    @classmethod
    def new(cls) -> Mark:
        """Return one that nobody else has."""
        return cls(secrets.token_hex(8))

    def environment(self, clocks: Mapping[str, Path] | None = None) -> dict[str, str]:
        """Return the environment of the drill's processes: the mark, JSON logs, settable clocks."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONFIDE")}
        path = [str(ROOT)]
        given: dict[str, str] = {}
        if clocks and (library := faketime()):
            path.insert(0, str(INSIDE))
            wanted = {pattern: str(file) for pattern, file in clocks.items()}
            given = {"DRILL_CLOCKS": json.dumps(wanted), "DRILL_FAKETIME": library}
        return {
            **kept,
            **given,
            MARK: self.value,
            "CONFIDE_LOG": "json",
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONWARNINGS": "ignore",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def pids(self, pattern: str = "") -> list[int]:
        """Return the living processes whose command matches, the eldest first."""
        sought = f"{MARK}={self.value}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                if sought not in (entry / "environ").read_bytes():
                    continue
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if stat[0] not in "ZX" and re.search(pattern, command):
                    found.append((int(stat[19]), int(entry.name)))
        return [pid for _, pid in sorted(found)]

    def gone(self, limit: float) -> int:
        """Wait until none is left, end the rest; return how many had to be ended."""
        until = time.monotonic() + limit
        while (left := self.pids()) and time.monotonic() < until:
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)


# Clocks.


def faketime() -> str:
    """Return the library that makes clocks wrong, or nothing where it is not installed."""
    for pattern in _FAKETIME:
        for path in Path("/").glob(pattern[1:]):
            return str(path)
    return ""


def write_clock(file: Path, seconds: int) -> None:
    """Set a clock so many seconds off."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.chmod(0o644)
    fresh.replace(file)


def new_clock(file: Path) -> Path | None:
    """Return a file that sets a clock, at the right time; none where clocks cannot be set."""
    if not faketime():
        return None
    write_clock(file, 0)
    return file


# Disks.


@dataclass(frozen=True, slots=True)
class Disk:
    """A small file system of memory over a folder."""

    folder: Path

    @staticmethod
    def missing() -> str:
        """Return why there can be none here, or nothing."""
        return "" if os.geteuid() == 0 else "a small file system needs root to be mounted"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with (self.folder / ".filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def empty(self) -> None:
        """Give the room back."""
        (self.folder / ".filler").unlink(missing_ok=True)


@contextmanager
def small_disk(
    folder: Path, spare_mb: float, *, spared: tuple[str, ...] = (), keep: bool = False
) -> Iterator[Disk]:
    """Put a folder, with what is in it, on a small file system of its own.

    Parameters
    ----------
    folder : Path
    spare_mb : float
        Room beside what is there.
    spared : tuple of str
        Folders in it that stay where they were, with all their room.
    keep : bool
        Whether what was written on it is kept at the end.
    """
    away = folder.with_name(f"{folder.name}.disk")
    folder.rename(away)
    folder.mkdir()
    stat = away.stat()
    mounted: list[Path] = []
    try:
        own = [one for one in away.iterdir() if one.name not in spared]
        size = int(spare_mb * 1e6) + sum(
            -(-one.stat().st_size // 4096) * 4096 + 4096 for top in own for one in _below(top)
        )
        _mount("-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder))
        mounted.append(folder)
        os.chown(folder, stat.st_uid, stat.st_gid)
        folder.chmod(stat.st_mode & 0o777)
        for one in own:
            subprocess.run(["cp", "-a", str(one), str(folder)], check=True)
        for name in spared:
            (folder / name).mkdir()
            _mount("--bind", str(away / name), str(folder / name))
            mounted.append(folder / name)
        yield Disk(folder)
    finally:
        if keep and mounted:
            (folder / ".filler").unlink(missing_ok=True)
            shutil.rmtree(away)
            away.mkdir(mode=stat.st_mode & 0o777)
            os.chown(away, stat.st_uid, stat.st_gid)
            subprocess.run(["cp", "-a", f"{folder}/.", str(away)], check=True)
        for one in reversed(mounted):
            _unmount(one)
        shutil.rmtree(folder, ignore_errors=True)
        away.rename(folder)


def _below(top: Path) -> Iterator[Path]:
    yield top
    if top.is_dir():
        yield from top.rglob("*")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    for words in (["umount"], ["umount", "--lazy"]):
        if subprocess.run([*words, str(folder)], capture_output=True, check=False).returncode == 0:
            return
