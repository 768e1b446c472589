"""The machine: versions, room on the disk, ports, processes and files that were left behind."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from server.doctor.findings import Finding, failed, or_well, warned, well
from server.engines import guardian
from server.federation.state import FOLDER, is_held, read_state

LEAST_PYTHON: Final = (3, 11)
LOW_BYTES, LEAST_BYTES = 2 << 30, 256 << 20
_OLD_S: Final = 3600.0
_OPTIONAL: Final = ("torch", "safetensors", "dp-accounting", "psycopg")
_PROC: Final = Path("/proc")


def versions(
    python: tuple[int, ...] = tuple(sys.version_info[:3]), wanted: Iterable[str] | None = None
) -> list[Finding]:
    """Check Python, and the version of every package that confide asks for.

    Parameters
    ----------
    python : tuple of int
    wanted : iterable of str, optional
        Requirements such as `flwr<1.43,>=1.41`; by default those of the installed confide.
    """
    shown = ".".join(map(str, python))
    if python[:2] < LEAST_PYTHON:
        return [failed("versions", f"Python {shown} is too old", "install Python 3.11 or newer")]
    wrong, seen = [], [f"Python {shown}"]
    for text in requires("confide") or () if wanted is None else wanted:
        name = re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]
        if "extra ==" in text:
            continue
        try:
            there = version(name)
        except PackageNotFoundError:
            said = f"{name} is not installed; the limit service's image leaves some out"
            wrong.append(warned("versions", said, f"pip install '{text}'"))
            continue
        if not all(_holds(there, *bound) for bound in _BOUND.findall(text)):
            said = f"{name} is {there}; asked for is {text}"
            wrong.append(failed("versions", said, f"pip install '{text}'"))
        elif name in {"flwr", "numpy", "cryptography"}:
            seen.append(f"{name} {there}")
    return or_well("versions", wrong, ", ".join([*seen, *_extras()]))


_BOUND: Final = re.compile(r"(>=|==|<=|<|>)\s*([0-9][0-9.]*)")


def _holds(there: str, sign: str, bound: str) -> bool:
    """Return whether a version keeps a bound; only the numbers before any letter count."""
    ours, theirs = (
        tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", text)[0]))
        for text in (there, bound)
    )
    return {
        ">=": ours >= theirs,
        "<": ours < theirs,
        "==": ours == theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
    }[sign]


def _extras() -> list[str]:
    found = []
    for name in _OPTIONAL:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


def disk(folder: Path, low: int = LOW_BYTES, least: int = LEAST_BYTES) -> list[Finding]:
    """Check that the disk of a folder has room, and takes a file.

    Parameters
    ----------
    folder : Path
    low, least : int
        Bytes below which it is told, and below which it is wrong.
    """
    mend = f"make room on the disk of {folder}"
    free = shutil.disk_usage(folder).free
    said = f"{free / (1 << 30):.1f} GiB are free at {folder}"
    if free < least:
        return [failed("disk", said, mend)]
    if not os.access(folder, os.W_OK):
        return [failed("disk", f"{folder} cannot be written", "give it to this user, or mount it")]
    return [warned("disk", said, mend) if free < low else well("disk", said)]


def ports(wanted: Iterable[int], host: str = "127.0.0.1") -> list[Finding]:
    """Check that ports are free on this machine.

    Parameters
    ----------
    wanted : iterable of int
    host : str
    """
    taken, free = [], []
    for port in wanted:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((host, port))
                free.append(str(port))
            except OSError as error:
                said = f"port {port} cannot be had: {error.strerror}"
                mend = f"see what listens there (ss -ltnp 'sport = :{port}'), or name another"
                taken.append(failed("ports", said, mend))
    shown = f"free: {', '.join(free)}" if free else "none was asked for"
    return or_well("ports", taken, shown)


def standing(home: Path) -> list[Finding]:
    """Check that what `confide federation up` started is whole, where something is up.

    Parameters
    ----------
    home : Path
        The coordinator's folder.
    """
    if not (home / FOLDER).is_dir() or not is_held(home):
        return [well("federation", "nothing was started with `confide federation up`")]
    state = read_state(home)
    if state is None or not state.ready:
        return [warned("federation", "it is starting or stopping", "ask again in a minute")]
    there = {one.name for one in state.services}
    missing = sorted({"superlink", "gate", "relay", *state.places.parties} - there)
    if missing:
        said = f"{', '.join(missing)} died and are not back yet"
        return [failed("federation", said, f"see the logs in {home / 'logs'}")]
    return [well("federation", f"{len(there)} processes since {state.since}")]


def leftovers(proc: Path = _PROC) -> list[Finding]:
    """Check for processes of a deployment whose guardian is gone, so that nobody ends them."""
    groups: dict[str, list[int]] = {}
    guarded: set[str] = set()
    prefix = f"{guardian.MARKER}=".encode()
    for entry in proc.glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"guardian.py") for word in words):
            guarded |= {word.decode(errors="replace") for word in words}
            continue
        for variable in variables:
            if variable.startswith(prefix):
                marker = variable[len(prefix) :].decode(errors="replace")
                groups.setdefault(marker, []).append(int(entry.name))
    lost = sorted(pid for marker, pids in groups.items() if marker not in guarded for pid in pids)
    if lost:
        shown = " ".join(map(str, lost))
        return [failed("leftovers", f"processes of a run that is gone: {shown}", f"kill {shown}")]
    return [well("leftovers", "no process of a run that is gone")]


def half_written(folder: Path, now: float | None = None) -> list[Finding]:
    """Check for temporary files that a crash has left: older than an hour."""
    limit = (time.time() if now is None else now) - _OLD_S
    old = []
    for path in folder.glob("*/**/.*.part"):
        try:
            if path.stat().st_mtime < limit:
                old.append(path)
        except OSError:
            continue
    found = [
        warned("files", f"{path} is left of a write that did not end", f"rm '{path}'")
        for path in sorted(old)
    ]
    return or_well("files", found, "none is half written")
