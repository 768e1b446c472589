"""The key behind the pseudonyms: one for all parties, stable, and unknown to the coordinator."""

from __future__ import annotations

import hashlib

import pytest

from shared.errors import BadPeer, PartyLost, Refused
from shared.feed import pseudonym
from shared.protocols.pseudonym import agree_pseudonym_key
from tests.support import COORDINATOR, run_parties

NAMES = ("bank", "bureau", "payments")
OLD = bytes(range(32))


def agree(own=None, *, names=NAMES, federation="tested", play=agree_pseudonym_key, **more):
    """Let parties agree; `own` maps a party to the key that it has."""
    own = own or {}

    def role(name):
        return lambda channel: play(channel, names, federation, own.get(name))

    return run_parties({**{name: role(name) for name in names}, COORDINATOR: idle}, **more)


def idle(channel):
    """Be the coordinator: say hello, and take no part."""


def values(run):
    assert not run.errors
    return {name: key for name, key in run.results.items() if name != COORDINATOR}


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]])
def test_without_a_key_all_parties_make_the_same_new_one(names):
    first, second = (values(agree(names=names)) for _ in range(2))
    assert len(set(first.values())) == len(set(second.values())) == 1
    assert first["bank"] != second["bank"]
    assert {len(key) for key in first.values()} == {32}


@pytest.mark.parametrize("holders", [("bank",), ("payments",), ("bureau", "payments"), NAMES])
def test_a_key_that_some_have_is_passed_on_and_customers_keep_their_pseudonyms(holders):
    keys = values(agree(dict.fromkeys(holders, OLD)))
    assert set(keys.values()) == {OLD}
    assert pseudonym(keys["bank"], " C1 ") == pseudonym(OLD, "C1")


def test_a_new_key_hangs_on_every_contribution_and_on_the_federation():
    def fixed(seed):
        def play(channel, names, federation, own):
            mine = hashlib.sha256(f"{seed.get(channel.me, 0)}{channel.me}".encode()).digest()
            return agree_pseudonym_key(channel, names, federation, own, entropy=lambda _: mine)

        return play

    keys = [values(agree(play=fixed({name: 1})))["bank"] for name in ("nobody", *NAMES)]
    keys.append(values(agree(play=fixed({}), federation="another"))["bank"])
    assert len(set(keys)) == len(keys)
    assert values(agree(play=fixed({})))["bank"] == keys[0]  # the control: nothing else


def test_different_keys_are_refused_by_name_and_nobody_gets_one():
    run = agree({"bank": OLD, "payments": OLD[::-1]})
    refusals = [error for error in run.errors.values() if isinstance(error, Refused)]
    # Who hears that another has stopped before it has compared by itself stops, too.
    stopped = [error for error in run.errors.values() if isinstance(error, PartyLost)]
    assert len(refusals) + len(stopped) == len(NAMES)
    assert refusals
    for error in refusals:
        assert "bank and payments hold different pseudonym keys" in error.message
        assert "pseudonym.key" in error.hint


def test_who_announces_a_key_that_it_does_not_pass_on_is_named():
    def lie(channel, names, federation, own):
        if channel.me != "bank":
            return agree_pseudonym_key(channel, names, federation, own)
        send = channel.send_all

        def swapped(to, tag, payload):
            send(to, tag, OLD[::-1] if tag == "pseudonym/key" else payload)

        channel.send_all = swapped
        return agree_pseudonym_key(channel, names, federation, OLD)

    run = agree(play=lie)
    assert isinstance(run.results["bureau"], BadPeer)
    assert run.results["bureau"].party == "bank"


@pytest.mark.parametrize("tag", ["pseudonym/share", "pseudonym/proof"])
def test_who_sends_something_else_is_named(tag):
    def lie(channel, names, federation, own):
        if channel.me == "bureau":
            send = channel.send_all
            channel.send_all = lambda to, own_tag, payload: send(
                to, own_tag, b"short" if own_tag == tag else payload
            )
        return agree_pseudonym_key(channel, names, federation, own)

    run = agree(play=lie)
    assert isinstance(run.results["bank"], BadPeer)
    assert run.results["bank"].party == "bureau"


def test_a_party_with_another_key_in_its_head_does_not_pass_the_confirmation():
    """A contribution that differs by recipient would give different keys: the proof catches it."""

    def split(channel, names, federation, own):
        if channel.me == "payments":
            send = channel.send_all

            def two_faced(to, tag, payload):
                for peer in to:
                    odd = tag == "pseudonym/share" and peer == "bank"
                    send((peer,), tag, bytes(32) + payload[32:] if odd else payload)

            channel.send_all = two_faced
        return agree_pseudonym_key(channel, names, federation, own)

    run = agree(play=split)
    errors = [run.results[name] for name in NAMES]
    assert all(isinstance(error, Exception) for error in errors)
    assert any(isinstance(error, BadPeer) for error in errors)


@pytest.mark.parametrize("own", [{}, {"bank": OLD}])
def test_the_coordinator_is_sent_nothing_and_no_frame_shows_the_key(own):
    run = agree(own)
    key = values(run)["bank"]
    tags = {frame.tag for frame in run.frames if COORDINATOR in (frame.sender, frame.recipient)}
    assert tags == {"hello"}
    assert not any(key in frame.payload for frame in run.frames)
    assert sum(frame.tag.startswith("pseudonym/") for frame in run.frames) >= 12


def test_the_control_without_seals_the_key_stands_in_the_frames():
    def play(channel, names, federation, own):
        channel.session = session
        return agree_pseudonym_key(channel, names, federation, own)

    session = type("Session", (), {"context": lambda self, **details: repr(details).encode()})()
    run = agree({"bank": OLD}, play=play, sealed=False)
    assert set(values(run).values()) == {OLD}
    assert any(OLD in frame.payload for frame in run.frames)
