"""Whole trainings in one process: small federations on disk, and Flower messages to threads.

The `ServerApp`'s phases, the `ClientApp` and every protocol are the product's own; only the engine
is a stand-in, with a thread where engine `local` has a process.
"""

from __future__ import annotations

import json
import re
import threading
from itertools import count

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.common import serde
from flwr.supercore.task_identity import TaskIdentity

from clients.app import app
from clients.data.datasets import embedded_contract, split_holdings, write_parties
from clients.data.world import make_world
from clients.holdings import arrays, read_table, write_table
from clients.keys.setup import init_federation
from clients.store import Store
from server.coordinator import Coordinator
from server.engines.local import DIED, PARTY_DIED
from server.phases import run_phases
from shared import transport
from shared.channel import queue_channels

COORDINATOR = "coordinator"
HOLDERS = ("bank", "bureau", "ecommerce", "payments")
#: Floors low enough for a world of some hundred people, and few bins: a run takes a second.
LIGHT = {
    "min_common": 100,
    "rows": 15,
    "builder_rank": 0.5,
    "thresholds": 4,
    "pair_thresholds": 1,
    "deadline_s": 60,
}


def build(folder, *, parties=HOLDERS, customers=500, seed=1, **settings):
    """Write a federation over the simulated world; return its file.

    Parameters
    ----------
    parties : tuple of str
        Which of the world's holders; the bank is the builder.
    settings : values
        Of the federation file, on top of `LIGHT`.
    """
    agreed, content = embedded_contract("world")
    head, *features = content.decode().split("[[features]]")
    kept = [text for text in features if any(f'owner = "{name}"' in text for name in parties)]
    content = "[[features]]".join([head, *kept]).encode()
    tables = {name: table for name, table in make_world(customers, seed).items() if name in parties}
    write_parties(folder, split_holdings(tables, agreed, test_share=0.3), content)
    path = init_federation(folder, folder / "contract.toml", name="tested")
    change(path, **(LIGHT | settings))
    return path


def change(path, **settings):
    """Change settings of a federation or party file; each stands there under one name only."""
    text = path.read_text()
    for name, value in settings.items():
        line = f"{name} = {json.dumps(value)}"
        text, found = re.subn(rf"(?m)^(# )?{name} = .*$", line, text)
        assert found == 1, f"{name} is not a setting of {path.name}"
    path.write_text(text)


def edit(path, change):
    """Rewrite a table: `change` takes its columns and returns new ones."""
    write_table(path, change(arrays(read_table(path))))


def column(path, name):
    """Return one column of a table as a list."""
    return read_table(path).column(name).to_pylist()


class ThreadGrid:
    """A Flower grid whose nodes are threads.

    Parameters
    ----------
    channels : mapping of str to QueueChannel
    files : mapping of str to Path
        Each party's own federation file.
    dies : callable
        Takes a party and a message type; a party that dies takes the message and is silent.
    """

    def __init__(self, channels, files, dies=lambda party, kind: False):
        self._channels, self._files, self._dies = channels, files, dies
        self._arrived, self._ids = {}, count()

    def get_node_ids(self):
        return range(1, len(self._files) + 1)

    def push_messages(self, messages):
        names = []
        for message in messages:
            party = sorted(self._files)[message.metadata.dst_node_id - 1]
            name = f"{party}/{next(self._ids)}"
            message.metadata.__dict__["_message_id"] = name
            threading.Thread(target=self._answer, args=(party, message, name), daemon=True).start()
            names.append(name)
        return names

    def pull_messages(self, message_ids):
        return [self._arrived.pop(name) for name in message_ids if name in self._arrived]

    def _answer(self, party, message, name):
        if self._dies(party, message.metadata.message_type):
            self._channels[party].abort(DIED)
            error = Error(PARTY_DIED, f"{party}: {DIED}")
            self._arrived[name] = Message(error, reply_to=message)
            return
        transport.use(self._channels[party].scoped)
        config = {"federation": str(self._files[party]), "party": party}
        context = Context(
            run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={}
        )
        message = serde.message_from_proto(serde.message_to_proto(message))
        self._arrived[name] = app(message, context)


def train(
    path,
    run="first",
    *,
    files=None,
    tamper=None,
    dies=lambda party, kind: False,
    grid=ThreadGrid,
    resume=False,
):
    """Run a whole training in threads; return the coordinator's outcome.

    Parameters
    ----------
    path : Path
        The coordinator's federation file.
    run : str
        Identifier of the run.
    files : mapping of str to Path, optional
        Parties that read another federation file than the coordinator.
    tamper : callable, optional
        Takes a frame; returns it, another, or None to drop it.
    dies : callable
        See `ThreadGrid`.
    grid : type, optional
        Another grid.
    resume : bool
        Whether to go on with the run.
    """
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    coordinator = Coordinator.load(path, run)
    federation = coordinator.federation
    holders = federation.holders
    channels = queue_channels(
        [*holders, COORDINATOR], deadline=float(federation.protocol.deadline_s)
    )
    if tamper is not None:
        for channel in channels.values():
            carry = channel._carry
            channel._carry = lambda frame, carry=carry: _pass_on(tamper(frame), carry)
    transport.use(channels[COORDINATOR].scoped)
    whole = dict.fromkeys(holders, path) | (files or {})
    return run_phases(grid(channels, whole, dies), coordinator, resume=resume)


def _pass_on(frame, carry):
    if frame is not None:
        carry(frame)


def assert_nothing_half_written(folder, *, killed=""):
    """Check every file that parties keep: whole JSON, whole arrays, no temporary file, a chain.

    A process that was killed may leave its temporary file: it can tidy up no more.
    """
    parts = [path.relative_to(folder) for path in folder.rglob("*.part")]
    assert [path for path in parts if path.parts[0] != killed] == []
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("*.npy"):
        np.load(path, allow_pickle=False)
    for home in {path.parent for path in folder.glob("*/*.jsonl")}:
        store = Store(home)
        store.ledger()
        list(store.journal._lines("seed"))


def cards(folder):
    """Return every finished card below a folder."""
    return sorted(folder.glob("*/runs/*/card.json"))
