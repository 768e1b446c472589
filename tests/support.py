"""What several tests need: parties in threads over sealed queue channels, and transcripts."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.channel import Frame, queue_channels
from shared.errors import Refused
from shared.identity import Identity, Roster
from shared.sealed import SealedChannel, Session

ROOT = Path(__file__).resolve().parent.parent
COORDINATOR = "coordinator"


def data_path(name):
    """Return a path below $CONFIDE_TEST_DATA, or skip loudly."""
    base = Path(os.environ.get("CONFIDE_TEST_DATA", ROOT / "../shared/data")).resolve()
    path = base / name
    if not path.exists():
        pytest.skip(f"real data not found at {path}: set CONFIDE_TEST_DATA")
    return path


@dataclass
class MemoryJournal:
    """A party's journals, in memory, with the rules of the durable ones."""

    seeds: dict = field(default_factory=dict)
    reveals: list = field(default_factory=list)
    scores: dict = field(default_factory=dict)

    def use_seed(self, seed, columns, order):
        if self.seeds.setdefault(seed, (columns, order)) != (columns, order):
            raise Refused("a dealt seed came a second time, for other columns or rows")


@dataclass
class Run:
    """What came out of a run of several parties: results or errors by name, and every frame."""

    results: dict
    frames: list

    @property
    def errors(self):
        return {k: v for k, v in self.results.items() if isinstance(v, BaseException)}

    def value(self, name):
        """Return a result; raise the first party's error if there was one."""
        for error in self.errors.values():
            raise error
        return self.results[name]


def federation(names, seed=0):
    """Return identities of the coordinator and the parties, and their roster."""
    people = {
        name: Identity(name, bytes([seed + i + 1]) * 32)
        for i, name in enumerate(sorted([*names, COORDINATOR]))
    }
    return people, Roster({name: person.fingerprint for name, person in people.items()})


def run_parties(roles, *, tamper=None, deadline=5.0, session=None, sealed=True):
    """Run one function a name, each in a thread of its own.

    `roles` maps a name to a function of its channel. `tamper` may replace or drop a frame on its
    way. A party that fails tells the others, as real parties do.
    """
    people, roster = federation([name for name in roles if name != COORDINATOR])
    everybody = set(roles) | {COORDINATOR}
    transports = queue_channels(everybody, deadline=deadline)
    frames: list[Frame] = []
    lock = threading.Lock()
    for transport in transports.values():
        carry = transport._carry

        def watched(frame, carry=carry):
            with lock:
                frames.append(frame)
            frame = frame if tamper is None else tamper(frame)
            if frame is not None:
                carry(frame)

        transport._carry = watched
    session = session or Session("run", "test", 1, "0" * 64)
    results = {}

    def play(name):
        transport = transports[name]
        try:
            channel = transport
            if sealed:
                channel = SealedChannel.open(transport, people[name], roster, session)
            results[name] = roles[name](channel)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[name] = error
            transport.abort(type(error).__name__)

    threads = [threading.Thread(target=play, args=(name,), daemon=True) for name in roles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return Run(results, frames)
