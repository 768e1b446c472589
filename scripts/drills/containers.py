"""Containers as targets: the demo's compose project, harmed by its engine.

`docker kill`, `pause`, `restart` and `network disconnect` are the engine's own; a slow link is a
queue in the container's network, a full disk a small file system under its volume, so both need
root on the engine's machine. Clocks are settable only in an image that has libfaketime.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.faults import SLOW_BITS
from drills.processes import ROOT, Disk, small_disk

_PATIENCE_S = 300.0
_VERBS = {
    signal.SIGKILL: ("kill", "--signal", "KILL"),
    signal.SIGTERM: ("stop", "--time", "20"),
    signal.SIGSTOP: ("pause",),
    signal.SIGCONT: ("unpause",),
}


@dataclass
class Project:
    """A compose project.

    Parameters
    ----------
    name : str
    folder : Path
        Of its `compose.yml`.
    """

    name: str
    folder: Path = ROOT

    def docker(self, *words: str, check: bool = True) -> str:
        """Run `docker`; return what it prints."""
        done = subprocess.run(
            ["docker", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
            cwd=self.folder,
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def compose(self, *words: str, check: bool = True) -> str:
        """Run `docker compose` on the project."""
        return self.docker("compose", "--project-name", self.name, *words, check=check)

    def container(self, service: str) -> str:
        """Return the id of a service's container; empty if there is none."""
        return self.compose("ps", "--all", "--quiet", service, check=False).strip()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        (found,) = json.loads(self.docker("inspect", container))
        return dict(found)

    def mountpoint(self, volume: str) -> Path:
        """Return where a volume's files are on the engine's machine."""
        found = self.docker(
            "volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.name}_{volume}"
        )
        return Path(found.strip())

    def runs(self, service: str) -> bool:
        """Return whether a service's container runs."""
        container = self.container(service)
        return bool(container) and bool(self.inspect(container)["State"]["Running"])

    def ended(self, service: str, patience_s: float) -> int:
        """Wait until what a service does once is done; return its status.

        Raises
        ------
        RuntimeError
            If it took longer.
        """
        end = time.monotonic() + patience_s
        while self.runs(service):
            if time.monotonic() > end:
                raise RuntimeError(f"{service} has not ended after {patience_s:.0f} s")
            time.sleep(1)
        return int(self.inspect(self.container(service))["State"]["ExitCode"])


def missing() -> str:
    """Return why there can be no container here, or nothing."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60)
    return "" if done.returncode == 0 else "no container engine answers: `docker info` fails"


@dataclass
class ContainerTarget:
    """A service of a project.

    Parameters
    ----------
    name : str
    project : Project
    service : str
        Its name in `compose.yml`.
    disk : Disk, optional
    """

    name: str
    project: Project
    service: str
    disk: Disk | None = None
    _apart: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _slowed: bool = False

    @property
    def container(self) -> str:
        """Id of its container."""
        return self.project.container(self.service)

    def lacks(self, need: str) -> str:
        if not self.project.runs(self.service):
            return f"the service {self.service} does not run"
        if need == "clock":
            return "clocks: the image has no libfaketime"
        if need in {"disk", "link"} and os.geteuid() != 0:
            return f"a container's {need} needs root on the engine's machine"
        if need == "disk" and self.disk is None:
            return "it has no volume of its own"
        return ""

    def signal(self, number: signal.Signals) -> None:
        self.project.docker(*_VERBS[number], self.container, check=number != signal.SIGCONT)

    def start(self) -> None:
        self.project.docker("start", self.container)

    def fill(self) -> None:
        assert self.disk is not None
        self.disk.fill()

    def empty(self) -> None:
        assert self.disk is not None
        self.disk.empty()

    def cut(self) -> None:
        networks = self.project.inspect(self.container)["NetworkSettings"]["Networks"]
        for name, how in networks.items():
            self.project.docker("network", "disconnect", name, self.container)
            self._apart.append((name, how))

    def slow(self) -> None:
        self._slowed = True
        for device in self._devices():
            self._tc(
                "replace",
                device,
                "tbf",
                "rate",
                f"{SLOW_BITS}bit",
                "burst",
                "32kbit",
                "latency",
                "400ms",
            )

    def mend(self) -> None:
        while self._apart:
            name, how = self._apart.pop()
            aliases = {self.service, *(how.get("Aliases") or ())} - {self.container[:12]}
            words = [word for alias in sorted(aliases) for word in ("--alias", alias)]
            self.project.docker("network", "connect", *words, name, self.container)
        if self._slowed:
            self._slowed = False
            for device in self._devices():
                self._tc("del", device, check=False)

    def set_clock(self, seconds: int) -> None:
        raise NotImplementedError(seconds)

    def _within(self, *words: str, check: bool = True) -> str:
        pid = str(self.project.inspect(self.container)["State"]["Pid"])
        done = subprocess.run(
            ["nsenter", "--target", pid, "--net", *words],
            check=check,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    def _devices(self) -> list[str]:
        found = json.loads(self._within("ip", "-json", "link"))
        return [one["ifname"] for one in found if one["ifname"] != "lo"]

    def _tc(self, verb: str, device: str, *words: str, check: bool = True) -> None:
        self._within("tc", "qdisc", verb, "dev", device, "root", *words, check=check)


def volume_disk(
    project: Project, volume: str, services: tuple[str, ...], spare_mb: float, stack: ExitStack
) -> Disk:
    """Put a volume on a small file system; whoever uses it is stopped meanwhile.

    Parameters
    ----------
    project : Project
    volume : str
    services : tuple of str
        All that mount it and run.
    spare_mb : float
    stack : ExitStack
        At its end the volume is on its own file system again, with what came since.
    """
    containers = [project.container(service) for service in services]

    def stop() -> None:
        project.docker("stop", "--time", "20", *containers)

    def start() -> None:
        project.docker("start", *containers)

    stop()
    stack.callback(start)
    disk = stack.enter_context(small_disk(project.mountpoint(volume), spare_mb, keep=True))
    stack.callback(stop)
    start()
    return disk
