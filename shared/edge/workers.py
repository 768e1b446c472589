"""Work shared out to processes that end with whoever asked for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from shared.errors import EnvironmentFault

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return how many processes may compute at once."""
    return len(os.sched_getaffinity(0))


def shared_out(
    work: Callable[[_Item], _Result], items: Iterable[_Item], processes: int
) -> Iterator[_Result]:
    """Yield the results of work, in the order of its items.

    Parameters
    ----------
    work : callable
        Of a module: other processes find it by its name.
    items : iterable
    processes : int
        With one, or with a single item, it is done here.

    Raises
    ------
    EnvironmentFault
        If a process was killed.
    """
    wanted = list(items)
    if processes == 1 or len(wanted) <= 1:
        yield from map(work, wanted)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield from pool.map(work, wanted)
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a process that did a part of the work was killed",
            hint="is there memory enough? --processes 1 needs least",
        ) from error
    finally:  # whoever stops listening waits for what is under way, and for no more
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to whoever asked, and end when that process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
