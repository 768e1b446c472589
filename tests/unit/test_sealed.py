"""What crosses a transport is sealed, bound to its place, and refused when anything moved."""

from __future__ import annotations

import threading

import pytest

from shared.channel import Frame, QueueChannel, pack_frame, queue_channels, unpack_frame
from shared.errors import BadPeer, ContractChanged, PartyLost
from shared.identity import Identity, Roster
from shared.sealed import SealedChannel, Session

SESSION = Session("run-1", "moments", 1, "a" * 64)


def identities(*names):
    return {name: Identity(name, bytes([i + 1]) * 32) for i, name in enumerate(names)}


def roster_of(people):
    return Roster({name: person.fingerprint for name, person in people.items()})


def opened(transports, people, roster, sessions):
    """Open every channel at once; return channels or the error of each name."""
    result = {}

    def run(name):
        try:
            result[name] = SealedChannel.open(
                transports[name], people[name], roster, sessions[name]
            )
        except Exception as error:  # noqa: BLE001 - the test looks at it
            result[name] = error

    threads = [threading.Thread(target=run, args=(name,)) for name in transports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return result


@pytest.fixture
def trio():
    people = identities("bank", "coordinator", "payments")
    transports = queue_channels(people, deadline=0.5)
    return people, transports, roster_of(people)


def test_what_one_seals_the_other_opens_in_order_and_by_tag(trio):
    people, transports, roster = trio
    channels = opened(transports, people, roster, dict.fromkeys(people, SESSION))
    channels["bank"].send("payments", "x", b"first")
    channels["bank"].send("payments", "y", b"other")
    channels["bank"].send("payments", "x", b"second")
    assert channels["payments"].receive("bank", "y") == b"other"
    assert channels["payments"].receive("bank", "x") == b"first"
    assert channels["payments"].receive("bank", "x") == b"second"


def recording(transports, name):
    """Record the frames that one transport carries, as a relay would see them."""
    seen = []
    carry = transports[name]._carry

    def spy(frame):
        seen.append(frame)
        carry(frame)

    transports[name]._carry = spy
    return seen


def test_several_recipients_share_one_ciphertext_and_have_keys_of_their_own(trio):
    people, transports, roster = trio
    channels = opened(transports, people, roster, dict.fromkeys(people, SESSION))
    seen = recording(transports, "bank")
    channels["bank"].send_all(("payments", "coordinator"), "e", b"secret" * 100)
    one, two = (frame.payload for frame in seen)
    assert one[145:] == two[145:]
    assert one[1:145] != two[1:145]
    assert b"secret" not in one
    assert channels["payments"].receive("bank", "e") == b"secret" * 100


@pytest.mark.parametrize("position", [0, 5, 40, 100, 150, -1])
def test_one_flipped_bit_anywhere_is_refused_by_name(trio, position):
    people, transports, roster = trio
    channels = opened(transports, people, roster, dict.fromkeys(people, SESSION))
    carry = transports["bank"]._carry

    def tamper(frame):
        raw = bytearray(frame.payload)
        raw[position] ^= 1
        carry(Frame(frame.sender, frame.recipient, frame.tag, bytes(raw)))

    transports["bank"]._carry = tamper
    channels["bank"].send("payments", "e", b"points")
    with pytest.raises(BadPeer):
        channels["payments"].receive("bank", "e")


@pytest.mark.parametrize("move", ["replay", "retag", "readdress", "resend under another name"])
def test_an_envelope_opens_only_in_its_own_place(trio, move):
    people, transports, roster = trio
    channels = opened(transports, people, roster, dict.fromkeys(people, SESSION))
    seen = recording(transports, "bank")
    channels["bank"].send("payments", "e", b"points")
    assert channels["payments"].receive("bank", "e") == b"points"
    raw = seen[0].payload
    inbox = {name: transports[name]._inbox for name in transports}
    if move == "replay":
        inbox["payments"].put(Frame("bank", "payments", "e", raw))
        receive = lambda: channels["payments"].receive("bank", "e")  # noqa: E731
    elif move == "retag":
        inbox["payments"].put(Frame("bank", "payments", "f", raw))
        receive = lambda: channels["payments"].receive("bank", "f")  # noqa: E731
    elif move == "readdress":
        inbox["coordinator"].put(Frame("bank", "coordinator", "e", raw))
        receive = lambda: channels["coordinator"].receive("bank", "e")  # noqa: E731
    else:
        inbox["payments"].put(Frame("coordinator", "payments", "e", raw))
        receive = lambda: channels["payments"].receive("coordinator", "e")  # noqa: E731
    with pytest.raises(BadPeer):
        receive()


def test_a_hello_by_a_key_that_is_not_pinned_is_refused(trio):
    people, transports, roster = trio
    impostor = dict(people, bank=Identity("bank", b"\x09" * 32))
    result = opened(transports, impostor, roster, dict.fromkeys(people, SESSION))
    assert isinstance(result["payments"], BadPeer)
    assert "'bank'" in str(result["payments"])


def test_a_hello_of_an_earlier_run_is_refused(trio):
    people, transports, roster = trio
    other = Session("run-0", "moments", 1, SESSION.agreement)
    sessions = dict.fromkeys(people, SESSION) | {"bank": other}
    result = opened(transports, people, roster, sessions)
    assert isinstance(result["payments"], BadPeer)


def test_a_party_with_another_contract_is_named(trio):
    people, transports, roster = trio
    other = Session("run-1", "moments", 1, "b" * 64)
    result = opened(
        transports, people, roster, dict.fromkeys(people, SESSION) | {"payments": other}
    )
    assert isinstance(result["bank"], ContractChanged)
    assert "payments" in str(result["bank"])


def test_silence_becomes_a_lost_party_by_name(trio):
    _, transports, _ = trio
    with pytest.raises(PartyLost, match="payments"):
        transports["bank"].receive("payments", "x")


def test_what_a_peer_says_of_its_end_cannot_write_over_a_terminal(trio):
    _, transports, _ = trio
    transports["payments"].abort("\x1b[2J\x9bgone\r\n\u202eé" + "x" * 5000)
    with pytest.raises(PartyLost) as caught:
        transports["bank"].receive("payments", "x")
    assert "stopped: ?[2J?gone???éxx" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 450


def test_an_abort_ends_a_wait_at_once_with_its_reason(trio):
    _, transports, _ = trio
    transports["payments"].abort("data: column PAY_AMT1 is missing")
    with pytest.raises(PartyLost, match="PAY_AMT1"):
        transports["bank"].receive("payments", "x")


def test_frames_survive_the_wire_and_cut_frames_are_refused():
    frame = Frame("bank", "payments", "e/3", b"\x00\x01" * 9)
    raw = pack_frame(frame)
    assert unpack_frame(raw) == frame
    for cut in range(len(raw) - len(frame.payload)):
        with pytest.raises(BadPeer):
            unpack_frame(raw[:cut])


def test_sending_to_a_stranger_is_refused(trio):
    people, transports, roster = trio
    channels = opened(transports, people, roster, dict.fromkeys(people, SESSION))
    with pytest.raises(BadPeer, match="mallory"):
        channels["bank"].send("mallory", "x", b"")


def test_a_secret_key_does_not_show_in_repr():
    assert "01" * 4 not in repr(Identity("bank", b"\x01" * 32))


def test_queue_channels_know_their_peers():
    channels = queue_channels(("b", "a", "c"))
    assert isinstance(channels["a"], QueueChannel)
    assert channels["b"].peers == ("a", "c")
