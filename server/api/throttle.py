"""How often one caller may ask: a bucket of tokens each, in each process of the service.

What-if, score and limit tell something about the model with every answer, and a model is stolen by
asking often; the token endpoint can be asked for guesses. A bucket belongs to a client and its
subject. With several workers every process has its own buckets, so that at most as many times the
rate gets through as there are workers; what bounds all of them together stands in front.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from server.limits.basis.tables import Tables, parse_decimal_toml
from shared.edge.files import read_text
from shared.errors import TooMany

RATES_FILE: Final = "throttle.toml"
_MOST_BUCKETS: Final = 100_000
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How often.

    Parameters
    ----------
    burst : int
        At once, from rest.
    per_minute : int
        For ever.
    """

    burst: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class Rates:
    """How often one client and subject may ask for each thing, in one process.

    Parameters
    ----------
    what_if, score, limit : Rate
        A person looks, a program that steals a model asks thousands of times.
    token : Rate
        By address and client.
    """

    what_if: Rate = Rate(20, 30)
    score: Rate = Rate(60, 120)
    limit: Rate = Rate(60, 120)
    token: Rate = Rate(20, 30)


def load_rates(home: Path) -> Rates:
    """Return the rates of ``throttle.toml``, a table each with `burst` and `per_minute`.

    Parameters
    ----------
    home : Path
        Folder of the limit service; without the file the defaults count.

    Raises
    ------
    ConfigError
        With all findings.
    """
    path = home / RATES_FILE
    if not path.exists():
        return Rates()
    whole = parse_decimal_toml(read_text(path), str(path))
    read, found, names = Tables(str(path)), {}, [one.name for one in fields(Rates)]
    read.unknown("", whole, names)
    for name in names:
        if name in whole:
            row = read.table(name, whole[name])
            read.unknown(name, row, [one.name for one in fields(Rate)])
            found[name] = Rate(
                read.whole(row, "burst", name, low=1, high=_MOST),
                read.whole(row, "per_minute", name, low=1, high=_MOST),
            )
    read.finish()
    return Rates(**found)


class Throttle:
    """The buckets of one process.

    Parameters
    ----------
    rates : Rates
    seconds : callable
        A clock that never goes back.
    """

    def __init__(self, rates: Rates, seconds: Callable[[], float] = time.monotonic) -> None:
        self._rates = {field.name: getattr(rates, field.name) for field in fields(rates)}
        self._seconds = seconds
        self._lock = threading.Lock()
        # What is left in a bucket, and when that was; who asked last stands last.
        self._buckets: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def check(self, name: str, *who: str) -> None:
        """Take one from a caller's bucket.

        Parameters
        ----------
        name : str
            A field of `Rates`.
        who : str
            The caller, in as many parts as it has.

        Raises
        ------
        TooMany
            With the seconds after which there is one again.
        """
        rate: Rate = self._rates[name]
        a_second, now, key = rate.per_minute / 60, self._seconds(), (name, *who)
        with self._lock:
            left, then = self._buckets.pop(key, (float(rate.burst), now))
            left = min(float(rate.burst), left + (now - then) * a_second)
            allowed = left >= 1
            self._buckets[key] = (left - 1 if allowed else left, now)
            while len(self._buckets) > _MOST_BUCKETS:  # who has not asked for longest is full again
                self._buckets.popitem(last=False)
        if not allowed:
            after = max(1, math.ceil((1 - left) / a_second))
            raise TooMany("you ask for this too often", after=after, hint=f"wait {after} s")
