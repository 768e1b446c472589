"""Databases under the limit service: a PostgreSQL of the drill's own that can be harmed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drills.faults import Fault
from drills.links import join, spaces, within
from drills.processes import Disk, ProcessTarget, faketime, new_clock, small_disk
from tests import postgres

_SPARE_MB = 48.0  # a new segment of the log is 16 MB
_PATTERN = "postgres"


@dataclass
class Database:
    """Where the money is.

    Parameters
    ----------
    url : str
        As the drill reaches it, over a way that no fault touches.
    served : str
        As the service reaches it.
    disk : Disk, optional
    target : ProcessTarget
        The server, where there is one.
    """

    url: str
    served: str = ""
    disk: Disk | None = None
    target: ProcessTarget = field(default_factory=lambda: ProcessTarget("none", list))

    @staticmethod
    def missing() -> str:
        """Return why there can be no PostgreSQL here, or nothing."""
        return postgres.missing()


@contextmanager
def database(fault: Fault, space: str, *, clocked: bool) -> Iterator[Database]:
    """Give a PostgreSQL with an empty database; in a network of its own where a link is harmed.

    Parameters
    ----------
    fault : Fault
    space : str
        Namespace of the limit service; empty where no link is harmed.
    clocked : bool
        Whether the server's clock is to be settable.
    """
    with ExitStack() as stack:
        link, served, where = None, "", ""
        if space:
            where = f"{space}p"
            stack.enter_context(spaces(where))
            link, _ = join(space, where, 9)
        made = stack.enter_context(postgres.running("/tmp"))
        # Where the server's own user may read it.
        clock = new_clock(made.folder / "clock") if clocked else None
        if space or clock or fault.needs == "disk":
            made.stop()
            disk = _small(made, fault, stack)
            if space:
                _open(made.data)
            environment = _clock_of(clock)
            with within(where), _environment(environment):
                made.start()
        else:
            disk = None
        url = made.new_database()
        if space:
            name = url.rpartition("@/")[2].partition("?")[0]
            served = f"postgresql://confide@10.77.9.2:{made.port}/{name}"
        target = ProcessTarget(
            "postgresql",
            made.pids,
            disk=disk,
            link=link,
            clock=clock,
            again=lambda: _again(made, where, clock),
        )
        yield Database(url, served, disk, target)


def _small(made: postgres.Server, fault: Fault, stack: ExitStack) -> Disk | None:
    if fault.needs != "disk" or Disk.missing():
        return None
    stack.callback(made.stop)
    return stack.enter_context(small_disk(made.data, _SPARE_MB))


def _open(data: Path) -> None:
    with (data / "postgresql.conf").open("a") as settings:
        settings.write("listen_addresses = '10.77.9.2'\ntcp_user_timeout = 20000\n")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.9.0/24 trust\n")


def _clock_of(clock: Path | None) -> dict[str, str]:
    if clock is None or not faketime():
        return {}
    return {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            os.environ.pop(name)
        os.environ.update(before)


def _again(made: postgres.Server, where: str, clock: Path | None) -> None:
    """Start it as its supervisor would, once the one before is gone."""
    made.wait()
    time.sleep(0.2)
    with within(where), _environment(_clock_of(clock)):
        made.start()
