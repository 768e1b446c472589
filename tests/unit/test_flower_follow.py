"""Following a run from outside: whose death ends it, and whose is written down for the app."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from server.engines.deployment import Died, Service
from server.engines.flower_control import Status
from server.engines.flower_follow import StartAgain, follow, named
from server.engines.run_files import RunFiles
from shared.channel import queue_channels
from shared.errors import EnvironmentFault, PartyLost


class Control:
    def status(self, number):
        return Status(ended=False, completed=False, details="")

    def stop(self, number):
        pass


class Deployment:
    """Parties that die, one at every look."""

    def __init__(self, files, *parties, then=lambda: None):
        self._files, self._parties, self._then = files, list(parties), then
        self.buried = []

    def check(self):
        if self._parties:
            raise Died(service(self._parties.pop(0)))
        self._then()

    def bury(self, party):
        self.buried.append(party)


def service(name):
    return Service(name, (), Path("home"), Path("home/log"))


@pytest.fixture
def files(tmp_path):
    files = RunFiles(tmp_path / "run")
    files.tell("began", {"process": os.getpid()})
    files.tell("phase", {"name": "moments"})
    return files


def followed(files, deployment, control=None, patience=60.0):
    told = []
    outcome = follow(
        files,
        Path,
        control or Control(),
        1,
        deployment,
        lambda event, details: told.append(event),
        patience=patience,
    )
    return outcome, told


def test_a_party_that_the_run_can_spare_is_written_down_and_the_run_goes_on(files):
    files.tell("spare", {"parties": ["north", "south"]})
    fleet = Deployment(files, "south", then=lambda: files.finish({"well": True}))
    outcome, told = followed(files, fleet)
    assert outcome == {"well": True}
    assert files.dead() == {"south"}
    assert fleet.buried == ["south"]
    assert told == ["phase"]  # what is for the follower alone is not told


@pytest.mark.parametrize("spare", [[], ["north"]])
def test_a_party_that_it_cannot_spare_ends_it_by_name_and_phase(files, spare):
    files.tell("spare", {"parties": ["north", "south"]})
    files.tell("spare", {"parties": spare})  # after a loss fewer can be spared
    fleet = Deployment(files, "south")
    with pytest.raises(PartyLost, match="its node died in phase moments") as lost:
        followed(files, fleet)
    assert lost.value.party == "south"
    assert files.dead() == frozenset()


class Away(Control):
    """A SuperLink that answers nothing; the run writes a line at the first questions."""

    def __init__(self, files=None, lines=0):
        self._files, self._lines = files, lines

    def status(self, number):
        if self._lines:
            self._lines -= 1
            self._files.tell("phase", {"name": "score"})


def test_a_superlink_that_stays_away_while_nothing_is_told_is_given_up_by_name(files, monkeypatch):
    monkeypatch.setattr("server.engines.flower_follow._STATUS_EVERY_S", 0.1)
    away = "SuperLink has not answered for 1 s, and the run has told nothing since phase "
    with pytest.raises(EnvironmentFault, match=away + "moments"):
        followed(files, None, Away(), patience=0.6)
    began = time.monotonic()
    # A run that tells of itself lives, whether or not the SuperLink answers.
    with pytest.raises(EnvironmentFault, match=away + "score"):
        followed(files, None, Away(files, 8), patience=0.6)
    assert time.monotonic() - began > 1.0


def test_a_superlink_that_answers_is_waited_for_however_long_nothing_is_told(files, monkeypatch):
    monkeypatch.setattr("server.engines.flower_follow._STATUS_EVERY_S", 0.1)
    timer = threading.Timer(1.0, files.finish, [{"well": True}])
    timer.start()
    assert followed(files, None, patience=0.3)[0] == {"well": True}


def test_a_death_before_anything_was_exchanged_starts_everything_again_after_the_superlinks():
    died = Died(service("south"), frozenset({"superlink"}))
    with pytest.raises(StartAgain), named(lambda: "join"):
        raise died
    with pytest.raises(PartyLost), named(lambda: "moments"):
        raise died
    with pytest.raises(EnvironmentFault, match="the SuperLink died"), named(lambda: "moments"):
        raise Died(service("superlink"))


def test_a_channel_hears_of_a_death_while_it_waits():
    channel = queue_channels(["a", "b", "c"], deadline=20.0)["a"]
    channel.bury("b", "its process died")
    with pytest.raises(PartyLost, match="stopped: its process died") as lost:
        channel.receive("c", "tag")
    assert lost.value.party == "b"


def test_a_channel_without_the_dead_does_not_hear_of_them():
    channels = queue_channels(["a", "b", "c"], deadline=20.0)
    channel = channels["a"].among(["c"])
    channel.bury("b", "its process died")
    channels["c"].send("a", "tag", b"said")
    assert channel.receive("c", "tag") == b"said"
