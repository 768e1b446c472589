"""The common coin and the common sample: nobody steers them, and everybody has the same."""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadPeer, PartyLost
from shared.protocols.sample import sample_rows, toss
from tests.support import COORDINATOR, run_parties

PARTIES = ("bank", "bureau", "payments")


def tossing(party, channel, *, entropy=None, columns=None):
    columns = hashlib.sha256(party.encode()).digest() if columns is None else columns
    more = {} if entropy is None else {"entropy": entropy}
    return toss(channel, PARTIES, columns, **more)


def roles(**changed):
    coordinator = {COORDINATOR: lambda channel: None}
    return {party: partial(tossing, party, **changed.get(party, {})) for party in PARTIES} | (
        coordinator
    )


def constant(byte):
    return lambda size: bytes([byte]) * size


def test_every_party_has_the_same_coin_and_each_toss_is_fresh():
    first, second = run_parties(roles()), run_parties(roles())
    coins = {first.value(party) for party in PARTIES}
    assert len(coins) == 1
    assert len(coins.pop()) == 32
    assert first.value("bank") != second.value("bank")


@pytest.mark.parametrize("party", PARTIES)
def test_the_coin_hangs_on_every_partys_bytes_and_columns(party):
    fixed = {name: {"entropy": constant(place)} for place, name in enumerate(PARTIES)}
    coin = run_parties(roles(**fixed)).value("bank")
    assert run_parties(roles(**fixed)).value("bank") == coin
    other = fixed | {party: {"entropy": constant(99)}}
    assert run_parties(roles(**other)).value("bank") != coin
    other = fixed | {party: {"entropy": fixed[party]["entropy"], "columns": b"x" * 32}}
    assert run_parties(roles(**other)).value("bank") != coin


def test_no_reveal_leaves_before_every_commitment_is_in():
    """A party that waits to see the others' coins gets no coin: everybody waits for it."""

    def late(channel):
        return channel.receive("bank", "toss/reveal")

    run = run_parties(roles() | {"payments": late}, deadline=0.5)
    assert set(run.errors) == {"bank", "bureau", "payments"}
    assert not any("reveal" in frame.tag for frame in run.frames)


def test_a_party_that_changes_its_coin_after_it_saw_the_others_is_named():
    def cheat(channel):
        others = ["bank", "payments"]
        channel.send_all(others, "toss/commit", hashlib.sha256(b"one coin").digest())
        for other in others:
            channel.receive(other, "toss/commit")
        seen = [channel.receive(other, "toss/reveal") for other in others]
        channel.send_all(others, "toss/reveal", hashlib.sha256(b"".join(seen)).digest())

    run = run_parties(roles() | {"bureau": cheat})
    # Who finds it out first tells the other, who may hear that before it looks itself.
    found = [run.results[name] for name in ("bank", "payments")]
    named = [error for error in found if isinstance(error, BadPeer)]
    assert named
    assert {error.party for error in named} == {"bureau"}
    assert all("does not open its commitment" in str(error) for error in named)
    assert all(isinstance(error, BadPeer | PartyLost) for error in found)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_a_sample_is_a_sorted_subset_of_the_wanted_size_and_repeatable(coin, n_rows, cap):
    rows = sample_rows(coin, n_rows, cap)
    assert len(rows) == len(set(rows.tolist())) == min(n_rows, cap)
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 0
    assert rows.max() < n_rows
    np.testing.assert_array_equal(rows, sample_rows(coin, n_rows, cap))


def test_every_row_is_as_likely_as_any_other():
    draws, n_rows, cap = 4000, 40, 10
    count = np.zeros(n_rows)
    pairs = 0
    for draw in range(draws):
        rows = sample_rows(hashlib.sha256(str(draw).encode()).digest(), n_rows, cap)
        count[rows] += 1
        pairs += {0, 1} <= set(rows.tolist())
    expected = draws * cap / n_rows
    deviation = np.sqrt(draws * cap / n_rows * (1 - cap / n_rows))
    assert np.abs(count - expected).max() < 5 * deviation
    both = draws * cap * (cap - 1) / (n_rows * (n_rows - 1))
    assert abs(pairs - both) < 5 * np.sqrt(both)
