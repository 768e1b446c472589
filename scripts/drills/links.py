"""Networks of one's own: namespaces joined by a pair of interfaces, which can be cut or slowed."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drills.faults import SLOW_BITS

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Link:
    """An interface in a network namespace.

    Parameters
    ----------
    space : str
        Name of the namespace.
    device : str
    port : int
        If not 0, only what leaves from this port is harmed: a service that shares its interface.
    """

    space: str
    device: str
    port: int = 0

    @staticmethod
    def missing() -> str:
        """Return why there can be none here, or nothing."""
        if os.geteuid() != 0:
            return "a network of one's own needs root"
        for program, package in (("ip", "iproute2"), ("tc", "iproute2"), ("iptables", "iptables")):
            if shutil.which(program) is None:
                return f"{program} is not installed: apt-get install {package}"
        return ""

    def cut(self) -> None:
        """Let nothing through."""
        if self.port:
            run("nsenter", f"--net=/run/netns/{self.space}", "iptables", "-A", *self._rule())
        else:
            self._ip("link", "set", self.device, "down")

    def slow(self) -> None:
        """Let one megabit a second through."""
        device = ("dev", self.device)
        rate = ("tbf", "rate", f"{SLOW_BITS}bit", "burst", "32kbit", "latency", "400ms")
        if not self.port:
            self._tc("qdisc", "replace", *device, "root", *rate)
            return
        self._tc("qdisc", "replace", *device, "root", "handle", "1:", "htb", "default", "1")
        for name, most in (("1:1", "10gbit"), ("1:4", f"{SLOW_BITS}bit")):
            self._tc(
                *("class", "add", *device, "parent", "1:", "classid", name, "htb"), "rate", most
            )
        self._tc("qdisc", "add", *device, "parent", "1:4", "handle", "40:", *rate)
        chosen = ("u32", "match", "ip", "sport", str(self.port), "0xffff", "flowid", "1:4")
        self._tc("filter", "add", *device, "protocol", "ip", "parent", "1:", *chosen)

    def mend(self) -> None:
        """Let everything through again."""
        with suppress(subprocess.CalledProcessError):
            self._tc("qdisc", "del", "dev", self.device, "root")
        if self.port:
            with suppress(subprocess.CalledProcessError):
                run("nsenter", f"--net=/run/netns/{self.space}", "iptables", "-D", *self._rule())
        else:
            self._ip("link", "set", self.device, "up")

    def _rule(self) -> tuple[str, ...]:
        what = ("-o", self.device, "-p", "tcp", "--sport", str(self.port))
        return ("OUTPUT", *what, "-j", "DROP")

    def _ip(self, *words: str) -> None:
        run("ip", "-n", self.space, *words)

    def _tc(self, *words: str) -> None:
        run("tc", "-n", self.space, *words)


@dataclass(frozen=True, slots=True)
class Links:
    """Several that are harmed together: all interfaces of a machine, or of a service on it."""

    each: tuple[Link, ...]

    def cut(self) -> None:
        """Let nothing through."""
        for one in self.each:
            one.cut()

    def slow(self) -> None:
        """Let one megabit a second through each."""
        for one in self.each:
            one.slow()

    def mend(self) -> None:
        """Let everything through again."""
        for one in self.each:
            one.mend()


def run(*words: str) -> None:
    """Run a program of the machine's; it must succeed."""
    subprocess.run(words, check=True, capture_output=True, timeout=30)


@contextmanager
def spaces(*names: str) -> Iterator[None]:
    """Give network namespaces, each with its loopback interface up."""
    made = []
    try:
        for name in names:
            run("ip", "netns", "add", name)
            made.append(name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in made:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", name)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def join(one: str, other: str, number: int) -> tuple[Link, str]:
    """Join two namespaces; return the second's interface and the first's address.

    Parameters
    ----------
    one, other : str
        Namespaces.
    number : int
        Of the pair, 1 to 250: part of its addresses 10.77.number.1 and .2.
    """
    near, far = f"dr{number}a", f"dr{number}b"
    run("ip", "-n", one, "link", "add", near, "type", "veth", "peer", "name", far, "netns", other)
    for space, device, host in ((one, near, 1), (other, far, 2)):
        run("ip", "-n", space, "address", "add", f"10.77.{number}.{host}/24", "dev", device)
        run("ip", "-n", space, "link", "set", device, "up")
    return Link(other, far), f"10.77.{number}.1"


def name_hosts(space: str, addresses: dict[str, str]) -> None:
    """Give names to addresses, for whoever is started with `ip netns exec` in a namespace."""
    folder = Path("/etc/netns") / space
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["127.0.0.1 localhost", *(f"{where} {name}" for name, where in addresses.items())]
    (folder / "hosts").write_text("\n".join(lines) + "\n")


@contextmanager
def within(space: str) -> Iterator[None]:
    """Let this thread, and what it starts, be in a network namespace; none is where it is."""
    if not space:
        yield
        return
    with Path("/proc/thread-self/ns/net").open() as before:
        with (Path("/run/netns") / space).open() as there:
            _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
