"""Engine `local`: frames go where they should, forged ones do not, and a dead party is told of."""

from __future__ import annotations

import queue
import time
from multiprocessing import Pipe

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common import serde
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.supercore.task_identity import TaskIdentity

from server.engines.local import (
    DIED,
    MESSAGE,
    PARTY_DIED,
    PARTY_FORGED,
    READY,
    REPLY,
    STOP,
    Hub,
    LocalGrid,
)
from shared.channel import ABORT, Frame, pack_frame, unpack_frame
from shared.edge.files import exclusive
from shared.errors import EnvironmentFault, PartyLost

PARTIES = ("bank", "bureau")
SOON = 20.0


class Ends:
    """A hub, its grid, and the parties' ends of the pipes."""

    def __init__(self):
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        pairs = {party: Pipe() for party in PARTIES}
        self.theirs = {party: pair[1] for party, pair in pairs.items()}
        self.hub = Hub({party: pair[0] for party, pair in pairs.items()})
        self.grid = LocalGrid(self.hub, PARTIES)

    def say(self, sender, recipient, tag, payload=b"", *, pipe=None):
        frame = Frame(sender, recipient, tag, payload)
        self.theirs[pipe or sender].send_bytes(pack_frame(frame))

    def hear(self, party):
        assert self.theirs[party].poll(SOON)
        return unpack_frame(self.theirs[party].recv_bytes())

    def answer(self, party):
        """Take one Flower message and reply to it."""
        frame = self.hear(party)
        assert frame.tag == MESSAGE
        message = serde.message_from_proto(MessageProto.FromString(frame.payload))
        content = RecordDict({"reply": ConfigRecord({"from": party})})
        raw = serde.message_to_proto(Message(content, reply_to=message)).SerializeToString()
        self.say(party, "coordinator", REPLY, raw)

    def pull(self, names):
        end, found = time.monotonic() + SOON, []
        while len(found) < len(names) and time.monotonic() < end:
            found += self.grid.pull_messages(names)
            time.sleep(0.002)
        return found


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    for pipe in ends.theirs.values():
        pipe.close()


def messages(*nodes):
    return [
        Message(RecordDict({"job": ConfigRecord()}), dst_node_id=node, message_type="query.join")
        for node in nodes
    ]


def test_frames_reach_the_party_or_the_coordinator_they_are_for(ends):
    ends.say("bank", "bureau", "x/hello", b"to bureau")
    assert ends.hear("bureau") == Frame("bank", "bureau", "x/hello", b"to bureau")
    ends.say("bureau", "coordinator", "x/hello", b"to the coordinator")
    frame = ends.hub.inbox.get(timeout=SOON)
    assert (frame.sender, frame.payload) == ("bureau", b"to the coordinator")
    channel = ends.hub.channel(SOON)
    channel.send("bank", "x", b"from the coordinator")
    assert ends.hear("bank").payload == b"from the coordinator"


def test_messages_are_answered_by_their_nodes(ends):
    names = list(ends.grid.push_messages(messages(1, 2)))
    assert len(set(names)) == 2
    for party in PARTIES:
        ends.answer(party)
    replies = {reply.metadata.reply_to_message_id: reply for reply in ends.pull(names)}
    assert [replies[name].content["reply"]["from"] for name in names] == list(PARTIES)
    assert not ends.pull([])
    assert list(ends.grid.pull_messages(names)) == []


def test_send_and_receive_gives_up_after_its_timeout(ends):
    assert list(ends.grid.send_and_receive(messages(1), timeout=0.05)) == []


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [("bureau", "coordinator"), ("coordinator", "bureau"), ("bank", "bank"), ("bank", "nobody")],
)
def test_a_frame_under_another_name_or_to_nobody_puts_its_sender_out(ends, sender, recipient):
    names = list(ends.grid.push_messages(messages(1, 2)))
    ends.hear("bank")
    ends.say(sender, recipient, "x/hello", b"forged", pipe="bank")
    (reply,) = ends.pull(names[:1])
    assert reply.error.code == PARTY_FORGED
    assert reply.error.reason.startswith("bank: a frame ")
    assert ends.hear("bureau").tag == MESSAGE
    told = ends.hear("bureau")
    assert (told.sender, told.tag) == ("bank", ABORT)
    assert b"forged" not in told.payload
    assert ends.hub.inbox.get(timeout=SOON).tag == ABORT
    assert list(ends.grid.get_node_ids()) == [2]


def test_bytes_that_are_no_frame_put_their_sender_out(ends):
    names = list(ends.grid.push_messages(messages(1)))
    ends.theirs["bank"].send_bytes(b"\xff")
    (reply,) = ends.pull(names)
    assert reply.error.code == PARTY_FORGED


def test_a_party_that_dies_is_told_of_to_everybody_at_once(ends):
    names = list(ends.grid.push_messages(messages(1, 2)))
    ends.theirs["bank"].close()
    (reply,) = ends.pull(names[:1])
    assert (reply.error.code, reply.error.reason) == (PARTY_DIED, f"bank: {DIED}")
    assert ends.hear("bureau").tag == MESSAGE
    assert ends.hear("bureau") == Frame("bank", "bureau", ABORT, DIED.encode())
    channel = ends.hub.channel(SOON)
    with pytest.raises(PartyLost, match=DIED) as caught:
        channel.receive("bureau", "anything")
    assert caught.value.party == "bank"
    # What is sent to it later is dropped, and a message is answered with an error at once.
    channel.send("bank", "x", b"into the void")
    (late,) = ends.pull(list(ends.grid.push_messages(messages(1))))
    assert late.error.code == PARTY_DIED


def test_the_start_waits_for_everybody_and_names_who_is_not_there(ends):
    for party in PARTIES:
        ends.say(party, "coordinator", READY)
    ends.grid.wait_ready(SOON)
    ends.say("bureau", "coordinator", READY)
    with pytest.raises(PartyLost, match="did not start in time") as caught:
        ends.grid.wait_ready(0.1)
    assert caught.value.party == "bank"
    ends.theirs["bank"].close()
    with pytest.raises(PartyLost, match="died while it started") as caught:
        ends.grid.wait_ready(SOON)
    assert caught.value.party == "bank"


def test_the_end_asks_every_party_to_stop_and_never_waits_for_one_that_is_stuck(ends):
    ends.hub.close()
    assert [ends.hear(party).tag for party in PARTIES] == [STOP, STOP]
    stuck = ends.hub._outbox["bank"]
    try:
        while True:
            stuck.put_nowait(Frame("bureau", "bank", "x", b"\0" * (1 << 20)))
    except queue.Full:
        pass
    started = time.monotonic()
    ends.hub.close()
    assert time.monotonic() - started < SOON / 4
    assert ends.hear("bureau").tag == STOP


def test_one_run_at_a_time_holds_the_coordinators_folder(tmp_path):
    refused = pytest.raises(EnvironmentFault, match="another run is using")
    with exclusive(tmp_path), refused, exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot write"), exclusive(tmp_path / "file"):
        pass
