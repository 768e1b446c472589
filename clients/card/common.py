"""Whom a party has in common with others: its own customers of both tables, aligned at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from clients.party import Party
from shared.groups import in_process
from shared.protocols.align import AlignJob, Alignment, align_party
from shared.sealed import SealedChannel

_TRAIN, _TEST = "train", "test"


def find_common(party: Party, channel: SealedChannel, job: AlignJob) -> Alignment:
    """Align the own customers, those to learn from and those to evaluate on at once."""
    ids = [f"{_TRAIN}|{name}" for name in party.train.ids]
    ids += [f"{_TEST}|{name}" for name in party.test.ids]
    workers = party.federation.protocol.workers
    if workers == 1:
        return align_party(channel, job, ids, mapper=in_process)
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_stop_with_parent
    ) as pool:
        return align_party(channel, job, ids, mapper=pool.map)


def _stop_with_parent() -> None:
    """Make a worker end when its party is killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
