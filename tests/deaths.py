"""Somebody dies at one exact step of a training in threads: what `tests/killing` is to processes.

A party that dies sends and writes nothing more, and the coordinator is told, as by engine `local`.
When the coordinator dies everybody does: parties of engine `local` end with the command.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from flwr.app import Error, Message

from clients.store import Store
from server.engines.local import DIED, PARTY_DIED
from shared.channel import QueueChannel
from shared.sealed import SealedChannel
from tests.whole_runs import COORDINATOR, ThreadGrid


class Dead(BaseException):
    """A process that is killed says nothing more."""


class Death:
    """One death, at one step.

    Parameters
    ----------
    victim : str
        A party, or the coordinator.
    at : str
        ``send TAG``, before a message leaves, or ``record PHASE``, before a ledger has the line. A
        tag may be cut short.
    by : str
        Who comes to that step.
    """

    def __init__(self, victim, at, by):
        self.victim, self.by = victim, by
        self.what, self.name = at.split(" ")
        self.happened = False
        self._threads, self._channels = [], {}

    def reached(self, who, what, name):
        """Die, if this is the step; who is dead does nothing."""
        if self.dead(who):
            raise Dead
        here = (who, what) == (self.by, self.what) and name.startswith(self.name)
        if not here or self.happened:
            return
        self.happened = True
        if self.victim == COORDINATOR:
            for channel in self._channels.values():
                channel.abort(DIED)  # wakes whoever waits
        if self.dead(who):
            raise Dead

    def dead(self, who):
        """Whether somebody is."""
        return self.happened and self.victim in {who, COORDINATOR}

    def grid(self, channels, files, dies):
        """Make the grid of such a training, for `tests.whole_runs.train`."""
        self._channels = channels
        return _Grid(self, channels, files, dies)

    def over(self):
        """Wait until nothing of it is at work."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self.happened, f"{self.by} never came to {self.what} {self.name}"


class _Grid(ThreadGrid):
    def __init__(self, death, channels, files, dies):
        super().__init__(
            channels, files, lambda party, kind: death.dead(party) or dies(party, kind)
        )
        self._death = death

    def push_messages(self, messages):
        self._alive()
        return super().push_messages(messages)

    def pull_messages(self, message_ids):
        self._alive()
        return super().pull_messages(message_ids)

    def _alive(self):
        if self._death.dead(COORDINATOR):
            raise Dead

    def _answer(self, party, message, name):
        self._death._threads.append(threading.current_thread())
        try:
            super()._answer(party, message, name)
        except Dead:
            self._channels[party].abort(DIED)
            gone = Error(PARTY_DIED, f"{party}: {DIED}")
            self._arrived[name] = Message(gone, reply_to=message)


@contextmanager
def dying(victim, at, *, by):
    """Give a `Death` whose `grid` a training takes; it must have happened when the block ends."""
    death = Death(victim, at, by)
    send_all, record, take_in = SealedChannel.send_all, Store.record, QueueChannel._take_in

    def sending(self, to, tag, payload):
        death.reached(self.me, "send", tag)
        send_all(self, to, tag, payload)

    def recording(self, run, phase, **details):
        death.reached(self.home.name, "record", phase)
        record(self, run, phase=phase, **details)

    def taking(self, awaited):
        try:
            take_in(self, awaited)
        finally:
            if death.dead(self.me):
                raise Dead  # whatever it heard, it does not hear

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SealedChannel, "send_all", sending)
        patch.setattr(Store, "record", recording)
        patch.setattr(QueueChannel, "_take_in", taking)
        yield death
        death.over()
