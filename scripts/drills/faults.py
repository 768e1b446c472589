"""What is done to a target, and how it ends: frozen values that know no process and no container.

A fault begins and ends by calls of a `Target`; processes (`processes.py`) and containers
(`containers.py`) are two kinds of it, so every fault is the same on both.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

CLOCK_S: Final = 600
SLOW_BITS: Final = 1_000_000
PAUSE_S: Final = 3.0


class Target(Protocol):
    """One member of a deployment, to which harm is done.

    `lacks` returns why a need of a fault cannot be met at it, or nothing; the needs are `process`,
    `start`, `disk`, `link` and `clock`.
    """

    @property
    def name(self) -> str: ...
    def lacks(self, need: str) -> str: ...
    def signal(self, number: signal.Signals) -> None: ...
    def start(self) -> None: ...
    def fill(self) -> None: ...
    def empty(self) -> None: ...
    def cut(self) -> None: ...
    def slow(self) -> None: ...
    def mend(self) -> None: ...
    def set_clock(self, seconds: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """Harm with a beginning and an end.

    Parameters
    ----------
    name : str
    needs : str
        What a target must have for it; see `Target.lacks`.
    begin, end : callable
        Take the target.
    lasts : {'moment', 'while', 'long'}
        Ended at once, after `PAUSE_S`, or once everybody's deadline is over.
    """

    name: str
    needs: str
    begin: Callable[[Target], None]
    end: Callable[[Target], None]
    lasts: str = "while"

    def seconds(self, deadline: float) -> float:
        """Return how long it lasts where peers wait for each other for so many seconds."""
        return {"moment": 0.0, "while": PAUSE_S, "long": deadline + 15.0}[self.lasts]


def _signal(number: signal.Signals) -> Callable[[Target], None]:
    return lambda target: target.signal(number)


def _clock(seconds: int) -> Callable[[Target], None]:
    return lambda target: target.set_clock(seconds)


def _start(target: Target) -> None:
    target.start()


def _mend(target: Target) -> None:
    target.mend()


_STOP, _GO = _signal(signal.SIGSTOP), _signal(signal.SIGCONT)
_CUT, _SLOW = (lambda target: target.cut()), (lambda target: target.slow())

FAULTS: Final = {
    one.name: one
    for one in (
        Fault("kill", "process", _signal(signal.SIGKILL), _start, "moment"),
        Fault("restart", "process", _signal(signal.SIGTERM), _start, "moment"),
        Fault("pause", "process", _STOP, _GO),
        Fault("long-pause", "process", _STOP, _GO, "long"),
        Fault("disconnect", "link", _CUT, _mend),
        Fault("long-disconnect", "link", _CUT, _mend, "long"),
        Fault("slow-link", "link", _SLOW, _mend, "long"),
        Fault("full-disk", "disk", lambda target: target.fill(), lambda target: target.empty()),
        Fault("clock-ahead", "clock", _clock(CLOCK_S), _clock(0)),
        Fault("clock-behind", "clock", _clock(-CLOCK_S), _clock(0)),
    )
}
